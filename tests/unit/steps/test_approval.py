"""A person's answer decides with the gate, and who said it and why is kept with the run and in the ledger."""

import pytest

import small_deployment
from continuous_training.core.errors import UsageError
from continuous_training.core.run import Run
from continuous_training.registry import Registry
from continuous_training.replay.walk import walk
from continuous_training.steps.approval import Answer, question, record_answer
from continuous_training.steps.explained import explain_run
from small_deployment import TRAINER, Deployment, day

PROMOTION = {"metric": "roc_auc", "rows": 100, "resamples": 100, "margin": -0.2, "approval": "always"}
ASKS = small_deployment.spec(trainer={**TRAINER, "rounds": 9}, promotion=PROMOTION)
YES = Answer(approved=True, by="ann", reason="fine on every slice")
NO = Answer(approved=False, by="bob", reason="the slices look wrong")


@pytest.fixture
def asked(champion: Deployment) -> tuple[Deployment, Run]:
    """Give a run that waits for an answer."""
    run, _ = champion.train(ASKS, until="evaluate", reason="manual", text="newer rows")
    assert question(ASKS, run, champion.settings) is not None
    return champion, run


def answered(deployment: Deployment, run: Run, answer: Answer) -> dict[str, object]:
    record_answer(ASKS, run, deployment.settings, answer)
    return deployment.step("promote", ASKS, run).facts


def test_nothing_is_promoted_before_somebody_has_answered(asked: tuple[Deployment, Run]) -> None:
    deployment, run = asked
    with pytest.raises(UsageError, match=r"a person must approve it \(every promotion.*let the task approve ask"):
        deployment.step("promote", ASKS, run)
    assert deployment.ledger.champion("m").fence == 1
    assert deployment.ledger.run(run.key).outcome is None


def test_a_yes_is_in_the_ledger_and_its_chain_with_who_and_why(asked: tuple[Deployment, Run]) -> None:
    deployment, run = asked
    facts = answered(deployment, run, YES)
    said = "(approved by ann: fine on every slice)"
    assert facts["outcome"] == "promoted"
    assert str(facts["text"]).endswith(said)
    champion, record = deployment.ledger.champion("m"), deployment.ledger.run(run.key)
    assert champion.reason == f"newer rows {said}"
    assert champion.verdict.text == record.text == facts["text"]
    assert deployment.ledger.verify() == []
    seen = explain_run(deployment.ledger, deployment.store, "m", run.key)
    assert seen.facts["approve"] == {**YES.model_dump(), "text": said.strip("()")}


def test_a_no_ends_the_run_as_a_refusal_of_the_gate_does(asked: tuple[Deployment, Run]) -> None:
    deployment, run = asked
    facts = answered(deployment, run, NO)
    assert (facts["outcome"], facts["text"]) == ("kept", "rejected by bob: the slices look wrong")
    record = deployment.ledger.run(run.key)
    assert (record.outcome, record.text) == ("kept", facts["text"])
    assert deployment.ledger.champion("m").fence == 1
    assert Registry(deployment.settings.registry).aliases("m") == {"champion": "1", "challenger": "2"}


def test_a_later_answer_replaces_an_earlier_one(asked: tuple[Deployment, Run]) -> None:
    deployment, run = asked
    assert answered(deployment, run, NO)["outcome"] == "kept"
    assert answered(deployment, run, YES)["outcome"] == "promoted"


def test_an_answer_to_what_the_evaluation_showed_before_is_none(asked: tuple[Deployment, Run]) -> None:
    deployment, run = asked
    record_answer(ASKS, run, deployment.settings, YES)
    evaluated = deployment.store.read_manifest(run.key, "evaluate")
    evaluated["outputs"]["card"] = deployment.store.put(b"another")
    deployment.store.write_manifest(run.key, "evaluate", evaluated)
    with pytest.raises(UsageError, match="nobody has answered what its evaluation shows"):
        deployment.step("promote", ASKS, run)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (YES, "approved by ann: fine on every slice"),
        (Answer(approved=True, by="ann"), "approved by ann: no reason given"),
        (Answer(approved=False), "not approved: nobody answered"),
    ],
    ids=str,
)
def test_an_answer_is_told_in_words(answer: Answer, text: str) -> None:
    assert answer.text == text


def test_a_person_who_says_no_keeps_a_challenger_from_real_requests(champion: Deployment) -> None:
    rollout = {"steps": [{"shadow": "100%", "bake": "1 second"}], "requests": 10, "at_most": "1 hour"}
    model = small_deployment.spec(
        trainer={**TRAINER, "rounds": 9}, promotion=PROMOTION, rollout=rollout, deployment={"kind": "local"}
    )
    run, _ = champion.train(model, until="evaluate")
    with pytest.raises(UsageError, match="a person must approve"):
        champion.step("rollout", model, run)
    record_answer(model, run, champion.settings, NO)
    assert champion.step("rollout", model, run).facts == {"answer": "none", "text": NO.text}
    assert champion.step("promote", model, run).facts["outcome"] == "kept"


def test_a_replay_asks_nobody(deployment: Deployment) -> None:
    deployment.land(45)
    walk(ASKS, deployment.settings, start=day(40), end=day(40))
    assert deployment.ledger.champion("m").reason == "the replay begins"
