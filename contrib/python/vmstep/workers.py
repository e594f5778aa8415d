"""Work spread over machines: partition, transform, call, collect, combine.

    class Count(OpWorker):
        def transform(self, task):
            return "proc.run", {"argv": ["wc", "-l", task]}

        def combine(self, results):
            return sum(int(r["out"].split()[0]) for r in results)

    Count(step.machines).run(names)

A worker gives each machine WIDTH tasks at a time, and a machine that has done
one gets the next: a slow one gets fewer. A task whose machine is lost goes to
another one, RETRIES times.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import (
    Any,
    Deque,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
)

from .errors import (
    Lost,
    NoAgent,
    NotValid,
    NoTask,
    Unreachable,
    VmstepError,
)
from .process import Ended
from .step import Argv, Machine

_AWAY = (Unreachable, NoAgent, NoTask, Lost)


class Done:
    """A task that was done, or (error) was not: index is its number."""

    def __init__(
        self,
        index: int,
        task: Any,
        machine: Optional[Machine] = None,
        result: Any = None,
        error: Optional[BaseException] = None,
    ) -> None:
        self.index = index
        self.task = task
        self.machine = machine
        self.result = result
        self.error = error

    def get(self) -> Any:
        if self.error:
            raise self.error
        return self.result

    def __repr__(self) -> str:
        return f"<Done {self.index}: {self.error or self.result!r}>"


class Worker:
    """What all workers do; call_one() is theirs to say."""

    def __init__(
        self,
        machines: Iterable[Machine],
        *,
        width: int = 1,
        retries: int = 1,
        timeout: Optional[float] = None,
    ) -> None:
        self.machines: List[Machine] = list(machines)
        if not self.machines:
            raise NotValid("a worker needs machines")
        self.width = width
        self.retries = retries
        self.timeout = timeout

    # -- what a worker may say otherwise -----------------------------------

    def partition(self, data: Any) -> Iterable[Any]:
        """The tasks that DATA comes to: its elements."""
        return data  # type: ignore[no-any-return]

    def transform(self, task: Any) -> Any:
        """What call_one() gets of a task."""
        return task

    def call_one(self, machine: Machine, task: Any) -> Any:
        """Do one task, as transformed, on a machine."""
        raise NotImplementedError

    def process(self, result: Any) -> Any:
        """What is made of the result of each."""
        return result

    def combine(self, results: List[Any]) -> Any:
        """What is made of all, in the order of the tasks."""
        return results

    # -- doing it ----------------------------------------------------------

    def run(self, data: Any = ()) -> Any:
        """All of it; the first task that failed raises its error."""
        done = sorted(self.collect(self.spawn(data)), key=lambda d: d.index)
        return self.combine([d.get() for d in done])

    def spawn(self, data: Any) -> "Spawned":
        """Begin, and do not wait: collect() does."""
        return Spawned(self, self._tasks(data))

    def collect(self, spawned: "Spawned") -> Iterator[Done]:
        """Each task as it is done, whether it failed or not."""
        return spawned.collect()

    def _tasks(self, data: Any) -> Iterator[Tuple[Any, Optional[Machine]]]:
        for task in self.partition(data):
            yield task, None


class Mirror:
    """Mixed into a worker: every machine gets the same task, once."""

    machines: List[Machine]

    def partition(self, data: Any) -> Iterable[Any]:
        return [data] * len(self.machines)

    def _tasks(self, data: Any) -> Iterator[Tuple[Any, Optional[Machine]]]:
        return iter(zip(self.partition(data), self.machines))


class Records:
    """Mixed into a worker: the data is a stream, its lines are the records,
    and SIZE of them a task."""

    size = 1

    def partition(self, data: Any) -> Iterable[Any]:
        batch: List[Any] = []
        for record in data:
            batch.append(record)
            if len(batch) == self.size:
                yield batch
                batch = []
        if batch:
            yield batch


class PartitionBy:
    """Mixed into a worker: the elements for which key() says the same are
    one task, the pair of that and a list of them."""

    def key(self, element: Any) -> Any:
        return element

    def partition(self, data: Any) -> Iterable[Any]:
        groups: Dict[Any, List[Any]] = {}
        for element in data:
            groups.setdefault(self.key(element), []).append(element)
        return groups.items()


class OpWorker(Worker):
    """A task is an op: a method and its parameters."""

    def call_one(self, machine: Machine, task: Any) -> Any:
        method, params = task
        if self.timeout is None:
            return machine.op(method, params)
        return machine.op(method, params, timeout=self.timeout)


class ExecWorker(Worker):
    """A task is a command (a list of words, or a text for /bin/sh), or with
    INPUT the command is always the same and a task its standard input. Its
    result is Ended; a status other than 0 is an error, unless CHECK is
    false."""

    def __init__(
        self,
        machines: Iterable[Machine],
        argv: Optional[Argv] = None,
        *,
        check: bool = True,
        **more: Any,
    ) -> None:
        super().__init__(machines, **more)
        self.argv = argv
        self.check = check

    def call_one(self, machine: Machine, task: Any) -> Ended:
        if self.argv is None:
            return machine.run(task, timeout=self.timeout, check=self.check)
        text = "".join(task) if isinstance(task, list) else task
        return machine.run(
            self.argv, input=text, timeout=self.timeout, check=self.check
        )


class CodeWorker(Worker):
    """A task is the arguments of a function of CODE, which runs in the guest
    (code.run): FN's, by position (a list) or by name (a dict)."""

    def __init__(
        self,
        machines: Iterable[Machine],
        code: str,
        fn: Optional[str] = None,
        *,
        interp: str = "python3",
        **more: Any,
    ) -> None:
        super().__init__(machines, **more)
        self.code: Mapping[str, Any] = {"code": code, "interp": interp}
        if fn:
            self.code = {**self.code, "fn": fn}

    def call_one(self, machine: Machine, task: Any) -> Any:
        params = dict(self.code)
        if isinstance(task, Mapping):
            params["kwargs"] = dict(task)
        else:
            is_list = isinstance(task, (list, tuple))
            params["args"] = list(task) if is_list else [task]
        if self.timeout is not None:
            params["timeout_ms"] = int(1000 * self.timeout)
        return machine.op("code.run", params)["return"]


class Spawned:
    """Tasks on their way."""

    def __init__(
        self,
        worker: Worker,
        tasks: Iterator[Tuple[Any, Optional[Machine]]],
    ) -> None:
        self._worker = worker
        self._tasks = tasks
        self._again: Deque[Tuple[int, Any, Optional[Machine], int]] = deque()
        self._next = 0
        self._busy = 0
        self._over = False  # no task is left to begin
        self._failed: Optional[BaseException] = None
        self._done: Deque[Done] = deque()
        self._change = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(m,), daemon=True)
            for m in worker.machines
            for _ in range(worker.width)
        ]
        self._lanes = len(self._threads)
        for t in self._threads:
            t.start()

    def _take(
        self, machine: Machine
    ) -> Optional[Tuple[int, Any, Machine, int]]:
        """A task for MACHINE, which it may be given; None: no more come."""
        with self._change:
            while True:
                for i, (index, task, whose, tries) in enumerate(self._again):
                    if whose in (None, machine):
                        del self._again[i]
                        self._busy += 1
                        return index, task, machine, tries
                if not self._over:
                    self._pull()
                elif not self._again and not self._busy:
                    return None
                elif self._all_bound(machine) and not self._busy:
                    return None
                else:
                    self._change.wait()

    def _all_bound(self, machine: Machine) -> bool:
        return all(w not in (None, machine) for _, _, w, _ in self._again)

    def _pull(self) -> None:
        try:
            task, whose = next(self._tasks)
        except StopIteration:
            self._over = True
        except Exception as e:  # of the worker's partition()
            self._failed = e
            self._over = True
        else:
            self._again.append((self._next, task, whose, 0))
            self._next += 1
        self._change.notify_all()

    def _run(self, machine: Machine) -> None:
        while True:
            taken = self._take(machine)
            if taken is None:
                break
            index, task, _, tries = taken
            done: Optional[Done] = Done(index, task, machine)
            lost = False
            assert done
            try:
                result = self._worker.call_one(
                    machine, self._worker.transform(task)
                )
                done.result = self._worker.process(result)
            except Exception as e:
                done.error = e
                lost = isinstance(e, _AWAY)
            self._note(done, lost, tries)
            if lost:
                break  # this machine gets no more
        with self._change:
            self._lanes -= 1
            self._change.notify_all()

    def _note(self, done: Done, lost: bool, tries: int) -> None:
        with self._change:
            self._busy -= 1
            others = self._lanes > 1 and not isinstance(self._worker, Mirror)
            if lost and others and tries < self._worker.retries:
                self._again.append((done.index, done.task, None, tries + 1))
            else:
                self._done.append(done)
            self._change.notify_all()

    def collect(self) -> Iterator[Done]:
        while True:
            with self._change:
                while not self._done and self._lanes:
                    self._change.wait()
                if self._done:
                    done = self._done.popleft()
                elif self._failed:
                    raise self._failed
                else:
                    left = len(self._again)
                    if left:
                        raise VmstepError(
                            f"{left} tasks are left and no machine"
                        )
                    return
            yield done


__all__: Sequence[str] = (
    "CodeWorker",
    "Done",
    "ExecWorker",
    "Mirror",
    "OpWorker",
    "PartitionBy",
    "Records",
    "Worker",
)
