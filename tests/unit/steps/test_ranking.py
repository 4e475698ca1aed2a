"""A ranking goes through all steps, and no step cuts a group."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import small_deployment
from continuous_training.core.errors import DataInvalid
from continuous_training.steps.prepare import group_sizes, labelled_rows, split_by_time
from small_deployment import Deployment

TASK = {"kind": "ranking", "label": "late", "event_time": "at", "label_delay": "1 day", "group": "trip"}
SPEC = small_deployment.spec(
    task=TASK,
    trainer={"kind": "ranking", "rounds": 8, "threads": 1},
    drift=[{"kind": "page_hinkley", "signal": "error", "min_rows": 20}],
    performance=[{"metric": "ndcg_at_10", "below": 0.5}],
    promotion={"metric": "ndcg_at_10", "rows": 100, "resamples": 100, "slices": ["carrier"], "floor": 0.6},
)


def in_trips(rows: pd.DataFrame) -> pd.DataFrame:
    """Make of every 50 rows five trips that go on at the same time; the two windiest rows of a trip are relevant."""
    number = np.arange(len(rows))
    rows = rows.assign(trip=[f"trip {n}" for n in number // 50 * 5 + number % 5])
    rank = rows.groupby("trip")["wind"].rank(ascending=False)
    return rows.assign(late=np.select([rank == 1, rank == 2], [2, 1], 0))


def test_a_ranking_goes_through_all_steps(deployment: Deployment) -> None:
    deployment.land(75, in_trips)
    _, first = deployment.train(SPEC, as_of=small_deployment.day(41))
    assert first["promote"].facts["outcome"] == "promoted", first["evaluate"].facts
    assert first["prepare"].outputs.keys() >= {"groups"}
    assert first["prepare"].facts["train"] == 1400
    _, watched = deployment.watch(SPEC)
    assert watched["decide"].facts["answer"] == "no", watched["decide"].facts
    assert set(watched["decide"].facts["signals"].values()) == {"quiet"}
    _, second = deployment.train(SPEC, as_of=small_deployment.day(61))
    assert second["evaluate"].facts["champion"] > 0.6


def test_the_same_rows_give_the_same_bundle(tmp_path: Any) -> None:
    bundles = set()
    for name in ("a", "b"):
        deployment = Deployment(tmp_path / name)
        deployment.land(45, in_trips)
        bundles.add(deployment.train(SPEC, until="train")[1]["train"].outputs["bundle"])
    assert len(bundles) == 1


def test_a_champion_that_ranks_badly_is_noticed(deployment: Deployment) -> None:
    def turned(rows: pd.DataFrame) -> pd.DataFrame:
        rows = in_trips(rows)
        later = rows["at"] >= pd.Timestamp(small_deployment.day(40))
        return rows.assign(wind=rows["wind"].where(~later, -rows["wind"]))

    deployment.land(75, turned)
    deployment.train(SPEC, as_of=small_deployment.day(41))
    _, watched = deployment.watch(SPEC)
    assert watched["decide"].facts["answer"] == "yes"
    assert set(watched["decide"].facts["signals"].values()) == {"fired"}


def test_a_window_with_one_group_cannot_be_trained_on_and_says_so(deployment: Deployment) -> None:
    deployment.land(45, lambda rows: in_trips(rows).assign(trip="the only one"))
    with pytest.raises(
        DataInvalid, match=r"2000 labelled rows have too few groups by 'trip' .* a longer reference window"
    ):
        deployment.train(SPEC, until="train")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["a", "b", "c", "d", "e", None]), min_size=1, max_size=40))
def test_no_group_is_cut_and_none_that_is_trained_on_ended_after_one_that_is_judged(trips: list[str | None]) -> None:
    number = np.arange(len(trips))
    rows = pd.DataFrame({"at": number, "wind": number * 1.0, "carrier": "a", "late": number % 3, "trip": trips})
    kept = labelled_rows(rows, SPEC)
    assert len(kept) == sum(trip is not None for trip in trips)
    assert group_sizes(kept, "trip").tolist() == [len(part) for _, part in kept.groupby("trip", sort=False)]
    parts = [kept.iloc[part] for part in split_by_time(kept, SPEC)]
    assert sum(map(len, parts)) == len(kept)
    for before, after in pairwise(parts):
        assert not set(before["trip"]) & set(after["trip"])
        ends = [part.groupby("trip")["at"].max() for part in (before, after)]
        assert all(earlier < later for earlier in ends[0] for later in ends[1])
