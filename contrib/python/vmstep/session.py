"""Sessions: requests that are sent without waiting, and their responses.

    s = step.machines[0].session()
    s.kernel.echo({"hello": "world"})
    print(s.get_response().payload.yaml())
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional

from . import penvm
from .calls import DEFAULT, Default, Timeout
from .errors import (
    Exists,
    NoSuchOp,
    NotValid,
    OpError,
    OpTimeout,
    op_error,
)
from .payload import Payload
from .values import merge
from .wire import Call, wait

if TYPE_CHECKING:
    from .step import Machine

_numbers = itertools.count(1)


class Request:
    """What was asked. result() waits for this one's answer."""

    def __init__(
        self, number: int, method: str, params: Mapping[str, Any], call: Call
    ) -> None:
        self.id = number
        self.method = method
        self.params = dict(params)
        self.call = call

    def result(self, timeout: Optional[float] = None) -> Any:
        """Its result; OpError where there is none."""
        return wait(self.call, timeout)

    def cancel(self) -> bool:
        """Take it back: there is no response then. False: there is one."""
        return self.call.cancel()

    def __repr__(self) -> str:
        return f"<Request {self.id} {self.method}>"


class Response:
    """The answer to a request: header["ref-id"] says which."""

    def __init__(
        self, session: "Session", request: Request, error: Optional[OpError]
    ) -> None:
        self.request = request
        self.error = error
        self.ok = error is None
        self.header: Dict[str, Any] = {
            "ref-id": request.id,
            "session-id": session.name,
            "op": request.method,
            "status": "ok" if self.ok else "error",
        }
        if error is None:
            self.payload = Payload(request.call.result())
        else:
            self.payload = Payload(
                {
                    "error": {
                        "code": error.code,
                        "name": error.name,
                        "message": error.message,
                    }
                }
            )

    def result(self) -> Any:
        """The op's result; an error is raised."""
        if self.error:
            raise self.error
        return self.payload.value

    def __repr__(self) -> str:
        return f"<Response to {self.request!r}: {self.header['status']}>"


class Kept:
    """A result that a session of the task's has kept."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self.opid = str(raw.get("opid", ""))
        self.method = str(raw.get("method", ""))
        self.error: Optional[OpError] = None
        if isinstance(raw.get("error"), Mapping):
            self.error = op_error(raw["error"], None, self.method)
        self.payload = Payload(raw.get("result", raw.get("error")))

    def result(self) -> Any:
        """The op's result; an error is raised."""
        if self.error:
            raise self.error
        return self.payload.value

    def __repr__(self) -> str:
        return f"<Kept {self.opid} {self.method}>"


class Kernel:
    """The ops that a session may ask for, as methods: each sends a request,
    and returns it without waiting.

    The names are those of vmstep-api(7) with _ for its dots (vm_state), those
    of PENVM's kernels (machine_get_state), and those of the session's kernel
    in the guest (vmstep-kernel(5)).
    """

    def __init__(self, session: "Session") -> None:
        self._session = session

    def __getattr__(self, name: str) -> Callable[..., Request]:
        if name.startswith("_"):
            raise AttributeError(name)
        session = self._session

        def ask(*args: Any, **kwargs: Any) -> Request:
            method, params = session.resolve(name, args, kwargs)
            return session.request(method, params)

        ask.__name__ = name
        return ask

    def __dir__(self) -> List[str]:
        return sorted(self._session.ops())

    def __repr__(self) -> str:
        return f"<Kernel {self._session.kernel_name or 'default'}>"


class Session:
    """Requests of one user of a machine, and the responses that have come.

    KERNEL is the set of ops in the guest that names without one mean.
    Sessions know nothing of each other. What nobody takes waits as long as
    the session lives.
    """

    def __init__(
        self,
        machine: "Machine",
        name: Optional[str] = None,
        kernel: Optional[str] = None,
        *,
        keep: bool = False,
        max_ops: Optional[int] = None,
    ) -> None:
        self.machine = machine
        self.keep = keep
        if keep:
            name = self._open(name, max_ops)
        self.name = name or f"session-{next(_numbers)}"
        self.kernel_name = kernel
        self.kernel = Kernel(self)
        self._responses: "queue.SimpleQueue[Response]" = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._last = 0
        self._waiting = 0  # requests whose responses nobody has taken

    def _open(self, name: Optional[str], max_ops: Optional[int]) -> str:
        params = merge({}, {"name": name, "max_ops": max_ops})
        own = self.machine.own()
        limit = self.machine.step.timeout
        try:
            opened = wait(own.request("session.open", params), limit)
        except Exists:  # somebody's, to be taken from
            return str(name)
        return str(opened["session"])

    def _ask(self, method: str, **params: Any) -> Any:
        call = self.machine.own().request(
            method, {"session": self.name, **params}
        )
        wait_s = max(params.get("wait_ms", 0), 0) / 1000
        return wait(call, self.machine.step.timeout + wait_s)

    def take(self, count: int = 0, timeout: float = 0) -> List[Kept]:
        """Results that the task keeps, of this session's requests, whoever
        asked: up to COUNT (0: all), the oldest first; they are kept no more.
        Where there is none one is waited for: OpTimeout."""
        got = self._ask(
            "result.take", count=count, wait_ms=int(1000 * timeout)
        )
        return [Kept(r) for r in got["results"]]

    def close(self) -> None:
        """End it in the task, too: what is open is cancelled."""
        if self.keep:
            self._ask("session.close")

    def __repr__(self) -> str:
        return f"<Session {self.name} of {self.machine!r}>"

    # -- what there is to ask ----------------------------------------------

    def ops(self) -> Dict[str, str]:
        """What kernel has as methods, and the op of each."""
        out = {n.replace("-", "_"): r.method for n, r in penvm.OPS.items()}
        for op in self._catalogue():
            out[op.replace(".", "_")] = op
        out.update(self._of_guest())
        return out

    def _catalogue(self) -> List[str]:
        names = self.machine.op("task.features")["ops"]
        return [str(n) for n in names]

    def _of_guest(self) -> Dict[str, str]:
        if not self.kernel_name:
            return {}
        ops = self.machine.op("kernel.ops", kernel=self.kernel_name)["ops"]
        return {
            str(op).replace("-", "_"): f"{self.kernel_name}:{op}" for op in ops
        }

    def resolve(
        self, name: str, args: Any, kwargs: Mapping[str, Any]
    ) -> "tuple[str, Dict[str, Any]]":
        """The op and its parameters that kernel.NAME(...) means."""
        theirs = name.replace("_", "-")
        if theirs in penvm.OPS:
            method, p = penvm.translate(theirs, args, kwargs)
            if theirs == "session-use-kernel":
                self.kernel_name = str(p["kernel"])
            return method, p
        if len(args) > 1 or (args and not isinstance(args[0], Mapping)):
            raise NotValid(
                f"{name}: parameters are named, or one dict: {name}(path=...)"
            )
        params = dict(args[0] if args else {}, **kwargs)
        known = self.ops()
        if name not in known:
            raise NoSuchOp(f"no op {name}: dir(kernel) has them all", -32601)
        return known[name], params

    # -- asking ------------------------------------------------------------

    def request(
        self, method: str, params: Optional[Mapping[str, Any]] = None
    ) -> Request:
        """Send a request for any op, and do not wait."""
        p = dict(params or {})
        with self._lock:
            self._last += 1
            number = self._last
            self._waiting += 1
        if self.keep:
            own = self.machine.own()
            call = own.request(
                method, {"session": self.name, "keep": True, **p}
            )
        else:
            call = self.machine.request(method, p)
        request = Request(number, method, p, call)
        call.add_done_callback(lambda _: self._answered(request))
        return request

    def _answered(self, request: Request) -> None:
        if request.call.cancelled():
            with self._lock:
                self._waiting -= 1
            return
        error = request.call.exception()
        if error is not None and not isinstance(error, OpError):
            error = OpError(str(error))
        self._responses.put(Response(self, request, error))

    def get_response(self, timeout: Timeout = DEFAULT) -> Response:
        """The next response; OpTimeout where none comes in time (that of the
        step), NotValid where nothing was asked."""
        limit = (
            self.machine.step.timeout
            if isinstance(timeout, Default)
            else timeout
        )
        end = None if limit is None else time.monotonic() + limit
        while True:
            with self._lock:
                if not self._waiting:
                    raise NotValid("no request of this session is open")
            # in pieces: a request may be taken back meanwhile
            piece = 0.2
            if end is not None:
                piece = min(piece, end - time.monotonic())
            try:
                response = self._responses.get(timeout=max(piece, 0))
                break
            except queue.Empty:
                if end is not None and time.monotonic() >= end:
                    raise OpTimeout(
                        f"no response within {limit:g} s", 4, "E_TIMEOUT"
                    ) from None
        with self._lock:
            self._waiting -= 1
        return response

    pull_response = get_response

    def get_responses(
        self, count: int, timeout: Timeout = DEFAULT
    ) -> List[Response]:
        """So many of them."""
        return [self.get_response(timeout) for _ in range(count)]

    @property
    def open(self) -> int:
        """Requests whose responses have not been taken."""
        with self._lock:
            return self._waiting
