"""Values of ops: texts and bytes, and sets of ranks."""

from __future__ import annotations

import base64
import binascii
import os
from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    Sequence,
    Union,
)

from .errors import NotValid

#: What an op's parameter may be.
Value = Any
RanksLike = Union[int, str, Iterable[int], "Ranks"]


def to_json(value: Value) -> Any:
    """VALUE as JSON has it: bytes that are no UTF-8 become {"b64": ...}."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _from_bytes(bytes(value))
    if isinstance(value, str):
        try:
            value.encode()
            return value
        except UnicodeEncodeError:  # a file name, as os.listdir() has it
            return _from_bytes(os.fsencode(value))
    if isinstance(value, os.PathLike):
        return to_json(os.fspath(value))
    if isinstance(value, Mapping):
        return {str(k): to_json(v) for k, v in value.items()}
    if isinstance(value, Ranks):
        return str(value)
    if isinstance(value, (list, tuple, set, frozenset, range)):
        return [to_json(v) for v in value]
    return value


def _from_bytes(data: bytes) -> Any:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(data).decode()}


def from_json(value: Any) -> Value:
    """The reverse, of an answer: {"b64": ...} becomes bytes."""
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(value.get("b64"), str):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except (binascii.Error, ValueError):
                return value
        return {k: from_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [from_json(v) for v in value]
    return value


def to_bytes(value: Any) -> bytes:
    """A text of an answer, such as a process's output, as bytes."""
    if isinstance(value, bytes):
        return value
    return str("" if value is None else value).encode()


class Ranks(Sequence[int]):
    """A set of ranks in their order, as in "0,3,7-9".

    LIKE is a number, such a text, or numbers; where COUNT tells how many
    ranks there are, also "all", "4-" and "-2".
    """

    def __init__(self, like: RanksLike, count: int = 0) -> None:
        if isinstance(like, bool):
            raise NotValid(f"{like!r} is no set of ranks")
        if isinstance(like, int):
            ranks: Iterable[int] = [like]
        elif isinstance(like, str):
            ranks = _parse(like, count)
        else:
            ranks = like
        self._ranks: List[int] = sorted(set(ranks))
        if self._ranks and self._ranks[0] < 0:
            raise NotValid(f"{self._ranks[0]} is no rank")
        if count and self._ranks and self._ranks[-1] >= count:
            raise NotValid(
                f"no rank {self._ranks[-1]}: the step has {count} tasks"
            )

    def __len__(self) -> int:
        return len(self._ranks)

    def __getitem__(self, i: Any) -> Any:
        return self._ranks[i]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ranks)

    def __contains__(self, rank: object) -> bool:
        return rank in self._ranks

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranks) and self._ranks == other._ranks

    def __hash__(self) -> int:
        return hash(tuple(self._ranks))

    def __str__(self) -> str:
        parts: List[str] = []
        at = 0
        while at < len(self._ranks):
            end = at
            while (
                end + 1 < len(self._ranks)
                and self._ranks[end + 1] == self._ranks[end] + 1
            ):
                end += 1
            first, last = self._ranks[at], self._ranks[end]
            parts.append(str(first) if at == end else f"{first}-{last}")
            at = end + 1
        return ",".join(parts)

    def __repr__(self) -> str:
        return f"Ranks({str(self)!r})"


def _parse(text: str, count: int) -> Iterator[int]:
    if text == "all":
        if not count:
            raise NotValid("all: how many ranks are there?")
        yield from range(count)
        return
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not (first or last) or (not dash and not first):
            raise NotValid(f"'{text}' is no set of ranks, as in 0,3,7-9")
        if dash and not last and not count:
            raise NotValid(f"'{text}': where does it end?")
        try:
            low = int(first) if first else 0
            high = (int(last) if last else count - 1) if dash else low
        except ValueError:
            raise NotValid(
                f"'{text}' is no set of ranks, as in 0,3,7-9"
            ) from None
        if high < low:
            raise NotValid(f"'{text}': {high} is lower than {low}")
        yield from range(low, high + 1)


def merge(first: Mapping[str, Any], more: Mapping[str, Any]) -> Dict[str, Any]:
    """Both, but for what is None in MORE."""
    out = dict(first)
    out.update((k, v) for k, v in more.items() if v is not None)
    return out
