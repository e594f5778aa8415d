"""What can go wrong, as exceptions.

An op that a task answers with an error is an OpError of the class of its name
(vmstep-api(7), ERRORS): one that asks for a file that is not there, say, gets
NotFound. All of them, and what goes wrong before an op, are VmstepError.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Type


class VmstepError(Exception):
    """Anything that goes wrong here."""


class StepNotFound(VmstepError):
    """There is no such step, or several; the text says what to do."""


class CommandFailed(VmstepError):
    """vmstep(1), which was to do it, says why not."""


class NotValid(VmstepError, ValueError):
    """A file, a set of ranks or a parameter is not as it has to be."""


class ProcessFailed(VmstepError):
    """A process in a guest ended otherwise than with status 0."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message)
        self.result = result


class OpError(VmstepError):
    """The error that a task answered.

    code, name and message are those of vmstep-api(7); errno is the system's,
    where there is one; data is all that was said beyond that.
    """

    def __init__(
        self,
        message: str,
        code: int = 0,
        name: str = "",
        data: Optional[Mapping[str, Any]] = None,
        rank: Optional[int] = None,
        method: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.name = name
        self.data: Dict[str, Any] = dict(data or {})
        self.rank = rank
        self.method = method

    @property
    def errno(self) -> Optional[int]:
        value = self.data.get("errno")
        return value if isinstance(value, int) else None

    def __str__(self) -> str:
        where = "" if self.rank is None else f"vm[{self.rank}]: "
        what = f"{self.method}: " if self.method else ""
        return f"{where}{what}{self.message}"


class NoSuchOp(OpError):
    """-32601"""


class BadParams(OpError):
    """-32602"""


class NoTask(OpError):
    """E_NOTASK"""


class Unreachable(OpError):
    """E_UNREACHABLE, or the connection ended while the op waited."""


class NoAgent(OpError):
    """E_NOAGENT"""


class OpTimeout(OpError):
    """E_TIMEOUT, or no answer in the time that was given."""


class Cancelled(OpError):
    """E_CANCELLED"""


class NotAllowed(OpError):
    """E_PERM"""


class NotSupported(OpError):
    """E_NOTSUP"""


class WrongState(OpError):
    """E_STATE"""


class Busy(OpError):
    """E_BUSY"""


class NotFound(OpError):
    """E_NOENT"""


class Exists(OpError):
    """E_EXIST"""


class TooBig(OpError):
    """E_TOOBIG"""


class Full(OpError):
    """E_FULL"""


class SystemFailed(OpError):
    """E_OS; see errno"""


class Lost(OpError):
    """E_LOST"""


class Gone(OpError):
    """E_GONE"""


class WrongVersion(OpError):
    """E_PROTO"""


class QemuFailed(OpError):
    """E_QMP"""


class OutOfRange(OpError):
    """E_RANGE"""


class OpFailed(OpError):
    """E_OP: an op of a kernel, or code.run's code, says no"""


_BY_CODE: Dict[int, Type[OpError]] = {
    -32601: NoSuchOp,
    -32602: BadParams,
    1: NoTask,
    2: Unreachable,
    3: NoAgent,
    4: OpTimeout,
    5: Cancelled,
    6: NotAllowed,
    7: NotSupported,
    8: WrongState,
    9: Busy,
    10: NotFound,
    11: Exists,
    12: TooBig,
    13: Full,
    14: SystemFailed,
    15: Lost,
    16: Gone,
    17: WrongVersion,
    18: QemuFailed,
    19: OutOfRange,
    20: OpFailed,
}


def op_error(
    error: Mapping[str, Any], rank: Optional[int] = None, method: str = ""
) -> OpError:
    """The exception for the "error" of an answer."""
    code = error.get("code")
    code = code if isinstance(code, int) else -32603
    data = error.get("data")
    data = data if isinstance(data, dict) else {}
    cls = _BY_CODE.get(code, OpError)
    return cls(
        str(error.get("message", "an error without words")),
        code,
        str(data.get("name", "")),
        data,
        rank,
        method,
    )
