"""A step without VMs: tasks whose ops are done here, and their sockets.

The sockets are where the real vmstep looks for them, so that it can be asked
for them, and be the way to them.
"""

from __future__ import annotations

import base64
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from typing import Any, Callable, Dict, List, Optional

CLI = os.path.abspath("cli/vmstep")
WINDOW = 256 * 1024


class Error(Exception):
    def __init__(self, code: int, name: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.name = name


class Client(threading.Thread):
    """A connection to a task."""

    def __init__(self, task: "Task", sock: socket.socket) -> None:
        super().__init__(daemon=True)
        self.task = task
        self.sock = sock
        self.lock = threading.Lock()
        self.fds: List[int] = []
        self.given: Dict[int, List[Any]] = {}  # credit, a condition, a file
        self.start()

    def say(self, **message: Any) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
        with self.lock:
            self.sock.sendall(data)

    def run(self) -> None:
        try:
            self.say(method="hello", params={"rank": self.task.rank})
            self.listen()
        except OSError:
            pass
        self.sock.close()

    def listen(self) -> None:
        buf = b""
        while True:
            data, fds, _, _ = socket.recv_fds(self.sock, 65536, 8)
            self.fds += fds
            if not data:
                return
            *lines, buf = (buf + data).split(b"\n")
            for line in lines:
                message = json.loads(line)
                self.task.step.heard.append(message)
                if message["method"].startswith("stream."):
                    self.on_stream(message["method"], message["params"])
                    continue
                threading.Thread(
                    target=self.answer, args=(message,), daemon=True
                ).start()

    def answer(self, message: Dict[str, Any]) -> None:
        number = message.get("id")
        params = message.get("params", {})
        try:
            result = self.task.step.ask(
                self, self.task.rank, message["method"], params
            )
            if number is not None:
                self.say(id=number, result=result)
            self.begin(result)
        except Error as e:
            data = {"name": e.name, "errno": 2}
            error = {"code": e.code, "message": str(e), "data": data}
            self.fail(number, error)
        except OSError:
            pass

    def fail(self, number: Any, error: Dict[str, Any]) -> None:
        try:
            self.say(id=number, error=error)
        except OSError:
            pass

    # -- streams as notifications ------------------------------------------

    def begin(self, result: Any) -> None:
        process = self.task.step.processes.get(
            result.get("proc") if isinstance(result, dict) else None
        )
        streams = result.get("streams") if process else None
        for name, number in (streams or {}).items():
            change = threading.Condition()
            f = getattr(process, name)
            self.given[number] = [0, change, f]
            if name == "stdin":
                credit = {"stream": number, "bytes": WINDOW}
                self.say(method="stream.credit", params=credit)
                self.given[number][1] = queue.SimpleQueue()
                threading.Thread(
                    target=self.feed, args=(number, f), daemon=True
                ).start()
            else:
                self.given[number][0] = WINDOW
                threading.Thread(
                    target=self.pump, args=(number, f), daemon=True
                ).start()

    def pump(self, number: int, f: Any) -> None:
        entry = self.given[number]
        seq = 0
        while True:
            with entry[1]:
                while not entry[0]:
                    entry[1].wait()
                most = min(entry[0], 24576)
            data = f.read1(most)
            if not data:
                break
            entry[0] -= len(data)
            b64 = {"b64": base64.b64encode(data).decode()}
            params = {"stream": number, "seq": seq, "data": b64}
            self.say(method="stream.data", params=params)
            seq += 1
        self.say(method="stream.eof", params={"stream": number})

    def on_stream(self, method: str, params: Dict[str, Any]) -> None:
        entry = self.given[params["stream"]]
        if method == "stream.credit":
            with entry[1]:
                entry[0] += params["bytes"]
                assert entry[0] <= WINDOW
                entry[1].notify()
        elif method == "stream.eof":
            entry[1].put(b"")
        else:
            data = params["data"]
            is_b64 = isinstance(data, dict)
            data = base64.b64decode(data["b64"]) if is_b64 else data.encode()
            entry[1].put(data)

    def feed(self, number: int, f: Any) -> None:
        while True:
            data = self.given[number][1].get()
            if not data:
                break
            f.write(data)
            f.flush()
            credit = {"stream": number, "bytes": len(data)}
            self.say(method="stream.credit", params=credit)
        f.close()


class Task:
    def __init__(self, step: "FakeStep", rank: int) -> None:
        self.step = step
        self.rank = rank
        self.clients: List[Client] = []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(f"{step.dir}/task.{rank}.sock")
        self.sock.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.clients.append(Client(self, sock))

    def end(self) -> None:
        """As a task that ends."""
        os.unlink(f"{self.step.dir}/task.{self.rank}.sock")
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for client in self.clients:
            try:
                client.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class FakeStep:
    """OPS are asked first: functions of rank and params."""

    def __init__(self, count: int = 2) -> None:
        self.root = tempfile.mkdtemp()
        self.dir = f"{self.root}/{os.geteuid()}/7.0"
        os.makedirs(self.dir)
        self.config = f"{self.root}/vmstep.conf"
        pathlib.Path(self.config).write_text(f"runtime_dir = {self.root}\n")
        self.count = count
        self.heard: List[Dict[str, Any]] = []
        self.processes: Dict[Optional[int], "subprocess.Popen[bytes]"] = {}
        self.ops: Dict[str, Callable[[int, Dict[str, Any]], Any]] = {}
        self.tasks = [Task(self, rank) for rank in range(count)]

    def close(self) -> None:
        for task in self.tasks:
            try:
                task.end()
            except OSError:
                pass
        shutil.rmtree(self.root)

    def methods(self) -> List[str]:
        return [m["method"] for m in self.heard]

    def ask(
        self, client: Client, rank: int, method: str, p: Dict[str, Any]
    ) -> Any:
        to = None if method == "file.rename" else p.pop("to", None)
        if to is None:
            return self.one(client, rank, method, p)
        if isinstance(to, int) or to.isdigit():
            return self.one(None, int(to), method, p)
        results: Dict[str, Any] = {}
        for r in range(self.count):
            try:
                results[str(r)] = self.one(None, r, method, p)
            except Error as e:
                error = {"code": e.code, "message": str(e)}
                results[str(r)] = {"error": error}
        return {"results": results}

    def one(
        self, client: Optional[Client], rank: int, method: str, p: Any
    ) -> Any:
        if method in self.ops:
            return self.ops[method](rank, p)
        fn = getattr(self, "do_" + method.replace(".", "_"), None)
        if fn is None:
            raise Error(-32601, "", f"no such op: '{method}'")
        return fn(client, rank, p)

    # -- ops ---------------------------------------------------------------

    def do_world_get(self, _c: Any, _rank: int, _p: Any) -> Any:
        tasks = [
            {
                "rank": r,
                "name": f"vm{r}",
                "ip": f"10.0.0.{r + 1}",
                "mac": f"52:54:00:00:00:{r:02x}",
            }
            for r in range(self.count)
        ]
        return {"step": "7.0", "tasks": tasks}

    def do_task_echo(self, _c: Any, _rank: int, p: Any) -> Any:
        return p

    def do_task_ping(self, _c: Any, rank: int, _p: Any) -> Any:
        return {"rank": rank, "node": "n1"}

    def do_task_features(self, _c: Any, _rank: int, _p: Any) -> Any:
        return {"ops": ["task.echo", "vm.state", "proc.run"]}

    def do_vm_state(self, _c: Any, rank: int, _p: Any) -> Any:
        if rank == 1:
            raise Error(8, "E_STATE", "it is paused")
        return {"state": "running"}

    def do_rpc_cancel(self, _c: Any, _rank: int, _p: Any) -> Any:
        return {}

    def do_msg_recv(self, _c: Any, _rank: int, p: Any) -> Any:
        time.sleep(p["wait_ms"] / 1000)
        raise Error(4, "E_TIMEOUT", "nothing came")

    def do_proc_run(self, _c: Any, _rank: int, p: Any) -> Any:
        words = p.get("argv") or ["sh", "-c", p["shell"]]
        done = subprocess.run(
            words,
            input=p.get("input", "").encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            check=False,
        )
        out = done.stdout.decode(), done.stderr.decode()
        return {"exit": done.returncode, "out": out[0], "err": out[1]}

    def do_proc_start(self, c: Optional[Client], _r: int, p: Any) -> Any:
        words = p.get("argv") or ["sh", "-c", p["shell"]]
        ends: Dict[str, Any] = {}
        mine = []
        wanted = [n for n in ("stdin", "stdout", "stderr") if n in p]
        for name in wanted:
            if p["io"] == "fd":
                assert c
                ends[name] = c.fds.pop(0)
                mine.append(ends[name])
            else:
                ends[name] = subprocess.PIPE
        process = subprocess.Popen(words, **ends)
        for fd in mine:
            os.close(fd)
        number = len(self.processes) + 1
        self.processes[number] = process
        result: Dict[str, Any] = {"proc": number, "pid": process.pid}
        if wanted and p["io"] == "events":
            streams = {name: i + 1 for i, name in enumerate(wanted)}
            result["streams"] = streams
        return result

    def do_proc_wait(self, _c: Any, _rank: int, p: Any) -> Any:
        status = self.processes[p["proc"]].wait()
        if status < 0:
            return {"proc": p["proc"], "signal": -status}
        return {"proc": p["proc"], "exit": status}

    def do_proc_signal(self, _c: Any, _rank: int, p: Any) -> Any:
        process = self.processes[p["proc"]]
        process.send_signal({"TERM": 15, "KILL": 9}.get(p["signal"]) or 2)
        return {}

    def do_file_put(self, c: Any, _rank: int, p: Any) -> Any:
        fd = c.fds.pop(0)
        with open(fd, "rb") as f:
            data = f.read()
        if p["path"].startswith("/nowhere"):
            raise Error(10, "E_NOENT", f"{p['path']}: No such file")
        pathlib.Path(p["path"]).write_bytes(data)
        return {"bytes": len(data)}

    def do_file_get(self, c: Any, _rank: int, p: Any) -> Any:
        with open(c.fds.pop(0), "wb") as f:
            try:
                data = pathlib.Path(p["path"]).read_bytes()
            except OSError:
                raise Error(10, "E_NOENT", f"{p['path']}: none") from None
            f.write(data)
        return {"bytes": len(data)}
