"""A wrong model file is explained in its own words: where, what was seen, what is allowed, what was meant."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, Field, ValidationError, model_validator

from continuous_training.core.duration import Duration
from continuous_training.core.errors import SpecError
from continuous_training.core.frozen import Frozen
from continuous_training.core.task import Columns, Task
from continuous_training.spec import load_spec
from continuous_training.spec_errors import explain_validation
from continuous_training.strict_yaml import WHAT_NEXT, key_path, read


class Psi(Frozen):
    kind: Literal["psi"] = "psi"
    columns: Columns = "all"
    threshold: float = Field(0.2, gt=0, le=1)


class Ks(Frozen):
    kind: Literal["ks"] = "ks"
    every: Duration
    psi: Task | None = None
    """Named like another kind: a tag is not a key."""


AnyDetector = Annotated[Psi | Ks, Field(discriminator="kind")]


class Model(Frozen):
    model: str = Field(pattern="^[a-z]+$", description="Name of the model.")
    task: Task
    drift: tuple[AnyDetector, ...] = Field((), max_length=3)
    backup: AnyDetector | None = None
    parameters: dict[str, int | float | None] = Field(default_factory=dict)
    trials: int = Field(1, ge=1, le=50)
    force: bool = False
    when: Literal["any", "all"] = "any"
    anchor: AwareDatetime | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Model":
        problems = [
            f"drift[{number}].columns: {name!r} is not a feature; write the name of one"
            for number, detector in enumerate(self.drift)
            for name in getattr(detector, "columns", ())
            if name == "stranger"
        ]
        if problems:
            raise ValueError("; ".join([*problems, "task.label does not fit", "model does not fit either"]))
        return self


GOOD = """\
model: flights
task:
  kind: regression
  label: delay
  event_time: departure
"""


def _explained(folder: Path, content: str, model: type[BaseModel] = Model) -> list[str]:
    path = folder / "flights.yaml"
    path.write_text(content)
    document = read(path)
    with pytest.raises(ValidationError) as error:
        model.model_validate(document.data)
    refusal = explain_validation(error.value, document, model)
    assert isinstance(refusal, SpecError)
    *lines, last = str(refusal).splitlines()
    assert last == WHAT_NEXT
    return lines


@pytest.mark.parametrize(
    ("written", "line"),
    [
        ("trials: 0", "6:1: trials: 0 is not allowed; allowed: a whole number at least 1 and at most 50"),
        ("trials: 1.5", "6:1: trials: 1.5 is not allowed; allowed: a whole number at least 1 and at most 50"),
        ("trials: many", "6:1: trials: 'many' is not allowed; allowed: a whole number"),
        ("trials:", "6:1: trials: null is not allowed; allowed: a whole number"),
        ("force: maybe", "6:1: force: 'maybe' is not allowed; allowed: true or false"),
        ("when: Alll", "6:1: when: 'Alll' is not allowed; allowed: 'any', 'all'; did you mean 'all'?"),
        ("when: [any]", "6:1: when: a list is not allowed; allowed: 'any', 'all'"),
        ("drfit: []", "6:1: drfit: unknown key; allowed here: model, task, drift, backup"),
        ("drfit: []", "; did you mean 'drift'?"),
        ("Trials: 3", "6:1: Trials: unknown key; allowed here: "),
        ("Trials: 3", "; did you mean 'trials'?"),
        ("label_delay: 1 day", "label_delay belongs under task"),
        ("drift: 3", "6:1: drift: 3 is not allowed; allowed: a list of length 3 or less, each item a mapping with kind one of ks, psi"),
        ("drift: [psi]", "6:9: drift[0]: 'psi' is not allowed; allowed: a mapping with kind one of ks, psi"),
        ("drift: [{kind: pis}]", "6:10: drift[0].kind: 'pis' is not a kind here; allowed: ks, psi; did you mean 'psi'?"),
        ("drift:\n  - threshold: 1", "7:5: drift[0].kind: missing; add one of ks, psi"),
        ("drift: [{kind: [psi]}]", "6:10: drift[0].kind: a list is not a kind here; allowed: ks, psi"),
        ("drift: [{kind: ~}]", "6:10: drift[0].kind: null is not a kind here; allowed: ks, psi"),
        ("drift: [{kind: ks}]", "6:9: drift[0].every: missing; allowed: text, for example '7 days'"),
        ("drift: [{kind: ks, every: 7d}]", "6:20: drift[0].every: '7d' is not a length of time; write a whole number"),
        ("drift: [{kind: psi, threshold: 0}]", "6:21: drift[0].threshold: 0 is not allowed; allowed: a number above 0 and at most 1"),
        ("drift: [{kind: psi, columns: 5}]", "6:21: drift[0].columns: 5 is not allowed; allowed: 'all' or a list, each item text"),
        ("drift: [{kind: psi, columns: al}]", "allowed: 'all' or a list, each item text; did you mean 'all'?"),
        ("drift: [{kind: psi, columns: [a, 1]}]", "6:34: drift[0].columns[1]: 1 is not allowed; allowed: text"),
        ("drift: [{kind: psi, every: 7 days}]", "drift[0].every: unknown key; allowed here with kind psi: kind, columns, threshold"),
        ("drift: [{kind: psi, trials: 3}]", "trials belongs to the top level: check the indentation"),
        (
            "drift: [{kind: ks, every: 1 day, psi: {kind: regression, label: a}}]",
            "6:34: drift[0].psi.event_time: missing; allowed: text (Column with the moment of each row",
        ),
        ("backup: {kind: psi, threshold: 2}", "6:21: backup.threshold: 2 is not allowed; allowed: a number above 0 and at most 1"),
        ("parameters: {a: [1]}", "6:14: parameters.a: a list is not allowed; allowed: a whole number or a number"),
        ("parameters: {a.b: x}", "6:14: parameters.'a.b': 'x' is not allowed"),
        ("anchor: 2013-02-30T00:00:00Z", "6:1: anchor: '2013-02-30T00:00:00Z' is not allowed; allowed: a date and time with its zone"),
        ("anchor: 2013-02-03", "6:1: anchor: '2013-02-03' is not allowed; allowed: a date and time with its zone"),
        ("drift: [{kind: psi, columns: [stranger]}]", "6:21: drift[0].columns: 'stranger' is not a feature; write the name of one"),
        ("drift: [{kind: psi, columns: [stranger]}]", "4:3: task.label: does not fit; model does not fit either"),
    ],
)  # fmt: skip
def test_a_problem_names_its_place_the_value_seen_and_what_is_allowed(tmp_path: Path, written: str, line: str) -> None:
    lines = _explained(tmp_path, f"{GOOD}{written}\n")
    assert any(line in seen for seen in lines), lines
    assert all(seen.startswith("flights.yaml:") for seen in lines)


@pytest.mark.parametrize(
    "written", ["drift: [{kind: psi, columns: 5}]", "drift: [{kind: psi, columns: [a, 5]}]", "parameters: {a: [1]}"]
)
def test_one_wrong_value_of_a_union_is_one_problem(tmp_path: Path, written: str) -> None:
    assert len(_explained(tmp_path, f"{GOOD}{written}\n")) == 1


def test_problems_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    lines = _explained(tmp_path, "model: 1\nzebra: 1\ntask:\n  kind: x\n  extra: 1\n  label: a\nantelope: 1\n")
    assert [line.split(":")[1] for line in lines] == ["1", "2", "3", "4", "5", "7"]


def test_a_missing_key_is_described_and_points_at_the_mapping_that_lacks_it(tmp_path: Path) -> None:
    assert _explained(tmp_path, "\n# a comment\ntask: {kind: regression, label: a, event_time: b}\n") == [
        "flights.yaml:3:1: model: missing; allowed: text matching ^[a-z]+$ (Name of the model.)"
    ]


@pytest.mark.parametrize(
    ("wrong", "last"), [(20, "k19"), (21, "and 1 more problem"), (4000, "and 3,980 more problems")]
)
def test_at_most_twenty_problems_are_listed(tmp_path: Path, wrong: int, last: str) -> None:
    lines = _explained(tmp_path, GOOD + "\n".join(f"k{number}: 1" for number in range(wrong)))
    assert len(lines) == min(wrong, 21)
    assert last in lines[-1]


def test_values_are_cut_to_80_characters_and_passwords_in_urls_are_hidden(tmp_path: Path) -> None:
    long, secret = _explained(tmp_path, f"{GOOD}when: {'x' * 5000}\ntrials: postgresql://me:pa/ss-word@db/a\n")
    assert f"'{'x' * 76}... is not allowed" in long
    assert "word" not in secret
    assert "'postgresql://***@db/a' is not allowed" in secret
    assert len(_explained(tmp_path, f"{GOOD}drift: [{{kind: ks, every: {'x' * 5000}}}]")[0]) < 300


def test_the_value_under_an_unknown_key_is_not_shown(tmp_path: Path) -> None:
    assert "hunter2" not in "".join(_explained(tmp_path, f"{GOOD}password: hunter2\n"))


FOLDER = Path(__file__).parents[2] / "include"
MODEL_FILE = (FOLDER / "models" / "flight_delays.yaml").read_text().replace("expectations: flight_delays.yaml\n", "")


def _loaded() -> Any:
    return yaml.load(MODEL_FILE, Loader=yaml.CSafeLoader)


def _dumped(data: object, *, flow: bool = False) -> str:
    return yaml.dump(
        data, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, default_flow_style=flow, width=40
    )


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models") / "flight_delays.yaml"


def _mappings(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, dict):
        yield path
    for key, child in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _mappings(child, (*path, key))


def _at(data: Any, path: Sequence[str | int]) -> Any:
    for part in path:
        data = data[part]
    return data


@pytest.mark.parametrize("path", list(_mappings(_loaded())), ids=lambda path: ".".join(map(str, path)) or "top")
@pytest.mark.parametrize("flow", [False, True], ids=["block", "flow"])
def test_a_wrong_key_at_any_level_is_found_at_its_own_line_and_column(
    model_file: Path, path: tuple[str | int, ...], flow: bool
) -> None:
    data = _loaded()
    _at(data, path)["zzz_wrong"] = "secret value"
    text = _dumped(data, flow=flow)
    model_file.write_text(text)
    with pytest.raises(SpecError) as refusal:
        load_spec(model_file)
    [found] = [line for line in str(refusal.value).splitlines() if "zzz_wrong" in line]
    name, line, column, where, rest = found.split(":", 4)
    assert name == "flight_delays.yaml"
    assert text.splitlines()[int(line) - 1][int(column) - 1 :].startswith("zzz_wrong")
    assert where.strip() == key_path((*path, "zzz_wrong"))
    assert "secret value" not in rest


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["ks", "7 days", "all", "{{ x }}"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(["kind", "columns"]), inner, max_size=4)
    ),
    max_leaves=8,
)


def _loads_or_is_refused_by_name(path: Path) -> None:
    try:
        load_spec(path)
    except SpecError as refusal:
        *lines, last = str(refusal).splitlines()
        for line in lines or [last]:
            assert line.startswith("flight_delays.yaml:"), line
            assert len(line) < 2000
        assert "Nothing was run" in last


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_no_mutation_of_a_good_file_raises_anything_but_a_spec_error(model_file: Path, data: st.DataObject) -> None:
    spec = _loaded()
    for _ in range(data.draw(st.integers(1, 4))):
        paths = list(_mappings(spec))
        target = _at(spec, data.draw(st.sampled_from(paths)))
        key = data.draw(st.sampled_from([*target, "zzz"]) | st.text(max_size=6))
        if key in target and data.draw(st.booleans()):
            del target[key]
        else:
            target[key] = copy.deepcopy(data.draw(VALUES | st.sampled_from([spec, *spec.values()])))
    model_file.write_text(_dumped(spec), encoding="utf-8")
    _loads_or_is_refused_by_name(model_file)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    place=st.integers(0, len(MODEL_FILE)),
    length=st.integers(0, 30),
    inserted=st.text(st.sampled_from("[]{},:-#&*!|>'\"%@` \n\t\x00~<?") | st.characters(codec="utf-8"), max_size=12),
)
def test_no_mutation_of_the_text_raises_anything_but_a_spec_error(
    model_file: Path, place: int, length: int, inserted: str
) -> None:
    model_file.write_text(MODEL_FILE[:place] + inserted + MODEL_FILE[place + length :], encoding="utf-8", newline="")
    _loads_or_is_refused_by_name(model_file)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(max_size=8) | st.sampled_from(["model", "task", "drift", "window"]), VALUES, max_size=6))
def test_no_mapping_at_all_raises_anything_but_a_spec_error(model_file: Path, mapping: dict[str, Any]) -> None:
    model_file.write_text(_dumped(mapping), encoding="utf-8")
    _loads_or_is_refused_by_name(model_file)
