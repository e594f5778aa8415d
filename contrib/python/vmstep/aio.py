"""The same for asyncio.

    async with await AsyncStep.open("1234.0") as step:
        results = await asyncio.gather(
            *(m.run(["uname", "-n"]) for m in step.machines)
        )

What waits can be cancelled: the request is taken back then.
"""

from __future__ import annotations

import asyncio
from typing import (
    IO,
    Any,
    AsyncIterator,
    Dict,
    Generic,
    List,
    Mapping,
    Optional,
    Tuple,
    TypeVar,
    Union,
)

from . import files
from .calls import DEFAULT, Results, Timeout, params_of, seconds
from .errors import OpError, OpTimeout
from .events import Event, Events
from .process import Ended, Process
from .session import Response, Session
from .step import Argv, Group, Machine, Step, command
from .values import RanksLike
from .wire import Call


async def answer(call: Call, timeout: Optional[float]) -> Any:
    """What a request is answered; OpTimeout after so many seconds."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(call), timeout)
    except asyncio.TimeoutError:
        raise OpTimeout(
            f"no answer from {call.connection.name} within {timeout:g} s",
            4,
            "E_TIMEOUT",
            method=call.method,
        ) from None


class AsyncNamespace:
    """m.proc of await m.proc.run(argv=["true"])."""

    def __init__(self, target: "_AsyncTarget[Any]", name: str) -> None:
        self._target = target
        self._name = name

    def __getattr__(self, name: str) -> "AsyncNamespace":
        if name.startswith("_"):
            raise AttributeError(name)
        return AsyncNamespace(self._target, f"{self._name}.{name}")

    async def __call__(
        self,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Any:
        return await self._target.op(
            self._name, params, timeout=timeout, **more
        )


T = TypeVar("T", Machine, Group)


class _AsyncTarget(Generic[T]):
    def __init__(self, sync: T) -> None:
        self.sync: T = sync

    def __getattr__(self, name: str) -> AsyncNamespace:
        if name.startswith("_"):
            raise AttributeError(name)
        return AsyncNamespace(self, name)

    async def _ask(
        self, method: str, params: Dict[str, Any], timeout: Timeout
    ) -> Any:
        # in a thread: the first request may have to make a connection
        call = await asyncio.to_thread(self.sync.request, method, params)
        limit = seconds(method, params, timeout, self.sync.step.timeout)
        return await answer(call, limit)

    async def op(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Any:
        return await self._ask(method, params_of(params, more), timeout)

    async def put(
        self, source: files.Source, path: Union[str, bytes], **more: Any
    ) -> Any:
        """As Machine.put()."""
        return await asyncio.to_thread(self.sync.put, source, path, **more)


class AsyncMachine(_AsyncTarget[Machine]):
    """A VM of the step, as Machine."""

    @property
    def rank(self) -> int:
        return self.sync.rank

    @property
    def name(self) -> str:
        return self.sync.name

    def __repr__(self) -> str:
        return f"<AsyncMachine {self.rank} {self.name}>"

    async def run(
        self,
        argv: Argv,
        *,
        timeout: Optional[float] = None,
        check: bool = False,
        **more: Any,
    ) -> Ended:
        """As Machine.run(); input is up to 32 KiB."""
        if timeout is not None:
            more["timeout_ms"] = int(1000 * timeout)
        result = await self.op("proc.run", params_of(command(argv), more))
        ended = Ended(result)
        return ended.check() if check else ended

    async def start(self, argv: Argv, **more: Any) -> "AsyncProcess":
        """As Machine.start(); streams are asyncio's."""
        process = await asyncio.to_thread(self.sync.start, argv, **more)
        out = AsyncProcess(process)
        await out.open_streams()
        return out

    async def get(
        self, path: Union[str, bytes], to: files.Target = None, **more: Any
    ) -> Optional[bytes]:
        """As Machine.get()."""
        return await asyncio.to_thread(self.sync.get, path, to, **more)

    def session(
        self, name: Optional[str] = None, kernel: Optional[str] = None
    ) -> "AsyncSession":
        return AsyncSession(self.sync.session(name, kernel))


class AsyncGroup(_AsyncTarget[Group]):
    """Machines of a set of ranks, as Group."""

    async def op(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Results:
        try:
            got = await self._ask(method, params_of(params, more), timeout)
        except OpError as e:
            if len(self.sync.ranks) > 1:
                raise
            return Results({self.sync.ranks[0]: e})
        return self.sync.results_of(got, method)


class AsyncProcess:
    """A process that was started: stdin is a StreamWriter, stdout and stderr
    are StreamReaders, where they were subprocess.PIPE."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.stdin: Optional[asyncio.StreamWriter] = None
        self.stdout: Optional[asyncio.StreamReader] = None
        self.stderr: Optional[asyncio.StreamReader] = None

    async def open_streams(self) -> None:
        if self.process.stdin:
            self.stdin = await _writer(self.process.stdin)
        if self.process.stdout:
            self.stdout = await _reader(self.process.stdout)
        if self.process.stderr:
            self.stderr = await _reader(self.process.stderr)

    async def op(self, method: str, **more: Any) -> Any:
        return await AsyncMachine(self.process.machine).op(
            method, proc=self.process.number, **more
        )

    async def wait(self, timeout: Optional[float] = None) -> Ended:
        """How it ended, when it has."""
        ms = None if timeout is None else int(1000 * timeout)
        return Ended(await self.op("proc.wait", timeout_ms=ms))

    async def signal(self, signal: Union[int, str]) -> None:
        await self.op("proc.signal", signal=signal)

    async def communicate(
        self, input: Optional[bytes] = None
    ) -> Tuple[bytes, bytes]:
        """Feed its standard input, take what it says, wait for its end."""
        got = await asyncio.gather(
            _read(self.stdout), _read(self.stderr), self._feed(input)
        )
        await self.wait()
        return got[0], got[1]

    async def _feed(self, data: Optional[bytes]) -> None:
        if not self.stdin:
            return
        try:
            if data:
                self.stdin.write(data)
                await self.stdin.drain()
        except OSError:
            pass  # it did not want all of it
        self.stdin.close()


async def _read(stream: Optional[asyncio.StreamReader]) -> bytes:
    return await stream.read() if stream else b""


async def _reader(f: IO[bytes]) -> asyncio.StreamReader:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), f
    )
    return reader


async def _writer(f: IO[bytes]) -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, f
    )
    return asyncio.StreamWriter(transport, protocol, None, loop)


class AsyncSession:
    """Requests that are sent without waiting, as Session."""

    def __init__(self, session: Session) -> None:
        self.sync = session
        self.kernel = session.kernel

    async def get_response(self, timeout: Timeout = DEFAULT) -> Response:
        return await asyncio.to_thread(self.sync.get_response, timeout)


class AsyncStep:
    """A running step; made by open()."""

    def __init__(self, step: Step) -> None:
        self.sync = step
        self.id = step.id
        self.machines: List[AsyncMachine] = [
            AsyncMachine(m) for m in step.machines
        ]

    @classmethod
    async def open(
        cls, step: Union[None, int, str] = None, **more: Any
    ) -> "AsyncStep":
        """As Step()."""
        return cls(await asyncio.to_thread(Step, step, **more))

    def __getitem__(self, ranks: RanksLike) -> AsyncGroup:
        return AsyncGroup(self.sync[ranks])

    async def op(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Any:
        """An op of any task."""
        p = params_of(params, more)
        hub = await asyncio.to_thread(self.sync.hub)
        limit = seconds(method, p, timeout, self.sync.timeout)
        return await answer(hub.request(method, p), limit)

    async def events(self, *kinds: str) -> AsyncIterator[Event]:
        """What happens in the step, of these kinds or all."""
        events = await asyncio.to_thread(Events, self.sync, kinds, "all")
        try:
            while True:
                try:
                    yield await asyncio.to_thread(events.get, 1.0)
                except OpTimeout:
                    continue  # a thread is not to wait for ever
        finally:
            await asyncio.to_thread(events.close)

    async def close(self) -> None:
        await asyncio.to_thread(self.sync.close)

    async def __aenter__(self) -> "AsyncStep":
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.close()
