"""The main job over real data: `make demo`.

A model of the flights that left New York in 2013 is trained on January and February. Then the following weeks land one
by one, and Airflow watches, decides, retrains, judges and serves without anybody's help; twice somebody asks for a
retraining. At the end two challengers meet real requests. `DEMO_EXIT=1` ends when the story is complete, `DEMO_WEEKS` sets its length.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import flights
import httpx
import pandas as pd
import rollouts

from continuous_training.core.decisions import GateVerdict
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from continuous_training.spec import load_spec
from continuous_training.storage import Store
from services import ROOT, Services, wait_until

if TYPE_CHECKING:
    from continuous_training.ledger import Champion, DecisionRecord, RunRecord

MODEL = "flight_delays"
DAY, WEEK = timedelta(days=1), timedelta(days=7)
FIRST_CUTOFF = datetime(2013, 3, 1, tzinfo=UTC)
RUN_SECONDS = 240.0


@dataclass
class Story:
    """What has happened so far, told as it happens."""

    services: Services
    rows: pd.DataFrame
    weeks: int
    began: float = field(default_factory=time.monotonic)
    landed: datetime = datetime(2013, 1, 1, tzinfo=UTC)
    told: list[RunRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.settings = Settings.from_environment()
        self.spec = load_spec(self.services.models / f"{MODEL}.yaml")
        self.ledger = Ledger(self.settings.ledger)
        self.store = Store(self.settings.artefacts)
        self.airflow = self.services.airflow()

    def say(self, text: str) -> None:
        """Print one line with the time since the start."""
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)

    def tell(self) -> None:
        """Tell the whole story; raise when a part of it does not happen."""
        self.first_champion()
        self.airflow.unpause(f"{MODEL}.watch")
        asked = 0
        for number in range(1, self.weeks + 1):
            end = FIRST_CUTOFF + number * WEEK
            decision = self.week(end)
            if decision.decision.answer == "yes":
                assert decision.decision.reason is not None
                self.retraining(decision.decision.reason.episode)
                if asked == 0:
                    self.ask("an engineer wants to see whether a second attempt on the same rows does better")
                    asked += 1
        if asked == 0:
            self.ask("an engineer wants a newer model although nothing fired")
        self.compare()
        self.answer()
        self.check()

    def pages(self) -> list[str]:
        """Return the addresses of the pages in Airflow that show this story."""
        champion = self.ledger.champion(MODEL)
        assert champion is not None
        runs = [run for run in self.airflow.runs(f"{MODEL}.train") if run["run_type"] == "asset_triggered"]
        decided = f"dags/{MODEL}.train/runs/{quote(runs[0]['dag_run_id'], safe='')}"
        paths = {
            "every model": "plugin/models",
            "drift": f"dags/{MODEL}.train/plugin/drift",
            "champions": f"dags/{MODEL}.train/plugin/champions",
            "why it was retrained": f"{decided}/plugin/decision",
            "model card": f"continuous-training/pages/dags/{MODEL}.train/card?key={champion.run_key}",
        }
        return [f"{name:<21}{self.services.airflow_url}/{path}" for name, path in paths.items()]

    def roll_out(self) -> None:
        """Let two challengers meet real requests."""
        rollouts.roll_out(self)

    def first_champion(self) -> None:
        """January and February land; the schedule's last missed tick trains the first champion."""
        self.land(FIRST_CUTOFF)
        self.say(
            f"data: January and February 2013 have landed ({len(self.rows[self.rows['scheduled_departure'] < FIRST_CUTOFF]):,} flights)"
        )
        wait_until(
            lambda: self.airflow.dag_exists(f"{MODEL}.train") and self.airflow.dag_exists(f"{MODEL}.watch"),
            "both DAGs parsed",
            90,
        )
        self.airflow.unpause(f"{MODEL}.train")
        self.retraining("schedule:")

    def week(self, end: datetime) -> DecisionRecord:
        """One more week lands; the watch DAG scores it and decides."""
        self.land(end)
        wait_until(
            lambda: self.ledger.scored_until(MODEL) == end, f"a decision on the week to {end:%Y-%m-%d}", RUN_SECONDS
        )
        record = self.ledger.decisions(MODEL, 1)[0]
        scores = [
            f"{score.estimate.metric} {score.estimate.value:.3f}"
            for score in record.evidence.performance
            if score.estimate.value is not None
        ]
        signals = [f"{signal.name} {signal.state}" for signal in record.decision.signals]
        self.say(f"week to {end:%d %b}: {record.evidence.rows:,} flights; {', '.join(scores + signals)}")
        self.say(f"  {record.decision.answer.upper()}: {record.decision.why}")
        return record

    def retraining(self, episode: str) -> None:
        """Wait for the run of an episode to end, and tell the verdict."""
        record: RunRecord = wait_until(lambda: self._finished(episode), f"the retraining of {episode}", RUN_SECONDS)
        self.told.append(record)
        assert record.run.reason is not None
        reason = record.run.reason
        self.say(f"  retraining by {reason.kind}: {reason.text}")
        if record.outcome == "failed":
            raise RuntimeError(f"the retraining failed: {record.text}")
        facts = self._manifest(record, "evaluate")["facts"]
        champion = "none" if facts["champion"] is None else f"{facts['champion']:.4f}"
        self.say(
            f"  challenger {facts['metric']} {facts['challenger']:.4f} against champion {champion} on {facts['rows']:,} hold-out flights"
        )
        verdict = GateVerdict.model_validate_json(
            self.store.get(self._manifest(record, "evaluate")["outputs"]["verdict"])
        )
        for rule in verdict.rules:
            self.say(f"    {rule.outcome.value:<13}{rule.name}: {rule.text}")
        self.say(f"  verdict: {record.outcome} - {record.text}")
        if record.outcome == "promoted":
            served = wait_until(self.served, "the new champion answering", 60)
            self.say(f"  version {served['version']} answers on {served['url']}")

    def ask(self, text: str) -> None:
        """Somebody presses Trigger: the same request that the form sends."""
        self.say(f"the trigger form: {text}")
        answer = self.airflow.trigger(f"{MODEL}.train", {"reason": text, "trials": 2})
        answer.raise_for_status()
        self.retraining(f"manual:{answer.json()['dag_run_id']}")

    def compare(self) -> None:
        """Measure the final and the never-retrained champion on weeks that neither has seen."""
        from continuous_training import performance
        from continuous_training.trainers.bundle import load_bundle
        from continuous_training.trainers.preparation import encode_label

        first, final = self.ledger.history(MODEL)[-1], self.ledger.champion(MODEL)
        assert final is not None
        start = FIRST_CUTOFF + self.weeks * WEEK
        rows = self.rows[
            (self.rows["scheduled_departure"] >= start) & (self.rows["scheduled_departure"] < start + 6 * WEEK)
        ]
        rows = rows[rows["late"].notna()]
        bundles = {item.version: load_bundle(self._bundle(item)) for item in (first, final)}
        y, _ = encode_label(rows["late"], self.spec.task, bundles[first.version].manifest.classes)
        comparison = performance.compare(
            self.spec.metric(self.spec.promotion.metric),
            y,
            bundles[final.version].predict(rows),
            bundles[first.version].predict(rows),
            slices={},
            confidence=self.spec.promotion.confidence,
            resamples=self.spec.promotion.resamples,
            seed=self.spec.seed,
            all_metrics=(),
        )
        difference = comparison.difference
        assert comparison.champion is not None
        assert difference is not None
        self.say(f"the {comparison.rows:,} flights of the six weeks after {start:%d %b}, which neither model has seen:")
        self.say(f"  never retrained (version {first.version}): {comparison.metric} {comparison.champion.value:.4f}")
        self.say(f"  final champion  (version {final.version}): {comparison.metric} {comparison.challenger.value:.4f}")
        self.say(f"  difference {difference.value:+.4f}, 95 % interval {difference.low:+.4f} to {difference.high:+.4f}")

    def answer(self) -> None:
        """Ask the served champion about one flight, in MLflow's request format."""
        served = self.served()
        assert served is not None
        flight = json.loads(self.rows.drop(columns=["late"]).iloc[[-1]].to_json(orient="records", date_format="iso"))
        response = httpx.post(f"{served['url']}/invocations", json={"dataframe_records": flight}, timeout=10)
        response.raise_for_status()
        self.say(f"  POST {served['url']}/invocations: probability to be late {response.json()['predictions'][0]:.3f}")

    def check(self) -> None:
        """Raise unless every part of the story happened."""
        kinds = {record.run.reason.kind for record in self.told if record.run.reason}
        parts = {
            "a retraining by schedule": "schedule" in kinds,
            "a retraining by drift or performance": bool(kinds & {"drift", "performance"}),
            "a retraining by the trigger form": "manual" in kinds,
            "a refused challenger": any(record.outcome == "kept" for record in self.told),
            "a challenger that replaced the champion": len(self.ledger.history(MODEL)) > 1,
            "a whole ledger": not self.ledger.verify(),
        }
        missing = [name for name, happened in parts.items() if not happened]
        if missing:
            raise RuntimeError(f"the story lacks {', '.join(missing)}")
        self.say("the story is complete: " + ", ".join(parts))

    def land(self, end: datetime) -> None:
        """Let the days up to `end` land, and the one in which their labels become known."""
        until = end + self.spec.task.label_delay + DAY
        flights.land(
            self.rows, Path(self.settings.locations["data"]) / "flights", pd.Timestamp(self.landed), pd.Timestamp(until)
        )
        self.landed = until

    def _finished(self, episode: str) -> RunRecord | None:
        known = {record.run.key for record in self.told}
        for record in self.ledger.runs(MODEL):
            reason = record.run.reason
            if (
                reason
                and reason.episode.startswith(episode)
                and record.run.key not in known
                and record.outcome is not None
            ):
                return record
        return None

    def outcome(self, key: str) -> str | None:
        """Return how a run ended."""
        return self.ledger.run(key).outcome

    def served(self) -> dict[str, Any] | None:
        """Return what answers, once that is the ledger's champion."""
        from continuous_training.deployers.local import served

        champion = self.ledger.champion(MODEL)
        status = served(MODEL, self.services.home)
        return status if status and champion and status["fence"] == champion.fence else None

    def _manifest(self, record: RunRecord, step: str) -> dict[str, Any]:
        manifest = self.store.read_manifest(record.run.key, step)
        assert manifest is not None
        return manifest

    def _bundle(self, champion: Champion) -> Path:
        return self.store.fetch_folder(champion.bundle, self.services.home / "bundles")


def main() -> int:
    """Run the demo and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    home = Path(os.environ.get("DEMO_HOME", ROOT / ".ct" / "demo")).absolute()
    if home.exists():
        print(f"clean start: removing what an earlier demo left in {home}", flush=True)
    services = Services(home)
    services.end_leftovers()
    shutil.rmtree(home, ignore_errors=True)
    print("starting MLflow and Airflow on loopback ...", flush=True)
    with services:
        story = Story(services, flights.flights(), weeks=int(os.environ.get("DEMO_WEEKS", "12")))
        print(
            f"Airflow {services.airflow_url}  user admin  password {services.password}\nMLflow  {services.mlflow_url}",
            flush=True,
        )
        try:
            story.tell()
            story.roll_out()
        except Exception as error:  # noqa: BLE001 - whatever broke the story is its result
            print(f"the story broke: {type(error).__name__}: {error}\nlogs: {home}", file=sys.stderr, flush=True)
            return 1
        print("\nSee it:\n" + "\n".join(f"  {page}" for page in story.pages()), flush=True)
        if os.environ.get("DEMO_EXIT"):
            return 0
        print(
            f"\nAirflow {services.airflow_url}  user admin  password {services.password}\nMLflow  {services.mlflow_url}"
        )
        print("serving until Ctrl-C", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("\nstopping", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
