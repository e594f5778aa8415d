"""PENVM's world files: networks of targets, as sets of ranks.

    networks:
      default:
        targets: head worker-[1-3]
    templates:
      default:
        targets: worker-[1-3]
        host: vm$target

A target is the machine whose rank its "rank" says, or whose name or address is
its "host", or its own name. Where no target of the file is any of these, as in
a file for machines elsewhere, the targets are the ranks in the order in which
the file names them: first under "targets", then in its networks. What told how
to start those machines (scheme, user, ...) is of no use here, and kept.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from typing import Any, Dict, Iterator, List, Mapping, Optional, Union

from .errors import NotFound, NotValid
from .step import Group, Machine, Step
from .values import Ranks
from .yamlread import read_yaml

_SECTIONS = ("meta", "networks", "groups", "templates", "targets")
_RANGE = re.compile(r"\[([^\]]*)\]")


def expand(pattern: str) -> List[str]:
    """a-[1-3] is a-1, a-2, a-3; x[1,5,07-09] keeps the zeros."""
    parts = _RANGE.split(pattern)
    choices: List[List[str]] = []
    for i, part in enumerate(parts):
        choices.append(list(_numbers(part, pattern)) if i % 2 else [part])
    return ["".join(c) for c in itertools.product(*choices)]


def _numbers(text: str, pattern: str) -> Iterator[str]:
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise NotValid(f"{pattern}: [{text}] is no range, as in [1,5-9]")
        first, last = match.group(1), match.group(2) or match.group(1)
        if int(last) < int(first) or int(last) - int(first) >= 1 << 20:
            raise NotValid(f"{pattern}: [{text}] is no range")
        for n in range(int(first), int(last) + 1):
            yield str(n).zfill(len(first))


def _names(value: Any) -> List[str]:
    """Targets, as a text with blanks or as a list."""
    if value is None:
        return []
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list):
        raise NotValid(f"targets: {value!r} is no list of names")
    out: List[str] = []
    for word in words:
        out.extend(expand(str(word)))
    return list(dict.fromkeys(out))


class Target:
    """A name of the file, with its settings."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.settings = {
            k: v.replace("$target", name)
            if k in ("host", "machine-id") and isinstance(v, str)
            else v
            for k, v in settings.items()
        }

    @property
    def host(self) -> str:
        return str(self.settings.get("host", self.name))

    def __repr__(self) -> str:
        return f"<Target {self.name}>"


class Network(Group):
    """The machines of a network of the file."""

    def __init__(
        self, name: str, step: Step, targets: List[Target], ranks: List[int]
    ) -> None:
        super().__init__(step, Ranks(ranks))
        self.name = name
        self.targets = targets
        self._in_order = ranks

    def boot(self) -> None:
        """The step has booted them; this waits until their agents answer."""
        self.op("vm.wait", phase="agent", timeout_ms=300_000).check()

    def get_machines(self) -> List[Machine]:
        """In the order of the targets."""
        return [self.step.machines[r] for r in self._in_order]

    def __repr__(self) -> str:
        return f"<Network {self.name}: {self.ranks} of {self.step.id}>"


class World:
    """A world file, or the same as a dict, for the machines of STEP."""

    def __init__(
        self,
        step: Step,
        config: Optional[Mapping[str, Any]] = None,
        filename: Union[None, str, "os.PathLike[str]"] = None,
    ) -> None:
        self.step = step
        self.filename = None if filename is None else os.fspath(filename)
        try:
            self._load(config if config is not None else self._read())
        except NotValid as e:
            raise NotValid(f"{self.filename or 'world'}: {e}") from None

    def _read(self) -> Any:
        if self.filename is None:
            raise NotValid("neither a file nor a dict")
        with open(self.filename, encoding="utf-8") as f:
            text = f.read()
        if text.lstrip().startswith("{"):
            try:
                return json.loads(text)
            except ValueError as e:
                raise NotValid(str(e)) from None
        return read_yaml(text)

    def _load(self, config: Any) -> None:
        sections = {s: self._section(config, s) for s in _SECTIONS}
        for key in config:
            if key not in _SECTIONS:
                raise NotValid(
                    f"unknown section {key}: it is one of "
                    f"{', '.join(_SECTIONS)}"
                )
        self.meta = sections["meta"]
        self._groups = sections["groups"]
        self._templates = sections["templates"]
        self._networks = sections["networks"]
        self.targets: Dict[str, Target] = {}
        for key, settings in sections["targets"].items():
            for name in expand(str(key)):
                self._add_target(name, settings or {})
        for name in self._networks:
            for target in self._of(self._networks[name]):
                if target not in self.targets:
                    self._add_target(target, {})
        self._ranks = self._find_ranks()

    @staticmethod
    def _section(config: Any, name: str) -> Dict[str, Any]:
        value = config.get(name) if isinstance(config, Mapping) else None
        if not isinstance(config, Mapping) or not isinstance(
            value or {}, Mapping
        ):
            raise NotValid(f"{name}: not a mapping")
        return dict(value or {})

    def _add_target(self, name: str, own: Mapping[str, Any]) -> None:
        settings: Dict[str, Any] = {}
        for template in self._templates.values():
            if name in self._of(template):
                settings.update(template)
        settings.update(own)
        settings.pop("targets", None)
        self.targets[name] = Target(name, settings)

    def _of(self, section: Any) -> List[str]:
        """The names of targets of a network, group or template."""
        out: List[str] = []
        value = (section or {}).get("targets")
        for name in _names(value):
            if not name.startswith("@"):
                out.append(name)
                continue
            if name[1:] not in self._groups:
                raise NotValid(f"there is no group {name}")
            out.extend(_names((self._groups[name[1:]] or {}).get("targets")))
        return list(dict.fromkeys(out))

    def _rank_of(self, target: Target) -> Optional[int]:
        rank = target.settings.get("rank")
        if isinstance(rank, int):
            return Ranks(rank, len(self.step.machines))[0]  # type: ignore
        for name in (target.host, target.name):
            try:
                return self.step.named(name).rank
            except NotFound:
                pass
        return None

    def _find_ranks(self) -> Dict[str, int]:
        found = {t.name: self._rank_of(t) for t in self.targets.values()}
        missing = [name for name, rank in found.items() if rank is None]
        if len(missing) == len(found):
            if len(found) > len(self.step.machines):
                raise NotValid(
                    f"{len(found)} targets, and the step has "
                    f"{len(self.step.machines)} machines"
                )
            return {name: i for i, name in enumerate(found)}
        if missing:
            raise NotValid(
                f"target {missing[0]} is no machine of step {self.step.id}: "
                "say its rank, or its host as in "
                f"{self.step.machines[0].name}"
            )
        return {n: r for n, r in found.items() if r is not None}

    @property
    def network_names(self) -> List[str]:
        return [str(n) for n in self._networks]

    def rank(self, target: str) -> int:
        """The rank of a target."""
        if target not in self._ranks:
            raise NotValid(f"there is no target {target}")
        return self._ranks[target]

    def get_network(self, name: str = "default") -> Network:
        """A network of the file; NotValid where there is none."""
        if name not in self._networks:
            raise NotValid(f"there is no network {name}")
        section = self._networks[name] or {}
        names = self._of(section)
        more = section.get("overrides") or {}
        targets = [
            Target(n, {**self.targets[n].settings, **more}) for n in names
        ]
        return Network(
            name, self.step, targets, [self._ranks[n] for n in names]
        )

    def __repr__(self) -> str:
        return f"<World of {self.step.id}: {', '.join(self.network_names)}>"
