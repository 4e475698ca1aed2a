"""What is wrong with a model file, in the words of the file: where, what was seen, what is allowed, what was meant."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from continuous_training.core.duration import format_duration
from continuous_training.core.errors import SpecError
from continuous_training.strict_yaml import WHAT_NEXT, Document, KeyPath, called, key_path, masked, shown

MAX_PROBLEMS = 20
_LONGEST_TEXT = 1000
_LIMITS = {
    "exclusiveMinimum": "above {}", "minimum": "at least {}", "exclusiveMaximum": "below {}", "maximum": "at most {}",
    "minLength": "of length {} or more", "maxLength": "of length {} or less", "pattern": "matching {}",
    "minItems": "of length {} or more", "maxItems": "of length {} or less",
}  # fmt: skip
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
_KEY_PATH = re.compile(r"([\w-]+(?:\.[\w-]+|\[\d+\])*)(:?) ")
_OWN_WORDS = frozenset({"value_error", "assertion_error"})

Schema = dict[str, Any]


def explain_validation(error: ValidationError, document: Document, model: type[BaseModel]) -> SpecError:
    """Return the error that names every problem `model` found in `document`, one a line, at most 20.

    A line is `file:line:column: key path: what was seen; what is allowed; did you mean`. A validator's own message may
    start with the key path it is about, seen from the validated object (`drift[1].columns: ...`), and hold several such
    problems, joined by `; `: each stands at its own line.

    Raise it `from None`: pydantic's own text shows values whole, and a value may be a secret in the wrong place.
    """
    schemas = _Schemas(model, document)
    problems = sorted(set(schemas.problems(error)), key=lambda problem: (problem.position, problem.text))
    lines = [f"{document.where(problem.path)}: {problem}" for problem in problems[:MAX_PROBLEMS]]
    if (more := len(problems) - MAX_PROBLEMS) > 0:
        lines.append(f"{called(document.path)}: and {more:,} more problem{'s' * (more > 1)}")
    return SpecError("\n".join([*lines, WHAT_NEXT]))


@dataclass(frozen=True)
class _Problem:
    path: KeyPath
    text: str
    position: tuple[int, int]

    def __str__(self) -> str:
        return f"{key_path(self.path)}: {self.text}" if self.path else self.text


@dataclass(frozen=True)
class _Place:
    """Where pydantic's location points: the key path without its tags and labels, and the schema of the value."""

    path: KeyPath
    node: Schema
    parent: Schema
    union: KeyPath | None
    """The path of the union without `kind` in which this is one of several failed alternatives."""


@cache
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


class _Schemas:
    def __init__(self, model: type[BaseModel], document: Document) -> None:
        self.document = document
        self.root = _schema(model)

    def problems(self, error: ValidationError) -> list[_Problem]:
        found = [(details, self._locate(details)) for details in error.errors(include_url=False)]
        inside = {place.union for _, place in found if place.union is not None and len(place.path) > len(place.union)}
        return [
            self._at(path, text)
            for details, place in found
            if place.union is None or place.union not in inside or len(place.path) > len(place.union)
            for path, text in self._texts(details, place)
        ]

    def _at(self, path: KeyPath, text: str) -> _Problem:
        return _Problem(path, text, self.document.position(path))

    def _locate(self, details: Any) -> _Place:
        path: KeyPath = ()
        node = parent = self.root
        union: KeyPath | None = None
        value: Any = self.document.data
        for part in details["loc"]:
            node = self._resolved(node)
            if "discriminator" in node:
                node = {"$ref": node["discriminator"]["mapping"].get(part, "")}
            elif "anyOf" in node:
                union = path if union is None else union
                node = _member(node["anyOf"], part)
            elif _has(value, part) or details["type"] == "missing":
                parent, node = node, self._child(node, part)
                path, value = (*path, part), value[part] if _has(value, part) else None
        return _Place(path, self._resolved(node), parent, union)

    def _resolved(self, node: Schema) -> Schema:
        """Follow references, and look through `| None`."""
        while True:
            members = [member for member in node.get("anyOf", ()) if member.get("type") != "null"]
            if len(members) == 1:
                node = {**{key: node[key] for key in ("description",) if key in node}, **members[0]}
            elif "$ref" in node:
                target = self.root.get("$defs", {}).get(node["$ref"].rpartition("/")[2], {})
                node = {**target, **{key: node[key] for key in ("description",) if key in node}}
            else:
                return node

    def _child(self, node: Schema, part: str | int) -> Schema:
        for member in node.get("oneOf", [node]):
            fields = self._resolved(member)
            child = (
                fields.get("items")
                if isinstance(part, int)
                else fields.get("properties", {}).get(part, fields.get("additionalProperties"))
            )
            if isinstance(child, dict):
                return child
        return {}

    def _texts(self, details: Any, place: _Place) -> list[tuple[KeyPath, str]]:
        kind = details["type"]
        if kind in _OWN_WORDS:
            message = str(details["ctx"]["error"]).replace(repr(details["input"]), shown(details["input"]))
            return self._own_words(message, place.path)
        if kind == "extra_forbidden":
            return [(place.path, self._unknown_key(place))]
        if kind.startswith("union_tag"):
            return [self._wrong_kind(details, place)]
        if isinstance(details["input"], timedelta):  # a length of time was read, and is too short or too long
            return [(place.path, f"{format_duration(details['input'])} {_should(details)}")]
        allowed = self._words(place.node)
        if kind == "missing":
            text = f"missing; allowed: {allowed}" if allowed else "missing; add it"
        else:
            wrong = f"is not allowed; allowed: {allowed}" if allowed else _should(details)
            text = f"{shown(details['input'])} {wrong}"
            members = place.node.get("oneOf", [place.node])
            text += _meant(details["input"], [choice for member in members for choice in _choices(member)])
        if "description" in place.node and kind in {"missing", "string_pattern_mismatch"}:
            text += f" ({place.node['description']})"
        return [(place.path, text)]

    def _own_words(self, message: str, path: KeyPath) -> list[tuple[KeyPath, str]]:
        """Split a validator's message at the key paths that it names and the file has."""
        problems: list[tuple[KeyPath, str]] = []
        for text in masked(" ".join(message.split())).split("; "):
            found = _KEY_PATH.match(text)
            named = (*path, *_parts(found[1])) if found else path
            # A bare word at the top level may as well be a column that has the name of a key.
            if found and named in self.document.positions and (found[2] or len(named) > 1):
                problems.append((named, text[found.end() :]))
            elif problems:
                before = problems.pop()
                problems.append((before[0], f"{before[1]}; {text}"))
            else:
                problems.append((path, text))
        return [(where, text[:_LONGEST_TEXT]) for where, text in problems]

    def _unknown_key(self, place: _Place) -> str:
        key = place.path[-1]
        keys = list(place.parent.get("properties", {}))
        kind = place.parent.get("properties", {}).get("kind", {}).get("const")
        text = f"unknown key; allowed here{f' with kind {kind}' if kind else ''}: {', '.join(keys)}"
        if meant := _meant(key, keys):
            return text + meant
        homes = [
            name
            for name, field in self.root["properties"].items()
            if key in self._resolved(field).get("properties", {})
        ]
        if key in self.root["properties"]:
            return f"{text}; {key} belongs to the top level: check the indentation"
        return f"{text}; {key} belongs under {' or '.join(homes)}" if homes else text

    def _wrong_kind(self, details: Any, place: _Place) -> tuple[KeyPath, str]:
        name = details["ctx"]["discriminator"].strip("'")
        kinds = list(place.node.get("discriminator", {}).get("mapping", ()))
        if details["type"] == "union_tag_not_found" and name not in details["input"]:
            return (*place.path, name), f"missing; add one of {', '.join(kinds)}"
        seen = details["input"][name]
        return (
            *place.path,
            name,
        ), f"{shown(seen)} is not a {name} here; allowed: {', '.join(kinds)}{_meant(seen, kinds)}"

    def _words(self, node: Schema) -> str:
        """Describe the values a schema allows; empty when it says nothing."""
        node = self._resolved(node)
        kinds = node.get("type")
        members = (
            [{"type": kind} for kind in kinds] if isinstance(kinds, list) else node.get("anyOf", node.get("oneOf"))
        )
        if "discriminator" in node:
            return f"a mapping with {node['discriminator']['propertyName']} one of {', '.join(node['discriminator']['mapping'])}"
        if members:
            return " or ".join(dict.fromkeys(filter(None, map(self._words, members))))
        if kinds == "array":
            words = self._words(node.get("items", {}))
            return _limited("a list", node) + (f", each item {words}" if words else "")
        return _simple_words(node)


def _should(details: Any) -> str:
    return str(details["msg"]).replace("Input should", "should")


def _simple_words(node: Schema) -> str:
    if choices := _choices(node):
        return ", ".join(map(shown, choices))
    if node.get("type") == "object":
        keys = ", ".join(node.get("properties", ()))
        return f"a mapping with the keys {keys}" if keys else "a mapping"
    if node.get("format") == "date-time":
        return "a date and time with its zone, for example '2013-03-01T00:00:00Z'"
    return _limited(_TYPES.get(node.get("type", ""), ""), node)


def _parts(text: str) -> KeyPath:
    return tuple(int(part) if part.isdecimal() else part for part in re.findall(r"[\w-]+", text))


def _has(value: object, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(value, list) and part < len(value)
    return isinstance(value, dict) and part in value


def _member(members: Sequence[Schema], label: str | int) -> Schema:
    """Return the alternative that pydantic's label names, or all of them when it is not a model's name."""
    named = [member for member in members if member.get("$ref", "").rpartition("/")[2] == label]
    return named[0] if named else {"oneOf": members}


def _choices(node: Schema) -> list[Any]:
    return [node["const"]] if "const" in node else list(node.get("enum", ()))


def _limited(words: str, node: Schema) -> str:
    if examples := node.get("examples"):
        return f"{words}, for example {' or '.join(map(shown, examples))}"
    limits = [text.format(node[key]) for key, text in _LIMITS.items() if key in node]
    return " ".join([words, " and ".join(limits)]).strip()


def _meant(seen: object, allowed: Sequence[object]) -> str:
    names = {str(name).lower(): name for name in allowed}
    near = get_close_matches(str(seen).lower(), names, n=1) if isinstance(seen, str) else []
    return f"; did you mean {shown(names[near[0]])}?" if near else ""
