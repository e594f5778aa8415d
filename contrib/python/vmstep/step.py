"""A step and its machines."""

from __future__ import annotations

import threading
from typing import (
    TYPE_CHECKING,
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Union,
)

from . import files
from .calls import (
    DEFAULT,
    OWN_TO,
    HasOps,
    Results,
    Timeout,
    params_of,
    seconds,
)
from .errors import (
    NotFound,
    NotValid,
    OpError,
    StepNotFound,
    Unreachable,
    op_error,
)
from .process import Ended, Process, Streams, start_process
from .values import Ranks, RanksLike
from .where import Place
from .wire import Call, Connection, wait

if TYPE_CHECKING:
    from .events import Events
    from .session import Session

ANSWER_S = 30.0  # for a task to answer what it does at once
INPUT_MAX = 32 * 1024  # of proc.run

Argv = Union[str, Sequence[Union[str, bytes]]]


def command(argv: Argv) -> Dict[str, Any]:
    """A text is for /bin/sh, a list are words."""
    return {"shell": argv} if isinstance(argv, str) else {"argv": list(argv)}


class Step:
    """A running step; STEP as in "1234.0" or 1234, within a job None.

    On a node of the step it speaks with the sockets of its tasks, from
    elsewhere by `srun --overlap`. TIMEOUT is the time for answers in seconds,
    CONFIG another vmstep.conf, VMSTEP another vmstep(1). A step is safe for
    threads, and a context manager; close() ends its connections, not the step.
    """

    def __init__(
        self,
        step: Union[None, int, str] = None,
        *,
        timeout: float = ANSWER_S,
        config: Optional[str] = None,
        vmstep: Optional[str] = None,
    ) -> None:
        self.timeout = timeout
        self._lock = threading.RLock()
        self._hub: Optional[Connection] = None
        self._direct: Dict[int, Connection] = {}
        self.place = Place(None if step is None else str(step), config, vmstep)
        world = self._world()
        self.id: str = world["step"]
        self.place.step = self.id
        self.machines: List[Machine] = [
            Machine(self, task) for task in world["tasks"]
        ]

    def _world(self) -> Dict[str, Any]:
        result = wait(self.hub().request("world.get"), self.timeout)
        return dict(result)

    # -- connections -------------------------------------------------------

    def hub(self) -> Connection:
        """A connection to any task, for ops with "to"."""
        with self._lock:
            if self._hub is None or self._hub.ended is not None:
                self._hub = self._connect_any()
            return self._hub

    def _connect_any(self) -> Connection:
        for rank in self.place.ranks_here():
            direct = self.direct(rank)
            if direct:
                return direct
        if self.place.dir:
            raise StepNotFound(f"step {self.place.step} has ended here")
        return self.place.connect_by_srun()

    def direct(self, rank: int, far: bool = False) -> Optional[Connection]:
        """To the task's own socket; None where that is on another node and,
        unless FAR, nobody has been there."""
        with self._lock:
            there = self._direct.get(rank)
            if there and there.ended is None:
                return there
            connection = None
            if rank in self.place.ranks_here():
                try:
                    connection = self.place.connect_here(rank)
                except OSError:
                    pass  # it has ended; its vmstep-net says so
            elif far:
                node = self.hub().request("task.ping", {"to": rank})
                connection = self.place.connect_by_srun(
                    rank, wait(node, self.timeout)["node"]
                )
            if connection:
                self._direct[rank] = connection
            return connection

    def is_here(self, rank: int) -> bool:
        """Is the task's socket on this node?"""
        return rank in self.place.ranks_here()

    def close(self) -> None:
        """End all connections; what still waits is Unreachable."""
        with self._lock:
            connections = list(self._direct.values())
            if self._hub:
                connections.append(self._hub)
            self._direct.clear()
            self._hub = None
        for connection in connections:
            connection.close()

    def __enter__(self) -> "Step":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    # -- machines ----------------------------------------------------------

    def __len__(self) -> int:
        return len(self.machines)

    def __iter__(self) -> Iterator["Machine"]:
        return iter(self.machines)

    def __getitem__(self, ranks: RanksLike) -> "Group":
        """step["0,3-5"], step[2], step[[0, 1]]"""
        return Group(self, Ranks(ranks, len(self.machines)))

    @property
    def all(self) -> "Group":
        """All machines as a group."""
        return self["all"]

    def named(self, name: str) -> "Machine":
        """The machine of that name, address or MAC."""
        for m in self.machines:
            if name.lower() in (m.name, m.ip, m.mac.lower()):
                return m
        raise NotFound(f"step {self.id} has no machine {name}", 10, "E_NOENT")

    def events(self, *kinds: str) -> "Events":
        """What happens in the step, as an iterator; all kinds, or these."""
        from .events import Events

        return Events(self, kinds, "all")

    def op(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Any:
        """An op of any task: its result, as of step.op("task.list")."""
        p = params_of(params, more)
        call = self.hub().request(method, p)
        return wait(call, seconds(method, p, timeout, self.timeout))

    def __repr__(self) -> str:
        return f"<Step {self.id}: {len(self.machines)} machines>"


class _Target(HasOps):
    """A machine, or several."""

    step: Step
    ranks: Ranks

    def put(
        self,
        source: files.Source,
        path: Union[str, bytes],
        *,
        user: Optional[str] = None,
        mode: Optional[int] = None,
        timeout: Optional[float] = None,
    ) -> Any:
        """Copy SOURCE into the guest: a path here (a directory with all in
        it), bytes, or a file that can be read. Mode and time of a path go
        along. The file is there when it is whole."""
        return files.put(self, source, path, user, mode, timeout)


class Machine(_Target):
    """A VM of the step: rank, name, ip, mac."""

    def __init__(self, step: Step, task: Mapping[str, Any]) -> None:
        self.step = step
        self.rank: int = task["rank"]
        self.ranks = Ranks(self.rank)
        self.name: str = task.get("name", "")
        self.ip: str = task.get("ip", "")
        self.mac: str = task.get("mac", "")

    def __repr__(self) -> str:
        return f"<Machine {self.rank} {self.name} of {self.step.id}>"

    @property
    def node(self) -> str:
        """Its node."""
        return str(self.op("task.ping")["node"])

    @property
    def state(self) -> str:
        """running, paused, ...: vm.state of vmstep-api(7)."""
        return str(self.op("vm.state")["state"])

    # -- ops ---------------------------------------------------------------

    def request(
        self, method: str, params: Optional[Mapping[str, Any]] = None
    ) -> Call:
        """Ask, and do not wait: result() of what is returned does."""
        p = dict(params or {})
        if "to" in p and method in OWN_TO:
            return self.own().request(method, p)
        if "to" in p:
            return self.step.hub().request(method, p)
        direct = self.step.direct(self.rank)
        if direct:
            return direct.request(method, p)
        p["to"] = self.rank
        return self.step.hub().request(method, p)

    def op(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Any:
        p = params_of(params, more)
        call = self.request(method, p)
        try:
            return wait(call, seconds(method, p, timeout, self.step.timeout))
        except Unreachable as e:
            e.rank = self.rank
            raise

    def own(self) -> Connection:
        """A connection to the task's own socket, also on another node."""
        connection = self.step.direct(self.rank, far=True)
        if connection is None:
            raise Unreachable(
                "the task has ended", 2, "E_UNREACHABLE", rank=self.rank
            )
        return connection

    def session(
        self,
        name: Optional[str] = None,
        kernel: Optional[str] = None,
        *,
        keep: bool = False,
        max_ops: Optional[int] = None,
    ) -> "Session":
        """Requests of one user of the machine, and their answers.

        With KEEP it is a session of the task's (session.open), of MAX_OPS ops
        at a time, which keeps its results also for others: Session.take().
        """
        from .session import Session

        return Session(self, name, kernel, keep=keep, max_ops=max_ops)

    get_session = session  # as PENVM has it

    def events(self, *kinds: str) -> "Events":
        """What happens to the task, as an iterator; all kinds, or these."""
        from .events import Events

        return Events(self.step, kinds, self.rank)

    # -- processes ---------------------------------------------------------

    def run(
        self,
        argv: Argv,
        *,
        input: Union[None, str, bytes] = None,
        timeout: Optional[float] = None,
        cwd: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
        user: Optional[str] = None,
        max_output: Optional[int] = None,
        check: bool = False,
    ) -> Ended:
        """Run a command in the guest to its end, and take its output.

        After TIMEOUT seconds it is killed, and the result has timed_out. With
        CHECK any status but 0 raises ProcessFailed.
        """
        data = input.encode() if isinstance(input, str) else input
        params = params_of(
            command(argv),
            {
                "cwd": cwd,
                "env": env,
                "user": user,
                "max_output": max_output,
                "timeout_ms": None if timeout is None else int(1000 * timeout),
            },
        )
        if data is not None and len(data) > INPUT_MAX:
            ended = self._run_fed(params, data, timeout)
        else:
            if data is not None:
                params["input"] = data
            ended = Ended(self.op("proc.run", params))
        return ended.check() if check else ended

    def _run_fed(
        self, params: Dict[str, Any], data: bytes, timeout: Optional[float]
    ) -> Ended:
        params.pop("timeout_ms", None)
        with start_process(self, params, Streams(stdin=Streams.PIPE)) as p:
            out, err = p.communicate(data, timeout)
            return p.wait()

    def start(
        self,
        argv: Argv,
        *,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        cwd: Optional[str] = None,
        env: Optional[Mapping[str, str]] = None,
        user: Optional[str] = None,
        label: Optional[str] = None,
        max_output: Optional[int] = None,
        pty: Optional[Mapping[str, Any]] = None,
    ) -> Process:
        """Start a command in the guest.

        Each stream may be subprocess.PIPE, subprocess.DEVNULL, or a file or
        descriptor of ours; output for which nothing is said is kept for
        Process.output(). PTY is {"rows", "cols", "term"}.
        """
        params = params_of(
            command(argv),
            {
                "cwd": cwd,
                "env": env,
                "user": user,
                "label": label,
                "max_output": max_output,
                "pty": pty,
            },
        )
        return start_process(self, params, Streams(stdin, stdout, stderr))

    def get(
        self,
        path: Union[str, bytes],
        to: files.Target = None,
        *,
        user: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> Optional[bytes]:
        """Copy a file out of the guest: to a path here, into a file that is
        open, or (None) as bytes, which are returned. Of a directory with all
        in it, to a path."""
        return files.get(self, path, to, user, timeout)


class Group(_Target):
    """Machines of a set of ranks; their ops give Results."""

    def __init__(self, step: Step, ranks: Ranks) -> None:
        if not ranks:
            raise NotValid("no rank is in that set")
        self.step = step
        self.ranks = ranks

    @property
    def machines(self) -> List[Machine]:
        return [self.step.machines[r] for r in self.ranks]

    def __len__(self) -> int:
        return len(self.ranks)

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines)

    def __repr__(self) -> str:
        return f"<Group {self.ranks} of {self.step.id}>"

    def request(
        self, method: str, params: Optional[Mapping[str, Any]] = None
    ) -> Call:
        """Ask them all by one request; results_of() reads the answer."""
        p = dict(params or {})
        p["to"] = str(self.ranks)
        return self.step.hub().request(method, p)

    def results_of(self, answer: Any, method: str = "") -> Results:
        if len(self.ranks) == 1:
            return Results({self.ranks[0]: answer})
        out = Results()
        for key, value in sorted(
            answer["results"].items(), key=lambda kv: int(kv[0])
        ):
            error = value.get("error") if isinstance(value, dict) else None
            rank = int(key)
            if isinstance(error, dict) and set(value) == {"error"}:
                out[rank] = op_error(error, rank, method)
            else:
                out[rank] = value
        return out

    def op(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Results:
        """Of each: a task that fails is no exception, see Results.check()."""
        p = params_of(params, more)
        limit = seconds(method, p, timeout, self.step.timeout)
        if method in OWN_TO:
            return self._op_of_each(method, p, limit)
        try:
            answer = wait(self.request(method, p), limit)
        except OpError as e:
            if len(self.ranks) > 1:
                raise
            return Results({self.ranks[0]: e})
        return self.results_of(answer, method)

    def _op_of_each(
        self, method: str, p: Dict[str, Any], limit: Optional[float]
    ) -> Results:
        out = Results()
        calls = {m.rank: m.request(method, p) for m in self.machines}
        for rank, call in calls.items():
            try:
                out[rank] = wait(call, limit)
            except OpError as e:
                out[rank] = e
        return out

    def run(self, argv: Argv, **more: Any) -> Dict[int, Ended]:
        """Run a command in each, all at the same time, and take the output."""
        timeout = more.pop("timeout", None)
        if timeout is not None:
            more["timeout_ms"] = int(1000 * timeout)
        results = self.op("proc.run", params_of(command(argv), more))
        return {r: Ended(v) for r, v in results.check().items()}
