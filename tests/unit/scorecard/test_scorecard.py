"""A scorecard tells good triggers from noisy ones, and a noisy one is demoted when the policy says so."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from continuous_training.core.decisions import RetrainingDecision, Signal
from continuous_training.core.retrainings import Precision, Retraining
from continuous_training.core.scores import Estimate, ShadowScore
from continuous_training.ledger import DecisionRecord
from continuous_training.policies import RegretPolicy, SignalPolicy
from continuous_training.replay import replay
from continuous_training.scorecard import Scorecard, scorecard
from continuous_training.spec import load_spec
from ledger_parts import a_decision, key, moment
from small_deployment import Deployment, day

Ct = Callable[..., Any]


def card(ct: Ct) -> Scorecard:
    return Scorecard.model_validate_json(ct("scorecard", "m", "--json").out)


# -- lived through ---------------------------------------------------------------------------------------------------


def test_a_noisy_detector_is_unmasked_and_demoted_and_the_change_is_still_found(ct: Ct, deployment: Deployment) -> None:
    found = card(ct)
    low, noisy = found.signals
    assert (low.role, noisy.role) == ("counts", "demoted")
    assert noisy.fired == found.windows == 12
    assert (noisy.precision.worth_it, noisy.precision.interval[1] < 0.6) == (0, True)
    assert noisy.asked == noisy.precision.judged == 3
    assert low.precision.worth_it == 2
    assert (low.missed, low.chances, low.harmful) == (0, 2, 0)
    assert low.seconds > 0
    after = [one for one in deployment.ledger.decisions("m", 100) if one.decision.window.end > day(70)]
    assert {one.decision.answer for one in after if one.decision.window.end <= day(100)} == {"no"}
    [written] = [signal for signal in after[0].decision.signals if signal.name == "noisy"]
    assert (written.state, written.counts) == ("fired", False)
    assert "demoted to advise, for 0 of 3 retrainings that followed it were worth it" in written.text
    assert {one.decision.reason.kind for one in after if one.decision.answer == "yes"} == {"performance"}


def test_every_retraining_is_shown_with_its_label_and_gain(ct: Ct, deployment: Deployment) -> None:
    found = card(ct)
    assert [one.label for one in found.retrainings if one.promoted] == ["worth it", "worth it"]
    assert {one.label for one in found.retrainings if not one.promoted} == {"neutral"}
    best = found.retrainings[-1]
    assert best.fired == ("low", "noisy")
    assert best.gain.low > 0.2
    said = ct("scorecard", "m")
    assert (said.code, said.err) == (0, "")
    assert "m: 12 windows, 2024-02-10 to 2024-06-09; 6 retrainings: 2 worth it, 4 neutral" in said.out
    assert "0% (0% to 56%)" in said.out


def test_decisions_that_demote_are_the_same_live_and_in_a_replay(deployment: Deployment) -> None:
    spec = load_spec(deployment.home / "models" / "m.yaml")
    told = {"start": day(40), "end": day(160), "proxy": False, "jobs": 1, "say": str}
    [own] = replay(spec, {"own": spec}, deployment.settings, **told).policies
    assert list(own.decisions) == [one.decision for one in reversed(deployment.ledger.decisions("m", 100))]


def test_a_limit_that_never_fires_is_replaced_by_one_that_finds_the_change(ct: Ct, later: Deployment) -> None:
    file = later.home / "better.yaml"
    said = ct("scorecard", "m", "--suggest", str(file), "--json")
    assert said.code == 0
    told = json.loads(said.out)
    [low] = told["suggestions"]
    assert (low["present"], low["present_skill"]) == (0.01, 0.0)
    assert 0.01 < low["suggested"] < 0.9
    assert low["skill"] > 0.5
    assert yaml.safe_load(file.read_text())["performance"] == [
        {"name": "low", "metric": "roc_auc", "below": low["suggested"]}
    ]
    present, suggested = told["replay"]["policies"]
    assert (present["retrainings"], bool(suggested["promoted"])) == ([], True)
    assert suggested["mean"] > present["mean"]
    again = ct("scorecard", "m", "--suggest", str(file))
    assert "m: a retraining would have been worth it after" in again.out
    assert [line.split()[0] for line in again.out.splitlines() if line][:3] == ["m:", "signal", "low"]
    assert "\nsuggested " in again.out


def test_what_is_missing_is_said(ct: Ct, deployment: Deployment) -> None:
    said = ct("scorecard", "stranger")
    assert (said.code, said.out) == (2, "")
    assert "no model is called 'stranger'" in said.err
    (deployment.home / "ledger.db").unlink()
    said = ct("scorecard", "m")
    assert (said.code, said.out) == (2, "")
    assert "no window of m was decided yet" in said.err
    assert "ct run watch m" in said.err


def test_seconds_of_a_training_whose_store_is_gone_are_not_known(ct: Ct, deployment: Deployment) -> None:
    shutil.rmtree(deployment.home / "artefacts")
    assert {one.seconds for one in card(ct).retrainings} == {0.0}


# -- pure ------------------------------------------------------------------------------------------------------------


def record(day_: int, *, shadow: ShadowScore | None = None, **states: str) -> DecisionRecord:
    decision, evidence = a_decision(day_)
    signals = tuple(Signal(name=name, kind="drift", state=state, text="") for name, state in states.items())
    told = RetrainingDecision.model_validate(decision.model_dump() | {"signals": signals})
    return DecisionRecord(
        seq=day_,
        decision=told,
        evidence=evidence.model_copy(update={"shadow": shadow}),
        recorded_at=moment(day_),
        hash="",
    )


def retraining(day_: int, gain: float | None, *, asked: bool = True, **states: str) -> Retraining:
    gains = (
        [Estimate(metric="roc_auc", value=gain, low=gain - 0.01, high=gain + 0.01, rows=100)]
        if gain is not None
        else []
    )
    return Retraining(
        run_key=key(day_),
        until=moment(day_),
        reason="drift" if asked else "schedule",
        asked=asked,
        promoted=gain is not None,
        signals=tuple(Signal(name=name, kind="drift", state=state, text="") for name, state in states.items()),
        gains=tuple(gains),
    )


def made(records: list[DecisionRecord], retrainings: list[Retraining], policy: Any = None) -> Scorecard:
    policy = policy or SignalPolicy(judged_over=1)
    return scorecard("m", "roc_auc", policy, records, retrainings, {one.run_key: 2.0 for one in retrainings})


def test_each_number_of_a_signal_is_counted_from_its_own_windows() -> None:
    records = [
        record(7, a="fired", b="quiet"),
        record(14, a="quiet", b="fired"),
        record(21, a="fired", b="inconclusive"),
    ]
    trained = [
        retraining(7, 0.1, a="fired", b="quiet"),
        retraining(14, -0.1, asked=False, a="quiet", b="fired"),
        retraining(21, None, a="fired", b="inconclusive"),
    ]
    a, b = made(records, trained).signals
    assert (a.fired, a.asked, a.precision, a.harmful, a.missed, a.chances, a.seconds) == (
        2, 2, Precision(worth_it=1, judged=2), 0, 0, 1, 4.0,
    )  # fmt: skip
    assert (b.fired, b.asked, b.precision, b.harmful, b.missed, b.chances, b.seconds) == (
        1, 0, Precision(worth_it=0, judged=1), 1, 1, 1, 0.0,
    )  # fmt: skip


def test_a_window_whose_shadow_gained_is_missed_by_a_quiet_signal_unless_a_retraining_showed_otherwise() -> None:
    gained = ShadowScore(gain=0.1, error=0.01, rows=100, trained_until=moment(0))
    chance = ShadowScore(gain=0.1, error=0.06, rows=100, trained_until=moment(0))
    records = [
        record(7, shadow=gained, a="quiet"),
        record(14, shadow=chance, a="quiet"),
        record(21, shadow=gained, a="quiet"),
    ]
    [a] = made(records, []).signals
    assert (a.missed, a.chances) == (2, 2)
    [a] = made(records, [retraining(21, 0.0, a="quiet")]).signals
    assert (a.missed, a.chances) == (1, 1)


def test_roles_follow_the_policy() -> None:
    records = [record(7, a="fired", b="fired", c="fired")]
    groups = SignalPolicy(when=(("a", "b"),), advise=("b",))
    assert [one.role for one in made(records, [], groups).signals] == ["counts", "advise", "advise"]
    assert [one.role for one in made([record(7, psi="fired", regret="quiet")], [], RegretPolicy()).signals] == [
        "advise",
        "counts",
    ]


def test_signals_that_count_and_are_surely_poor_are_told() -> None:
    trained = [retraining(7 * week, None, a="fired", b="quiet") for week in range(1, 6)]
    found = made([record(7, a="fired", b="quiet")], trained)
    assert [one.name for one in found.poor] == ["a"]
    assert not made([record(7, a="fired", b="quiet")], trained[:3]).poor
    demoting = SignalPolicy(judged_over=1, demote_below=0.5)
    assert made([record(7, a="fired", b="quiet")], trained, demoting).signals[0].role == "demoted"


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_the_order_of_what_the_ledger_gives_changes_nothing(first: list[int], second: list[int]) -> None:
    states = ["fired", "quiet", "inconclusive"]
    records = [record(7 * (n + 1), a=states[n % 3], b=states[n % 2]) for n in range(6)]
    trained = [retraining(7 * (n + 1), [0.1, None, -0.1][n % 3], asked=n % 2 == 0, a=states[n % 3]) for n in range(6)]
    shuffled = made([records[n] for n in first], [trained[n] for n in second])
    assert shuffled == made(records, trained)
    for one in shuffled.signals:
        assert one.precision.value is None or 0 <= one.precision.value <= 1
        assert one.missed <= one.chances
        assert one.precision.worth_it + one.harmful <= one.precision.judged
