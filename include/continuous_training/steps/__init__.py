"""The stages of a retraining and of a look at a window, and the one way to run each.

`run_step` is the same everywhere: in `ct step` beside an Airflow worker, in a pod, in `ct run` in a terminal.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from continuous_training.core.digest import digest
from continuous_training.core.errors import DataInvalid, UsageError
from continuous_training.core.run import Run, StepResult
from continuous_training.steps.context import Context, Output
from continuous_training.storage import Store

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from continuous_training.settings import Settings
    from continuous_training.spec import ModelSpec


@dataclass(frozen=True)
class Step:
    """A stage: the plane it runs in, and the steps whose results it reads.

    A work step is pure: same inputs, same outputs, so a finished one is never done again. A control step talks to the
    ledger, which makes it idempotent there.
    """

    plane: Literal["work", "control"]
    after: tuple[str, ...] = ()
    again_until: str | None = None
    """Done again on each attempt until this step has finished: repaired rows are read, trained rows stay."""


STEPS: dict[str, Step] = {
    "collect": Step("work", again_until="train"),
    "validate": Step("work", ("collect",)),
    "prepare": Step("work", ("collect", "validate")),
    "train": Step("work", ("collect", "prepare")),
    "evaluate": Step("work", ("collect", "prepare", "train")),
    "rollout": Step("control", ("train", "evaluate")),
    "promote": Step("control", ("collect", "validate", "train", "evaluate")),
    "deploy": Step("control"),
    "score": Step("work"),
    "decide": Step("control", ("score",)),
}
TRAIN_STEPS = ("collect", "validate", "prepare", "train", "evaluate", "promote", "deploy")
WATCH_STEPS = ("score", "decide")


def run_step(name: str, spec: ModelSpec, run: Run, settings: Settings) -> StepResult:
    """Do one step of a run, or read its result back when it was done before.

    Raises
    ------
    ContinuousTrainingError
        A `Permanent` one gives the same again; after a `Transient` one a retry goes on from the last finished step.
    """
    if name not in STEPS:
        msg = f"no step is called {name!r}; the steps are {', '.join(STEPS)}; a retry gives the same"
        raise UsageError(msg)
    context = Context(spec=spec, run=run, settings=settings, store=Store(settings.artefacts))
    step = STEPS[name]
    inputs = _inputs(context, step)
    if step.plane == "work":
        done = context.store.read_manifest(run.key, name)
        settled = step.again_until is None or context.store.read_manifest(run.key, step.again_until) is not None
        if done is not None and done["inputs"] == inputs and settled:
            return _result(name, run, done, reused=True)
    started = datetime.now(UTC)
    output: Output = importlib.import_module(f"continuous_training.steps.{name}").do(context)
    manifest = {
        "step": name,
        "model": run.model,
        "inputs": inputs,
        "outputs": output.outputs,
        "facts": output.facts,
        "error": str(output.error) if output.error else None,
        "started": started.isoformat(),
        "finished": datetime.now(UTC).isoformat(),
    }
    context.store.write_manifest(run.key, name, manifest)
    return _result(name, run, manifest, reused=False)


def training_seconds(store: Store, key: str) -> float:
    """Return how long the steps of a training run up to its evaluation took; those that were not done count nothing."""
    names = TRAIN_STEPS[: TRAIN_STEPS.index("evaluate") + 1]
    spans = [
        datetime.fromisoformat(done["finished"]) - datetime.fromisoformat(done["started"])
        for done in (store.read_manifest(key, name) for name in names)
        if done is not None
    ]
    return sum(span.total_seconds() for span in spans)


def _inputs(context: Context, step: Step) -> str:
    upstream = {name: context.manifest(name)["outputs"] for name in step.after}
    return digest(
        {"spec": context.spec.digest, "key": context.run.key, "trials": context.run.trials, "upstream": upstream}
    )


def _result(name: str, run: Run, manifest: Mapping[str, Any], *, reused: bool) -> StepResult:
    if manifest["error"]:
        raise DataInvalid(manifest["error"])
    return StepResult(step=name, key=run.key, reused=reused, outputs=manifest["outputs"], facts=manifest["facts"])
