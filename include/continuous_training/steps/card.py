"""The model card of a challenger, made where its evaluation has everything at hand."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from continuous_training import _performance
from continuous_training.metrics import Cost
from continuous_training.reports import _curves, _explanation
from continuous_training.reports.card import (
    Change,
    Explanation,
    Figure,
    LeftOut,
    Licence,
    Lineage,
    ModelCard,
    Rows,
)
from continuous_training.steps.limits import limits
from continuous_training.trainers.bundle import load_description

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from continuous_training.core.comparison import Comparison
    from continuous_training.core.decisions import GateVerdict
    from continuous_training.spec import ModelSpec
    from continuous_training.steps.context import Context
    from continuous_training.trainers.bundle import Bundle

CHALLENGER, CHAMPION = "challenger", "champion"
MOST_CLASSES = 20
_TWO = 2
_LICENCE_LENGTH = 60
_DIGEST = 12
_LARGEST = 1e100  # beyond, differences and squares are no numbers any more
_ABSENT = defaultdict(lambda: "not known", parameter="not set", feature="not used")


@dataclass(frozen=True)
class Judged:
    """The hold-out rows, and what both models make of them; columns are in the challenger's order of classes."""

    rows: pd.DataFrame
    y: NDArray[np.float64]
    groups: NDArray[Any] | None
    challenger: Bundle
    prediction: NDArray[np.float64]
    champion: Bundle | None
    before: NDArray[np.float64] | None
    against: Literal["serving", "judged"]


def model_card(context: Context, judged: Judged, comparison: Comparison, verdict: GateVerdict) -> ModelCard:
    """Return the card of the challenger of a run."""
    spec, run = context.spec, context.run
    manifest = judged.challenger.manifest
    figures, left_out = _figures(spec, judged)
    confusion = None
    if _TWO < len(manifest.classes) <= MOST_CLASSES:
        known = np.isfinite(judged.y)
        confusion = _curves.confusion(judged.y[known], judged.prediction[known])
    explanation = _explained(spec, judged)
    if explanation is None:
        left_out.append(LeftOut(part="importance", why="there are no labelled hold-out rows to explain"))
    if run.champion is None:
        left_out.append(
            LeftOut(part="champion", why="there is none yet, so nothing is compared and nothing has changed")
        )
    trained, rows = context.manifest("train"), _rows(context)
    return ModelCard(
        model=spec.model,
        description=spec.description,
        task=spec.task,
        features=manifest.preparation.features,
        classes=manifest.classes,
        trainer=spec.trainer.kind,
        parameters=trained["facts"]["parameters"],
        reason=run.reason,
        as_of=run.as_of,
        window=run.window,
        rows=rows,
        champion=run.champion,
        comparison=comparison,
        verdict=verdict,
        figures=figures,
        confusion=confusion,
        explanation=explanation,
        changes=_changes(context),
        lineage=_lineage(context),
        licences=_licences(trained["facts"]["requirements"]),
        limits=limits(spec, run.window, rows, comparison),
        left_out=tuple(left_out),
    )


def _rows(context: Context) -> Rows:
    collected, prepared = context.manifest("collect")["facts"], context.manifest("prepare")["facts"]
    return Rows(
        read=collected["rows"],
        labelled=collected["labelled"],
        quarantined=collected.get("quarantined", 0),
        train=prepared["train"],
        tune=prepared["tune"],
        hold_out=prepared["hold_out"],
        hold_out_from=prepared["hold_out_from"],
    )


def _figures(spec: ModelSpec, judged: Judged) -> tuple[tuple[Figure, ...], list[LeftOut]]:
    known = np.isfinite(judged.y)
    predictions = {CHALLENGER: judged.prediction[known]}
    if judged.before is not None:
        predictions[CHAMPION] = judged.before[known]
    y, kind, classes = judged.y[known], spec.task.kind, len(judged.challenger.manifest.classes)
    drawable = all(np.abs(each).max(initial=0) < _LARGEST for each in (y, *predictions.values()))
    if not len(y) or not drawable:
        why = (
            "no hold-out row has a known label" if not len(y) else "some numbers are too large to draw, or not numbers"
        )
        return (), [LeftOut(part="figures", why=why)]
    if kind == "ranking":
        assert judged.groups is not None
        truth = _performance.Truth(y, _performance.group_numbers(judged.groups[known]))
        why = "a ranking has neither probabilities nor residuals"
        return tuple(_curves.figures_of_ranking(truth, predictions)), [
            LeftOut(part="calibration, ROC, residuals", why=why)
        ]
    if kind == "regression":
        why = "they are for classes, and values are predicted"
        return tuple(_curves.figures_of_values(y, predictions)), [LeftOut(part="calibration, ROC, cost", why=why)]
    if classes == _TWO:
        cost = next((metric for metric in spec.metrics if isinstance(metric, Cost)), None)
        scores = {name: prediction[:, 1] for name, prediction in predictions.items()}
        return tuple(_curves.figures_of_two(y, scores, cost)), []
    why = f"they are for two classes, and there are {classes}"
    return tuple(_curves.figures_of_several(y, predictions)), [LeftOut(part="ROC, precision-recall, cost", why=why)]


def _explained(spec: ModelSpec, judged: Judged) -> Explanation | None:
    known = np.isfinite(judged.y)
    if not known.any():
        return None
    return _explanation.explain(
        judged.challenger,
        judged.champion,
        judged.rows[known],
        judged.y[known],
        slices=spec.promotion.slices,
        seed=spec.seed,
    )


def _changes(context: Context) -> tuple[Change, ...]:
    """Return in what the challenger was made otherwise than the champion, as far as that is still known."""
    run, champion = context.run, context.run.champion
    before = context.store.read_manifest(champion.run_key, "train") if champion else None
    if champion is None or before is None:
        return ()
    trained = context.manifest("train")
    old, new = _made(context, champion.run_key, before), _made(context, run.key, trained)
    told = [
        (name, *(made.get(name, _ABSENT[name.partition(" ")[0]]) for made in (old, new)))
        for name in sorted({*old, *new})
    ]
    return tuple(Change(what=what, before=one, after=two) for what, one, two in told if one != two)


def _made(context: Context, key: str, trained: Mapping[str, Any]) -> dict[str, str]:
    """Return how a model was made, by the name of each thing."""
    facts = trained["facts"]
    told = {f"parameter {name}": _plain(value) for name, value in facts["parameters"].items()}
    told |= {f"library {name}": number for name, _, number in (each.partition("==") for each in facts["requirements"])}
    collected = context.store.read_manifest(key, "collect")
    if collected is not None:
        told |= {"data window": collected["facts"]["window"], "rows": f"{collected['facts']['rows']:,}"}
    manifest, _ = load_description(context.bundle(trained["outputs"]["bundle"]))
    told |= {f"feature {name}": "used" for name in manifest.preparation.features.columns}
    told |= {"model file": facts["spec"][:_DIGEST]} if "spec" in facts else {}
    return told | {"trainer": manifest.trainer.kind}


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _lineage(context: Context) -> Lineage:
    trained = context.manifest("train")
    outputs = trained["outputs"]
    return Lineage(
        run_key=context.run.key,
        spec=context.run.spec_digest,
        rows=context.manifest("collect")["outputs"]["rows"],
        bundle=outputs["bundle"],
        judged=outputs.get("judged", outputs["bundle"]),
        seed=context.spec.seed,
        libraries=tuple(trained["facts"]["requirements"]),
    )


def _licences(requirements: list[str]) -> tuple[Licence, ...]:
    names = [each.partition("==")[0] for each in requirements]
    return tuple(Licence(library=name, licence=_licence(name)) for name in names)


def _licence(library: str) -> str:
    """Return a library's licence as its metadata has it: expression, else classifier, else the first line of text."""
    try:
        told: dict[str, Any] = metadata(library).json
    except PackageNotFoundError:
        return "not installed where this was written"
    classified = [each.rpartition(" :: ")[2] for each in told.get("classifier", ()) if each.startswith("License ::")]
    text: str = told.get("license_expression") or " ".join(classified[-1:]) or told.get("license", "")
    return text.partition("\n")[0][:_LICENCE_LENGTH] or "not named"
