"""The part of YAML a model file may use, with the line and column of everything in it.

Scalars are read as YAML 1.2's core schema reads them: only `true` and `false` are booleans (a column named `no` stays
text), `1:30` and dates stay text. Whatever makes YAML dangerous or surprising is refused where it stands.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from continuous_training.core.errors import SpecError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUES = 5_000
WHAT_NEXT = "Nothing was run; fix the file and the DAG appears at the next parse."

KeyPath = tuple[str | int, ...]
Position = tuple[int, int]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEAN = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_INTEGER = 20
_LONGEST_SHOWN = 80
_TEMPLATE = re.compile(r"\{[{%#]")  # Airflow renders all three in templated fields
# C0, C1, line and paragraph separators (they shift line numbers) and the bidirectional controls that hide text.
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffe\uffff]")


@dataclass(frozen=True)
class Document:
    """One YAML file as plain values, and where each of them stands."""

    path: Path
    data: dict[str, Any]
    positions: dict[KeyPath, Position]
    """Line and column, from 1, of every key and every list item; `()` is the start of the document."""

    def position(self, path: KeyPath) -> Position:
        """Return the line and column of `path`, or of the innermost part of it that the file has."""
        while path not in self.positions:
            path = path[:-1]
        return self.positions[path]

    def where(self, path: KeyPath) -> str:
        """Return `file:line:column` of `path`, or of the innermost part of it that the file has."""
        line, column = self.position(path)
        return f"{called(self.path)}:{line}:{column}"


def read(path: Path) -> Document:
    """Read one YAML file of at most 256 KiB that holds one mapping with text keys.

    Parameters
    ----------
    path
        A regular file or a link to one. Read once; nothing it names is opened.

    Raises
    ------
    SpecError
        The file cannot be read, is not YAML, or uses what a model file may not: anchors, aliases, merge keys, tags,
        duplicate keys, depth over 20, more than 5,000 values, numbers that are not finite or do not fit 64 bits, a
        second document, control characters or Jinja. The message starts with `file:line:column: key path`.
    """
    return _Reader(path).document(_text(path))


def called(path: Path) -> str:
    """Return how a message calls a file: a suite with its folder, as it often has the name of its model's file.

    >>> called(Path("include/expectations/flights.yaml"))
    'expectations/flights.yaml'
    """
    return "/".join(path.parts[-2:]) if path.parent.name == "expectations" else path.name


def key_path(path: KeyPath) -> str:
    """Return `path` as people write it.

    >>> key_path(("drift", 1, "columns"))
    'drift[1].columns'
    """
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[\w-]{1,80}", part) else shown(part)
            text += f".{name}" if text else name
    return text


def shown(value: object) -> str:
    """Return `value` in at most 80 characters, without the credentials of a URL; of a container only its kind.

    >>> shown("postgresql://me:secret@db/flights")
    "'postgresql://***@db/flights'"
    """
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = masked(repr(value[:500] if isinstance(value, str) else value))
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def masked(text: str) -> str:
    """Return `text` with the user and password of every URL in it hidden."""
    return re.sub(r"://\S{0,200}@", "://***@", text)


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            _refuse(path, None, (), "not a file that can be read; create it or correct its name")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        msg = f"{called(path)}: cannot be read ({error.strerror}); correct its rights. {WHAT_NEXT}"
        raise SpecError(msg) from error
    if len(content) > MAX_BYTES:
        _refuse(path, None, (), "larger than 256 KiB, the most a model file may have; it was not parsed")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        _refuse(path, (line, column), (), f"byte 0x{content[error.start]:02x} is not UTF-8; save the file as UTF-8")
    if found := _CONTROL.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        _refuse(path, (line, column), (), f"control character U+{ord(found[0]):04X} is not allowed; delete it")
    return text


def _refuse(path: Path, at: Position | None, where: KeyPath, problem: str) -> NoReturn:
    place = called(path) if at is None else f"{called(path)}:{at[0]}:{at[1]}"
    named = f"{key_path(where)}: " if where else ""
    msg = f"{place}: {named}{problem}. {WHAT_NEXT}"
    raise SpecError(msg)


def _position(mark: Any) -> Position:
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


class _Reader:
    """Turns the parser's events into values, one at a time, so that a bomb stops at its first forbidden event."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.positions: dict[KeyPath, Position] = {}
        self.events: Iterator[Any] = iter(())

    def document(self, text: str) -> Document:
        self.events = (
            event
            for event in yaml.parse(text, Loader=_LOADER)
            if not isinstance(event, yaml.StreamStartEvent | yaml.DocumentEndEvent)
        )
        try:
            return Document(self.path, self._root(), self.positions)
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", None) or "it cannot be scanned"
            context = getattr(error, "context", None)
            _refuse(
                self.path,
                _position(getattr(error, "problem_mark", None)),
                (),
                f"not YAML{f' {context}' if context else ''}: {problem}; indent with spaces, close brackets and quotes, and put text with special "
                "characters in quotes",
            )

    def _root(self) -> dict[str, Any]:
        if isinstance(next(self.events), yaml.StreamEndEvent):
            _refuse(self.path, (1, 1), (), "the file is empty; a model file starts with 'model: <name>'")
        event = next(self.events)
        self.positions[()] = _position(event.start_mark)
        data = self._value(event, ())
        if not isinstance(data, dict):
            self._refuse(
                event, (), f"a model file is a mapping of keys to values, not {shown(data)}; start with 'model: <name>'"
            )
        event = next(self.events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(event, (), "a second document starts here; keep one model in one file")
        return data

    def _value(self, event: Any, where: KeyPath) -> Any:
        self._allowed(event, where)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, where)
        if len(where) >= MAX_DEPTH:
            self._refuse(
                event, where[:3], f"nested deeper than {MAX_DEPTH} levels, the most a model file may have; flatten it"
            )
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(where)
        return self._sequence(where)

    def _allowed(self, event: Any, where: KeyPath) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._refuse(
                event,
                where,
                "anchors (&) and aliases (*) are not allowed; write the value out, or put the text in quotes",
            )
        if event.tag is not None:
            self._refuse(
                event,
                where,
                f"the tag {shown(event.tag)} is not allowed; write the plain value, or put the text in quotes",
            )
        if len(self.positions) > MAX_VALUES:
            self._refuse(
                event, where[:3], f"more than {MAX_VALUES:,} values, the most a model file may have; shorten its lists"
            )

    def _mapping(self, where: KeyPath) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._key(event, where)
            path = (*where, key)
            if key in mapping:
                line = self.positions[path][0]
                self._refuse(event, path, f"this key was already given on line {line}; keep one of the two")
            self.positions[path] = _position(event.start_mark)
            mapping[key] = self._value(next(self.events), path)
        return mapping

    def _sequence(self, where: KeyPath) -> list[Any]:
        sequence: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            path = (*where, len(sequence))
            self.positions[path] = _position(event.start_mark)
            sequence.append(self._value(event, path))
        return sequence

    def _key(self, event: Any, where: KeyPath) -> str:
        self._allowed(event, where)
        if not isinstance(event, yaml.ScalarEvent):
            self._refuse(
                event,
                where,
                "a key must be plain text, not a mapping or a list; a model file has no Jinja ('{{ }}') either",
            )
        if event.value == "<<" and event.implicit[0]:
            self._refuse(event, where, "merge keys (<<) are not allowed; write the keys out")
        key = self._scalar(event, where)
        if not isinstance(key, str):
            self._refuse(event, where, f"the key {shown(key)} is not text; put it in quotes if it is a name")
        return key

    def _scalar(self, event: Any, where: KeyPath) -> Any:
        text: str = event.value
        if _TEMPLATE.search(text):
            self._refuse(event, where, f"{shown(text)} holds Jinja; a model file has none, write the value itself")
        if found := _CONTROL.search(text):
            self._refuse(
                event, where, f"the escape for control character U+{ord(found[0]):04X} is not allowed; delete it"
            )
        if not event.implicit[0]:  # in quotes, or a block of text
            return text
        if text in _NULL:
            return None
        if text in _BOOLEAN:
            return _BOOLEAN[text]
        return self._number(event, where)

    def _number(self, event: Any, where: KeyPath) -> int | float | str:
        text: str = event.value
        if _INTEGER.fullmatch(text):
            number = int(text, 0 if text[:2] in {"0o", "0x"} else 10) if len(text) <= _LONGEST_INTEGER else 1 << 64
            if not -(1 << 63) <= number < 1 << 63:
                self._refuse(
                    event, where, f"{shown(text)} does not fit in 64 bits; write a smaller number, or put it in quotes"
                )
            return number
        if _NOT_FINITE.fullmatch(text) or (_REAL.fullmatch(text) and not math.isfinite(float(text))):
            self._refuse(event, where, f"{shown(text)} is not a finite number; write one")
        return float(text) if _REAL.fullmatch(text) else text

    def _refuse(self, event: Any, where: KeyPath, problem: str) -> NoReturn:
        _refuse(self.path, _position(event.start_mark), where, problem)
