"""What machines and groups of them have in common: ops by name."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Union

from .errors import OpError
from .values import merge


class Default:
    """The type of DEFAULT."""

    def __repr__(self) -> str:
        return "DEFAULT"


#: The step's usual time for an answer, and what the op itself waits.
DEFAULT = Default()
Timeout = Union[None, float, Default]

# These wait for what they are about, for as long as they are told; the others
# are answered at once.
_WAITING = frozenset(
    (
        "code.run",
        "file.copy",
        "file.get",
        "file.hash",
        "file.put",
        "msg.recv",
        "msg.send",
        "op.call",
        "proc.run",
        "proc.wait",
        "result.take",
        "sleep",
        "sync.arrive",
        "sync.barrier",
        "tree.get",
        "tree.put",
        "vm.shutdown",
        "vm.wait",
    )
)


def seconds(
    method: str, params: Mapping[str, Any], timeout: Timeout, usual: float
) -> Optional[float]:
    """How long to wait for an answer; None: until it comes."""
    if not isinstance(timeout, Default):
        return timeout
    waits: List[int] = [
        params[name]
        for name in ("timeout_ms", "wait_ms")
        if isinstance(params.get(name), int)
    ]
    if any(ms < 0 for ms in waits):
        return None
    if waits:
        return usual + max(waits) / 1000
    if method in _WAITING or ":" in method:
        return None
    return usual


# Their "to" is a parameter of their own: the task itself has to be asked.
OWN_TO = frozenset(("event.subscribe", "file.rename"))


class Namespace:
    """m.proc of m.proc.run(argv=["true"]), which is the op proc.run."""

    def __init__(self, target: "HasOps", name: str) -> None:
        self._target = target
        self._name = name

    def __getattr__(self, name: str) -> "Namespace":
        if name.startswith("_"):
            raise AttributeError(name)
        return Namespace(self._target, f"{self._name}.{name}")

    def __call__(
        self,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Any:
        return self._target.op(self._name, params, timeout=timeout, **more)

    def __repr__(self) -> str:
        return f"<ops {self._name}.* of {self._target!r}>"


class HasOps:
    """What has ops."""

    def op(
        self,
        method: str,
        params: Optional[Mapping[str, Any]] = None,
        *,
        timeout: Timeout = DEFAULT,
        **more: Any,
    ) -> Any:
        """The result of op METHOD of vmstep-api(7).

        Its parameters are PARAMS, MORE, or both; those that are None are left
        out of MORE. An error is raised as OpError.
        """
        raise NotImplementedError

    def __getattr__(self, name: str) -> Namespace:
        if name.startswith("_"):
            raise AttributeError(name)
        return Namespace(self, name)


class Results(Dict[int, Any]):
    """What the tasks of a group answered, by rank.

    One that failed has its OpError there.
    """

    @property
    def failed(self) -> Dict[int, OpError]:
        return {r: v for r, v in self.items() if isinstance(v, OpError)}

    def check(self) -> "Results":
        """Raise the first error, if there is any."""
        for error in self.failed.values():
            raise error
        return self


def params_of(
    params: Optional[Mapping[str, Any]], more: Mapping[str, Any]
) -> Dict[str, Any]:
    return merge(params or {}, more)
