"""Processes in guests."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Dict,
    List,
    Mapping,
    Optional,
    Tuple,
    Union,
)

from .errors import NotFound, OpError, OpTimeout, ProcessFailed
from .streams import InputPump, OutputPump
from .values import to_bytes
from .wire import Connection, wait

if TYPE_CHECKING:
    from .step import Machine

NAMES = ("stdin", "stdout", "stderr")


class Ended:
    """How a process ended: exit or signal, and its output where it was kept.

    raw is the op's result (vmstep-api(7), proc.run).
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.raw: Dict[str, Any] = dict(raw)
        self.exit: Optional[int] = raw.get("exit")
        self.signal: Optional[int] = raw.get("signal")
        self.out = to_bytes(raw.get("out"))
        self.err = to_bytes(raw.get("err"))
        self.timed_out = bool(raw.get("timed_out"))
        self.truncated = bool(
            raw.get("out_truncated") or raw.get("err_truncated")
        )

    @property
    def returncode(self) -> int:
        """As subprocess has it: the exit status, or a signal's number < 0."""
        if self.signal is not None:
            return -self.signal
        return -1 if self.exit is None else self.exit

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode(errors="replace")

    def check(self) -> "Ended":
        """Raise ProcessFailed, unless its exit status was 0."""
        if self.exit == 0:
            return self
        how = (
            "its time was up"
            if self.timed_out
            else f"signal {self.signal}"
            if self.signal is not None
            else f"exit status {self.exit}"
        )
        said = self.err.decode(errors="replace").strip()[-300:]
        what = self.raw.get("program", "the command")
        raise ProcessFailed(f"{what}: {how}{': ' if said else ''}{said}", self)

    def __repr__(self) -> str:
        return f"<Ended {self.returncode} out={self.out[:60]!r}>"


class Streams:
    """What becomes of the three streams of a process."""

    PIPE = subprocess.PIPE
    DEVNULL = subprocess.DEVNULL

    def __init__(
        self, stdin: Any = None, stdout: Any = None, stderr: Any = None
    ) -> None:
        self.asked = (stdin, stdout, stderr)
        self.given: List[int] = []  # the guest's ends, in their order
        self.mine: List[int] = []  # of these, descriptors that we close
        self.files: List[Optional[IO[bytes]]] = [None, None, None]
        self.wanted = [self._is_wanted(a) for a in self.asked]

    def _is_wanted(self, asked: Any) -> bool:
        return asked is not None and asked != self.DEVNULL

    def params(self) -> Dict[str, str]:
        out: Dict[str, str] = {}
        for name, asked, wanted in zip(NAMES, self.asked, self.wanted):
            if wanted:
                out[name] = "stream"
            elif asked == self.DEVNULL and name != "stdin":
                out[name] = "null"
        return out

    def open(self) -> None:
        for i, asked in enumerate(self.asked):
            if not self.wanted[i]:
                continue
            if asked == self.PIPE:
                self._pipe(i)
            elif isinstance(asked, int):
                self.given.append(asked)
            else:
                self.given.append(asked.fileno())

    def _pipe(self, i: int) -> None:
        if i == 0:
            # a pair of sockets: closing one end is seen at the other
            ours, theirs = socket.socketpair()
            self.files[0] = ours.makefile("wb")
            ours.close()
            end = theirs.detach()
        else:
            read, end = os.pipe()
            self.files[i] = open(read, "rb")
        self.given.append(end)
        self.mine.append(end)

    def pump(self, connection: Connection, streams: Mapping[str, int]) -> None:
        """By notifications: each end of the guest's gets a thread."""
        ends = iter(self.given)
        for name, wanted in zip(NAMES, self.wanted):
            if not wanted:
                continue
            fd = os.dup(next(ends))
            if name == "stdin":
                InputPump(connection, streams[name], fd)
            else:
                OutputPump(connection, streams[name], fd)

    def close_given(self) -> None:
        for fd in self.mine:
            os.close(fd)
        self.mine = []

    def close(self) -> None:
        self.close_given()
        for f in self.files:
            if f:
                try:
                    f.close()
                except OSError:
                    pass  # nobody takes what was still to be written


class Process:
    """A process that was started: stdin, stdout and stderr are files where
    they were subprocess.PIPE.

    A context manager; close() closes the files and has a process that still
    runs go on. Its result stays until release().
    """

    def __init__(
        self, machine: "Machine", started: Mapping[str, Any], streams: Streams
    ) -> None:
        self.machine = machine
        self.number: int = started["proc"]
        self.pid: Optional[int] = started.get("pid")
        self.stdin, self.stdout, self.stderr = streams.files
        self._streams = streams
        self._ended: Optional[Ended] = None

    def __repr__(self) -> str:
        return f"<Process {self.number} of {self.machine!r}>"

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def stat(self) -> Dict[str, Any]:
        """Its state, and what it uses now: proc.stat of vmstep-api(7)."""
        return dict(self.machine.op("proc.stat", proc=self.number))

    def usage(self) -> Dict[str, Any]:
        """Times and memory: of now while it runs, in the end of all of it."""
        stat = self.stat()
        return dict(stat.get("usage") or stat.get("rusage") or {})

    def poll(self) -> Optional[Ended]:
        """How it ended; None while it runs."""
        if self._ended is None:
            stat = self.stat()
            if "exit" in stat or "signal" in stat:
                self._ended = Ended(stat)
            elif stat.get("state") == "lost":
                raise OpError("its agent was lost", 15, "E_LOST", stat)
        return self._ended

    def wait(self, timeout: Optional[float] = None) -> Ended:
        """How it ended, when it has; OpTimeout after so many seconds."""
        if self._ended is None:
            params: Dict[str, Any] = {"proc": self.number}
            if timeout is not None:
                params["timeout_ms"] = int(1000 * timeout)
            self._ended = Ended(self.machine.op("proc.wait", params))
        return self._ended

    def output(self, timeout: Optional[float] = None) -> Ended:
        """The same with the output that was kept."""
        params: Dict[str, Any] = {"proc": self.number, "output": True}
        if timeout is not None:
            params["timeout_ms"] = int(1000 * timeout)
        return Ended(self.machine.op("proc.wait", params))

    def signal(self, signal: Union[int, str], group: bool = True) -> None:
        """Send a signal, by number or by name as in TERM, to its group."""
        self.machine.op(
            "proc.signal", proc=self.number, signal=signal, group=group
        )

    def terminate(self) -> None:
        self.signal("TERM")

    def kill(self) -> None:
        self.signal("KILL")

    def resize(self, rows: int, cols: int) -> None:
        """The size of its terminal."""
        self.machine.op("proc.resize", proc=self.number, rows=rows, cols=cols)

    def communicate(
        self,
        input: Optional[bytes] = None,
        timeout: Optional[float] = None,
    ) -> Tuple[bytes, bytes]:
        """Feed its standard input, take what it says, wait for its end.

        Streams that were not subprocess.PIPE give b"". After TIMEOUT seconds
        OpTimeout, and the process goes on.
        """
        got: Dict[int, bytes] = {}
        threads = [
            threading.Thread(target=self._feed, args=(input,), daemon=True)
        ]
        for i in (1, 2):
            f = self._streams.files[i]
            if f:
                threads.append(
                    threading.Thread(
                        target=_drain, args=(f, got, i), daemon=True
                    )
                )
        for t in threads:
            t.start()
        self.wait(timeout)
        for t in threads:
            t.join(timeout)
            if t.is_alive():
                raise OpTimeout("its streams are still open", 4, "E_TIMEOUT")
        return got.get(1, b""), got.get(2, b"")

    def _feed(self, data: Optional[bytes]) -> None:
        if not self.stdin:
            return
        try:
            if data:
                self.stdin.write(data)
            self.stdin.close()
        except OSError:
            pass  # it did not want all of it

    def release(self) -> None:
        """Forget it, which has ended."""
        try:
            self.machine.op("proc.release", proc=self.number)
        except NotFound:
            pass

    def close(self) -> None:
        self._streams.close()


def _drain(f: IO[bytes], got: Dict[int, bytes], i: int) -> None:
    try:
        got[i] = f.read()
    except (OSError, ValueError):
        got[i] = b""


def start_process(
    machine: "Machine", params: Mapping[str, Any], streams: Streams
) -> Process:
    """proc.start with STREAMS, which are taken."""
    p = {**params, **streams.params()}
    if not any(streams.wanted):
        return Process(machine, machine.op("proc.start", p), streams)
    connection = machine.own()
    try:
        streams.open()
        if machine.step.is_here(machine.rank):
            p["io"] = "fd"
            call = connection.request("proc.start", p, streams.given)
        else:
            p["io"] = "events"

            def on_result(result: Any) -> None:
                streams.pump(connection, result["streams"])

            call = connection.request("proc.start", p, on_result=on_result)
        started = wait(call, machine.step.timeout)
    except BaseException:
        streams.close()
        raise
    streams.close_given()
    return Process(machine, started, streams)
