"""What a request was answered, as dict, JSON or YAML."""

from __future__ import annotations

import base64
import json
import math
import re
from typing import Any, Iterator, List

from .values import to_json

# A plain scalar that any YAML reads back as the same text: a word of letters
# that is none of those which mean something else.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_/.+-]*( [A-Za-z0-9_/.+-]+)*")
_NOT_PLAIN = re.compile(
    r"(y|n|yes|no|on|off|true|false|null|nan|inf)", re.IGNORECASE
)


def to_yaml(value: Any) -> str:
    """VALUE as YAML: what JSON can say, and bytes as !!binary."""
    return "\n".join(_lines(value, "")) + "\n"


def _text(text: str) -> str:
    if _PLAIN.fullmatch(text) and not _NOT_PLAIN.fullmatch(text):
        return text
    return json.dumps(text)  # JSON's strings are YAML's


def _number(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)  # YAML 1.1 wants a dot before an exponent
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (bytes, bytearray)):
        return f'!!binary "{base64.b64encode(value).decode()}"'
    if isinstance(value, dict):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    return _text(str(value))


def _is_block(value: Any) -> bool:
    return isinstance(value, (dict, list, tuple)) and len(value) > 0


def _lines(value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", item, indent)
    elif isinstance(value, (list, tuple)) and value:
        for item in value:
            yield from _entry(f"{indent}-", item, indent)
    else:
        yield indent + _scalar(value)


def _entry(head: str, item: Any, indent: str) -> Iterator[str]:
    if not _is_block(item):
        yield f"{head} {_scalar(item)}"
        return
    inner: List[str] = list(_lines(item, indent + "  "))
    if head.endswith("-"):  # the first line stands behind the dash
        yield f"{head} {inner[0].lstrip()}"
        inner = inner[1:]
    else:
        yield head
    yield from inner


class Payload:
    """The content of a response; payload["key"] is of its dict()."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def dict(self) -> Any:
        """As it is: mostly a dict."""
        return self.value

    def json(self, indent: int = 2) -> str:
        return json.dumps(to_json(self.value), indent=indent)

    def yaml(self) -> str:
        return to_yaml(self.value)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def get(self, key: Any, default: Any = None) -> Any:
        return self.value.get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self.value

    def __repr__(self) -> str:
        return f"Payload({self.value!r})"
