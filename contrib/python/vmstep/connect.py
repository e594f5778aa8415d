"""vmstep connect: Python with a step at hand.

`step` and `machines` are in scope, `network` and `networks` with a world file.
With a script that is run, else what is typed; what standard input has is run
to its end, or to the first error, where it is no terminal.
"""

from __future__ import annotations

import argparse
import code
import os
import sys
import traceback
from types import CodeType
from typing import Any, Dict, List, Optional

import vmstep
from vmstep.step import Machine, Step

EXIT_FAILED = 1
EXIT_NO_STEP = 3  # as vmstep(1) has them


class Console(code.InteractiveConsole):
    """Also for input that is no terminal: an error ends that."""

    def __init__(self, scope: Dict[str, Any], is_terminal: bool) -> None:
        super().__init__(scope, "<stdin>")
        self.is_terminal = is_terminal
        self.failed = False

    def raw_input(self, prompt: str = "") -> str:
        if self.failed and not self.is_terminal:
            raise EOFError
        return super().raw_input(prompt if self.is_terminal else "")

    def runcode(self, code: CodeType) -> None:
        try:
            exec(code, self.locals)  # type: ignore[arg-type]
        except SystemExit:
            raise
        except vmstep.VmstepError as e:  # the words are what there is to say
            self.failed = True
            self.write(f"{type(e).__name__}: {e}\n")
        except BaseException:
            self.failed = True
            self.showtraceback()

    def showsyntaxerror(self, *args: Any, **kwargs: Any) -> None:
        self.failed = True
        super().showsyntaxerror(*args, **kwargs)


def scope_of(
    step: Step, ranks: Optional[str], world: Optional[str]
) -> Dict[str, Any]:
    """What a session begins with."""
    machines: List[Machine] = step[ranks].machines if ranks else step.machines
    scope: Dict[str, Any] = {
        "__name__": "__main__",
        "vmstep": vmstep,
        "step": step,
        "machines": machines,
    }
    if world:
        from vmstep.world import World

        w = World(step, filename=world)
        scope["world"] = w
        scope["networks"] = {n: w.get_network(n) for n in w.network_names}
        if "default" in scope["networks"]:
            scope["network"] = scope["networks"]["default"]
            scope["machines"] = scope["network"].get_machines()
    return scope


def _ready_line(scope: Dict[str, Any]) -> None:
    """Editing, history, completion, as far as this Python has them."""
    try:
        import atexit
        import readline
        import rlcompleter
    except ImportError:
        return
    readline.set_completer(rlcompleter.Completer(scope).complete)
    readline.parse_and_bind("tab: complete")
    history = os.path.expanduser("~/.vmstep_history")
    try:
        readline.read_history_file(history)
    except OSError:
        pass

    def save() -> None:
        try:
            readline.write_history_file(history)
        except OSError:
            pass

    atexit.register(save)


def interact(scope: Dict[str, Any]) -> int:
    is_terminal = sys.stdin.isatty()
    console = Console(scope, is_terminal)
    banner = ""
    if is_terminal:
        _ready_line(scope)
        names = ", ".join(
            n for n in ("step", "machines", "network") if n in scope
        )
        banner = f"{scope['step']!r}: {names}; help(vmstep)"
    console.interact(banner, "")
    return EXIT_FAILED if console.failed and not is_terminal else 0


def run_script(scope: Dict[str, Any], words: List[str]) -> int:
    sys.argv = words
    sys.path.insert(0, os.path.dirname(os.path.abspath(words[0])))
    with open(words[0], "rb") as f:
        text = f.read()
    scope["__file__"] = words[0]
    try:
        exec(compile(text, words[0], "exec"), scope)
    except Exception:
        traceback.print_exc()
        return EXIT_FAILED
    return 0


def main(argv: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog="vmstep connect")
    parser.add_argument("--vmstep")
    parser.add_argument("--step")
    parser.add_argument("--ranks")
    parser.add_argument("--config")
    parser.add_argument("--world")
    parser.add_argument("words", nargs="*")
    a = parser.parse_args(argv)
    try:
        step = Step(a.step, config=a.config, vmstep=a.vmstep)
        with step:
            scope = scope_of(step, a.ranks, a.world)
            if a.words:
                return run_script(scope, a.words)
            return interact(scope)
    except (vmstep.VmstepError, OSError) as e:
        print(f"vmstep: {e}", file=sys.stderr)
        return (
            EXIT_NO_STEP if isinstance(e, vmstep.StepNotFound) else EXIT_FAILED
        )


if __name__ == "__main__":
    sys.exit(main())
