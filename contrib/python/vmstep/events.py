"""What happens in a step, as it happens."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, Dict, Iterator, Optional, Sequence

from .errors import OpError, OpTimeout, Unreachable
from .wire import END, Connection, wait

if TYPE_CHECKING:
    from .step import Step

Event = Dict[str, Any]


class Events:
    """Events of tasks TO ("all", a rank, ...), an iterator of dicts: kind,
    rank, time_ms and what vmstep-api(7) says of the kind.

    Where some were overtaken, one of kind event.lost tells how many. Also a
    context manager; close() ends it.
    """

    def __init__(
        self,
        step: "Step",
        kinds: Sequence[str] = (),
        to: Optional[Any] = None,
        feed: Optional[str] = None,
        after: Optional[int] = None,
    ) -> None:
        self._queue: "queue.SimpleQueue[Optional[Event]]" = queue.SimpleQueue()
        self._sub: Optional[int] = None
        self._connection: Connection = step.hub()
        params: Dict[str, Any] = {}
        for name, value in (
            ("kinds", list(kinds) or None),
            ("to", to),
            ("feed", feed),
            ("after", after),
        ):
            if value is not None:
                params[name] = value
        self._connection.listen("event", self._on_event)
        self._connection.listen("event.lost", self._on_lost)
        self._connection.listen(END, self._on_end)
        self._timeout = step.timeout
        try:
            call = self._connection.request(
                "event.subscribe", params, on_result=self._on_subscribed
            )
            wait(call, step.timeout)
        except BaseException:
            self._unlisten()
            raise

    def _on_subscribed(self, result: Any) -> None:
        self._sub = result["sub"]

    def _on_event(self, params: Event) -> None:
        if params.get("sub") == self._sub:
            self._queue.put(params)

    def _on_lost(self, params: Event) -> None:
        if params.get("sub") == self._sub:
            self._queue.put({"kind": "event.lost", **params})

    def _on_end(self, _params: Event) -> None:
        self._queue.put(None)

    def _unlisten(self) -> None:
        self._connection.unlisten("event", self._on_event)
        self._connection.unlisten("event.lost", self._on_lost)
        self._connection.unlisten(END, self._on_end)

    def get(self, timeout: Optional[float] = None) -> Event:
        """The next; OpTimeout where none comes in so many seconds,
        Unreachable when the connection has ended."""
        try:
            event = self._queue.get(timeout=timeout)
        except queue.Empty:
            raise OpTimeout(
                f"no event within {timeout:g} s", 4, "E_TIMEOUT"
            ) from None
        if event is None:
            self._queue.put(None)
            raise Unreachable(
                self._connection.ended or "it was closed", 2, "E_UNREACHABLE"
            )
        return event

    def wait_for(
        self, kind: str, timeout: Optional[float] = None, **like: Any
    ) -> Event:
        """The next of that kind whose members are as in LIKE; the others are
        passed over. TIMEOUT is for each."""
        while True:
            event = self.get(timeout)
            if event.get("kind") == kind and all(
                event.get(k) == v for k, v in like.items()
            ):
                return event

    def __iter__(self) -> Iterator[Event]:
        """Until the connection ends."""
        while True:
            try:
                yield self.get()
            except Unreachable:
                return

    def close(self) -> None:
        self._unlisten()
        try:
            if self._connection.ended is None:
                call = self._connection.request(
                    "event.unsubscribe", {"sub": self._sub}
                )
                wait(call, self._timeout)
        except OpError:
            pass  # it has ended by itself
        self._queue.put(None)

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
