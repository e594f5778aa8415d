from __future__ import annotations

import asyncio
import io
import os
import subprocess
import tempfile
import threading
import time
import unittest
from typing import Any, List

import fake
import vmstep
from vmstep.aio import AsyncStep
from vmstep.streams import WINDOW


class WithStep(unittest.TestCase):
    far = False  # as from a login host

    def setUp(self) -> None:
        self.fake = fake.FakeStep()
        self.addCleanup(self.fake.close)
        self.step = self.open()
        self.addCleanup(self.step.close)

    def open(self, **more: Any) -> vmstep.Step:
        step = vmstep.Step(
            "7.0", config=self.fake.config, vmstep=fake.CLI, **more
        )
        if self.far:
            step.close()
            step.place.dir = None
        return step


class Ops(WithStep):
    def test_a_step_knows_its_machines(self) -> None:
        names = [(m.rank, m.name, m.ip) for m in self.step.machines]
        self.assertEqual(
            names, [(0, "vm0", "10.0.0.1"), (1, "vm1", "10.0.0.2")]
        )
        self.assertEqual(self.step.named("52:54:00:00:00:01").rank, 1)
        with self.assertRaises(vmstep.NotFound):
            self.step.named("vm9")

    def test_an_op_is_called_by_name_or_as_a_method(self) -> None:
        m = self.step.machines[0]
        self.assertEqual(m.op("task.echo", a=1), {"a": 1})
        self.assertEqual(m.task.echo({"a": [1, None]}), {"a": [1, None]})
        self.assertEqual(m.state, "running")
        self.assertEqual(m.proc.run(argv=["echo", "x"])["out"], "x\n")

    def test_bytes_come_back_as_they_were(self) -> None:
        m = self.step.machines[0]
        data = bytes(range(256))
        self.assertEqual(
            m.op("task.echo", d=data, t=b"text"), {"d": data, "t": "text"}
        )
        self.assertEqual(self.fake.heard[-1]["params"]["t"], "text")
        self.assertIn("b64", self.fake.heard[-1]["params"]["d"])

    def test_an_error_is_an_exception_of_its_name(self) -> None:
        with self.assertRaises(vmstep.WrongState) as e:
            self.step.machines[1].op("vm.state")
        self.assertEqual((e.exception.code, e.exception.name), (8, "E_STATE"))
        self.assertEqual(e.exception.errno, 2)
        with self.assertRaises(vmstep.NoSuchOp):
            self.step.machines[0].op("no.such.op")

    def test_a_group_has_the_results_of_each(self) -> None:
        results = self.step["0-1"].op("vm.state")
        self.assertEqual(results[0], {"state": "running"})
        self.assertIsInstance(results[1], vmstep.WrongState)
        self.assertEqual(list(results.failed), [1])
        with self.assertRaises(vmstep.WrongState):
            results.check()
        one = self.step[1].op("vm.state")
        self.assertIsInstance(one[1], vmstep.WrongState)
        with self.assertRaises(vmstep.NotValid):
            self.step["0-2"]

    def test_who_waits_too_long_takes_the_request_back(self) -> None:
        m = self.step.machines[0]
        with self.assertRaises(vmstep.OpTimeout):
            m.op("msg.recv", wait_ms=300, timeout=0.05)
        m.op("task.echo")
        self.assertIn("rpc.cancel", self.fake.methods())
        with self.assertRaises(vmstep.OpTimeout):  # the task's own words
            m.op("msg.recv", wait_ms=1)

    def test_many_ask_at_the_same_time(self) -> None:
        m = self.step.machines[0]
        calls = [m.request("task.echo", {"n": n}) for n in range(200)]
        self.assertEqual([c.result(10)["n"] for c in calls], list(range(200)))

    def test_what_waits_hears_of_the_end(self) -> None:
        m = self.step.machines[0]
        call = m.request("msg.recv", {"wait_ms": 60000})
        m.op("task.echo")
        self.fake.tasks[0].end()
        with self.assertRaises(vmstep.Unreachable):
            call.result(10)

    def test_a_request_that_is_too_long_is_not_sent(self) -> None:
        m = self.step.machines[0]
        with self.assertRaises(vmstep.VmstepError):
            m.op("task.echo", d="x" * 70000)
        self.assertEqual(m.op("task.echo", a=1), {"a": 1})

    def test_no_step_is_no_step(self) -> None:
        with self.assertRaises(vmstep.StepNotFound):
            os.mkdir(f"{self.fake.dir}/../7.1")
            vmstep.Step(7, config=self.fake.config, vmstep=fake.CLI)


class Processes(WithStep):
    def test_run_takes_output_and_status(self) -> None:
        m = self.step.machines[0]
        ended = m.run("cat; echo no >&2; exit 3", input="in")
        self.assertEqual(
            (ended.returncode, ended.out, ended.err), (3, b"in", b"no\n")
        )
        with self.assertRaises(vmstep.ProcessFailed) as e:
            ended.check()
        self.assertIn("exit status 3: no", str(e.exception))

    def test_a_long_input_goes_by_a_stream(self) -> None:
        m = self.step.machines[0]
        p = m.start(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        data = os.urandom(3 * WINDOW)
        self.assertTrue(p.communicate(data, 20) == (data, b""))
        self.assertEqual(p.wait().exit, 0)

    def test_streams_are_files(self) -> None:
        m = self.step.machines[0]
        with m.start(
            "read a; echo $a; echo e >&2; exec sleep 100",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as p:
            assert p.stdin and p.stdout and p.stderr
            p.stdin.write(b"line\n")
            p.stdin.flush()
            self.assertEqual(p.stdout.readline(), b"line\n")
            self.assertEqual(p.stderr.readline(), b"e\n")
            p.terminate()
            self.assertEqual(p.wait(10).returncode, -15)
            self.assertEqual(p.stdout.read(), b"")

    def test_a_file_of_ours_may_be_a_stream(self) -> None:
        m = self.step.machines[0]
        with tempfile.TemporaryFile() as f:
            with m.start("echo to a file", stdout=f) as p:
                p.wait(10)
            self.eventually(f, b"to a file\n")

    def eventually(self, f: Any, want: bytes) -> None:
        end = time.monotonic() + 10
        while os.fstat(f.fileno()).st_size < len(want):
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        f.seek(0)
        self.assertEqual(f.read(), want)

    def test_a_reader_that_goes_lets_the_process_go_on(self) -> None:
        m = self.step.machines[0]
        p = m.start("seq 200000; exit 0", stdout=subprocess.PIPE)
        assert p.stdout
        self.assertEqual(p.stdout.readline(), b"1\n")
        p.close()
        self.assertIn(p.wait(20).returncode, (0, -13, 1, 2))


class FarProcesses(Processes):
    far = True


class FarOps(Ops):
    far = True

    def test_what_waits_hears_of_the_end(self) -> None:
        m = self.step.machines[0]
        call = m.request("msg.recv", {"wait_ms": 60000})
        m.op("task.echo")
        for task in self.fake.tasks:
            task.end()
        with self.assertRaises(vmstep.Unreachable):
            call.result(10)


class Files(WithStep):
    def test_bytes_and_files_go_both_ways(self) -> None:
        m = self.step.machines[0]
        path = f"{self.fake.root}/file"
        data = os.urandom(300000)
        self.assertEqual(m.put(data, path), {"bytes": 300000})
        self.assertEqual(m.get(path), data)
        self.assertEqual(m.put(io.BytesIO(b"x"), path, timeout=10)["bytes"], 1)
        to = io.BytesIO()
        m.get(path, to, timeout=10)
        self.assertEqual(to.getvalue(), b"x")
        self.assertEqual(self.step[0].put(b"yy", path), {0: {"bytes": 2}})

    def test_what_does_not_go_is_said(self) -> None:
        m = self.step.machines[0]
        with self.assertRaises(vmstep.NotFound):
            m.put(b"x" * 200000, "/nowhere/x")
        with self.assertRaises(vmstep.NotFound):
            m.get("/nowhere/x")
        with self.assertRaises(vmstep.NotValid):
            m.put("/etc/passwd", "/tmp/x", mode=0o600)


class Sessions(WithStep):
    def test_requests_do_not_wait_and_responses_do(self) -> None:
        s = self.step.machines[0].session()
        r = s.kernel.echo({"hello": "world"})
        response = s.get_response()
        self.assertEqual(response.header["ref-id"], r.id)
        self.assertEqual(response.payload.dict(), {"hello": "world"})
        self.assertEqual(response.payload.json(), '{\n  "hello": "world"\n}')
        self.assertEqual(response.payload.yaml(), "hello: world\n")
        with self.assertRaises(vmstep.NotValid):
            s.get_response()  # nothing was asked

    def test_an_error_is_a_response(self) -> None:
        s = self.step.machines[1].session()
        s.kernel.vm_state()
        response = s.get_response()
        self.assertFalse(response.ok)
        self.assertEqual(response.payload["error"]["name"], "E_STATE")
        with self.assertRaises(vmstep.WrongState):
            response.result()

    def test_names_are_penvms_ours_and_the_kernels(self) -> None:
        self.fake.ops["kernel.ops"] = lambda _r, p: {"ops": ["do-it"]}
        self.fake.ops["mine:do-it"] = lambda _r, p: {"did": p}
        s = self.step.machines[0].session(kernel="mine")
        self.assertTrue(
            {"echo", "machine_get_state", "vm_state", "do_it"}
            <= set(dir(s.kernel))
        )
        self.assertEqual(s.kernel.do_it(x=1).result(10), {"did": {"x": 1}})
        with self.assertRaises(vmstep.NoSuchOp):
            s.kernel.no_such_op()

    def test_a_session_of_the_tasks_is_asked_for_itself(self) -> None:
        kept: List[Any] = []

        def echo(_rank: int, p: Any) -> Any:
            kept.append(p)
            return {}

        self.fake.ops["session.open"] = lambda _r, p: {"session": "s1"}
        self.fake.ops["task.echo"] = echo
        self.fake.ops["result.take"] = lambda _r, p: {
            "results": [
                {"opid": "1", "method": "a", "result": {"n": 1}},
                {"opid": "2", "error": {"code": 10, "message": "none"}},
            ]
        }
        s = self.step.machines[1].session(keep=True)
        s.kernel.echo({"n": 1}).result(10)
        self.assertEqual(kept, [{"session": "s1", "keep": True, "n": 1}])
        one, two = s.take()
        self.assertEqual(one.result(), {"n": 1})
        with self.assertRaises(vmstep.NotFound):
            two.result()

    def test_a_to_of_the_ops_own_is_not_whom_it_is_for(self) -> None:
        got: List[Any] = []

        def rename(rank: int, p: Any) -> Any:
            got.append((rank, p))
            return {}

        self.fake.ops["file.rename"] = rename
        self.step.machines[1].op("file.rename", path="a", to="b")
        self.step["0-1"].op("file.rename", path="a", to="b").check()
        want = {"path": "a", "to": "b"}
        # Those of a group are asked at the same time.
        self.assertEqual(got[0], (1, want))
        self.assertCountEqual(got[1:], [(0, want), (1, want)])

    def test_sessions_know_nothing_of_each_other(self) -> None:
        m = self.step.machines[0]
        ss = [m.session() for _ in range(3)]
        for i, s in enumerate(ss):
            s.kernel.echo({"n": i})
        for i, s in enumerate(ss):
            self.assertEqual(s.get_response(10).payload["n"], i)
        self.assertEqual(len({s.name for s in ss}), 3)

    def test_a_request_that_is_taken_back_has_no_response(self) -> None:
        s = self.step.machines[0].session()
        r = s.request("msg.recv", {"wait_ms": 300})
        threading.Timer(0.05, r.cancel).start()
        with self.assertRaises(vmstep.NotValid):
            s.get_response(10)


class Async(WithStep):
    def test_all_of_it_in_a_loop(self) -> None:
        asyncio.run(self.story())

    async def story(self) -> None:
        step = await AsyncStep.open(
            "7.0", config=self.fake.config, vmstep=fake.CLI
        )
        async with step:
            m = step.machines[0]
            got = await asyncio.gather(
                *(m.op("task.echo", n=n) for n in range(50))
            )
            self.assertEqual([g["n"] for g in got], list(range(50)))
            self.assertEqual((await m.task.echo(a=1)), {"a": 1})
            results = await step["0-1"].op("vm.state")
            self.assertEqual(list(results.failed), [1])
            self.assertEqual((await m.run("echo x", check=True)).text, "x\n")
            data = os.urandom(200000)
            p = await m.start(
                ["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            self.assertTrue(await p.communicate(data) == (data, b""))
            with self.assertRaises(vmstep.OpTimeout):
                await m.op("msg.recv", wait_ms=300, timeout=0.05)
            session = m.session()
            session.kernel.echo(a=2)
            response = await session.get_response(10)
            self.assertEqual(response.payload["a"], 2)
