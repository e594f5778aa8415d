"""ops.py - the measuring of `ops`, on the first task's node"""
import argparse
import array
import base64
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time

MIB = 1 << 20
AIMS = {  # of a ratio: at least, at most
    "file in, to bare port": (0.8, None), "file out, to bare port": (0.8, None),
    "ping": (None, 1.5), "exec true": (None, 3),
    "file in, to qemu-ga": (5, None), "file out, to qemu-ga": (5, None),
    "between nodes": (None, 60),  # a difference, in us
}


# -- a task -------------------------------------------------------------------

class Task:
    """A connection to a task's socket."""

    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        self.file.readline()
        self.last = 0

    def ask(self, method, fd=None, **params):
        self.last += 1
        line = json.dumps({"jsonrpc": "2.0", "id": self.last,
                           "method": method, "params": params})
        more = []
        if fd is not None:
            more = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))]
        self.sock.sendmsg([line.encode() + b"\n"], more)

    def hear(self):
        while True:
            answer = json.loads(self.file.readline())
            if answer.get("id") == self.last:
                break
        if "result" not in answer:
            sys.exit(f"ops: {answer['error']}")
        return answer["result"]

    def call(self, method, **params):
        self.ask(method, **params)
        return self.hear()

    def sh(self, script):
        r = self.call("proc.run", argv=["/bin/sh", "-c", script])
        if r.get("exit") != 0:
            sys.exit(f"ops: {script}: {r}")
        return r["out"]

    def begin(self, script):
        return self.call("proc.start", argv=["/bin/sh", "-c", script])["proc"]

    def copy(self, method, fd, **params):
        """Seconds until it is answered; the descriptor is closed."""
        start = time.monotonic()
        self.ask(method, fd=fd, io="fd", hash="xxh64", **params)
        os.close(fd)
        return start


# -- files --------------------------------------------------------------------

def file_in(task, path, data):
    out, into = os.pipe()
    start = task.copy("file.put", out, path=path)

    def feed():
        with os.fdopen(into, "wb", buffering=0) as f:
            f.write(data)
    t = threading.Thread(target=feed)
    t.start()
    task.hear()
    t.join()
    return time.monotonic() - start


def file_out(task, path):
    out, into = os.pipe()
    total = 0
    start = task.copy("file.get", into, path=path)
    while True:
        n = len(os.read(out, 1 << 18))
        total += n
        if not n:
            break
    os.close(out)
    task.hear()
    return time.monotonic() - start, total


# -- qemu-ga ------------------------------------------------------------------

class Ga:
    def __init__(self, path):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(path)
        self.file = self.sock.makefile("rb")
        self.call("guest-sync", id=7)

    def call(self, command, **args):
        self.sock.sendall(json.dumps({"execute": command, "arguments": args}).encode())
        answer = json.loads(self.file.readline().lstrip(b"\xff"))
        if "return" not in answer:
            sys.exit(f"ops: qemu-ga: {answer}")
        return answer["return"]

    def rates(self, path, mib):
        """MB/s in, out."""
        piece = base64.b64encode(os.urandom(MIB)).decode()
        f = self.call("guest-file-open", path=path, mode="w")
        start = time.monotonic()
        for _ in range(mib):
            self.call("guest-file-write", **{"handle": f, "buf-b64": piece})
        self.call("guest-file-flush", handle=f)
        into = time.monotonic() - start
        self.call("guest-file-close", handle=f)
        f = self.call("guest-file-open", path=path, mode="r")
        start = time.monotonic()
        for _ in range(mib):
            r = self.call("guest-file-read", handle=f, count=MIB)
            base64.b64decode(r["buf-b64"])
        out = time.monotonic() - start
        self.call("guest-file-close", handle=f)
        return mib * 1.048576 / into, mib * 1.048576 / out


# -- a round ------------------------------------------------------------------

class Bench:
    def __init__(self, args):
        self.args = args
        self.task = Task(os.path.join(args.dir, "task.0.sock"))
        self.bytes = args.mib * MIB
        with open(args.portio, "rb") as f:
            file_in(self.task, "/tmp/portio", f.read())
        self.task.sh("chmod 755 /tmp/portio")
        self.port = self.find_port("bench")
        self.task.begin(f"exec qemu-ga -m virtio-serial -p {self.find_port('ga')}")
        self.ga = Ga(os.path.join(args.ports, "vm0.ga"))
        self.data = os.urandom(MIB) * args.mib
        self.figures = {}

    def find_port(self, name):
        return self.task.sh(
            f"cd /sys/class/virtio-ports; for p in *; do [ $(cat $p/name) = bench.{name} ] &&"
            " echo /dev/$p; done; true").strip()

    def portio(self, *words, cpu=None):
        """One that runs here; what it says."""
        at = [] if cpu is None else ["taskset", "-c", str(cpu)]
        r = subprocess.run([*at, self.args.portio, *map(str, words)], check=True,
                           stdout=subprocess.PIPE, text=True)
        return float(r.stdout)

    def with_guest(self, guest, *host):
        """portio at both ends of the port."""
        socket_path = os.path.join(self.args.ports, "vm0.bench")
        proc = self.task.begin(f"exec /tmp/portio {guest}")
        value = self.portio(host[0], socket_path, *host[1:])
        if guest.startswith("echo"):  # the others end by themselves
            self.task.call("proc.signal", proc=proc, signal="KILL")
        self.task.call("proc.wait", proc=proc)
        self.task.call("proc.release", proc=proc)
        return value

    def median_of(self, n, method, **params):
        """Microseconds of an op, asked by a program that does nothing else."""
        return self.portio("ask", os.path.join(self.args.dir, "task.0.sock"), n,
                           json.dumps({"jsonrpc": "2.0", "id": 1, "method": method,
                                       "params": params}))

    def add(self, name, unit, value):
        self.figures.setdefault((name, unit), []).append(value)
        return value

    def files(self):
        mb = self.bytes / 1e6
        rates = {}
        for kind, path in (("bare port", ""), ("bare port, a file", " /tmp/bare")):
            rates["in", kind] = mb / self.with_guest(
                f"sink {self.port} {self.bytes}{path}", "send", self.bytes)
            rates["out", kind] = mb / self.with_guest(
                f"send {self.port} {self.bytes}{path}", "sink", self.bytes)
        self.task.sh("rm -f /tmp/bare")
        rates["in", "op"] = mb / file_in(self.task, "/tmp/file", self.data)
        seconds, total = file_out(self.task, "/tmp/file")
        if total < self.bytes:
            sys.exit("ops: file.get: too short")
        rates["out", "op"] = mb / seconds
        self.task.sh("rm -f /tmp/file")
        rates["in", "qemu-ga"], rates["out", "qemu-ga"] = \
            self.ga.rates("/tmp/ga", min(self.args.mib, 16))
        self.task.sh("rm -f /tmp/ga")
        for (way, kind), rate in rates.items():
            self.add(f"file {way}: {kind}", "MB/s", rate)
            if kind != "op":
                self.add(f"file {way}, to {kind}", "ratio", rates[way, "op"] / rate)

    def times(self):
        bare = self.add("ping: bare port", "us", self.with_guest(
            f"echo {self.port}", "ping", 500))
        ping = self.add("ping: task.ping", "us", statistics.median(
            self.task.call("task.ping", path="agent")["rtt_us"] for _ in range(500)))
        self.add("ping", "ratio", ping / bare)
        spawn = self.add("exec true: in the guest", "us", float(
            self.task.sh("/tmp/portio spawn 50 /bin/true")))
        run = self.add("exec true: proc.run", "us",
                       self.median_of(50, "proc.run", argv=["/bin/true"]))
        self.add("exec true", "ratio", run / (spawn + ping))

    def nodes(self):
        link = self.add("between nodes: TCP", "us", self.portio(
            "ping", "tcp:" + self.args.other, 2000, cpu=0))
        op = self.add("between nodes: task.ping", "us",
                      self.median_of(2000, "task.ping", to=self.args.tasks - 1))
        self.add("between nodes", "us more", op - link)


# -- many at once -------------------------------------------------------------

class Crowd:
    """Some of many ops, all asked before the first answer is read."""

    def __init__(self, path, first, count, tasks):
        self.task = Task(path)
        self.lines = [self.line(i, tasks) for i in range(first, first + count)]
        self.answers = {}  # id: how often
        self.names = {}  # what was said: how often
        self.threads = [threading.Thread(target=f) for f in (self.send, self.hear)]

    @staticmethod
    def line(i, tasks):
        to = i % tasks
        ops = [("task.ping", {}), ("task.echo", {"n": i}), ("vm.state", {}),
               ("msg.send", {"data": i, "queue": f"q{i % 50}"}),
               ("store.put", {"key": f"k{i % 100}", "value": i}),
               ("file.stat", {"path": "/etc/passwd"}), ("world.get", {})]
        method, params = ops[i // tasks % len(ops)]
        if method != "store.put":
            params["to"] = to
        return json.dumps({"jsonrpc": "2.0", "id": i, "method": method,
                           "params": params})

    def send(self):
        self.task.sock.sendall(("\n".join(self.lines) + "\n").encode())

    def hear(self):
        for _ in self.lines:
            answer = json.loads(self.task.file.readline())
            n = answer["id"]
            self.answers[n] = self.answers.get(n, 0) + 1
            name = "done" if "result" in answer else \
                answer["error"].get("data", {}).get("name", str(answer["error"]))
            self.names[name] = self.names.get(name, 0) + 1


def crowd(paths, tasks, count):
    """Ask @count ops of all tasks at once; True: each was answered once."""
    each = 500
    all_of = [Crowd(paths[n % len(paths)], at, min(each, count - at), tasks)
              for n, at in enumerate(range(0, count, each))]
    start = time.monotonic()
    for c in all_of:
        for t in c.threads:
            t.start()
    names = {}
    answers = {}
    for c in all_of:
        for t in c.threads:
            t.join()
        for d, of in ((names, c.names), (answers, c.answers)):
            for k, n in of.items():
                d[k] = d.get(k, 0) + n
    once = len(answers) == count and max(answers.values()) == 1
    print(f"{count} ops over {tasks} guests at once: {time.monotonic() - start:.1f} s, "
          + ("each answered once" if once else "NOT each answered once") + ": "
          + ", ".join(f"{n} {k}" for k, n in sorted(names.items())), file=sys.stderr)
    return once


# -- what comes of it ---------------------------------------------------------

def report(figures, as_json):
    missed = 0
    rows = []
    for (name, unit), values in figures.items():
        value = statistics.median(values)
        least, most = AIMS.get(name, (None, None)) if ":" not in name else (None, None)
        ok = (least is None or value >= least) and (most is None or value <= most)
        missed += not ok
        aim = f"at least {least}" if least else f"at most {most}" if most else ""
        rows.append({"name": name, "unit": unit, "median": value,
                     "min": min(values), "max": max(values), "aim": aim, "ok": ok})
    if as_json:
        print(json.dumps(rows))
    else:
        print(f"{'':34} {'median':>9} {'min':>9} {'max':>9}")
        for r in rows:
            print(f"{r['name']:34} {r['median']:9.2f} {r['min']:9.2f} {r['max']:9.2f}"
                  f" {r['unit']:8} {r['aim']}{'' if r['ok'] else ': MISSED'}")
    return 1 if missed else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--json", action="store_true")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--mib", type=int, default=64)
    p.add_argument("--at-once", type=int, default=10000)
    p.add_argument("--tasks", type=int)
    p.add_argument("--portio")
    p.add_argument("--ports")
    p.add_argument("--dir")
    p.add_argument("--other")
    args = p.parse_args()
    b = Bench(args)
    for _ in range(args.rounds):
        b.files()
        b.times()
        b.nodes()
    paths = [os.path.join(args.dir, n) for n in sorted(os.listdir(args.dir))
             if n.startswith("task.") and n.endswith(".sock")]
    once = crowd(paths, args.tasks, args.at_once)
    return report(b.figures, args.json) or not once


if __name__ == "__main__":
    sys.exit(main())
