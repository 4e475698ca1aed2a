"""Tell why the quality of the champion changed: from its hold-out to the window in which a rule's limit is crossed."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from continuous_training.causes import Asked, Rows
from continuous_training.core.causes import CauseCard
from continuous_training.policies.evidence import furthest, rule_name
from continuous_training.trainers.bundle import load_bundle
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from continuous_training.core.run import ChampionRef
    from continuous_training.core.scores import Line, PerformanceScore
    from continuous_training.core.window import Window
    from continuous_training.steps.context import Context
    from continuous_training.steps.lines import Look
    from continuous_training.trainers.bundle import Bundle

HOLD_OUT = "hold_out"
"""Name under which the evaluation keeps some rows that the model was judged on."""
MOST_KEPT = 5_000


def cause_cards(
    context: Context, bundle: Bundle, looks: Mapping[Line, Look], performance: Sequence[PerformanceScore]
) -> tuple[CauseCard, ...]:
    """Return a card for each metric, line and group whose limit was crossed, or that the model file wants told.

    Of a rule by a column that is the group furthest beyond its limit, compared with the same group of the hold-out. Where
    no card can be made its note says why.
    """
    champion = context.run.champion
    wanted = _wanted(context.spec.causes.when, performance)
    if not wanted or champion is None:
        return ()
    cards = [_blank(context, score, looks[score.line].window) for score in wanted]
    if all(card.note for card in cards):
        return tuple(cards)
    judged, kept = _hold_out(context, champion)
    return tuple(
        card if card.note else _card(context, card, looks[card.line], (judged, bundle), kept) for card in cards
    )


def told_first(cards: Sequence[CauseCard]) -> CauseCard | None:
    """Return the card that a decision is told with: the first that has parts, or the first."""
    return next((card for card in cards if card.causes), cards[0] if cards else None)


def _wanted(
    when: Literal["fired", "always", "never"], performance: Sequence[PerformanceScore]
) -> list[PerformanceScore]:
    """Return one score for each card: of the groups of a rule by a column the one that is furthest beyond."""
    if when == "never":
        return []
    rules: dict[tuple[str, ...], list[PerformanceScore]] = {}
    for score in performance:
        if score.limited and (score.exceeded or (when == "always" and score.exceeded is not None)):
            rule = rule_name(score) if score.slice else ""
            rules.setdefault((score.line, score.estimate.metric, rule), []).append(score)
    return [furthest(scores) for scores in rules.values()]


def _blank(context: Context, score: PerformanceScore, window: Window) -> CauseCard:
    """Return a card without parts, with a note where there can be none."""
    note = ""
    if context.spec.task.kind == "ranking":
        note = "a ranking is judged by whole groups of rows, and the parts are those of rows that come one by one"
    elif score.line == "estimated":
        note = "an estimate has no labels to find a cause in; a rule on the final line has, once they are known"
    return CauseCard(metric=score.estimate.metric, line=score.line, slice=score.slice, window=window, note=note)


def _card(
    context: Context, blank: CauseCard, look: Look, models: tuple[Bundle, Bundle], kept: pd.DataFrame
) -> CauseCard:
    """Return the card of a line, or of one group of it, of the model as it was judged and the one that serves."""
    spec, (judged, serving) = context.spec, models
    preparation = judged.manifest.preparation
    rows, known, prediction = look.rows, look.y, look.prediction
    if blank.slice:
        by = next(rule.by for rule in spec.performance if rule.by and blank.slice.startswith(f"{rule.by}="))
        if by not in kept:
            note = f"the hold-out was kept without {by}; a champion that is trained from now on has it"
            return blank.model_copy(update={"note": note})
        here, kept = _in_group(rows, by, blank.slice), kept[_in_group(kept, by, blank.slice)]
        rows, known, prediction = rows[here], known[here], prediction[here]
    y, _ = encode_label(kept[spec.task.label], spec.task, judged.manifest.classes)
    refitted = judged.manifest.digests != serving.manifest.digests
    card = spec.causes.explain(
        Rows(preparation.transform(kept), y, judged.predict(kept)),
        Rows(
            preparation.transform(rows),
            known,
            judged.predict(rows) if refitted else prediction,
            prediction if refitted else None,
        ),
        preparation.features,
        judged.estimator.predict,
        Asked(spec.metric(blank.metric), look.window, spec.promotion.confidence, spec.seed),
    )
    placed = {"line": blank.line, "slice": blank.slice}
    causes = tuple(cause.model_copy(update={"slice": blank.slice}) for cause in card.causes)
    return card.model_copy(update=placed | {"causes": causes})


def _in_group(rows: pd.DataFrame, by: str, where: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = rows[by].map(lambda value: f"{by}={value}" == where).to_numpy(dtype=np.bool_)
    return found


def kept_rows(judged: pd.DataFrame) -> bytes:
    """Return at most 5,000 of the rows that a model is judged on, evenly spaced, as Parquet."""
    chosen = np.unique(np.linspace(0, max(0, len(judged) - 1), MOST_KEPT).astype(np.intp))[: len(judged)]
    found: bytes = judged.iloc[chosen].to_parquet(index=False)
    return found


def _hold_out(context: Context, champion: ChampionRef) -> tuple[Bundle, pd.DataFrame]:
    """Return the champion as it was judged, and rows that it was judged on."""
    trained = context.manifest("train", champion.run_key)["outputs"]
    judged = load_bundle(context.bundle(trained.get("judged", trained["bundle"])))
    kept = context.manifest("evaluate", champion.run_key)["outputs"][HOLD_OUT]
    return judged, pd.read_parquet(io.BytesIO(context.store.get(kept)))
