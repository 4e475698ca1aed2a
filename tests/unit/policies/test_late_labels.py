"""An early look tells estimates from what labels showed, and asks for nothing that labels cannot answer yet."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.decisions import Evidence, RetrainingDecision
from continuous_training.core.history import RetrainingHistory
from continuous_training.core.scores import Estimate, PerformanceScore
from continuous_training.core.window import Window
from continuous_training.policies.estimation import believed_signals, placed
from continuous_training.policies.evidence import labelled_until, signals
from continuous_training.policies.signals import SignalPolicy

WEEK = timedelta(days=7)
END = datetime(2013, 3, 29, tzinfo=UTC)
LATE = 3 * WEEK


def window(end: datetime) -> Window:
    return Window(start=end - WEEK, end=end)


def score(
    line: Any, value: float | None, end: datetime | None = None, *, below: float | None = None, **more: Any
) -> PerformanceScore:
    band = {} if value is None else {"low": value - 0.05, "high": value + 0.05}
    estimate = Estimate(metric="roc_auc", value=value, rows=500, **band)
    given = {"matured": float(line == "final"), **more}
    return PerformanceScore(estimate=estimate, line=line, window=end and window(end), below=below, **given)


def look(now: float | None, final: float | None, *, weeks: int = 0, below: float = 0.7, **more: Any) -> Evidence:
    """Return the evidence of an early look: this estimate, and this final value of a window estimated at 0.8."""
    end, ripe = END + weeks * WEEK, END + weeks * WEEK - LATE
    scores = (score("estimated", now, below=below, **more), score("final", final, ripe), score("estimated", 0.8, ripe))
    return Evidence(model="m", window=window(end), as_of=end, rows=500, performance=scores)


def after(*finals: float) -> tuple[Evidence, RetrainingHistory]:
    """Return the newest of looks whose windows turned out so, and what was known before it."""
    looks = [look(0.8, final, weeks=weeks) for weeks, final in enumerate(finals)]
    return looks[-1], RetrainingHistory(performance=tuple(each for one in looks[:-1] for each in placed(one)))


def decided(evidence: Evidence, history: RetrainingHistory | None = None, **policy: Any) -> RetrainingDecision:
    return SignalPolicy(**policy).decide(evidence, history or RetrainingHistory())


def states(evidence: Evidence, history: RetrainingHistory | None = None) -> dict[str, str]:
    return {each.name: each.state for each in believed_signals(evidence, history or RetrainingHistory())}


def test_lines_without_a_limit_are_no_signals() -> None:
    assert states(look(0.8, 0.8)) == {"estimated roc_auc below 0.7": "quiet", "roc_auc estimate": "quiet"}
    twin = look(0.6, 0.8, rule="roc_auc")  # a rule may be called like the metric, which then has a line without a limit
    assert states(twin)["roc_auc"] == "fired"
    patient = twin.model_copy(update={"performance": tuple(
        each.model_copy(update={"windows": 2}) if each.limited else each for each in twin.performance
    )})  # fmt: skip
    assert decided(patient).answer == "no"


@pytest.mark.parametrize(
    ("finals", "state", "answer"),
    [
        ((0.8,), "quiet", "no"),
        ((0.6,), "quiet", "no"),
        ((0.6, 0.6), "fired", "yes"),
        ((0.6, 0.8, 0.6), "fired", "yes"),
        ((0.6, 0.6, 0.8, 0.8), "fired", "yes"),
        ((0.6, 0.6, 0.8, 0.8, 0.8), "quiet", "no"),
    ],
)
def test_what_labels_showed_since_decides_whether_an_estimate_counts(
    finals: tuple[float, ...], state: str, answer: str
) -> None:
    evidence, history = after(*finals)
    off = state == "fired"
    assert states(evidence, history) == {
        "estimated roc_auc below 0.7": "inconclusive" if off else "quiet", "roc_auc estimate": state,
    }  # fmt: skip
    assert decided(evidence, history).answer == answer


def test_an_estimate_that_is_off_cannot_fire_however_low_it_is() -> None:
    evidence, history = after(0.6, 0.6)
    low = evidence.model_copy(update={"performance": (score("estimated", 0.1, below=0.7), *evidence.performance[1:])})
    decision = decided(low, history, advise=["roc_auc estimate"])
    assert decision.answer == "inconclusive"
    assert "estimated roc_auc could not be measured: switched off: " in decision.why


def test_a_slice_is_believed_when_both_it_and_the_whole_are() -> None:
    def where(part: str, *finals: float) -> tuple[Evidence, RetrainingHistory]:
        evidence, history = after(*finals)
        sliced = evidence.model_copy(update={"performance": tuple(
            each.model_copy(update={"slice": part}) for each in evidence.performance
        )})  # fmt: skip
        return sliced, history.model_copy(update={"performance": tuple(
            each.model_copy(update={"slice": part}) for each in history.performance
        )})  # fmt: skip

    own, before = where("carrier=a", 0.6, 0.6)
    assert states(own, before) == {"estimated roc_auc below 0.7": "inconclusive", "roc_auc estimate": "inconclusive"}
    whole, known = after(0.6, 0.6)
    other = score("estimated", 0.6, below=0.7, slice="carrier=b")
    both = whole.model_copy(update={"performance": (other, *whole.performance[1:])})
    assert states(both, known) == {"estimated roc_auc below 0.7": "inconclusive", "roc_auc estimate": "fired"}


def test_all_is_asked_of_rules_and_not_of_the_check_of_an_estimator() -> None:
    evidence, history = after(0.8, 0.8)
    low = evidence.model_copy(update={"performance": (score("estimated", 0.6, below=0.7), *evidence.performance[1:])})
    assert decided(low, history, when="all").answer == "yes"
    named = decided(low, history, when=[["estimated roc_auc below 0.7", "roc_auc estimate"]])
    assert named.answer == "no"
    assert {each.name for each in decided(low, history, when="all").signals} == {
        "estimated roc_auc below 0.7", "roc_auc estimate",
    }  # fmt: skip


def test_a_look_whose_newest_labels_the_champion_knows_asks_for_nothing() -> None:
    evidence = look(0.6, 0.8)
    assert labelled_until(evidence) == END - LATE
    known, open_to = RetrainingHistory(champion_cutoff=END - LATE), RetrainingHistory(champion_cutoff=END - LATE - WEEK)
    decision = decided(evidence, known)
    assert decision.answer == "no"
    assert decision.why.endswith("up to 2013-03-08 00:00Z and no newer labels were known at this look")
    assert SignalPolicy().began(evidence, known) == {}
    assert decided(evidence, open_to).answer == "yes"
    assert SignalPolicy().began(evidence, open_to) == {"performance": "performance:2013-03-29T00:00:00Z"}


def test_age_is_counted_to_the_newest_labels_for_no_retraining_makes_data_younger() -> None:
    aged = RetrainingHistory(champion_cutoff=END - LATE - 2 * WEEK)
    assert decided(look(0.8, 0.8), aged, max_age="15 days").answer == "no"
    decision = decided(look(0.8, 0.8), aged, max_age="14 days")
    assert decision.answer == "yes"
    assert "14 days before the newest with labels" in decision.why


def test_the_text_of_a_signal_names_the_window_of_its_labels() -> None:
    evidence = look(0.8, 0.6)
    limited = tuple(each.model_copy(update={"below": 0.7}) for each in evidence.performance)
    texts = [each.text for each in signals(evidence.model_copy(update={"performance": limited}))]
    assert any("roc_auc of the window that ended 2013-03-08 00:00Z 0.6 below 0.7" in text for text in texts)


@given(st.lists(st.sampled_from([0.6, 0.8, None]), min_size=1, max_size=12))
def test_a_history_in_json_decides_the_same(finals: list[float | None]) -> None:
    evidence, history = after(*finals)  # type: ignore[arg-type]
    again = Evidence.model_validate_json(evidence.model_dump_json())
    known = RetrainingHistory.model_validate_json(history.model_dump_json())
    assert decided(again, known) == decided(evidence, history)


@given(st.lists(st.sampled_from([0.6, 0.8, None]), max_size=4))
def test_without_an_estimated_line_the_signals_are_those_of_the_window(values: list[float | None]) -> None:
    scores = tuple(score("final", value, below=0.7, rule=f"r{number}") for number, value in enumerate(values))
    evidence = Evidence(model="m", window=window(END), as_of=END + LATE, rows=500, performance=scores)
    assert believed_signals(evidence, after(0.6, 0.6)[1]) == signals(evidence)
    assert labelled_until(evidence) == END
