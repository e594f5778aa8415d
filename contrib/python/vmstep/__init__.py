"""vmstep: a Slurm job step in virtual machines, from Python.

    from vmstep import Step

    with Step("1234.0") as step:
        print(step.machines[0].run("uname -r").text)

vmstep-python(3) has it all.
"""

from .calls import DEFAULT, Results
from .errors import (
    Busy,
    Cancelled,
    CommandFailed,
    Exists,
    Full,
    Gone,
    Lost,
    NoAgent,
    NoSuchOp,
    NoTask,
    NotAllowed,
    NotFound,
    NotSupported,
    NotValid,
    OpError,
    OpFailed,
    OpTimeout,
    ProcessFailed,
    StepNotFound,
    SystemFailed,
    Unreachable,
    VmstepError,
    WrongState,
)
from .payload import Payload, to_yaml
from .process import Ended, Process
from .session import Request, Response, Session
from .step import Group, Machine, Step
from .values import Ranks

__all__ = [
    "DEFAULT",
    "Busy",
    "Cancelled",
    "CommandFailed",
    "Ended",
    "Exists",
    "Full",
    "Gone",
    "Group",
    "Lost",
    "Machine",
    "NoAgent",
    "NoSuchOp",
    "NoTask",
    "NotAllowed",
    "NotFound",
    "NotSupported",
    "NotValid",
    "OpError",
    "OpFailed",
    "OpTimeout",
    "Payload",
    "Process",
    "ProcessFailed",
    "Ranks",
    "Request",
    "Response",
    "Results",
    "Session",
    "Step",
    "StepNotFound",
    "SystemFailed",
    "Unreachable",
    "VmstepError",
    "WrongState",
    "to_yaml",
]
