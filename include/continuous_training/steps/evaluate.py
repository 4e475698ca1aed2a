"""Measure challenger and champion on the same hold-out rows and let the promotion gate judge."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from continuous_training import performance
from continuous_training.core.digest import digest
from continuous_training.detectors import ATTRIBUTION_PREFIX
from continuous_training.steps.card import Judged, model_card
from continuous_training.steps.causes import HOLD_OUT, kept_rows
from continuous_training.steps.champion import load_champion, triage_key
from continuous_training.steps.context import Context, Output, to_json
from continuous_training.steps.groups import compared_on_groups
from continuous_training.steps.lines import estimator_key, fit_estimator
from continuous_training.steps.prepare import labelled_rows, split_by_time
from continuous_training.steps.profile import PROFILE, profile
from continuous_training.trainers.bundle import Bundle, load_bundle
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from continuous_training.core.comparison import Comparison
    from continuous_training.core.task import Task
    from continuous_training.detectors.base import Detector
    from continuous_training.spec import ModelSpec

ERROR, PREDICTION = "error", "prediction"
MOST_ATTRIBUTED = 5_000
_TWO = 2


def do(context: Context) -> Output:
    """Store the comparison, the verdict, the model card and, for each detector, the prepared reference of the challenger."""
    spec = context.spec
    policy = spec.promotion
    rows = labelled_rows(pd.read_parquet(context.fetch("collect", "rows")), spec)
    hold_out = split_by_time(rows, spec)[2]
    judged = _judged(context, rows.iloc[hold_out])
    comparison = _compare(context, judged)
    verdict = policy.judge(comparison, spec.fairness.rules(comparison) if spec.fairness else ())
    computed = computed_columns(judged.y, judged.prediction, spec.task, judged.groups)
    computed |= attributions(spec, judged.challenger, judged.rows)
    outputs = _references(context, rows, hold_out, computed)
    if spec.estimates:
        outputs[estimator_key(spec)] = _stored(context, fit_estimator(spec, judged.challenger, judged.rows))
    outputs[HOLD_OUT] = context.store.put(kept_rows(judged.rows))
    outputs["comparison"] = context.store.put(to_json(comparison.model_dump(mode="json")))
    outputs["verdict"] = context.store.put(to_json(verdict.model_dump(mode="json")))
    outputs["card"] = context.store.put(model_card(context, judged, comparison, verdict).model_dump_json().encode())
    facts = {
        "verdict": verdict.outcome.value,
        "text": verdict.text,
        "metric": policy.metric,
        "challenger": comparison.challenger.value,
        "champion": comparison.champion.value if comparison.champion else None,
        "rows": comparison.rows,
    }
    return Output(outputs=outputs, facts=facts)


def _judged(context: Context, rows: pd.DataFrame) -> Judged:
    """Let both models predict the hold-out rows."""
    task, trained = context.spec.task, context.manifest("train")["outputs"]
    challenger = load_bundle(context.bundle(trained.get("judged", trained["bundle"])))
    champion, against = _opponent(context, rows)
    return Judged(
        rows=rows,
        y=encode_label(rows[task.label], task, challenger.manifest.classes)[0],
        groups=groups_of(rows, task),
        challenger=challenger,
        prediction=challenger.predict(rows),
        champion=champion,
        before=None if champion is None else aligned(champion, champion.predict(rows), challenger),
        against=against,
    )


def _compare(context: Context, judged: Judged) -> Comparison:
    """Measure the challenger against the champion, and what would serve against the challenger."""
    spec, policy = context.spec, context.spec.promotion
    metric, trained = spec.metric(policy.metric), context.manifest("train")["outputs"]
    serving = load_bundle(context.bundle(trained["bundle"]))
    serving.check_golden()
    refitted = None
    if "judged" in trained:
        refitted = performance.estimate(
            metric,
            judged.y,
            aligned(serving, serving.predict(judged.rows), judged.challenger),
            groups=judged.groups,
            confidence=0.5,
            resamples=1,
            seed=0,
        ).model_copy(update={"low": None, "high": None})  # of one resample there is no interval
    comparison = performance.compare(
        metric,
        judged.y,
        judged.prediction,
        judged.before,
        groups=judged.groups,
        slices={name: judged.rows[name].to_numpy() for name in policy.slices},
        confidence=policy.confidence,
        resamples=policy.resamples,
        seed=spec.seed,
        all_metrics=spec.all_metrics,
    )
    comparison = comparison.model_copy(update={"against": judged.against, "refitted": refitted})
    return compared_on_groups(spec, comparison, judged.rows, judged.y, judged.prediction, judged.before)


def groups_of(rows: pd.DataFrame, task: Task) -> NDArray[Any] | None:
    """Return the group of each row, as performance is measured by; `None` where nothing is ranked."""
    return None if task.group is None else rows[task.group].to_numpy()


def _references(
    context: Context, rows: pd.DataFrame, hold_out: slice, computed: dict[str, NDArray[Any]]
) -> dict[str, str]:
    """Store what detectors and triage keep of the rows; computed columns are known on the hold-out alone."""
    spec = context.spec
    at = rows.index[hold_out]
    reference = rows.assign(**{name: pd.Series(values, index=at) for name, values in computed.items()})
    outputs = {f"reference-{detector_key(detector)}": _fit(context, detector, reference) for detector in spec.drift}
    outputs[PROFILE] = context.store.put(profile(context, reference).model_dump_json().encode())
    if spec.triage is not None:
        usual = spec.triage.fit(reference, spec.task, spec.features)
        outputs[triage_key(spec.triage, spec.features)] = _stored(context, usual)
    return outputs


def detector_key(detector: Detector) -> str:
    """Return a short name that changes with any setting of the detector: its prepared reference is kept under it."""
    return f"{detector.kind}-{digest(detector)[:12]}"


def attributions(spec: ModelSpec, bundle: Bundle, rows: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return for each feature what it contributed to each prediction, where a detector measures that and trees can tell.

    Contributions cost about a hundred predictions: at most 5,000 rows, evenly spaced, have them, and the others NaN.
    """
    contributions = getattr(bundle.estimator, "contributions", None)
    wanted = any(detector.kind == "attribution" for detector in spec.drift)
    if not wanted or contributions is None or rows.empty:
        return {}
    chosen = np.unique(np.linspace(0, len(rows) - 1, MOST_ATTRIBUTED).astype(np.intp))
    preparation = bundle.manifest.preparation
    values = np.full((len(rows), len(preparation.features.columns)), np.nan)
    values[chosen] = contributions(preparation.transform(rows.iloc[chosen]))
    return {f"{ATTRIBUTION_PREFIX}{name}": values[:, n] for n, name in enumerate(preparation.features.columns)}


def computed_columns(
    y: NDArray[np.float64], prediction: NDArray[np.float64], task: Task, groups: NDArray[Any] | None
) -> dict[str, NDArray[Any]]:
    """Return what detectors may measure beside the data's columns: each row's error and prediction.

    The prediction is the probability of the second of two classes, the number of the most likely of several as text, for it
    is a category, or the value.
    """
    told: NDArray[Any] = prediction
    if prediction.ndim > 1:
        likeliest = prediction.argmax(axis=1).astype(str).astype(object)
        told = prediction[:, 1] if prediction.shape[1] == _TWO else likeliest
    return {ERROR: performance.row_errors(y, prediction, task.kind, groups=groups), PREDICTION: told}


def _opponent(context: Context, judged: pd.DataFrame) -> tuple[Bundle | None, Literal["serving", "judged"]]:
    """Return the champion in the form that has not learned from the judged rows."""
    champion = context.run.champion
    if champion is None:
        return None, "serving"
    serving = load_champion(context, champion)
    manifest = context.store.read_manifest(champion.run_key, "train")
    before = manifest["outputs"].get("judged") if manifest else None
    if before is None or champion.data_cutoff <= judged[context.spec.task.event_time].min():
        return serving, "serving"
    return load_bundle(context.bundle(before)), "judged"


def aligned(bundle: Bundle, prediction: NDArray[np.float64], other: Bundle) -> NDArray[np.float64]:
    """Return what a bundle predicts with its columns in the other's order of classes."""
    if bundle.manifest.classes == other.manifest.classes:
        return prediction
    found = np.zeros((len(prediction), len(other.manifest.classes)))
    for position, label in enumerate(bundle.manifest.classes):
        if label in other.manifest.classes:
            found[:, other.manifest.classes.index(label)] = prediction[:, position]
    return found


def _fit(context: Context, detector: Detector, reference: pd.DataFrame) -> str:
    return _stored(context, detector.fit_slices(reference, context.spec.features))


def _stored(context: Context, arrays: dict[str, NDArray[Any]]) -> str:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return context.store.put(buffer.getvalue())
