"""PENVM's ops by their names, as ours.

kernel.machine_get_state() of a PENVM script is task.state here, and so on:
each row of OPS has a name of PENVM's kernels core and default and what it comes
to. vmstep-python(3) has the table for people. Where PENVM's op takes
arguments in an order of its own, so does this.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional, Tuple

from .errors import NotValid
from .values import to_bytes

Params = Dict[str, Any]


class Row(NamedTuple):
    """NAMES are the parameters of PENVM's op, in order; RENAME has those that
    are called otherwise here, where CONVERT does not do it all."""

    method: str
    names: Tuple[str, ...] = ()
    rename: Mapping[str, str] = {}
    convert: Optional[Callable[[Params], Params]] = None


def _exec(p: Params) -> Params:
    """run-exec(path, args, env, cwd): words, in / where nothing is said."""
    out: Params = {
        "argv": [p["path"], *p.get("args", ())],
        "cwd": p.get("cwd") or "/",
    }
    if p.get("env"):
        out["env"] = p["env"]
    return out


def _code(p: Params) -> Params:
    out: Params = {"interp": "python3", "code": p["code"]}
    if "fn-name" in p:
        out["fn"] = p["fn-name"]
    for name in ("args", "kwargs"):
        if p.get(name):
            out[name] = p[name]
    return out


def _set_stat(p: Params) -> Params:
    out: Params = {"path": p["path"]}
    out.update((k, p[k]) for k in ("uid", "gid", "mode") if k in p)
    if "user" in p:
        out["owner"] = p["user"]
    return out


def _put_block(p: Params) -> Params:
    out: Params = {"path": p["path"], "data": p["data"], "create": True}
    if p.get("start"):
        out["offset"] = p["start"]
    if p.get("truncate"):
        out["truncate"] = True
    size = p.get("size")
    if size is not None:
        out["data"] = to_bytes(p["data"])[:size]
    return out


_SESSION = {"session-id": "session"}

OPS: Dict[str, Row] = {
    # core
    "connection-get-state": Row("op.list"),
    "echo": Row("task.echo"),
    "kernel-add": Row("kernel.add", ("kernel", "ops")),
    "kernel-copy": Row(
        "kernel.copy",
        ("src-kernel", "dst-kernel"),
        {"src-kernel": "kernel", "dst-kernel": "name"},
    ),
    "kernel-drop": Row("kernel.drop", ("kernel",)),
    "kernel-get-state": Row("kernel.get", ("kernel",)),
    "kernel-list-ops": Row("kernel.ops", ("kernel",)),
    "kernel-register-op": Row(
        "op.register", ("kernel", "new-op", "code"), {"new-op": "op"}
    ),
    "kernel-unregister-op": Row(
        "op.unregister", ("kernel", "old-op"), {"old-op": "op"}
    ),
    "log": Row("log.write", ("text",)),
    "machine-disable-debug": Row("vm.resume"),
    "machine-drop-connection": Row(
        "op.cancel", ("connection-id",), {"connection-id": "session"}
    ),
    "machine-drop-session": Row("session.close", ("session-id",), _SESSION),
    "machine-enable-debug": Row("vm.pause"),
    "machine-get-features": Row("task.features"),
    "machine-get-state": Row("task.state"),
    "machine-list-connections": Row("op.list"),
    "machine-list-kernels": Row("kernel.list"),
    "machine-list-sessions": Row("session.list"),
    "machine-shutdown": Row("vm.shutdown"),
    "machine-snapshot": Row("task.state"),
    "machine-step-debug": Row("vm.state"),
    "session-drop-request": Row(
        "op.cancel", ("request-id",), {"request-id": "opid"}
    ),
    "session-get-message-state": Row(
        "op.get", ("message-id",), {"message-id": "opid"}
    ),
    "session-get-processor-state": Row(
        "session.get", ("session-id",), _SESSION
    ),
    "session-get-state": Row("session.get", ("session-id",), _SESSION),
    "session-pop-omq": Row("result.take", ("count", "session-id"), _SESSION),
    "session-set-max-threads": Row(
        "session.set",
        ("nthreads", "session-id"),
        {"nthreads": "max_ops", **_SESSION},
    ),
    "session-terminate-request": Row(
        "op.cancel", ("request-id",), {"request-id": "opid"}
    ),
    # of this session's names without a kernel, when there is one of that name
    "session-use-kernel": Row("kernel.get", ("kernel",)),
    "sleep": Row("sleep", ("seconds",)),
    # default
    "file-get-block": Row(
        "file.read", ("path", "start", "size"), {"start": "offset"}
    ),
    "file-get-stat": Row("file.stat", ("path",)),
    "file-list": Row("file.list", ("path", "pattern")),
    "file-put-block": Row(
        "file.write",
        ("path", "data", "start", "size", "truncate"),
        convert=_put_block,
    ),
    "file-set-stat": Row("file.set", ("path",), convert=_set_stat),
    "run-exec": Row("proc.run", ("path", "args", "env", "cwd"), convert=_exec),
    "run-exec-stream": Row(
        "proc.start", ("path", "args", "env", "cwd"), convert=_exec
    ),
    "run-python": Row("code.run", ("code", "args", "kwargs"), convert=_code),
    "run-python-function": Row(
        "code.run", ("code", "fn-name", "args", "kwargs"), convert=_code
    ),
    "store-drop": Row("store.drop", ("name",), {"name": "key"}),
    "store-get": Row("store.get", ("name",), {"name": "key"}),
    "store-get-state": Row("store.state"),
    "store-list": Row("store.list", ("pattern",)),
    "store-pop": Row("store.pop", ("name",), {"name": "key"}),
    "store-put": Row(
        "store.put", ("name", "data"), {"name": "key", "data": "value"}
    ),
}


def translate(
    name: str, args: Tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Tuple[str, Params]:
    """Op NAME of PENVM's, as file-get-block, with its arguments: ours."""
    row = OPS[name]
    given = {k.replace("_", "-"): v for k, v in kwargs.items()}
    if not row.names and len(args) == 1 and isinstance(args[0], Mapping):
        given.update(args[0])  # echo({...})
    elif len(args) > len(row.names):
        raise NotValid(
            f"{name} takes {len(row.names)} arguments: {', '.join(row.names)}"
        )
    else:
        given.update(zip(row.names, args))
    if row.convert:
        params = row.convert(given)
    elif row.method == "task.echo":
        params = dict(kwargs, **(args[0] if args else {}))
    else:
        params = {
            row.rename.get(k, k.replace("-", "_")): v
            for k, v in given.items()
            if v is not None
        }
    if row.method.startswith("store."):  # one machine's, as there
        params.setdefault("scope", "task")
    return row.method, params
