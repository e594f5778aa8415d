"""A connection to a task's socket: JSON-RPC 2.0, an object a line.

A thread of its own reads what comes; any thread may ask. Each request is a
Call, a Future which also asyncio can wait for (asyncio.wrap_future()). One that
is cancelled is taken back: the task forgets it, and what it would have given
away it keeps.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from concurrent import futures
from typing import Any, Callable, Dict, List, Optional, Sequence

from .errors import OpError, OpTimeout, Unreachable, op_error
from .values import from_json, to_json

LINE_MAX = 64 * 1024  # of a request: vmstep-api(7)
ANSWER_MAX = 17 * 1024 * 1024
SEND_S = 30.0  # a task that takes nothing for so long is unreachable

END = "end of the connection"  # listen() to it as to a notification
Notified = Callable[[Dict[str, Any]], None]


class Call(futures.Future):  # type: ignore[type-arg]
    """A request that waits for its answer, which result() returns.

    result() raises OpError for the task's error, and TimeoutError of
    concurrent.futures when its time is up: the request waits on.
    """

    def __init__(self, connection: "Connection", number: int, method: str):
        super().__init__()
        self.connection = connection
        self.number = number
        self.method = method
        # in the reader's thread, before result() returns
        self.on_result: Optional[Callable[[Any], None]] = None

    def cancel(self) -> bool:
        if not self.connection.take_back(self):
            return False
        return super().cancel()


def wait(call: "Call", timeout: Optional[float]) -> Any:
    """What it is answered, within TIMEOUT seconds (None: whenever that is)."""
    futures.wait([call], timeout)
    if not call.done() and call.cancel():
        raise OpTimeout(
            f"no answer from {call.connection.name} within {timeout:g} s",
            4,
            "E_TIMEOUT",
            method=call.method,
        )
    return call.result()


class Connection:
    """To one task. SOCK is owned; NAME is for people.

    WHY is asked for words when the other side ended it.
    """

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        why: Optional[Callable[[], str]] = None,
    ) -> None:
        sock.setblocking(False)
        self.name = name
        self.hello: Call = Call(self, 0, "hello")
        self._sock = sock
        self._why = why
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._last = 0
        self._open: Dict[int, Call] = {}
        self._ended: Optional[str] = None
        self._handlers: Dict[str, List[Notified]] = {}
        self._reader = threading.Thread(
            target=self._read, name=f"vmstep {name}", daemon=True
        )
        self._reader.start()

    # -- asking ------------------------------------------------------------

    def request(
        self,
        method: str,
        params: Optional[Dict[str, Any]] = None,
        fds: Sequence[int] = (),
        on_result: Optional[Callable[[Any], None]] = None,
    ) -> Call:
        """Send a request; the descriptors FDS go along and stay ours."""
        with self._lock:
            self._last += 1
            call = Call(self, self._last, method)
            call.on_result = on_result
            why = self._ended
            if why is None:
                self._open[call.number] = call
        if why is not None:
            call.set_exception(self._lost(why, method))
            return call
        message = {
            "jsonrpc": "2.0",
            "id": call.number,
            "method": method,
            "params": to_json(params or {}),
        }
        try:
            self._send(message, fds)
        except (OSError, OpError) as e:
            with self._lock:
                there = self._open.pop(call.number, None)
            if there:
                call.set_exception(
                    e if isinstance(e, OpError) else self._lost(str(e), method)
                )
        return call

    def notify(self, method: str, params: Dict[str, Any]) -> None:
        """Nobody answers; what is lost with the connection is lost."""
        try:
            self._send(
                {"jsonrpc": "2.0", "method": method, "params": to_json(params)}
            )
        except OSError:
            pass  # the reader sees it, too, and tells who waits

    def take_back(self, call: Call) -> bool:
        """False: it has been answered."""
        with self._lock:
            if self._open.pop(call.number, None) is None:
                return False
        self.notify("rpc.cancel", {"id": call.number})
        return True

    # -- listening ---------------------------------------------------------

    def listen(self, method: str, handler: Notified) -> None:
        """HANDLER gets the params of such notifications; it must not wait."""
        with self._lock:
            late = method == END and self._ended is not None
            if not late:
                self._handlers.setdefault(method, []).append(handler)
        if late:
            handler({})

    def unlisten(self, method: str, handler: Notified) -> None:
        with self._lock:
            if handler in self._handlers.get(method, ()):
                self._handlers[method].remove(handler)

    @property
    def ended(self) -> Optional[str]:
        """Why it has ended; None: it has not."""
        return self._ended

    def close(self) -> None:
        """End it; what still waits is Unreachable."""
        self._end("the connection was closed")
        if threading.current_thread() is not self._reader:
            self._reader.join()

    # -- inside ------------------------------------------------------------

    def _lost(self, why: str, method: str = "") -> Unreachable:
        return Unreachable(
            f"{self.name}: {why}", 2, "E_UNREACHABLE", method=method
        )

    def _send(self, message: Dict[str, Any], fds: Sequence[int] = ()) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        if len(data) > LINE_MAX:
            raise op_error(
                {
                    "code": 12,
                    "message": f"a request of {len(data)} bytes: at most "
                    f"{LINE_MAX}",
                    "data": {"name": "E_TOOBIG"},
                },
                method=str(message.get("method", "")),
            )
        view = memoryview(data)
        with self._sending:
            while view:
                try:
                    if fds:
                        sent = socket.send_fds(self._sock, [view], list(fds))
                        fds = ()
                    else:
                        sent = self._sock.send(view)
                    view = view[sent:]
                except BlockingIOError:
                    self._wait_to_send()

    def _wait_to_send(self) -> None:
        poll = select.poll()
        poll.register(self._sock, select.POLLOUT)
        if not poll.poll(SEND_S * 1000):
            raise OSError(f"it has taken nothing for {SEND_S:g} s")

    def _read(self) -> None:
        why = ""
        buf = bytearray()
        try:
            poll = select.poll()
            poll.register(self._sock, select.POLLIN)
            while self._ended is None:
                poll.poll()
                try:
                    data = self._sock.recv(65536)
                except BlockingIOError:
                    continue
                if not data:
                    break
                buf += data
                if b"\n" in data:
                    *lines, rest = bytes(buf).split(b"\n")
                    buf = bytearray(rest)
                    for line in lines:
                        if line:
                            self._take(json.loads(line))
                if len(buf) > ANSWER_MAX:
                    why = "an answer that is too long"
                    break
        except OSError as e:
            why = e.strerror or str(e)
        except ValueError:
            why = "what it says is no JSON"
        if not why:
            why = (self._why and self._why()) or "the task has ended"
        self._end(why)
        self._sock.close()

    def _take(self, message: Any) -> None:
        if not isinstance(message, dict):
            return
        method = message.get("method")
        if method == "hello" and not self.hello.done():
            self.hello.set_result(message.get("params", {}))
        elif isinstance(method, str):
            with self._lock:
                handlers = list(self._handlers.get(method, ()))
            params = from_json(message.get("params"))
            for handler in handlers:
                handler(params if isinstance(params, dict) else {})
        else:
            self._answered(message)

    def _answered(self, message: Dict[str, Any]) -> None:
        number = message.get("id")
        with self._lock:
            call = self._open.pop(number, None) if number else None
        if call is None:
            return
        error = message.get("error")
        if error is not None:
            call.set_exception(
                op_error(
                    error if isinstance(error, dict) else {},
                    method=call.method,
                )
            )
            return
        result = from_json(message.get("result"))
        if call.on_result:
            call.on_result(result)
        call.set_result(result)

    def _end(self, why: str) -> None:
        with self._lock:
            if self._ended is not None:
                return
            self._ended = why
            calls = list(self._open.values())
            self._open.clear()
            handlers = self._handlers.pop(END, [])
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        for call in calls + [self.hello]:
            if not call.done():
                call.set_exception(self._lost(why, call.method))
        for handler in handlers:
            handler({})
