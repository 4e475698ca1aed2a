"""A window that is read in parts is judged as one that is read whole."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import small_deployment
from continuous_training.core.decisions import Evidence
from continuous_training.core.errors import DataInvalid
from continuous_training.core.window import Window
from continuous_training.sources.parquet import Parquet
from continuous_training.steps.parts import Sample
from small_deployment import Deployment, day

WHOLE: dict[str, Any] = {"reference": "40 days", "current": "10 days", "every": "10 days"}
DRIFT = [
    {"kind": "psi", "columns": ["wind"], "threshold": 0.25},
    {"kind": "ks", "method": "asymptotic"},
    {"kind": "missing"},
    {"kind": "psi", "name": "by_error", "columns": ["error"]},
    {"kind": "page_hinkley"},
    {"kind": "classifier"},
]
PERFORMANCE = [{"metric": "roc_auc", "below": 0.6}]


def model(**window: Any) -> Any:
    return small_deployment.spec(drift=DRIFT, performance=PERFORMANCE, window=WHOLE | {"anchor": day(0)} | window)


def evidence(deployment: Deployment, spec: Any) -> Evidence:
    _, results = deployment.watch(spec)
    return Evidence.model_validate_json(deployment.store.get(results["score"].outputs["evidence"]))


@pytest.mark.parametrize("drift_after", [None, 40])
def test_parts_give_the_same_scores_lines_and_defects_as_the_whole(
    champion: Deployment, drift_after: int | None, tmp_path: Any
) -> None:
    champion.land(55, **({} if drift_after is None else {"drift_after": drift_after}))
    whole = evidence(champion.copy(tmp_path / "whole"), model())
    parts = evidence(champion.copy(tmp_path / "parts"), model(part="2 days"))
    assert [score.exceeded for score in whole.drift].count(True) >= (0 if drift_after is None else 2)
    for one, other in zip(parts.drift, whole.drift, strict=True):
        assert (one.detector, one.column, one.exceeded, one.current_rows) == (
            other.detector,
            other.column,
            other.exceeded,
            other.current_rows,
        )
        assert one.statistic == pytest.approx(other.statistic)
    assert (parts.rows, parts.performance, parts.defects) == (whole.rows, whole.performance, whole.defects)


def test_no_more_than_a_part_is_read_at_a_time(champion: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    champion.land(55)
    asked: list[Window] = []
    read = Parquet.read

    def noted(self: Parquet, window: Window, **how: Any) -> pd.DataFrame:
        asked.append(window)
        return read(self, window, **how)

    monkeypatch.setattr(Parquet, "read", noted)
    seen = evidence(champion, model(part="2 days"))
    parts = [(day(40 + 2 * i), day(42 + 2 * i)) for i in range(5)]
    assert [(window.start, window.end) for window in asked] == parts
    assert seen.rows == 500


def test_a_fault_in_one_part_quarantines_the_window(champion: Deployment) -> None:
    def broken(rows: pd.DataFrame) -> pd.DataFrame:
        return rows.assign(
            wind=rows["wind"].where((rows["at"] < day(45)) | (rows["at"] >= day(50)), rows["wind"] * 1000)
        )

    champion.land(55, broken)
    seen = evidence(champion, model(part="5 days"))
    assert ("unit_change", "wind") in {(defect.kind, defect.column) for defect in seen.defects}


def test_a_window_without_rows_is_read_in_parts_too(champion: Deployment) -> None:
    champion.land(55, lambda rows: rows[(rows["at"] < day(40)) | (rows["at"] >= day(50))])
    seen = evidence(champion, model(part="2 days"))
    assert seen.rows == 0
    assert not any(score.exceeded for score in seen.drift)


def test_dask_workers_see_what_one_process_sees(champion: Deployment, tmp_path: Any) -> None:
    champion.land(55, drift_after=40)
    alone = evidence(champion.copy(tmp_path / "alone"), model(part="2 days"))
    trainer = {**small_deployment.TRAINER, "engine": {"kind": "dask", "workers": 2}}
    spec = model(part="2 days").model_dump(mode="json") | {"trainer": trainer}
    together = evidence(champion.copy(tmp_path / "together"), small_deployment.spec(**spec))
    assert together == alone


def test_what_is_wrong_with_the_data_is_said_from_a_worker_too(champion: Deployment) -> None:
    champion.land(55, lambda rows: rows.drop(columns="wind"))
    trainer = {**small_deployment.TRAINER, "engine": {"kind": "dask", "workers": 1}}
    spec = model(part="5 days").model_dump(mode="json") | {"trainer": trainer}
    with pytest.raises(DataInvalid, match="has no column 'wind'"):
        evidence(champion, small_deployment.spec(**spec))


@pytest.mark.parametrize(
    ("window", "more", "told"),
    [
        ({"part": "3 days"}, {}, "current, 10 days, is not a multiple of part, 3 days"),
        ({"part": "0 days"}, {}, "part"),
        ({"part": "12 hours"}, {}, r"window\.part: 12 hours is not whole days, as triage judges them"),
    ],
)
def test_a_part_that_does_not_fit_is_refused(window: Any, more: Any, told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        small_deployment.spec(window=WHOLE | window, **more)


def test_without_triage_parts_may_be_shorter_than_a_day() -> None:
    assert small_deployment.spec(window=WHOLE | {"part": "12 hours"}, triage=None).window.part


@given(st.lists(st.integers(0, 500), min_size=1, max_size=8), st.integers(10, 200))
def test_a_sample_is_in_order_and_no_larger_than_allowed_and_no_smaller_than_half(sizes: list[int], most: int) -> None:
    ends = np.cumsum(sizes)
    frames = [pd.DataFrame({"x": np.arange(end - size, end)}) for size, end in zip(sizes, ends, strict=True)]
    sample, *others = [Sample.of(frame, most) for frame in frames]
    for other in others:
        sample += other
    kept = sample.rows["x"].tolist()
    assert kept == sorted(set(kept))
    assert len(kept) <= most
    assert len(kept) >= min(sum(sizes), sum(size // sample.step for size in sizes))
    assert sample.step == 1 or sum(-(-size // (sample.step // 2)) for size in sizes) > most
