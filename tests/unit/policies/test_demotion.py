"""A signal whose precision is shown to be poor is written down and not followed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from continuous_training.core.decisions import Evidence, RetrainingDecision, Signal
from continuous_training.core.history import OpenEpisode, RetrainingHistory
from continuous_training.core.retrainings import Retraining
from continuous_training.core.scores import DriftScore
from continuous_training.core.window import Window
from continuous_training.policies.signals import SignalPolicy

END = datetime(2013, 3, 8, tzinfo=UTC)


def fired(*names: str) -> Evidence:
    """Return evidence of one window in which detectors a and b were measured and these fired."""
    drift = tuple(
        DriftScore(
            detector=name, column="wind", measure="statistic", threshold=0.5, reference_rows=1000, current_rows=500,
            statistic=0.9 if name in names else 0.1,
        )
        for name in ("a", "b")
    )  # fmt: skip
    window = Window(start=END - timedelta(days=7), end=END)
    return Evidence(model="m", window=window, as_of=END + timedelta(days=1), rows=500, drift=drift)


def refused(times: int, name: str = "a", *, counts: bool = True) -> tuple[Retraining, ...]:
    """Return so many retrainings because of a signal, none of which was worth it."""
    signal = Signal(name=name, kind="drift", state="fired", text="", counts=counts)
    return tuple(
        Retraining(run_key=f"{n:064x}", until=END, reason="drift", asked=True, promoted=False, signals=(signal,))
        for n in range(times)
    )


def decided(evidence: Evidence, retrainings: tuple[Retraining, ...], **policy: Any) -> RetrainingDecision:
    return SignalPolicy(**policy).decide(evidence, RetrainingHistory(retrainings=retrainings))


def test_nothing_is_demoted_unless_the_policy_says_so() -> None:
    assert decided(fired("a"), refused(50)).answer == "yes"


@pytest.mark.parametrize(("judged", "answer"), [(8, "yes"), (9, "no")])
def test_a_signal_is_demoted_when_the_whole_interval_is_below(judged: int, answer: str) -> None:
    assert decided(fired("a"), refused(judged), demote_below=0.3).answer == answer


def test_the_demoted_signal_is_written_down_with_why_and_others_go_on() -> None:
    decision = decided(fired("a", "b"), refused(9), demote_below=0.3)
    assert decision.answer == "yes"
    assert decision.reason.text == "wind: b 0.9 above 0.5"
    by_name = {signal.name: signal for signal in decision.signals}
    assert (by_name["a"].state, by_name["a"].counts, by_name["b"].counts) == ("fired", False, True)
    assert by_name["a"].text == (
        "wind: a 0.9 above 0.5; demoted to advise, for 0 of 9 retrainings that followed it were worth it"
    )


def test_retrainings_that_did_not_follow_it_do_not_count() -> None:
    assert decided(fired("a"), refused(50, counts=False), demote_below=0.3).answer == "yes"
    assert decided(fired("a"), refused(50, "b"), demote_below=0.3).answer == "yes"


def test_when_all_are_demoted_the_answer_says_that_none_counts_and_their_episode_ends() -> None:
    history = RetrainingHistory(
        retrainings=refused(9) + refused(9, "b"),
        open_episodes=(OpenEpisode(kind="drift", name="drift:x", opened_at=END),),
    )
    policy = SignalPolicy(demote_below=0.3)
    decision = policy.decide(fired("a", "b"), history)
    assert decision.answer == "no"
    assert "no signal counts" in decision.why
    assert policy.began(fired("a", "b"), history) == {}
    assert set(policy.ended(fired("a", "b"), history)) == {"drift"}


def test_a_group_with_a_demoted_signal_no_longer_fires() -> None:
    assert decided(fired("a", "b"), (), when=[["a", "b"]], demote_below=0.3).answer == "yes"
    assert decided(fired("a", "b"), refused(9), when=[["a", "b"]], demote_below=0.3).answer == "inconclusive"


@pytest.mark.parametrize("limit", [0, 1, -0.1])
def test_a_limit_is_a_share(limit: float) -> None:
    with pytest.raises(ValidationError, match="demote_below"):
        SignalPolicy(demote_below=limit)
