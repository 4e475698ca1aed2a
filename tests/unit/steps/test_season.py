"""A drift that comes every season retrains nothing; what comes on top of it does."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import small_deployment
from continuous_training.core.decisions import Evidence
from continuous_training.core.run import StepResult
from continuous_training.replay.walk import walk
from continuous_training.sources import Parquet
from small_deployment import Deployment, day

EVERY_FORTY_DAYS = {"triage": {"season": "40 days"}}
PLAIN, SEASONAL = small_deployment.spec(), small_deployment.spec(**EVERY_FORTY_DAYS)


def stormy(rows: pd.DataFrame, first: int, more: float = 4.0, *, where: object = True) -> pd.DataFrame:
    """Return the rows with more wind in ten days from day `first` on."""
    inside = (rows["at"] >= day(first)) & (rows["at"] < day(first + 10)) & where
    return rows.assign(wind=rows["wind"] + more * inside)


def every_forty_days(rows: pd.DataFrame) -> pd.DataFrame:
    return stormy(stormy(rows, 0), 40)


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give a deployment whose wind rises every forty days, with a champion of the first forty; nobody may change it."""
    deployment = Deployment(tmp_path_factory.mktemp("seasons") / "home")
    deployment.land(55, every_forty_days)
    _, results = deployment.train(PLAIN, as_of=day(41))
    assert results["promote"].facts["outcome"] == "promoted"
    return deployment


@pytest.fixture
def seasonal(seasons: Deployment, tmp_path: Any) -> Deployment:
    return seasons.copy(tmp_path / "home")


def evidence(deployment: Deployment, results: dict[str, StepResult]) -> Evidence:
    return Evidence.model_validate_json(deployment.store.get(results["score"].outputs["evidence"]))


def test_without_a_season_the_yearly_wind_asks_for_a_retraining(seasonal: Deployment) -> None:
    _, results = seasonal.watch(PLAIN)
    (score,) = evidence(seasonal, results).drift
    assert (score.exceeded, score.season, score.seasonal, score.note) == (True, None, False, "")
    assert results["decide"].facts["answer"] == "yes"


def test_with_a_season_the_yearly_wind_asks_for_nothing_and_says_why(seasonal: Deployment) -> None:
    _, results = seasonal.watch(SEASONAL)
    (score,) = evidence(seasonal, results).drift
    assert (score.exceeded, score.seasonal, score.note) == (False, True, "")
    assert score.value is not None
    assert score.season is not None
    assert score.value > 1.0 > score.season
    facts = results["decide"].facts
    assert (facts["answer"], facts["signals"]) == ("no", {"psi": "quiet"})
    (signal,) = seasonal.ledger.decisions("m")[0].decision.signals
    assert f"above 1, but as in the same season before ({score.season:.3g})" in signal.text


def test_a_change_on_top_of_the_season_still_asks_for_a_retraining(seasonal: Deployment) -> None:
    seasonal.land(55, lambda rows: stormy(every_forty_days(rows), 40))
    _, results = seasonal.watch(SEASONAL)
    (score,) = evidence(seasonal, results).drift
    assert (score.exceeded, score.seasonal) == (True, False)
    assert score.season is not None
    assert score.season > 1.0
    assert results["decide"].facts["answer"] == "yes"


def test_a_replay_goes_by_the_season_as_live_does(tmp_path: Any) -> None:
    answers = {}
    for name, spec in (("plain", PLAIN), ("seasonal", SEASONAL)):
        deployment = Deployment(tmp_path / name)
        deployment.land(55, every_forty_days)
        walk(spec, deployment.settings, start=day(40), end=day(50))
        answers[name] = [record.decision.answer for record in deployment.ledger.decisions("m")]
    assert answers == {"plain": ["yes"], "seasonal": ["no"]}


@pytest.mark.parametrize(
    ("change", "season", "why"),
    [
        (lambda rows: rows, "50 days", "2023-12-22T00:00Z/2024-01-01T00:00Z: there are no rows"),
        (
            lambda rows: rows[(rows["at"] >= day(10)) | (rows.index % 4 == 0)],
            "40 days",
            "2024-01-01T00:00Z/2024-01-11T00:00Z: it is quarantined: ",
        ),
        (lambda rows: rows[(rows["at"] >= day(10)) | (rows.index < 4)], "40 days", "it is quarantined: "),
    ],
    ids=["before the data", "broken", "few"],
)
def test_a_season_that_says_nothing_changes_nothing_and_says_why(
    champion: Deployment, change: Any, season: str, why: str
) -> None:
    champion.land(55, lambda rows: change(stormy(rows, 40)))
    _, results = champion.watch(small_deployment.spec(triage={"season": season}))
    (score,) = evidence(champion, results).drift
    assert (score.exceeded, score.season, score.seasonal) == (True, None, False)
    assert score.note.startswith("not compared with the season before, ")
    assert why in score.note
    assert results["decide"].facts["answer"] == "yes"
    assert why in results["decide"].facts["why"]


def test_a_season_of_too_few_rows_changes_nothing_and_says_why(champion: Deployment) -> None:
    champion.land(55, lambda rows: stormy(rows[(rows["at"] >= day(10)) | (rows.index % 10 == 0)], 40))
    _, results = champion.watch(small_deployment.spec(triage={"season": "40 days", "kinds": ["null_burst"]}))
    (score,) = evidence(champion, results).drift
    assert (score.exceeded, score.season) == (True, None)
    assert "the reference window has 50 rows with a value; at least 100 are needed" in score.note


def test_a_season_that_cannot_be_read_as_now_changes_nothing_and_says_why(champion: Deployment) -> None:
    champion.land(55, lambda rows: stormy(rows, 40).assign(late=rows["late"] + 0.5 * (rows["at"] < day(5))))
    _, results = champion.watch(SEASONAL)
    (score,) = evidence(champion, results).drift
    assert (score.exceeded, score.season) == (True, None)
    assert "late" in score.note.removeprefix("not compared with the season before")


def test_the_season_is_read_only_when_something_drifted_and_never_for_a_broken_window(
    champion: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = []
    real = Parquet.read

    def read(self: Parquet, window: Any, **rest: Any) -> pd.DataFrame:
        reads.append(window.start)
        return real(self, window, **rest)

    monkeypatch.setattr(Parquet, "read", read)
    changes = {
        "quiet": lambda rows: rows,
        "broken": lambda rows: rows.assign(wind=rows["wind"].where(rows["at"] < day(40), rows["wind"] * 1000)),
        "drifted": lambda rows: stormy(rows, 40),
    }
    windows = {}
    for name, change in changes.items():
        deployment = champion.copy(champion.home.parent / name)
        deployment.land(55, change)
        reads.clear()
        deployment.watch(SEASONAL)
        windows[name] = set(reads)
    assert windows == {"quiet": {day(40)}, "broken": {day(40)}, "drifted": {day(40), day(0)}}


def test_each_value_of_a_column_has_a_season_of_its_own(champion: Deployment) -> None:
    def one_in_b_and_both_now(rows: pd.DataFrame) -> pd.DataFrame:
        return stormy(stormy(rows, 0, where=rows["carrier"] == "b"), 40)

    champion.land(55, one_in_b_and_both_now)
    drift = [{"kind": "psi", "columns": ["wind"], "threshold": 1.0, "by": "carrier"}]
    _, results = champion.watch(small_deployment.spec(drift=drift, **EVERY_FORTY_DAYS))
    scores = {score.slice: score for score in evidence(champion, results).drift}
    assert {where: score.exceeded for where, score in scores.items()} == {"carrier=a": True, "carrier=b": False}
    assert scores["carrier=b"].seasonal
    assert results["decide"].facts["signals"] == {"psi": "fired"}
    assert "wind where carrier=a: psi" in results["decide"].facts["why"]


def test_the_error_of_a_season_is_that_of_the_same_champion(deployment: Deployment) -> None:
    def labels_turn(rows: pd.DataFrame) -> pd.DataFrame:
        turned = (rows["at"] < day(10)) | (rows["at"] >= day(40))
        return rows.assign(late=rows["late"].where(~turned, 1 - rows["late"]))

    drift = [{"kind": "page_hinkley"}, {"kind": "ks", "columns": ["error"]}]
    deployment.land(55)
    deployment.train(small_deployment.spec(drift=drift), as_of=day(41))
    deployment.land(55, labels_turn)
    fired, quiet = (
        deployment.copy(deployment.home.parent / name).watch(small_deployment.spec(drift=drift, **changes))[1]
        for name, changes in (("without", {}), ("with", EVERY_FORTY_DAYS))
    )
    assert fired["decide"].facts["signals"] == {"page_hinkley": "fired", "ks": "fired"}
    assert quiet["decide"].facts["signals"] == {"page_hinkley": "quiet", "ks": "quiet"}


def test_a_drift_of_one_region_is_found_with_by_and_not_without(tmp_path: Any) -> None:
    def far_away(rows: pd.DataFrame) -> pd.DataFrame:
        rows = rows.assign(carrier=rows["carrier"].where(np.arange(len(rows)) % 10 != 0, "far"))
        return stormy(rows, 40, where=rows["carrier"] == "far")

    answers = {}
    for name, more in (("without", {}), ("with", {"by": "carrier", "min_rows": 40})):
        spec = small_deployment.spec(drift=[{"kind": "psi", "columns": ["wind"], "threshold": 1.0, **more}])
        deployment = Deployment(tmp_path / name)
        deployment.land(55, far_away)
        deployment.train(spec, as_of=day(41))
        _, results = deployment.watch(spec)
        answers[name] = results["decide"].facts["answer"], results["decide"].facts["why"]
    assert [answer for answer, _ in answers.values()] == ["no", "yes"]
    assert "wind where carrier=far: psi" in answers["with"][1]
    assert "1 of 3 slices beyond" in answers["with"][1]
