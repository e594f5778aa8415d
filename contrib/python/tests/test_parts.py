from __future__ import annotations

import pathlib
import re
import unittest
from typing import Any, Dict, Iterable, List

import vmstep
from vmstep import penvm
from vmstep.payload import to_yaml
from vmstep.step import Machine
from vmstep.values import Ranks
from vmstep.workers import (
    Mirror,
    OpWorker,
    PartitionBy,
    Records,
    Worker,
)
from vmstep.world import World, expand
from vmstep.yamlread import read_yaml

VALUES: Dict[str, Any] = {
    "a": 1,
    "list": [1, [2, []], {"x": {"y": None}, "z": "no"}, {}],
    "c d": "x: y",
    "empty": "",
    "1": "1",
    "t": True,
    "floats": [1e30, 0.5, -1e-9],
    "lines": "a\nb",
    "date": "2026-11-21",
    "deep": {"m": [{"p": [1]}]},
    "~": "~",
    "sp": " lead",
    "hash": "a #b",
}


class Parts(unittest.TestCase):
    def test_sets_of_ranks(self) -> None:
        self.assertEqual(list(Ranks("0,3,7-9")), [0, 3, 7, 8, 9])
        self.assertEqual(str(Ranks([4, 3, 2, 9, 0])), "0,2-4,9")
        self.assertEqual(list(Ranks("2-", 4)), [2, 3])
        self.assertEqual(list(Ranks("-1", 4)), [0, 1])
        self.assertEqual(list(Ranks("all", 2)), [0, 1])
        bad: List[Any] = ["", "x", "3-1", "1,,2", "2-", "-", True, [-1]]
        for like in bad:
            with self.assertRaises(vmstep.NotValid, msg=repr(like)):
                Ranks(like)
        with self.assertRaises(vmstep.NotValid):
            Ranks("0-4", 4)

    def test_yaml_is_read_as_it_was_written(self) -> None:
        self.assertEqual(read_yaml(to_yaml(VALUES)), VALUES)
        self.assertEqual(to_yaml(b"\xff"), '!!binary "/w=="\n')

    def test_yaml_beyond_that_is_refused_by_line(self) -> None:
        for text in (
            "a: &x 1",
            "a: 1\n   b: 2",
            "a: {b: 1}",
            "a: |\n  x",
            "a: [1, 2",
            "a: 1\na: 2",
            "- a\nb",
            "a:\n\t- b",
            "'a",
        ):
            with self.assertRaisesRegex(vmstep.NotValid, "^line", msg=text):
                read_yaml(text)

    def test_every_op_of_penvm_is_the_one_of_the_manual(self) -> None:
        top = pathlib.Path(__file__).resolve().parents[3]
        page = (top / "doc/vmstep-penvm.7").read_text().replace("\\-", "-")
        entry = re.compile(r"^\.TP\n\.B (\S+)\n([a-z.]+)", re.MULTILINE)
        ours = dict(entry.findall(page))
        clients = {"file-copyto", "file-copyfrom"}  # no ops, there or here
        pins = {"session-pin-session", "session-unpin-session"}  # nor these
        self.assertEqual(set(ours) - clients - pins, set(penvm.OPS))
        for name, row in penvm.OPS.items():
            if name != "session-use-kernel":
                self.assertEqual(row.method, ours[name], name)
        method, p = penvm.translate(
            "run-exec", ("/bin/ls", ["-l"]), {"capture_output": True}
        )
        self.assertEqual(method, "proc.run")
        self.assertEqual(p, {"argv": ["/bin/ls", "-l"], "cwd": "/"})
        self.assertEqual(
            penvm.translate("store-put", ("n", {"x": 1}), {}),
            ("store.put", {"key": "n", "value": {"x": 1}, "scope": "task"}),
        )
        self.assertEqual(
            penvm.translate("echo", ({"a-b": 1},), {}),
            ("task.echo", {"a-b": 1}),
        )


class FakeMachine:
    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.name = f"vm{rank}"
        self.ip = ""
        self.mac = ""
        self.lost = False
        self.asked: List[Any] = []

    def op(self, method: str, params: Any = None, **_more: Any) -> Any:
        self.asked.append(params)
        if self.lost:
            raise vmstep.Unreachable("gone", 2, "E_UNREACHABLE")
        if params == {"n": 13}:
            raise vmstep.NotFound("13", 10, "E_NOENT")
        return params


def machines(n: int) -> List[Any]:
    return [FakeMachine(r) for r in range(n)]


class Echo(OpWorker):
    def transform(self, task: Any) -> Any:
        return "task.echo", {"n": task}

    def process(self, result: Any) -> Any:
        return result["n"]


class Workers(unittest.TestCase):
    def test_results_are_in_the_order_of_the_tasks(self) -> None:
        ms = machines(3)
        worker = Echo(ms, width=2)
        self.assertEqual(worker.run(range(20, 60)), list(range(20, 60)))

    def test_the_first_error_is_raised_and_collect_has_them_all(self) -> None:
        with self.assertRaises(vmstep.NotFound):
            Echo(machines(2)).run([12, 13, 14])
        worker = Echo(machines(2))
        done = list(worker.collect(worker.spawn([12, 13, 14])))
        self.assertEqual(len(done), 3)
        self.assertEqual([d.index for d in done if d.error], [1])

    def test_a_lost_machines_task_goes_to_another(self) -> None:
        ms = machines(2)
        ms[0].lost = True
        self.assertEqual(Echo(ms).run(range(5)), list(range(5)))
        ms[1].lost = True
        with self.assertRaises(vmstep.VmstepError):
            Echo(ms).run(range(5))

    def test_mirror_asks_each_machine_once(self) -> None:
        class All(Mirror, Echo):
            pass

        ms = machines(4)
        self.assertEqual(All(ms).run("x"), ["x"] * 4)
        self.assertEqual([len(m.asked) for m in ms], [1] * 4)

    def test_records_and_groups_are_tasks(self) -> None:
        class Lines(Records, Echo):
            size = 2

        self.assertEqual(
            Lines(machines(2)).run(iter("abcde")),
            [["a", "b"], ["c", "d"], ["e"]],
        )

        class Even(PartitionBy, Worker):
            def key(self, element: Any) -> Any:
                return element % 2

            def call_one(self, machine: Machine, task: Any) -> Any:
                return sum(task[1])

            def combine(self, results: List[Any]) -> Any:
                return max(results)

        self.assertEqual(Even(machines(2)).run(range(10)), 25)

    def test_an_error_of_partition_is_raised(self) -> None:
        class Bad(Echo):
            def partition(self, data: Any) -> Iterable[Any]:
                yield 1
                raise ZeroDivisionError

        with self.assertRaises(ZeroDivisionError):
            Bad(machines(2)).run()


class FakeStep:
    def __init__(self, count: int) -> None:
        self.id = "7.0"
        self.machines = machines(count)

    def named(self, name: str) -> Any:
        for m in self.machines:
            if m.name == name:
                return m
        raise vmstep.NotFound(name)


NET = """
meta:
  name: net            # as in PENVM's README
networks:
  default:
    targets: head worker-[1-2]
  pair:
    targets:
      - "@workers"
    overrides:
      kernel: mine
groups:
  workers:
    targets: worker-[1-2]
templates:
  work:
    targets: worker-[1-2]
    host: vm$target
    ncores: 1
targets:
  head:
    host: vm0
  worker-1: {}
  worker-2:
    rank: 3
"""


class Worlds(unittest.TestCase):
    def world(self, text: str, count: int = 4) -> World:
        step: Any = FakeStep(count)
        return World(step, read_yaml(text))

    def test_ranges(self) -> None:
        self.assertEqual(expand("a-[1-3]"), ["a-1", "a-2", "a-3"])
        self.assertEqual(
            expand("b[0-1]-[08-10]"),
            [f"b{i}-{j}" for i in "01" for j in ("08", "09", "10")],
        )
        self.assertEqual(expand("x[1,5,7-8]"), ["x1", "x5", "x7", "x8"])
        with self.assertRaises(vmstep.NotValid):
            expand("x[a-b]")

    def test_networks_are_sets_of_ranks(self) -> None:
        text = NET.replace("host: vm$target", "host: vm1")
        w = self.world(text)
        self.assertEqual(w.network_names, ["default", "pair"])
        net = w.get_network()
        self.assertEqual([m.rank for m in net.get_machines()], [0, 1, 3])
        pair = w.get_network("pair")
        self.assertEqual(str(pair.ranks), "1,3")
        self.assertEqual(pair.targets[0].settings["kernel"], "mine")
        self.assertEqual(pair.targets[0].settings["ncores"], 1)

    def test_a_file_for_machines_elsewhere_goes_by_order(self) -> None:
        w = self.world("networks:\n  default:\n    targets: x y-[1-3]\n")
        net = w.get_network()
        self.assertEqual([m.rank for m in net.get_machines()], [0, 1, 2, 3])
        with self.assertRaisesRegex(vmstep.NotValid, "4 targets"):
            self.world("networks:\n  a:\n    targets: x y-[1-3]\n", 3)

    def test_a_target_that_is_nowhere_is_named(self) -> None:
        with self.assertRaisesRegex(vmstep.NotValid, "worker-1"):
            self.world(NET)  # its host is vmworker-1
        with self.assertRaisesRegex(vmstep.NotValid, "unknown section"):
            self.world("network:\n  a: 1\n")
        with self.assertRaisesRegex(vmstep.NotValid, "@x"):
            self.world('networks:\n  a:\n    targets: "@x"\n')
