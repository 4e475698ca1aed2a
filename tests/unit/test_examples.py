"""The worked examples end as their pages say: a shop, a bank and a card issuer, through the command line with real steps."""

import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import credit_risk
import fraud
import landing
import pandas as pd
import pytest
import recommender

from continuous_training import performance
from continuous_training.cli import main
from continuous_training.core.comparison import Comparison
from continuous_training.ledger import Ledger
from continuous_training.metrics import BUILT_IN
from continuous_training.replay import ReplayReport
from continuous_training.settings import Settings
from continuous_training.spec import load_spec, load_specs
from continuous_training.steps.prepare import labelled_rows, split_by_time
from continuous_training.storage import Store
from continuous_training.trainers.bundle import load_bundle

EXAMPLES = Path(__file__).resolve().parents[2] / "include" / "examples"
DAYS = {
    "recommender": (recommender.impressions, "shown_at"),
    "credit_risk": (credit_risk.applications, "applied_at"),
    "fraud": (fraud.payments, "paid_at"),
}
YES, NO_NEED, KEPT = 5, 0, 3


class Example:
    """One example in a home of its own."""

    def __init__(self, name: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.name, self.home, self._capsys = name, home, capsys
        self.spec = load_spec(EXAMPLES / "models" / f"{name}.yaml")

    def land(self, start: str, end: str, **changes: Any) -> None:
        day, time = DAYS[self.name]
        landing.land(landing.rows(partial(day, **changes), start, end), time, self.home / "data" / self.name)

    def train(self, as_of: str) -> dict[str, Any]:
        return self._ct("train", "--as-of", as_of)

    def watch(self, as_of: str, *options: str) -> list[dict[str, Any]]:
        return self._ct("watch", "--as-of", as_of, *options)

    def _ct(self, what: str, *arguments: str) -> Any:
        os.environ["CT_HOME"] = str(self.home)
        self._capsys.readouterr()
        code = main(("run", what, self.name, "--json", *arguments))
        said = self._capsys.readouterr()
        assert code in {NO_NEED, YES, KEPT}, said.err
        return json.loads(said.out)

    def copy(self, home: Path) -> "Example":
        shutil.copytree(self.home, home)
        return Example(self.name, home, self._capsys)

    @property
    def settings(self) -> Settings:
        return Settings.from_environment({"CT_HOME": str(self.home)})

    def stored(self, step: str, key: str, name: str) -> bytes:
        store = Store(self.settings.artefacts)
        return store.get(store.read_manifest(key, step)["outputs"][name])


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> Callable[[str], Example]:
    for name in [name for name in os.environ if name.startswith(("CT_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CT_MODELS", str(EXAMPLES / "models"))
    monkeypatch.setenv("CT_HOME", "set by each command")
    return lambda name: Example(name, tmp_path / name, capsys)


def answers(decisions: list[dict[str, Any]]) -> list[str]:
    return [decision["answer"] for decision in decisions]


def test_every_example_has_a_model_file_of_at_most_forty_lines() -> None:
    specs, errors = load_specs(EXAMPLES / "models")
    assert (specs.keys(), errors) == (DAYS.keys(), {})
    for file in EXAMPLES.glob("*/*.yaml"):
        assert len(file.read_text().splitlines()) <= 40


@pytest.mark.parametrize("name", DAYS)
def test_a_day_is_the_same_rows_whenever_it_lands_and_has_what_the_model_reads(name: str, tmp_path: Path) -> None:
    day, time = DAYS[name]
    rows = landing.rows(day, "2024-01-05", "2024-01-08")
    for date, part in rows.groupby(rows[time].dt.strftime("%Y-%m-%d")):
        alone = landing.rows(day, date, str(pd.Timestamp(date) + pd.Timedelta(days=1))[:10])
        pd.testing.assert_frame_equal(alone, part.reset_index(drop=True))
    assert not rows.equals(landing.rows(day, "2024-01-05", "2024-01-08", seed=8))
    spec = load_spec(EXAMPLES / "models" / f"{name}.yaml")
    assert {*spec.columns, *spec.task.columns} == set(rows)
    landing.land(rows, time, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"date=2024-01-0{n}" for n in (5, 6, 7)]


def test_a_recommender_is_trained_on_last_week_and_ranks_better_than_popularity(
    example: Callable[[str], Example],
) -> None:
    shop = example("recommender")
    assert shop.spec.retraining.schedule == "0 4 * * MON"
    shop.land("2024-01-08", "2024-01-24")
    first = shop.train("2024-01-16")
    assert first["outcome"] == "promoted"

    # The sale began on the 15th: who was trained before does not know it.
    second = shop.train("2024-01-23")
    assert second["outcome"] == "promoted", second
    comparison = Comparison.model_validate_json(shop.stored("evaluate", second["run"], "comparison"))
    assert comparison.difference.low > 0.05
    assert set(comparison.metrics) == {"ndcg_at_10", "recall_at_10"}
    for challenger, champion in comparison.metrics.values():
        assert challenger > champion

    champion = Ledger(shop.settings.ledger).champion("recommender")
    assert str(champion.data_cutoff) == "2024-01-22 00:00:00+00:00"
    store = Store(shop.settings.artefacts)
    rows = labelled_rows(
        pd.read_parquet(
            store.fetch(store.read_manifest(second["run"], "collect")["outputs"]["rows"], shop.home / "look")
        ),
        shop.spec,
    )
    assert rows["shown_at"].min() >= pd.Timestamp("2024-01-15", tz="UTC")
    judged = rows.iloc[split_by_time(rows, shop.spec)[2]]
    trained = store.read_manifest(second["run"], "train")["outputs"]
    assert champion.bundle == trained["bundle"]
    against_popularity = performance.compare(
        BUILT_IN["recall_at_10"],
        judged["relevance"].to_numpy(),
        load_bundle(store.fetch_folder(trained["judged"], shop.home / "bundle")).predict(judged),
        judged["views_last_week"].to_numpy(),
        groups=judged["session"].to_numpy(),
        slices={},
        confidence=0.99,
        resamples=200,
        seed=7,
        all_metrics=(),
    )
    assert against_popularity.difference.low > 0.05
    assert against_popularity.challenger.value == pytest.approx(comparison.metrics["recall_at_10"][0])


def test_a_bank_retrains_when_income_or_employment_drifts_or_the_accuracy_falls(
    example: Callable[[str], Example], tmp_path: Path
) -> None:
    bank = example("credit_risk")
    bank.land("2024-02-01", "2024-06-03")
    first = bank.train("2024-06-03")
    assert first["outcome"] == "promoted"
    comparison = Comparison.model_validate_json(bank.stored("evaluate", first["run"], "comparison"))
    women, men = sorted((group for group in comparison.groups if group.column == "sex"), key=lambda group: group.value)
    assert women.challenger.selection_rate.low > men.challenger.selection_rate.high
    assert all(disparity.kept for disparity in comparison.disparities)
    assert "sex" not in bank.spec.features.columns
    quiet = bank.copy(tmp_path / "quiet")
    quiet.land("2024-06-03", "2024-07-12", events={})
    assert answers(quiet.watch("2024-07-12")) == ["no", "no", "no"]

    for event, cause, others in (
        ("income", "income: ks p-value", ("employment_status", "accuracy")),
        ("employment", "employment_status: chi_square p-value", ("income", "accuracy")),
        ("rates", "accuracy 0.", ("income", "employment_status")),
    ):
        changed = bank.copy(tmp_path / event)
        changed.land("2024-06-03", "2024-07-26", events={event: "2024-06-10"})
        decisions = changed.watch("2024-07-26", *([] if event == "income" else ["--decide-only"]))
        assert answers(decisions) == ["no", "no", "no", "yes"], decisions
        last = decisions[-1]
        assert last["window"] == "2024-06-10T00:00Z/2024-06-24T00:00Z"
        assert cause in last["why"]
        assert not [other for other in others if other in last["why"]]
        assert last["request"]["reason"] == ("performance" if event == "rates" else "drift")
        retrained = len(Ledger(changed.settings.ledger).history("credit_risk")) - 1
        assert retrained == (event == "income")


def test_a_fraud_model_waits_for_its_labels_and_few_frauds_are_inconclusive_not_wrong(
    example: Callable[[str], Example], tmp_path: Path
) -> None:
    issuer = example("fraud")
    issuer.land("2024-02-12", "2024-05-07")
    assert issuer.train("2024-05-07")["outcome"] == "promoted"

    # A week without a single fraud says nothing about how frauds are found.
    honest = issuer.copy(tmp_path / "honest")
    honest.land("2024-04-08", "2024-04-15", share=0.0)
    honest.land("2024-05-07", "2024-05-15")
    [decision] = honest.watch("2024-05-15", "--decide-only")
    assert decision["answer"] != "yes"
    assert set(decision["signals"].values()) == {"inconclusive"}
    [record] = Ledger(honest.settings.ledger).decisions("fraud")
    assert "only one class occurs" in record.evidence.performance[0].estimate.note

    # The new pattern began on the 6th of May. For five weeks nobody has told of it.
    issuer.land("2024-05-07", "2024-06-10")
    decisions = issuer.watch("2024-06-09")
    assert answers(decisions) == ["no"] * 4
    assert decisions[-1]["window"].endswith("2024-05-06T00:00Z")
    assert issuer.watch("2024-06-09") == []

    # Then two weeks in a row are bad. The challenger has learned from the newest labels and is shown to be better.
    issuer.land("2024-06-10", "2024-07-03")
    decisions = issuer.watch("2024-06-18")
    assert answers(decisions) == ["no", "yes"]
    assert "in 1 of the last 2 windows" in decisions[0]["why"]
    assert decisions[1]["request"]["as_of"] == "2024-06-17T00:00:00Z"
    ledger = Ledger(issuer.settings.ledger)
    assert len(ledger.history("fraud")) == 2
    assert answers(issuer.watch("2024-07-02")) == ["no", "no"]
    for record in ledger.decisions("fraud"):
        [score] = record.evidence.performance
        assert 0 <= score.estimate.low < score.estimate.value < score.estimate.high <= 1
        assert score.estimate.high - score.estimate.low > 0.1  # some forty frauds a week


@pytest.mark.parametrize(
    ("name", "span", "since"),
    [
        ("recommender", ("2024-01-01", "2024-01-30"), "2024-01-08"),
        ("credit_risk", ("2024-02-01", "2024-09-16"), "2024-06-03"),
        ("fraud", ("2024-02-12", "2024-07-10"), "2024-04-15"),
    ],
)
def test_every_example_has_a_replay_page(
    example: Callable[[str], Example], capsys: Any, name: str, span: tuple[str, str], since: str
) -> None:
    shown = example(name)
    shown.land(*span)
    os.environ["CT_HOME"] = str(shown.home)
    capsys.readouterr()
    assert main(("replay", name, "--proxy", "--from", since, "--json")) == 0
    report = ReplayReport.model_validate_json(capsys.readouterr().out)
    never, every, _ = report.rulers
    worth = 1 if report.greater_is_better else -1
    assert worth * (every.mean - never.mean) > 0
    [policy] = report.policies
    assert policy.retrainings
    assert len(policy.decisions) == len(report.windows)
    page = (shown.home / "replay" / f"{name}.html").read_text()
    assert all(decision.why.split(":")[0] in page for decision in policy.decisions)
    assert "://" not in page.replace("http://www.w3.org", "")
