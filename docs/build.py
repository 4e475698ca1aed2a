"""Write `docs/reference/` from the code: model file, command line, operators, settings, expectations.

The page of the model card in `docs/examples/` is written from its JSON, which `ct report flight_delays --json` printed.

    python docs/build.py            write the pages
    python docs/build.py --check    write nothing; exit with 1 when a page is not what the code says

The same code gives the same bytes, whatever the machine, the terminal and the home are.
"""

import argparse
import ast
import contextlib
import inspect
import json
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from continuous_training import cli, suites
from continuous_training.allowed import Allowed
from continuous_training.core import errors
from continuous_training.core.quality import METRICS
from continuous_training.core.run import Request
from continuous_training.core.task import Features, Task
from continuous_training.deployers.base import Release
from continuous_training.reports import ModelCard, card_page
from continuous_training.serving.openapi import document
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.trainers import Cleaning, LightGBM, Preparation
from continuous_training.trainers.bundle import Manifest
from continuous_training.trainers.lightgbm import ALLOWED

REFERENCE = Path(__file__).absolute().parent / "reference"
MODEL_CARD = REFERENCE.parent / "examples" / "model-card.json"
NOTE = "<!-- Written by docs/build.py from the code: change the code, then `make docs`. -->"
LIMITS = {
    "exclusiveMinimum": "above {}", "minimum": "at least {}", "exclusiveMaximum": "below {}", "maximum": "at most {}",
}  # fmt: skip
TYPES = {"string": "text", "integer": "whole number", "number": "number", "boolean": "`true` or `false`", "null": ""}
KEYS = ("key", "takes", "default", "meaning")

Node = dict[str, Any]


def main() -> int:
    """Write or check the pages and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    check = parser.parse_args().check
    written = {REFERENCE / name: text for name, text in pages().items()} | {
        MODEL_CARD.with_suffix(".html"): _model_card()
    }
    kept = [*REFERENCE.glob("*"), *MODEL_CARD.parent.glob("*.html")]
    found = {path: path.read_text() for path in kept}
    stale = sorted(path for path in written.keys() | found.keys() if written.get(path) != found.get(path))
    for path in stale:
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(written[path]) if path in written else path.unlink()
        told = path.relative_to(REFERENCE.parent)
        print(f"docs/{told} {'is not what the code says; run make docs' if check else 'brought up to date'}")
    return 1 if check and stale else 0


def pages() -> dict[str, str]:
    """Return every page by file name."""
    return {
        "model-file.md": _page("The model file", _model_file()),
        "cli.md": _page("The command `ct`", _commands()),
        "operators.md": _page("Operators, sensors, hooks", _operators()),
        "settings.md": _page("Settings and connections", _settings()),
        "expectations.md": _page("Expectations", _expectations()),
        "server.openapi.json": _server(),
    }


def _model_card() -> str:
    return card_page(ModelCard.model_validate_json(MODEL_CARD.read_text()))


def _page(title: str, parts: Iterable[str]) -> str:
    return "\n\n".join([f"# {title}", NOTE, *parts]) + "\n"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(_escaped(text).replace("|", "\\|").split())


def _escaped(text: str) -> str:
    """Keep `<model>` from being read as HTML where it is not in a code span."""
    parts = text.split("`")
    return "`".join(part if number % 2 else part.replace("<", "\\<") for number, part in enumerate(parts))


# -- the model file --------------------------------------------------------------------------------------------------


def _model_file() -> Iterator[str]:
    schema = ModelSpec.model_json_schema()
    yield (
        "One YAML file in the models folder is one model; [Write a model file](../how-to/write-a-model-file.md) shows how. "
        "`ct schema` prints the same facts as a JSON schema, for editors. Unknown keys and numbers that are not finite are refused."
    )
    yield _table(KEYS, [_row(schema, schema, name, node, name) for name, node in schema["properties"].items()])
    for name, node in schema["properties"].items():
        members = _members(schema, node)
        if members:
            yield f"## `{name}`"
        for member in members:
            kind = member["properties"].get("kind", {}).get("const")
            yield from ([f"### `kind: {kind}`"] if kind else [])
            yield _prose(member.get("description", ""))
            rows = list(_rows(schema, member))
            yield from ([_table(KEYS, rows)] if rows else ["It takes no other keys."])
            if kind == "lightgbm":
                yield f"`parameters` may hold {', '.join(f'`{parameter}`' for parameter in ALLOWED)}."
    yield "## Built-in metrics"
    yield _table(
        ("task", "metrics"),
        [(kind, ", ".join(f"`{metric}`" for metric in metrics)) for kind, metrics in METRICS.items()],
    )


def _members(schema: Node, node: Node) -> list[Node]:
    """Return the blocks that a key holds: none for a plain value, several where `kind` chooses."""
    node = _resolved(schema, node)
    if "discriminator" in node:
        return [_resolved(schema, {"$ref": target}) for target in node["discriminator"]["mapping"].values()]
    if node.get("type") == "array":
        return _members(schema, node.get("items", {}))
    inner = [member for choice in node.get("anyOf", ()) for member in _members(schema, choice)]
    return inner or ([node] if "properties" in node else [])


def _rows(schema: Node, block: Node, prefix: str = "") -> Iterator[tuple[str, ...]]:
    for name, node in block["properties"].items():
        if name == "kind" and "const" in node:
            continue
        yield _row(schema, block, name, node, f"{prefix}{name}")
        yield from dict.fromkeys(_inner(schema, _members(schema, node), f"{prefix}{name}"))


def _inner(schema: Node, members: list[Node], key: str) -> Iterator[tuple[str, ...]]:
    for member in members:
        if len(members) > 1:
            meaning = member.get("description", "").partition("\n\n")[0]
            yield f"`{key}`", f"`kind: {member['properties']['kind']['const']}`", "", meaning
        yield from _rows(schema, member, f"{key}.")


def _row(schema: Node, block: Node, name: str, node: Node, key: str) -> tuple[str, ...]:
    default = "required" if name in block.get("required", ()) else _default(node)
    inside = _members(schema, node)
    first = inside[0].get("description", "").partition("\n\n")[0] if len(inside) == 1 else ""
    return f"`{key}`", _takes(schema, node), default, node.get("description") or first


def _default(node: Node) -> str:
    value = node.get("default")
    if value in ([], "", {}, None):
        return ""
    return "`0 seconds`" if value == "PT0S" else f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _takes(schema: Node, node: Node) -> str:
    """Say in words what values a node of the JSON schema allows."""
    node = _resolved(schema, node)
    if "discriminator" in node:
        return "block with `kind` " + ", ".join(f"`{kind}`" for kind in node["discriminator"]["mapping"])
    if "const" in node or "enum" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(filter(None, (_takes(schema, choice) for choice in node["anyOf"]))))
    if node.get("type") == "array":
        pair = node.get("prefixItems")
        return f"{len(pair)} of: {_takes(schema, pair[0])}" if pair else f"list; each {_takes(schema, node['items'])}"
    return _plain(node)


def _plain(node: Node) -> str:
    if node.get("type") == "object":
        return "block" if "properties" in node else "mapping"
    if node.get("format") == "date-time":
        return "date and time with zone"
    if node.get("examples"):
        return f"such as `{node['examples'][0]}`"
    words = [TYPES.get(node.get("type", ""), "")]
    words += [text.format(node[key]) for key, text in LIMITS.items() if key in node]
    words += [f"matching `{node['pattern']}`"] if "pattern" in node else []
    return ", ".join(word for word in words if word)


def _resolved(schema: Node, node: Node) -> Node:
    return schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node


def _prose(docstring: str) -> str:
    """Return the text of a docstring before its first section, with its formulas as Markdown writes them."""
    text = re.split(r"\n\n\w[\w ]*\n-{3,}\n", inspect.cleandoc(docstring))[0]
    text = re.sub(r"\.\. math:: (.+)", r"$$\1$$", text)
    return _escaped(re.sub(r":math:`([^`]+)`", r"$\1$", text))


# -- the model server ------------------------------------------------------------------------------------------------


def _server() -> str:
    """Return the OpenAPI document of a small example."""
    task = Task(kind="classification", label="late", event_time="scheduled_departure")
    features = Features(numeric=("distance",), categorical=("carrier",))
    preparation = Preparation(features=features, cleaning=Cleaning(), categories={"carrier": ("AA", "UA")})
    manifest = Manifest(model="flights", trainer=LightGBM(), task=task, preparation=preparation, classes=(False, True))
    release = Release(model="flights", version="1", fence=1, bundle="0" * 64)
    return json.dumps(document(release, manifest), indent=1) + "\n"


# -- the command line ------------------------------------------------------------------------------------------------


def _commands() -> Iterator[str]:
    yield "Data goes to standard output, everything else to standard error. `ct COMMAND --help` says the same in a terminal."
    parser = cli._parser()
    subparsers = next(action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    helps = {choice.dest: choice.help or "" for choice in subparsers._choices_actions}
    for name, command in subparsers.choices.items():
        actions = [action for action in command._actions if not isinstance(action, argparse._HelpAction)]
        yield f"## `ct {name}`"
        yield f"```text\n{' '.join(['ct', name, *map(_usage, actions)])}\n```"
        yield _escaped(f"{helps[name][0].upper()}{helps[name][1:]}.")
        rows = [(f"`{_spelling(action)}`", _argument(action)) for action in actions if _argument(action)]
        yield from ([_table(("argument", "meaning"), rows)] if rows else [])
    yield "## Exit codes"
    yield _table(("code", "when"), _exit_codes())
    yield "## Errors"
    yield "What each means and what to do is told in [Troubleshooting](../how-to/troubleshooting.md)."
    yield f"```text\n{_error_tree()}\n```"


def _spelling(action: argparse.Action) -> str:
    if not action.option_strings:
        return "|".join(map(str, action.choices)) if action.choices else action.dest.upper()
    takes_value = action.nargs != 0
    return f"{action.option_strings[-1]} {action.dest.upper()}" if takes_value else action.option_strings[-1]


def _usage(action: argparse.Action) -> str:
    return _spelling(action) if action.required else f"[{_spelling(action)}]"


def _argument(action: argparse.Action) -> str:
    default = f" (default: {action.default})" if action.default and not isinstance(action.default, bool) else ""
    return f"{action.help or ''}{default}".strip()


def _exit_codes() -> list[tuple[str, str]]:
    listed = re.search(r"Exit codes: (.+?)\. ", " ".join((cli.__doc__ or "").split()))
    assert listed is not None
    return re.findall(r"(\d) ([^,]+)", listed[1])


def _error_tree() -> str:
    tree = re.search(r"^ContinuousTrainingError\n(?:[│├└ ].*\n)+", errors.__doc__ or "", re.MULTILINE)
    assert tree is not None
    return tree[0].rstrip()


# -- Airflow ---------------------------------------------------------------------------------------------------------


def _operators() -> Iterator[str]:
    from continuous_training.provider import dags, hooks, operators, requests, sensors

    yield (
        "Every operator is an ordinary Airflow operator: beside the parameters below it takes those of `BaseOperator` "
        "(`task_id`, `retries`, `pool`, ...); `retries` is 2 unless you say otherwise. "
        "[Use the operators by hand](../how-to/use-operators-by-hand.md) puts them together."
    )
    for module, title in ((operators, "Operators"), (sensors, "Sensors"), (hooks, "Hooks")):
        yield f"## {title}"
        for each in _public(module, inspect.isclass):
            yield f"### `{each.__name__}`"
            yield f"`{module.__name__}.{each.__name__}`"
            yield _prose(each.__doc__ or "")
            if "__init__" in vars(each):
                yield _table(("parameter", "default", "meaning"), _parameters(each))
            else:
                yield f"It takes the parameters of `{each.__mro__[1].__name__}`."
    yield "## Functions"
    for function in (
        dags.build_dags,
        dags.build_train_dag,
        dags.build_watch_dag,
        dags.build_rollback_dag,
        operators.retrain_asset,
    ):
        yield f"### `{function.__name__}`"
        yield f"`{function.__module__}.{function.__name__}`"
        yield _prose(function.__doc__ or "")
        rows = [(f"`{name}`", text) for name, text in _documented(function).items()]
        yield from ([_table(("parameter", "meaning"), rows)] if rows else [])
    yield from _requests(requests.train_params())


def _requests(form: dict[str, Any]) -> Iterator[str]:
    yield "## The trigger form of `<model>.train`"
    yield "The same fields go into `conf` of a run that is asked for through Airflow's REST API."
    yield _table(
        ("field", "takes", "default", "meaning"),
        [
            (f"`{name}`", _form_field(param.schema), f"`{json.dumps(param.value)}`", param.description or "")
            for name, param in form.items()
        ],
    )
    yield "## An event on the asset `<model>/retrain`"
    yield "Whoever emits the event may give it a request as its extra; an event without one is a wish like any other."
    schema = Request.model_json_schema()
    yield _table(KEYS, [row for row in _rows(schema, schema) if row[0] != "`kind`"])


def _form_field(schema: Node) -> str:
    kinds = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
    words = [TYPES[kind] for kind in kinds if kind != "null"]
    words += [text.format(schema[key]) for key, text in LIMITS.items() if key in schema]
    return ", ".join(words) if "pattern" not in schema else "date, or date and time; UTC without a zone"


def _public(module: ModuleType, test: Any) -> list[Any]:
    """Return what a module itself defines in public, in the order of its text."""
    found = [each for each in vars(module).values() if test(each) and each.__module__ == module.__name__]
    return [each for each in found if not each.__name__.startswith("_")]


def _parameters(each: type) -> Iterator[tuple[str, str, str]]:
    """Yield the parameters of a class and of those it inherits from, as far as they can still be given."""
    ours = [base for base in each.__mro__ if base.__module__.startswith("continuous_training")]
    meanings = {name: text for base in reversed(ours) for name, text in _documented(base).items()}
    taken = {"self"}
    for base in ours:
        if "__init__" not in vars(base):
            continue
        for name, parameter in inspect.signature(vars(base)["__init__"]).parameters.items():
            if name not in taken and parameter.kind is not parameter.VAR_KEYWORD:
                default = "required" if parameter.default is parameter.empty else f"`{json.dumps(parameter.default)}`"
                yield f"`{name}`", default, meanings.get(name, "see above")
                taken.add(name)
        taken |= _fixed(base)


def _fixed(each: type) -> set[str]:
    """Return the arguments that a class itself gives to the `__init__` of the class it inherits from."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(each)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    inherited = [call for call in calls if ast.unparse(call.func) == "super().__init__"]
    return {keyword.arg for call in inherited for keyword in call.keywords if keyword.arg}


def _documented(each: Any) -> dict[str, str]:
    """Return the text of each parameter in a docstring's section Parameters."""
    section = re.search(r"Parameters\n-+\n(.+?)(?:\n\n|\Z)", inspect.cleandoc(each.__doc__ or ""), re.DOTALL)
    if section is None:
        return {}
    entries = re.findall(r"^(\S.*?):?\n((?: {4}.*\n?)+)", section[1] + "\n", re.MULTILINE)
    return {name: " ".join(text.split()) for names, text in entries for name in names.split(", ")}


# -- settings --------------------------------------------------------------------------------------------------------


def _settings() -> Iterator[str]:
    from continuous_training.provider import hooks
    from continuous_training.provider.info import get_provider_info

    info = get_provider_info()
    section = info["config"]["continuous_training"]["options"]
    yield (
        "Commands read the variables. In Airflow an option of the section `[continuous_training]` goes before its variable, and "
        "a connection before both; [Connections and settings](../how-to/connections-and-settings.md) tells which to use when."
    )
    yield _table(("variable", "option", "default", "meaning"), _variables(hooks._OPTIONS))
    yield (
        "`<home>` is the value of `home`, `<here>` the working folder. Airflow also reads an option from the variable "
        "`AIRFLOW__CONTINUOUS_TRAINING__<OPTION>`. Options without a variable of their own:"
    )
    others = {name: each for name, each in section.items() if name not in hooks._OPTIONS}
    yield _table(
        ("option", "default", "meaning"),
        [(f"`{name}`", f"`{each['default']}`", each["description"]) for name, each in others.items()],
    )
    yield "## What model files may ask for: `CT_ALLOWED`"
    yield (
        "A JSON object with these keys; `*` and `?` in a name stand for any characters and for one, and what is not given allows "
        "everything. `ct lint` and Airflow refuse a model file that asks for more."
    )
    yield _table(
        ("key", "default", "meaning"),
        [
            (f"`{name}`", f"`{json.dumps(field.default)}`", field.description or "")
            for name, field in Allowed.model_fields.items()
        ],
    )
    for each in info["connection-types"]:
        hook = getattr(hooks, each["hook-class-name"].rpartition(".")[2])
        behaviour = each["ui-field-behaviour"]
        yield f"## Connection type `{each['connection-type']}`"
        yield f"Read as `{hook.default_conn_name}` unless an operator names another; only that one may be missing."
        shown = behaviour["placeholders"]
        rows = [
            (f"`{field}`", label, f"`{shown[field]}`" if field in shown else "")
            for field, label in behaviour["relabeling"].items()
        ]
        rows += [(f"extra `{name}`", field["label"], "") for name, field in each.get("conn-fields", {}).items()]
        yield _table(("field", "is", "for example"), rows)


def _variables(options: dict[str, str]) -> Iterator[tuple[str, ...]]:
    plain = Settings.from_environment({"CT_HOME": "/<home>"})
    told = plain.to_environment()
    for option, variable in options.items():
        value = getattr(plain, option) if option != "allowed" else told[variable]
        text = json.dumps(value) if isinstance(value, dict) else value
        text = (
            "<here>/.ct" if option == "home" else text.replace(str(Path.cwd()), "<here>").replace("/<home>", "<home>")
        )
        yield f"`{variable}`", f"`{option}`", f"`{text}`", Settings.model_fields[option].description or ""


# -- expectations ----------------------------------------------------------------------------------------------------


def _expectations() -> Iterator[str]:
    yield (
        "What a [suite](../how-to/check-data.md) may expect. Names and arguments are Great Expectations' own: its "
        "[gallery](https://greatexpectations.io/expectations) describes each. `mostly` is the share of values that must comply."
    )
    yield _table(
        ("expectation", "arguments"),
        [
            (f"`{name}`", ", ".join(f"`{argument}`" for argument in arguments.split()))
            for name, arguments in suites.CATALOGUE.items()
        ],
    )
    yield "## Refused"
    yield _table(("expectation", "why"), [(f"`{name}`", why) for name, why in suites.REFUSED.items()])


if __name__ == "__main__":
    # Airflow makes its configuration file on import: not in the home of whoever builds the pages.
    with tempfile.TemporaryDirectory() as home, contextlib.chdir(home):
        os.environ["AIRFLOW_HOME"] = home
        sys.exit(main())
