"""Turn a request into one frozen run: which rows, seen from when, against which champion."""

from __future__ import annotations

from datetime import datetime

from continuous_training.core.decisions import RetrainingReason
from continuous_training.core.digest import digest
from continuous_training.core.errors import DataInvalid, SourceUnavailable
from continuous_training.core.run import ChampionRef, Request, Run
from continuous_training.core.window import Window
from continuous_training.ledger import Champion, Ledger
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec


def plan(spec: ModelSpec, request: Request, settings: Settings, *, now: datetime) -> Run:
    """Return the run that answers `request`; the same request twice gives the same run.

    Requests that name the same episode are one run, whatever they give as their reason, and whatever landed in between:
    the window of the first stands. A request that names none is one run with those of its reason for the same window.

    A train run ends at the newest window end whose labels have all matured at `as_of`; a watch run looks at the next
    window that nobody has scored.

    Raises
    ------
    SourceUnavailable
        The source has no complete window yet: a retry later may find one.
    DataInvalid
        A watch was asked for before there is a champion.
    """
    ledger = Ledger(settings.ledger)
    if request.kind == "watch":
        return _plan_watch(spec, request, settings, ledger)
    end = newest_end(spec, request, settings, now)
    window = spec.window.reference_window(end)
    reason = RetrainingReason(
        kind=request.reason,
        text=request.text or _DEFAULT_TEXT[request.reason],
        episode=request.episode or f"{request.reason}:{end:%Y-%m-%dT%H:%MZ}",
    )
    identity = {
        "model": spec.model,
        "spec": spec.digest,
        # Rows that land between two requests of one episode must not make two runs of it.
        "cause": {"episode": request.episode} if request.episode else {"reason": request.reason, "window": str(window)},
        "trials": request.trials,
    }
    run = Run(
        model=spec.model,
        kind="train",
        key=digest(identity),
        as_of=end + spec.task.label_delay,
        window=window,
        reason=reason,
        spec_digest=spec.digest,
        champion=_reference(ledger.champion(spec.model)),
        trials=request.trials,
        quarantined=ledger.quarantined(spec.model, window),
    )
    if not ledger.begin_run(run, now=now):
        run = ledger.run(run.key).run  # the first plan stands: its fence and its champion are part of the evidence
    return run.model_copy(update={"force": request.force, "dry_run": request.dry_run})


def next_window_end(spec: ModelSpec, settings: Settings) -> datetime | None:
    """Return the end of the next window to score, complete or not; `None` while there is no champion.

    Windows follow one another after the champion's data and after the last one scored.
    """
    ledger = Ledger(settings.ledger)
    champion = ledger.champion(spec.model)
    if champion is None:
        return None
    scored = ledger.scored_until(spec.model)
    first = ledger.history(spec.model)[-1].data_cutoff if scored is None else scored
    return spec.window.last_end(first) + spec.window.every


def is_complete(spec: ModelSpec, settings: Settings, end: datetime) -> bool:
    """Tell whether all rows before `end` have arrived and the labels that a look waits for, by the source's watermark."""
    watermark = spec.source.watermark(task=spec.task, locations=settings.locations)
    return watermark is not None and watermark >= end + spec.look_delay


def _plan_watch(spec: ModelSpec, request: Request, settings: Settings, ledger: Ledger) -> Run:
    champion = ledger.champion(spec.model)
    if champion is None:
        msg = (
            f"{spec.model} has no champion yet, so there is nothing to watch; train it first: ct run train {spec.model}"
        )
        raise DataInvalid(msg)
    end = next_window_end(spec, settings)
    if request.as_of is not None:
        end = spec.window.last_end(request.as_of - spec.look_delay)
    if end is None or not is_complete(spec, settings, end):
        msg = f"the window of {spec.model} that ends at {end:%Y-%m-%d %H:%MZ} is not complete yet; a retry after more data has landed may find it so"
        raise SourceUnavailable(msg)
    window = spec.window.current_window(end)
    identity = {
        "model": spec.model,
        "spec": spec.model_dump(mode="json"),
        "window": str(window),
        "bundle": champion.bundle,
    }
    return Run(
        model=spec.model,
        kind="watch",
        key=digest(identity),
        as_of=end + spec.look_delay,
        window=window,
        spec_digest=spec.digest,
        champion=_reference(champion),
        replaced=_reference(_replaced(spec, ledger, champion, window)),
        quarantined=_broken_before(spec, ledger, window) if spec.retraining.needs_shadow else (),
    )


def _broken_before(spec: ModelSpec, ledger: Ledger, window: Window) -> tuple[Window, ...]:
    """Return the broken windows among the rows of a refit before `window`, or before the newest one with labels."""
    earliest = window.start - spec.task.label_delay - spec.window.every
    return ledger.quarantined(spec.model, Window(start=spec.window.reference_window(earliest).start, end=window.start))


def _replaced(spec: ModelSpec, ledger: Ledger, champion: Champion, window: Window) -> Champion | None:
    """Return the champion before, while the retraining that replaced it is still judged by windows it did not see."""
    if champion.kind != "promotion" or window.start < champion.data_cutoff:
        return None
    measured = ledger.gains(spec.model, champion.fence)
    return ledger.previous(spec.model) if len(measured) < spec.retraining.judged_over else None


def newest_end(spec: ModelSpec, request: Request, settings: Settings, now: datetime) -> datetime:
    """Return the newest window end whose rows have arrived and whose labels have matured at the request's moment.

    Raises
    ------
    SourceUnavailable
        There are no rows at all.
    """
    watermark = spec.source.watermark(task=spec.task, locations=settings.locations)
    if watermark is None:
        msg = f"the source of {spec.model} has no rows yet; land data and ask again, a retry then finds it"
        raise SourceUnavailable(msg)
    moment = min(request.as_of or now, watermark, now)
    return spec.window.last_end(moment - spec.task.label_delay)


def _reference(champion: Champion | None) -> ChampionRef | None:
    if champion is None:
        return None
    return ChampionRef(
        fence=champion.fence,
        version=champion.version,
        run_key=champion.run_key,
        bundle=champion.bundle,
        data_cutoff=champion.data_cutoff,
    )


_DEFAULT_TEXT = {
    "schedule": "the schedule was due",
    "drift": "the data drifted",
    "performance": "the champion's quality fell",
    "feedback": "feedback asked for it",
    "manual": "somebody asked for it",
    "config": "the model file changed",
}
