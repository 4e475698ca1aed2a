"""One file describes one model, and what it can say is consistent or refused with the place of the mistake."""

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

import small_model
from continuous_training.core.data_check import Suite
from continuous_training.core.errors import SpecError
from continuous_training.core.quality import ESTIMATED, METRICS
from continuous_training.spec import ModelSpec, Windows, load_spec, load_specs

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "include" / "models" / "flight_delays.yaml"
SUITE = {"critical": [{"expect_column_values_to_not_be_null": {"column": "wind"}}]}
TASK = small_model.document()["task"]
RANK = {**TASK, "kind": "ranking", "group": "trip"}
PROMOTION = small_model.document()["promotion"]
COST = {"kind": "cost", "name": "delay_cost", "false_positive": 1, "false_negative": 9}
BY_COST = {"metrics": [COST], "promotion": {**PROMOTION, "metric": "delay_cost"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the folder of model files of an empty deployment."""
    for name in ("models", "expectations"):
        (tmp_path / name).mkdir()
    return tmp_path / "models"


def write(folder: Path, name: str = "m", **changes: Any) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(small_model.document(name, **changes), sort_keys=False))
    return path


def line_of(path: Path, text: str) -> int:
    content = path.read_text()
    return content[: content.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    "changes",
    [
        {"trainer": {"kind": "lightgbm", "rounds": 21, "tuning": {"trials": 0}}},
        {"trainer": {"kind": "sklearn", "estimator": "LogisticRegression"}},
        {"promotion": {**PROMOTION, "margin": 0.01}},
        {"features": {"numeric": ["wind"], "categorical": []}},
        {"source": {"kind": "parquet", "path": "{data}/others"}},
        {"window": {"reference": "50 days", "current": "10 days", "every": "10 days"}},
        {"split": {"train": 0.6, "tune": 0.2}},
        {"cleaning": {"rare": 3}},
        {"expectations": SUITE},
        {"drift": []},
        {"min_rows": 500},
        {"seed": 8},
        {"task": {**TASK, "label_delay": "2 days"}},
    ],
    ids=lambda changes: next(iter(changes)) + str(changes)[:30],
)
def test_whatever_can_change_the_challenger_or_its_verdict_is_another_specification(changes: dict[str, Any]) -> None:
    assert small_model.spec(**changes).digest != small_model.spec().digest


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "Another text."},
        {"runner": {"kind": "kubernetes", "image": "ct:1"}},
        {"deployment": {"kind": "local", "port": 8080, "log": {"sample": 0.1}}},
        {"rollout": {"steps": [{"canary": "5%", "bake": "1 hour"}]}, "deployment": {"kind": "local"}},
        {"retraining": {"schedule": "0 3 * * MON", "cooldown": "3 days"}},
        {"performance": [{"metric": "accuracy", "below": 0.6}]},
        {"metrics": [COST], "performance": [{"metric": "delay_cost", "above": 0.6}]},
        {
            "window": {
                "reference": "960 hours",
                "current": "10 days",
                "every": "240 hours",
                "anchor": "2024-01-01T01:00:00+01:00",
            }
        },
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_how_a_model_is_started_and_served_is_not(changes: dict[str, Any]) -> None:
    assert small_model.spec(**changes).digest == small_model.spec().digest


def test_a_specification_survives_json_with_its_digest(folder: Path) -> None:
    for spec in (load_spec(DEMO), load_spec(write(folder, expectations=SUITE)), small_model.spec(**BY_COST)):
        again = ModelSpec.model_validate_json(spec.model_dump_json())
        assert (again, again.digest) == (spec, spec.digest)


@pytest.mark.parametrize(
    ("changes", "key", "text"),
    [
        ({"task": {**TASK, "label": "wind"}}, "numeric:", "features.numeric: wind is the label or the event time and cannot be a feature"),
        ({"task": {**TASK, "event_time": "carrier"}}, "categorical:", "features.categorical: carrier is the label or the event time"),
        (
            {"drift": [{"kind": "psi", "columns": ["wind", "late", "prediction", "error", "wnd"]}]},
            "columns",
            "drift[0].columns: wnd is not a feature, the label, prediction or error",
        ),
        ({"drift": [{"kind": "psi"}, {"kind": "ks", "by": "wind"}]}, "by: wind", "drift[1].by: wind is not a categorical feature"),
        ({"drift": [{"kind": "alibi_mmd", "by": "carrier"}]}, "by: carrier", "drift[0].by: p-values of permutations cannot be small enough"),
        ({"triage": {"season": "9 days"}}, "season: 9 days", "triage.season: 9 days is not between the length of the current window, 10 days, and 3660 days"),
        ({"triage": {"season": "4000 days"}}, "season: 4000 days", "triage.season: 4000 days is not between"),
        ({"features": {"numeric": ["wind", "error"]}}, "numeric", "features.numeric: error is the name of a column that is computed"),
        (
            {"features": {"numeric": ["wind"], "categorical": ["attribution:wind"]}},
            "categorical",
            "features.categorical: attribution:wind is the name of a column that is computed",
        ),
        ({"promotion": {**PROMOTION, "slices": ["wind"]}}, "slices", "promotion.slices: wind is not a categorical feature"),
        ({"promotion": {**PROMOTION, "metric": "rmse"}}, "metric: rmse", "promotion.metric: rmse does not fit classification; use one of roc_auc"),
        ({"performance": [{"metric": "mae", "above": 1}]}, "metric: mae", "performance[0].metric: mae does not fit classification"),
        (
            {
                "task": RANK, "trainer": {"kind": "ranking"}, "promotion": {"metric": "ndcg_at_10"},
                "performance": [{"metric": "ndcg_at_10", "line": "estimated", "below": 0.5}],
            },
            "line",
            "performance[0].line: ndcg_at_10 cannot be estimated without labels; use line provisional or final, or one of roc_auc,",
        ),
        (
            {"performance": [{"metric": "f1", "below": 0.5}], "retraining": {"advise": ["f1 estimate"]}},
            "retraining",
            "no signal is called 'f1 estimate'",
        ),
        (
            {"promotion": {**PROMOTION, "metric": "roc_acu"}},
            "metric: roc_acu",
            "promotion.metric: roc_acu is not a metric; use one of roc_auc, average_precision, log_loss, brier, accuracy, f1; did you mean roc_auc?",
        ),
        (
            {"metrics": [COST], "performance": [{"metric": "dealy_cost", "above": 1}]},
            "metric: dealy_cost",
            "performance[0].metric: dealy_cost is not a metric; use one of roc_auc, average_precision, log_loss, brier, accuracy, f1, delay_cost; did you mean delay_cost?",
        ),
        ({"promotion": {**PROMOTION, "metric": 7}}, "metric: 7", "promotion.metric: 7 is not allowed; allowed: text, for example 'roc_auc'"),
        (
            {"metrics": [{"kind": "within", "name": "close", "tolerance": 1}]},
            "kind: within",
            "metrics[0].kind: within does not fit classification; use one of cost, f_beta, precision_at, recall_at",
        ),
        (
            {"task": RANK, "trainer": {"kind": "ranking"}, "promotion": {"metric": "ndcg_at_10"}, "metrics": [COST]},
            "kind: cost",
            "metrics[0].kind: cost does not fit ranking; no kind does, so remove it",
        ),
        ({"metrics": [{**COST, "name": "f1"}]}, "name: f1", "metrics[0].name: f1 is the name of a built-in metric; choose one of its own"),
        ({"metrics": [{**COST, "name": "rmse"}]}, "name: rmse", "metrics[0].name: rmse is the name of a built-in metric"),
        (
            {"metrics": [{**COST, "name": "twice"}, {"name": "twice", "kind": "f_beta", "beta": 2}]},
            "name: twice\n  kind: f_beta",
            "metrics[1].name: twice is the name of another metric; choose one of its own",
        ),
        ({"metrics": [{**COST, "name": "Delay"}]}, "name: Delay", "metrics[0].name: 'Delay' is not allowed"),
        ({"metrics": [{**COST, "kind": "costs"}]}, "kind: costs", "'costs' is not a kind here; allowed: cost, f_beta, precision_at"),
        (
            {"metrics": [{**COST, "false_negative": -2}]},
            "false_negative",
            "metrics[0].false_negative: is -2 and must be more than true_positive, 0: being wrong costs more than being right",
        ),
        ({"metrics": [{**COST, "threshold": 7}]}, "threshold: 7", "metrics[0].threshold: 7 must be between 0 and 1, or bayes"),
        (
            {"metrics": [COST], "performance": [{"metric": "delay_cost", "line": "estimated", "above": 1}]},
            "line",
            "performance[0].line: delay_cost cannot be estimated without labels; use line provisional or final, or one of roc_auc,",
        ),
        ({"performance": [{"metric": "f1"}]}, "metric: f1", "give exactly one of below and above"),
        ({"performance": [{"metric": "f1", "below": 1, "above": 0}]}, "metric: f1", "give exactly one of below and above"),
        ({"trainer": {"kind": "sklearn", "estimator": "Ridge"}}, "estimator", "trainer.estimator: Ridge is not for classification"),
        (
            {"task": {**TASK, "kind": "regression"}, "promotion": {"metric": "rmse", "negative_flips": 0.1}},
            "negative_flips",
            "a regression has no right and wrong to flip",
        ),
        ({"task": RANK}, "kind: lightgbm", "trainer.kind: lightgbm does not learn ranking; use kind: ranking"),
        ({"trainer": {"kind": "ranking"}}, "kind: ranking", "trainer.kind: ranking does not learn classification; write task: {kind: ranking}"),
        ({"task": {**RANK, "group": "wind"}, "trainer": {"kind": "ranking"}}, "numeric:", "wind is the label, the group or the event time"),
        ({"split": {"train": 0.9, "tune": 0.099}}, "split", "must leave at least 0.01 for the hold-out"),
        ({"window": {"reference": "5 days", "current": "10 days", "every": "10 days"}}, "window", "every 10 days, current 10 days, reference 5 days"),
        ({"window": {"reference": "40 days", "current": "10 days", "every": "0 days"}}, "window", "0 < every <= current <= reference"),
        ({"window": {"reference": "40 days", "current": "10 days", "every": "11 days"}}, "window", "0 < every <= current <= reference"),
        ({"window": {"reference": "4000 days", "current": "1 day", "every": "1 day"}}, "reference", "window.reference: 4000 days should be less than or equal to 3660 days"),
        ({"window": {"reference": "40 days", "current": "1 day", "every": "1 day", "anchor": "2024-01-01T00:00:00"}}, "anchor", "window.anchor"),
        ({"min_rows": 10}, "min_rows", "min_rows"),
        ({"source": {"kind": "parquet", "path": "{{ ds }}/rows"}}, "path", "{{"),
        ({"source": {"kind": "parquet", "path": "{data.x}/rows"}}, "path", "braces that do not name a location"),
        ({"source": {"kind": "parquet", "path": "{data}rows"}}, "path", "braces that do not name a location"),
        ({"source": {"kind": "parquet", "path": "{data}/../../etc"}}, "path", "climbs out of its folder"),
        ({"expectations": "../secrets.yaml"}, "expectations", "expectations"),
        ({"expectations": {"critical": []}}, "expectations", "name at least one expectation"),
    ],
    ids=lambda given: None if isinstance(given, dict) else given[:40],
)  # fmt: skip
def test_a_file_that_contradicts_itself_is_refused_with_file_line_and_key(
    folder: Path, changes: dict[str, Any], key: str, text: str
) -> None:
    path = write(folder, **changes)
    with pytest.raises(SpecError) as refusal:
        load_spec(path)
    first = str(refusal.value).splitlines()[0]
    assert text in str(refusal.value)
    assert first.startswith(f"m.yaml:{line_of(path, key)}:"), first


@pytest.mark.parametrize("changes", [{"name": "other"}, {"false_negative": 10}, {"threshold": 0.3}], ids=str)
def test_the_metric_that_challengers_are_judged_by_is_part_of_the_model(changes: dict[str, Any]) -> None:
    named = {"metric": changes.get("name", "delay_cost")}
    changed = small_model.spec(metrics=[{**COST, **changes}], promotion={**PROMOTION, **named})
    assert changed.digest != small_model.spec(**BY_COST).digest
    beside = small_model.spec(metrics=[{**COST, **changes, "name": "beside"}, COST], promotion=BY_COST["promotion"])
    assert beside.digest == small_model.spec(**BY_COST).digest


def test_a_metric_is_found_by_its_name_and_all_are_measured() -> None:
    spec = small_model.spec(**BY_COST)
    assert spec.metric("delay_cost") is spec.metrics[0]
    assert [metric.name for metric in spec.all_metrics] == [*METRICS["classification"], "delay_cost"]
    assert not spec.metric("log_loss").greater_is_better


def test_the_name_of_the_model_is_that_of_its_file(folder: Path) -> None:
    path = write(folder).rename(folder / "other.yaml")
    with pytest.raises(
        SpecError, match=r"the name 'm' differs from the file's; name the file m.yaml or the model other"
    ):
        load_spec(path)
    with pytest.raises(SpecError, match=r"name the file m\.yaml\. Nothing"):  # a model cannot have the other's name
        load_spec(path.rename(folder / "My Model.yaml"))


def test_a_file_with_the_other_ending_is_told_to_be_renamed_unless_its_model_is_there(folder: Path) -> None:
    for name in ("a", "b", "c"):
        write(folder, name).rename(folder / f"{name}.yml")
    write(folder, "a")
    (folder / "b.yaml").write_text("model: [")
    specs, errors = load_specs(folder)
    assert list(specs) == ["a"]
    assert "b.yaml:2:1: not YAML" in str(errors["b"])
    assert "c.yml: a model file ends in .yaml; rename it c.yaml" in str(errors["c"])


def test_a_wrong_file_never_hides_the_others(folder: Path) -> None:
    for name in ("a", "c"):
        write(folder, name)
    (folder / "b.yaml").write_text("model: [")
    write(folder, "d", min_rows=1)
    (folder / "notes.txt").write_text("model: [")
    specs, errors = load_specs(folder)
    assert list(specs) == ["a", "c"]
    assert list(errors) == ["b", "d"]
    assert "b.yaml:2:1: not YAML" in str(errors["b"])
    assert load_specs(folder / "absent") == ({}, {})


def test_a_suite_is_read_in_and_is_part_of_the_specification(folder: Path) -> None:
    suite = folder.parent / "expectations" / "wind.yaml"
    suite.write_text(yaml.safe_dump(SUITE))
    path = write(folder, expectations="wind.yaml")
    spec = load_spec(path)
    assert isinstance(spec.expectations, Suite)
    assert spec.digest == load_spec(write(folder, expectations=SUITE)).digest
    write(folder, expectations="wind.yaml")
    suite.write_text(
        yaml.safe_dump({"critical": [{"expect_column_values_to_not_be_null": {"column": "wind", "mostly": 0.9}}]})
    )
    assert load_spec(path).digest != spec.digest


@pytest.mark.parametrize(
    "content", ["critical: [", "critical:\n- expect_column_values_to_not_be_null: {column: winds}\n", "x" * 300_000]
)
def test_a_wrong_suite_is_refused_by_its_own_place(folder: Path, content: str) -> None:
    (folder.parent / "expectations" / "m.yaml").write_text(content)
    with pytest.raises(SpecError, match=r"^expectations/m\.yaml:"):  # m.yaml alone would be the model file
        load_spec(write(folder, expectations="m.yaml"))


def test_a_suite_that_is_missing_is_said_where_it_is_named_with_the_place_looked_at(folder: Path) -> None:
    path = write(folder, expectations="wind.yaml")
    missing = folder.parent / "expectations" / "wind.yaml"
    told = f"m.yaml:{line_of(path, 'expectations:')}:1: expectations: there is no file {missing}; correct the name"
    with pytest.raises(SpecError, match=re.escape(told)):
        load_spec(path)


@pytest.mark.parametrize("column", ["wind", "carrier", "late", "at"])
def test_a_suite_may_speak_of_every_column_the_model_reads(folder: Path, column: str) -> None:
    suite = folder.parent / "expectations" / "wind.yaml"
    suite.write_text(yaml.safe_dump({"warning": [{"expect_column_to_exist": {"column": column}}]}))
    assert load_spec(write(folder, expectations="wind.yaml"))


def test_the_schema_for_editors_takes_the_file_of_the_demo_and_refuses_a_misspelt_one() -> None:
    schema = json.loads(json.dumps(ModelSpec.model_json_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    document = json.loads(json.dumps(yaml.safe_load(DEMO.read_text()), default=str))
    jsonschema.validate(document, schema)
    jsonschema.validate({**document, "expectations": SUITE}, schema)
    for wrong in (
        {**document, "drfit": []},
        {**document, "min_rows": 1},
        {**document, "trainer": {"kind": "lightgmb"}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)


def test_every_field_of_the_model_file_explains_itself() -> None:
    schema = ModelSpec.model_json_schema()
    silent = [
        f"{name}.{field}"
        for name, part in schema["$defs"].items()
        for field, described in part.get("properties", {}).items()
        if field != "kind" and "description" not in described and "$ref" not in described
    ]
    assert [name for name in silent if not name.startswith(("Resources.", "Kubernetes."))] == []


def test_windows_end_at_the_anchor_and_a_look_and_a_training_end_together() -> None:
    windows = Windows(
        reference="40 days", current="10 days", every="5 days", anchor=datetime(2024, 1, 1, 6, tzinfo=UTC)
    )
    end = windows.last_end(datetime(2024, 1, 12, tzinfo=UTC))
    assert end == datetime(2024, 1, 11, 6, tzinfo=UTC)
    assert windows.current_window(end).start == end - timedelta(days=10)
    assert windows.reference_window(end).start == end - timedelta(days=40)
    assert windows.current_window(end).end == windows.reference_window(end).end == end


def test_a_specification_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        small_model.spec().seed = 3


def test_a_policy_may_name_a_line_and_the_check_of_an_estimator() -> None:
    rules = [{"metric": "f1", "below": 0.5, "line": line} for line in ("estimated", "provisional", "final")]
    names = ["estimated f1 below 0.5", "provisional f1 below 0.5", "f1 below 0.5"]
    spec = small_model.spec(performance=rules, retraining={"when": [[*names, "f1 estimate"]]})
    assert [rule.signal for rule in spec.performance] == names
    assert (spec.estimates, spec.looks_early, spec.look_delay) == (("f1",), True, timedelta(0))
    waiting = small_model.spec(performance=rules[2:])
    assert (waiting.estimates, waiting.looks_early, waiting.look_delay) == ((), False, timedelta(days=1))


def test_what_is_said_to_be_estimated_is_what_the_estimator_knows() -> None:
    from continuous_training._estimators_expected import QUESTIONS

    assert set(ESTIMATED) == set(QUESTIONS)


def test_a_name_is_that_of_one_signal() -> None:
    twice = {
        "drift": [{"kind": "psi", "name": "moved"}],
        "performance": [{"metric": "roc_auc", "below": 0.6, "name": "moved"}],
    }
    with pytest.raises(ValidationError, match="two signals are named 'moved'; name each once"):
        small_model.spec(**twice)


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"drift": [], "retraining": {}}, "regret"),
        ({"drift": [], "retraining": {"cooldown": "1 day"}}, "regret"),
        ({"drift": [], "retraining": {"schedule": "0 3 * * MON"}}, "signals"),
        ({"retraining": {}}, "signals"),
        ({"drift": [], "retraining": {"kind": "signals"}}, "signals"),
        ({"drift": [], "performance": [{"metric": "roc_auc", "below": 0.6}], "retraining": {}}, "signals"),
    ],
)
def test_a_model_file_that_names_no_cause_to_retrain_retrains_when_it_pays(changes, kind):
    assert small_model.spec(**changes).retraining.kind == kind


def test_a_model_file_without_retraining_retrains_when_it_pays():
    document = small_model.document()
    del document["retraining"], document["drift"]
    assert ModelSpec.model_validate(document).retraining.kind == "regret"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"only": {"nowhere": ["EU"]}}, "rollout.only: nowhere is not a categorical feature"),
        ({"guards": {"quality": {"scale": 60}}}, "a classification has no scale; remove it"),
        (
            {"steps": [{"shadow": 1, "bake": "1 hour"}], "guards": {"disagreement": {"at_most": 0.1, "scale": 60}}},
            "disagreement: a classification has no scale",
        ),
        ({"at_most": "1 hour"}, "must be less than at_most"),
    ],
)
def test_a_rollout_that_does_not_fit_the_model_is_refused(changes: dict[str, Any], said: str) -> None:
    rollout = {"steps": [{"canary": "5%", "bake": "1 hour"}], **changes}
    with pytest.raises(ValidationError, match=said):
        small_model.spec(rollout=rollout)


@pytest.mark.parametrize(("via", "fits"), [("api", True), ("pod", False), ("gitops", False)])
def test_a_rollout_on_kubernetes_needs_a_worker_that_reaches_the_cluster(via: str, fits: bool) -> None:
    rollout = {"steps": [{"canary": "5%", "bake": "1 hour"}]}
    deployment = {"kind": "kubernetes", "image": f"registry.example.com/serve@sha256:{'ab' * 32}", "via": via}
    if fits:
        assert small_model.spec(rollout=rollout, deployment=deployment).deployment.rolls_out
    else:
        with pytest.raises(ValidationError, match="use local, or kubernetes with via: api"):
            small_model.spec(rollout=rollout, deployment=deployment)


def test_a_log_names_features_only() -> None:
    with pytest.raises(ValidationError, match=r"log.hash: nowhere is not a feature"):
        small_model.spec(deployment={"kind": "local", "log": {"hash": ["nowhere"]}})
