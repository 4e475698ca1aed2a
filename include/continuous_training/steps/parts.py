"""Read a window part by part: what adds up is counted in all rows, and some rows of all parts are kept for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from continuous_training.core.defects import Defect
from continuous_training.core.run import Run
from continuous_training.core.window import Window
from continuous_training.reports._distributions import Tally
from continuous_training.reports.distribution import Profile
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec
from continuous_training.steps.champion import load_champion
from continuous_training.steps.collect import read_rows
from continuous_training.steps.context import Context
from continuous_training.steps.defects import defects
from continuous_training.steps.evaluate import computed_columns, detector_key, groups_of
from continuous_training.steps.profile import count, profile_of
from continuous_training.steps.references import reference_of
from continuous_training.storage import Store
from continuous_training.trainers.preparation import encode_label

if TYPE_CHECKING:
    from continuous_training.core.run import ChampionRef
    from continuous_training.detectors.base import Prepared


@dataclass(frozen=True)
class Sample:
    """Rows whose place in their part is a multiple of `step`, which doubles until they are `most` or fewer."""

    rows: pd.DataFrame
    places: NDArray[np.int64]
    step: int
    most: int

    @classmethod
    def of(cls, rows: pd.DataFrame, most: int) -> Sample:
        """Return a sample of the rows of one part."""
        return cls(rows, np.arange(len(rows)), 1, most)._thinned()

    def __add__(self, other: Sample) -> Sample:
        """Return a sample of the rows of both, in which a row of either is as likely."""
        step = max(self.step, other.step)
        one, two = self._every(step), other._every(step)
        places = np.concatenate([one.places, two.places])
        return Sample(pd.concat([one.rows, two.rows], ignore_index=True), places, step, self.most)._thinned()

    def _thinned(self) -> Sample:
        sample = self
        while len(sample.places) > sample.most:
            sample = sample._every(2 * sample.step)
        return sample

    def _every(self, step: int) -> Sample:
        if step == self.step:
            return self
        chosen = self.places % step == 0
        return Sample(self.rows[chosen], self.places[chosen], step, self.most)


@dataclass(frozen=True)
class Seen:
    """What was seen in all rows of a window or of a part of it; it adds up in order of time."""

    rows: int
    tallies: dict[str, Any]
    """What each detector counted, by its key; `None` of one that has to have rows side by side."""
    defects: tuple[Defect, ...]
    counted: Tally
    """What the drift report counts in each column."""
    sample: Sample

    def __add__(self, other: Seen) -> Seen:
        """Return what was seen in both; a fault of both is told as the first one has it."""
        known = {(defect.kind, defect.column) for defect in self.defects}
        return Seen(
            self.rows + other.rows,
            {key: None if tally is None else tally + other.tallies[key] for key, tally in self.tallies.items()},
            self.defects + tuple(one for one in other.defects if (one.kind, one.column) not in known),
            self.counted + other.counted,
            self.sample + other.sample,
        )


def see(context: Context, window: Window) -> Seen:
    """Return what there is in a window, read in the parts that the model file says."""
    spec, champion = context.spec, context.run.champion
    assert champion is not None
    parts = list(spec.window.parts_of(window))
    engine = getattr(spec.trainer, "engine", None)
    if engine is None:
        kept = _kept(context, champion)
        return reduce(add, (_see_part(context, part, kept) for part in parts))
    # Workers beside this step are its own; others know from their own surroundings where this deployment keeps things.
    settings = context.settings if engine.scheduler is None else None
    with engine.ready(context.settings.locations) as ready:
        asked = [(spec, context.run, settings, part) for part in parts]
        seen: Seen = reduce(add, ready.map(_see_remotely, asked))
        return seen


def _see_remotely(asked: tuple[ModelSpec, Run, Settings | None, Window]) -> Seen:
    spec, run, given, part = asked
    settings = given or Settings.from_environment()
    context = Context(spec=spec, run=run, settings=settings, store=Store(settings.artefacts))
    assert run.champion is not None
    return _see_part(context, part, _kept(context, run.champion))


class Kept(NamedTuple):
    """What is known of the champion's rows."""

    references: dict[str, Prepared]
    profile: Profile


def _kept(context: Context, champion: ChampionRef) -> Kept:
    references = {detector_key(each): reference_of(context, each, champion) for each in context.spec.drift}
    return Kept(references, profile_of(context, champion))


def _see_part(context: Context, part: Window, kept: Kept) -> Seen:
    spec, champion = context.spec, context.run.champion
    assert champion is not None
    rows, bundle = read_rows(context.within(part)), load_champion(context, champion)
    y, _ = encode_label(rows[spec.task.label], spec.task, bundle.manifest.classes)
    measured = rows.assign(**computed_columns(y, bundle.predict(rows), spec.task, groups_of(rows, spec.task)))
    return Seen(
        rows=len(rows),
        tallies={
            detector_key(detector): detector.tally_slices(
                kept.references[detector_key(detector)], measured, spec.features
            )
            for detector in spec.drift
        },
        defects=defects(context, rows, part, champion),
        counted=count(kept.profile, measured),
        sample=Sample.of(rows, spec.window.sample),
    )
