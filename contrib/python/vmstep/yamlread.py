"""As much YAML as world files are written in.

Mappings and lists by indentation, lists in [brackets], texts plain or in
quotes, numbers, true and false, null, comments. All else (anchors, tags, block
texts, several documents, {braces}) is refused with the number of its line.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, NamedTuple, Tuple

from .errors import NotValid

_KEY = re.compile(
    r"""("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s#'"][^#]*?)\s*:(?:\s+|$)"""
)
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)([eE][-+]?[0-9]+)?")
_WORDS: Dict[str, Any] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
}


class _Line(NamedTuple):
    number: int
    indent: int
    text: str


def _bad(line: _Line, why: str) -> NotValid:
    return NotValid(f"line {line.number}: {why}")


def _without_comment(text: str) -> str:
    quote = ""
    for i, c in enumerate(text):
        if quote:
            quote = "" if c == quote and text[i - 1] != "\\" else quote
        elif c in "'\"":
            quote = c
        elif c == "#" and (i == 0 or text[i - 1] in " \t"):
            return text[:i].rstrip()
    return text.rstrip()


def _lines(text: str) -> List[_Line]:
    out: List[_Line] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw)
        stripped = line.lstrip(" ")
        if not stripped or (stripped == "---" and not out):
            continue
        found = _Line(number, len(line) - len(stripped), stripped)
        if stripped.startswith("\t"):
            raise _bad(found, "a tab for indentation")
        out.append(found)
    return out


def _quoted(text: str, line: _Line) -> Tuple[str, str]:
    """A text in quotes, and what is behind it."""
    if text[0] == '"':
        try:
            value, end = json.JSONDecoder().raw_decode(text)
        except ValueError:
            raise _bad(line, f"{text}: no text in quotes") from None
        return str(value), text[end:].lstrip()
    match = re.match(r"'((?:[^']|'')*)'", text)
    if not match:
        raise _bad(line, f"{text}: no text in quotes")
    return match.group(1).replace("''", "'"), text[match.end() :].lstrip()


def _plain(text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _flow(text: str, line: _Line) -> Tuple[List[Any], str]:
    """[a, "b", [c]], and what is behind it."""
    out: List[Any] = []
    rest = text[1:].lstrip()
    value: Any
    while not rest.startswith("]"):
        if not rest:
            raise _bad(line, "a [ without ] in the same line")
        if rest[0] == "[":
            value, rest = _flow(rest, line)
        elif rest[0] in "'\"":
            value, rest = _quoted(rest, line)
        else:
            end = re.match(r"[^,\[\]{}]*(\[[^\]]*\][^,\[\]{}]*)*", rest)
            assert end
            value, rest = _plain(end.group().strip()), rest[end.end() :]
        out.append(value)
        if rest.startswith(","):
            rest = rest[1:].lstrip()
        elif not rest.startswith("]"):
            raise _bad(line, f"'{rest}' in a list")
    return out, rest[1:].lstrip()


def _scalar(text: str, line: _Line) -> Any:
    value: Any
    if text == "{}":
        return {}
    if text and text[0] in "'\"":
        value, rest = _quoted(text, line)
    elif text.startswith("["):
        value, rest = _flow(text, line)
    elif text and text[0] in "&*!|>{}%@`":
        raise _bad(line, f"{text}: more YAML than is understood here")
    else:
        return _plain(text)
    if rest:
        raise _bad(line, f"'{rest}' behind a value")
    return value


class _Reader:
    def __init__(self, lines: List[_Line]) -> None:
        self.lines = lines
        self.at = 0

    def block(self, indent: int) -> Any:
        """What begins at the next line, INDENT deep."""
        text = self.lines[self.at].text
        if text == "-" or text.startswith("- "):
            return self._list(indent)
        if _KEY.match(text):
            return self._mapping(indent)
        line = self.lines[self.at]
        self.at += 1
        return _scalar(line.text, line)

    def _there(self, indent: int) -> bool:
        if self.at == len(self.lines):
            return False
        line = self.lines[self.at]
        if line.indent > indent:
            raise _bad(line, "it stands deeper than what is before it")
        return line.indent == indent

    def _value(self, rest: str, line: _Line, indent: int) -> Any:
        if rest:
            return _scalar(rest, line)
        if self.at < len(self.lines):
            below = self.lines[self.at]
            is_item = below.text == "-" or below.text.startswith("- ")
            same = below.indent == indent and is_item
            if below.indent > indent or (same and not line.text[0] == "-"):
                return self.block(below.indent)
        return None

    def _list(self, indent: int) -> List[Any]:
        out: List[Any] = []
        while self._there(indent):
            line = self.lines[self.at]
            if not (line.text == "-" or line.text.startswith("- ")):
                break
            rest = line.text[1:].lstrip()
            if rest and (_KEY.match(rest) or rest.startswith("- ")):
                deep = indent + len(line.text) - len(rest)
                self.lines[self.at] = _Line(line.number, deep, rest)
                out.append(self.block(deep))
                continue
            self.at += 1
            out.append(self._value(rest, line, indent))
        return out

    def _mapping(self, indent: int) -> Dict[Any, Any]:
        out: Dict[Any, Any] = {}
        while self._there(indent):
            line = self.lines[self.at]
            match = _KEY.match(line.text)
            if not match:
                raise _bad(line, f"'{line.text}': no key and colon")
            key = _scalar(match.group(1), line)
            if key in out:
                raise _bad(line, f"{key} is there twice")
            self.at += 1
            out[key] = self._value(line.text[match.end() :], line, indent)
        return out


def read_yaml(text: str) -> Any:
    """What TEXT says; NotValid for what is not understood."""
    reader = _Reader(_lines(text))
    if not reader.lines:
        return None
    value = reader.block(reader.lines[0].indent)
    if reader.at < len(reader.lines):
        line = reader.lines[reader.at]
        raise _bad(line, f"'{line.text}' does not belong there")
    return value
