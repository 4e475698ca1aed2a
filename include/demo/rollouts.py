"""The last chapter of the demo: two challengers meet real requests, and one of them should not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from clients import Clients

from services import wait_until

if TYPE_CHECKING:
    from story import Story

    from continuous_training.ledger import RolloutRecord

ROLLOUT = {
    "steps": [{"shadow": "100%", "bake": "10 seconds"}, {"canary": "20%", "bake": "10 seconds"}],
    "guards": {"errors": {"margin": 0.05}, "scores": {"at_most": 0.3}},
    "requests": 100,
    "at_most": "10 minutes",
}
# For the demonstration the gate lets every challenger through: real requests have the last word.
EASY_GATE = {"metric": "roc_auc", "at_least": "champion", "margin": -1.0}
BAD_TRAINER = {
    "kind": "lightgbm",
    "rounds": 1,
    "parameters": {"num_leaves": 2, "learning_rate": 0.001},
    "tuning": {"trials": 0},
}
ASKED, SECONDS = 2000, 300.0


def roll_out(story: Story) -> None:
    """Add a rollout to the model file; a sound challenger becomes champion, a bad one is sent back."""
    change(story, rollout=ROLLOUT, promotion=EASY_GATE)
    story.say("the model file gets a rollout: shadow, then a canary of 20 %, under real requests of two clients")
    train = f"{story.spec.model}.train"
    wait_until(lambda: story.airflow.has_task(train, "rollout"), "the rollout in the DAG", 120)
    served = wait_until(story.served, "the champion answering", 60)
    rows = story.rows.drop(columns=["late"]).iloc[-ASKED:]
    with Clients(served["url"], rows) as clients:
        good = challenge(story, "a challenger of the newest weeks, to be tried on real requests")
        wait_until(lambda: story.ledger.champion(story.spec.model).fence > good.fence, "the promotion", SECONDS)
        wait_until(story.served, "the new champion answering", 60)
        change(story, trainer=BAD_TRAINER)
        bad = challenge(story, "a deliberately bad version: one tree that has hardly learned")
        wait_until(lambda: story.outcome(bad.run_key) == "kept", "the end of its run", SECONDS)
    for told, count in sorted(clients.answered.items()):
        story.say(f"  {count:6,} requests answered by {told}")
    story.say(f"  {clients.failed} requests failed")
    parts = {
        "a promotion after shadow and canary": good.answer == "promote" and good.step == 1,
        "a bad version that was sent back by itself": bad.answer == "reject",
        "a champion that the bad version did not replace": story.ledger.champion(story.spec.model).fence == bad.fence,
        "no failed request": not clients.failed,
    }
    missing = [name for name, happened in parts.items() if not happened]
    if missing:
        raise RuntimeError(f"the rollouts lack {', '.join(missing)}")
    story.say("the rollouts are complete: " + ", ".join(parts))


def challenge(story: Story, text: str) -> RolloutRecord:
    """Ask for a training, and tell its challenger's rollout until it has ended."""
    story.say(f"the trigger form: {text}")
    before = story.ledger.rollout(story.spec.model)
    story.airflow.trigger(f"{story.spec.model}.train", {"reason": text, "trials": 0}).raise_for_status()
    said = ""

    def ended() -> RolloutRecord | None:
        nonlocal said
        record = story.ledger.rollout(story.spec.model)
        if record is None or (before and record.run_key == before.run_key):
            return None
        if record.text != said:
            said = record.text
            story.say(f"  rollout of version {record.version}: {said}")
        return record if record.ended else None

    record: RolloutRecord = wait_until(ended, "the end of the rollout", SECONDS)
    for rule in record.verdict.rules if record.verdict else ():
        story.say(f"    {rule.outcome.value:<13}{rule.name}: {rule.text}")
    return record


def change(story: Story, **parts: Any) -> None:
    """Write other values into the demo's own copy of the model file."""
    file = story.services.models / f"{story.spec.model}.yaml"
    document = yaml.safe_load(file.read_text()) | parts
    file.write_text(yaml.safe_dump(document, sort_keys=False))
