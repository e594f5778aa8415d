"""Which step, and a way to its tasks.

vmstep(1) knows which step is meant, where its sockets are on this node, and how
to get to those of other nodes (srun --overlap, so that Slurm decides who may):
it is asked, here and nowhere else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Any, Dict, List, Optional, Sequence, Tuple

from .errors import CommandFailed, OpError, StepNotFound
from .values import Ranks
from .wire import Connection, wait

WHERE_S = 60.0  # for vmstep to find a step
_NO_STEP = 3  # vmstep(1), EXIT STATUS


def find_vmstep() -> str:
    """vmstep of the prefix that this package is installed in, or of PATH."""
    prefix = Path(__file__).resolve().parents[4]
    ours = prefix / "bin" / "vmstep"
    found = str(ours) if ours.is_file() else shutil.which("vmstep")
    if not found:
        raise CommandFailed(
            "there is no vmstep in PATH: say where it is, vmstep=PATH"
        )
    return found


def words_of(said: str) -> str:
    """The last words of a program that failed, without its name."""
    lines = [line for line in said.strip().splitlines() if line.strip()]
    return re.sub(r"^vmstep: (error: )?", "", lines[-1]) if lines else ""


class Place:
    """A step as vmstep(1) finds it: its name, and its sockets here."""

    def __init__(
        self,
        step: Optional[str],
        config: Optional[str] = None,
        vmstep: Optional[str] = None,
    ) -> None:
        self.asked = None if step is None else str(step)
        self.step: Optional[str] = None
        self.dir: Optional[str] = None
        self.config = config
        self.vmstep = vmstep or find_vmstep()
        found = json.loads(self.run(["connect", "--where"], WHERE_S))
        self.step = found["step"]
        self.dir = found["dir"]

    def words(self, ranks: Optional[Ranks] = None) -> List[str]:
        """The beginning of a command line of vmstep's."""
        out = [self.vmstep]
        name = self.step or self.asked
        if name:
            out += ["-j", name]
        if ranks is not None:
            out += ["-r", str(ranks)]
        if self.config:
            out += [f"--config={self.config}"]
        return out

    def run(
        self, words: Sequence[str], timeout: Optional[float] = None
    ) -> bytes:
        """Run vmstep to its end, and take its output."""
        try:
            done = subprocess.run(
                self.words() + list(words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                timeout=timeout,
                check=False,
            )
        except OSError as e:
            raise CommandFailed(f"{self.vmstep}: {e.strerror}") from None
        except subprocess.TimeoutExpired:
            raise CommandFailed(
                f"vmstep {words[0]}: not done within {timeout:g} s"
            ) from None
        if done.returncode:
            raise failure(done.returncode, done.stderr, words[0])
        return done.stdout

    def ranks_here(self) -> List[int]:
        """Whose sockets are on this node."""
        found = []
        for name in os.listdir(self.dir) if self.dir else ():
            match = re.fullmatch(r"task\.(\d{1,9})\.sock", name)
            if match:
                found.append(int(match.group(1)))
        return sorted(found)

    def connect_here(self, rank: int) -> Connection:
        """To the socket of a task of this node."""
        assert self.dir
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fd = os.open(self.dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:  # the path itself may be too long for an address
            sock.connect(f"/proc/self/fd/{fd}/task.{rank}.sock")
        except OSError:
            sock.close()
            raise
        finally:
            os.close(fd)
        return Connection(sock, f"vm[{rank}]")

    def connect_by_srun(
        self, rank: Optional[int] = None, node: Optional[str] = None
    ) -> Connection:
        """To a task's on NODE, or any task's."""
        ours, theirs = socket.socketpair()
        said: IO[bytes] = tempfile.TemporaryFile()
        ranks = None if rank is None else Ranks(rank)
        try:
            with theirs:
                child = subprocess.Popen(
                    self.words(ranks)
                    + ["connect", f"--raw={node}" if node else "--raw"],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=said,
                    start_new_session=True,  # SIGINT is not for srun
                )
        except OSError as e:
            ours.close()
            raise CommandFailed(f"{self.vmstep}: {e.strerror}") from None

        def why() -> str:
            child.wait()
            said.seek(0)
            return words_of(said.read().decode(errors="replace"))

        name = "the step" if rank is None else f"vm[{rank}]"
        connection = Connection(ours, name, why)
        try:
            wait(connection.hello, WHERE_S)
        except OpError:
            connection.close()
            child.wait()
            if child.returncode == _NO_STEP:
                raise StepNotFound(why()) from None
            raise
        return connection


def failure(status: int, said: bytes, word: str) -> Exception:
    """What vmstep's exit status and last words come to."""
    text = words_of(said.decode(errors="replace"))
    if status == _NO_STEP:
        return StepNotFound(text or "there is no such step")
    return CommandFailed(f"vmstep {word}: {text or f'status {status}'}")


def copy_answer(
    said: bytes, status: int, errors: bytes
) -> Tuple[Dict[str, Any], Optional[Exception]]:
    """Of vmstep --json cp: what each guest answered."""
    try:
        answer = json.loads(said or b"null")
    except ValueError:
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("results"), dict):
        return answer["results"], None
    return {}, failure(status or 1, errors, "cp")
