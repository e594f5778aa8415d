"""Files into guests and out of them.

On the task's node bytes and open files go through a pipe that the task gets
(file.put, file.get of vmstep-api(7)). Paths, and all else, are vmstep-cp's: a
node gets them once, however many of its guests do.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from typing import (
    IO,
    TYPE_CHECKING,
    Any,
    Dict,
    List,
    Optional,
    Tuple,
    Union,
)

from .calls import Results
from .errors import CommandFailed, NotValid, OpTimeout, VmstepError, op_error
from .where import copy_answer, failure
from .wire import wait

if TYPE_CHECKING:
    from .step import Machine, _Target

Path = Union[str, "os.PathLike[str]"]
Source = Union[bytes, Path, IO[bytes]]
Target = Union[None, Path, IO[bytes]]


def put(
    target: "_Target",
    source: Source,
    path: Union[str, bytes],
    user: Optional[str],
    mode: Optional[int],
    timeout: Optional[float],
) -> Any:
    """Of a machine the op's result, of a group Results."""
    if isinstance(source, (str, os.PathLike)):
        if mode is not None:
            raise NotValid("mode: that of the file here goes along")
        return _cp_in(target, os.fspath(source), None, path, user, timeout)
    ranks = target.ranks
    if len(ranks) == 1 and target.step.is_here(ranks[0]):
        machine = target.step.machines[ranks[0]]
        result = _put_fd(machine, source, path, user, mode, timeout)
        return result if target is machine else Results({ranks[0]: result})
    done = _cp_in(target, "-", source, path, user, timeout)
    if mode is not None:
        target.op("file.set", path=path, mode=mode, user=user)
    return done


def get(
    machine: "Machine",
    path: Union[str, bytes],
    to: Target,
    user: Optional[str],
    timeout: Optional[float],
) -> Optional[bytes]:
    if isinstance(to, (str, os.PathLike)):
        # a path that begins with digits and a colon is one here
        _cp(machine, [_from(machine, path), _here(to)], None, user, timeout)
        return None
    if machine.step.is_here(machine.rank):
        return _get_fd(machine, path, to, user, timeout)
    data, _ = _cp(machine, [_from(machine, path), "-"], None, user, timeout)
    if to is None:
        return data
    to.write(data)
    return None


# -- by the task's socket --------------------------------------------------


def _fill(fd: int, source: Union[bytes, IO[bytes]]) -> None:
    """All of SOURCE into a pipe, which ends with it."""
    try:
        with open(fd, "wb") as f:
            if isinstance(source, (bytes, bytearray, memoryview)):
                f.write(source)
            else:
                shutil.copyfileobj(source, f)
    except OSError:
        pass  # the guest takes no more, and its answer says why


def _put_fd(
    machine: "Machine",
    source: Union[bytes, IO[bytes]],
    path: Union[str, bytes],
    user: Optional[str],
    mode: Optional[int],
    timeout: Optional[float],
) -> Any:
    params: Dict[str, Any] = {"path": path, "io": "fd"}
    if mode is not None:
        params["mode"] = mode
    if user is not None:
        params["user"] = user
    if isinstance(source, (bytes, bytearray, memoryview)):
        params["size"] = len(source)
    connection = machine.own()
    read, write = os.pipe()
    try:
        call = connection.request("file.put", params, [read])
    finally:
        os.close(read)
    thread = threading.Thread(target=_fill, args=(write, source), daemon=True)
    thread.start()
    try:
        return wait(call, timeout)
    finally:
        thread.join(1)


def _get_fd(
    machine: "Machine",
    path: Union[str, bytes],
    to: Union[None, IO[bytes]],
    user: Optional[str],
    timeout: Optional[float],
) -> Optional[bytes]:
    params: Dict[str, Any] = {"path": path, "io": "fd"}
    if user is not None:
        params["user"] = user
    connection = machine.own()
    read, write = os.pipe()
    try:
        call = connection.request("file.get", params, [write])
    finally:
        os.close(write)
    # a call that fails, or is taken back, closes the other end
    with open(read, "rb") as f:
        timer = threading.Timer(timeout or 0, call.cancel)
        if timeout is not None:
            timer.start()
        if to is None:
            data: Optional[bytes] = f.read()
        else:
            shutil.copyfileobj(f, to)
            data = None
        timer.cancel()
    if call.cancelled():
        raise OpTimeout(
            f"not copied within {timeout:g} s",
            4,
            "E_TIMEOUT",
            method="file.get",
        )
    wait(call, None)
    return data


# -- by vmstep cp ----------------------------------------------------------


def _here(path: Path) -> str:
    """As vmstep cp takes a path here, whatever it looks like."""
    return ":" + os.fspath(path)


def _from(target: "_Target", path: Union[str, bytes]) -> str:
    return f"{target.ranks}:{os.fsdecode(path)}"


def _cp_in(
    target: "_Target",
    source: str,
    data: Union[None, bytes, IO[bytes]],
    path: Union[str, bytes],
    user: Optional[str],
    timeout: Optional[float],
) -> Any:
    words = [source if data is not None else _here(source)]
    said, _ = _cp(
        target, words + [_from(target, path)], data, user, timeout, True
    )
    answers, why = copy_answer(said, 0, b"")
    if why:
        raise why
    results = Results()
    for key, one in sorted(answers.items(), key=lambda kv: int(kv[0])):
        rank = int(key)
        results[rank] = (
            one["result"]
            if "result" in one
            else op_error(one.get("error", {}), rank, "file.put")
        )
    if len(target.ranks) == 1 and hasattr(target, "rank"):
        return results.check()[target.ranks[0]]
    return results


def _cp(
    target: "_Target",
    words: List[str],
    data: Union[None, bytes, IO[bytes]],
    user: Optional[str],
    timeout: Optional[float],
    json: bool = False,
) -> Tuple[bytes, int]:
    """Run it; its output and its status, which with JSON says no more than
    the output does."""
    place = target.step.place
    line = place.words() + ["--json"] * json + ["cp"]
    line += [f"--user={user}"] if user else []
    streams: Dict[str, Any] = {"stdin": subprocess.DEVNULL}
    if isinstance(data, (bytes, bytearray, memoryview)):
        streams = {"input": data}
    elif data is not None:
        streams = {"stdin": data}
    try:
        done = subprocess.run(
            line + ["--"] + words,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
            **streams,
        )
    except OSError as e:
        raise CommandFailed(f"{line[0]}: {e.strerror}") from None
    except subprocess.TimeoutExpired:
        raise OpTimeout(
            f"not copied within {timeout:g} s", 4, "E_TIMEOUT"
        ) from None
    if done.returncode and not (json and done.stdout.strip()):
        why = failure(done.returncode, done.stderr, "cp")
        raise why if isinstance(why, VmstepError) else CommandFailed(str(why))
    return done.stdout, done.returncode
