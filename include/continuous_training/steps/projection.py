"""Write again, from the ledger and the store, what MLflow and the serving pointer should show."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from continuous_training.core.comparison import Comparison
from continuous_training.deployers.base import Release
from continuous_training.ledger import Ledger
from continuous_training.registry import Entry, Registry
from continuous_training.reports import ModelCard, card_page, kept
from continuous_training.steps.context import Context

NOTHING_TO_DEPLOY = {"outcome": "nothing to deploy", "url": ""}


def project_registry(context: Context, *, run_key: str, outcome: str) -> dict[str, Any]:
    """Register the challenger of `run_key`, then let the aliases name what the ledger says.

    `challenger` names the newest version under judgement; `champion` and `previous` follow the ledger's history.
    """
    registry = Registry(context.settings.registry)
    model = context.spec.model
    registered = registry.register(_entry(context, run_key))
    registry.tag(model, registered.version, {"outcome": outcome})
    ledger = Ledger(context.settings.ledger)
    history = ledger.history(model)
    aliases: dict[str, str | None] = {"challenger": registered.version}
    if history:
        champion = history[0]
        shown = registry.register(_entry(context, champion.run_key)).version
        ledger.record_projection(model, champion.fence, target="registry", value=shown, now=datetime.now(UTC))
        aliases["champion"] = shown
    previous = ledger.previous(model)
    if previous is not None:
        aliases["previous"] = registry.register(_entry(context, previous.run_key)).version
    registry.point(model, aliases)
    return {
        "registry_version": registered.version,
        "mlflow_run": registered.run_id,
        "mlflow_experiment": registered.experiment_id,
    }


def project_serving(context: Context) -> dict[str, Any]:
    """Let the deployer serve the ledger's champion and return what answers where."""
    ledger = Ledger(context.settings.ledger)
    release = champion_release(ledger, context.spec.model)
    if release is None:
        return dict(NOTHING_TO_DEPLOY)
    facts = serve(context, release)
    record_serving(ledger, release.model, facts)
    return facts


def champion_release(ledger: Ledger, model: str) -> Release | None:
    """Return what is to be served of a model."""
    champion = ledger.champion(model)
    if champion is None:
        return None
    return Release.model_validate(champion.model_dump(include=set(Release.model_fields)))


def serve(context: Context, release: Release) -> dict[str, Any]:
    """Let the deployer serve a release; no ledger is asked."""
    url = context.spec.deployment.deploy(release, context.bundle(release.bundle), settings=context.settings)
    return {"outcome": "deployed", "url": url, "version": release.version, "fence": release.fence}


def record_serving(ledger: Ledger, model: str, facts: dict[str, Any]) -> None:
    """Write in the ledger where the champion answers now."""
    ledger.record_projection(model, facts["fence"], target="serving", value=facts["url"], now=datetime.now(UTC))


def _entry(context: Context, run_key: str) -> Entry:
    comparison = Comparison.model_validate_json(context.read("evaluate", "comparison", run_key))
    trained = context.manifest("train", run_key)
    collected = context.manifest("collect", run_key)
    evaluated = context.manifest("evaluate", run_key)
    metrics = {name: value for name, (value, _) in comparison.metrics.items() if value is not None}
    run = Ledger(context.settings.ledger).run(run_key).run
    return Entry(
        model=context.spec.model,
        run_key=run_key,
        bundle=context.bundle(trained["outputs"]["bundle"]),
        features=context.spec.features,
        requirements=tuple(trained["facts"]["requirements"]),
        metrics={f"hold_out_{name}": value for name, value in metrics.items()},
        parameters=trained["facts"]["parameters"],
        tags={
            "verdict": evaluated["facts"]["verdict"],
            "verdict_text": evaluated["facts"]["text"][:500],
            "reason": run.reason.kind if run.reason else "",
            "reason_text": run.reason.text[:500] if run.reason else "",
            "dataset_digest": collected["outputs"]["rows"],
            "dataset_window": str(run.window),
            "spec_digest": run.spec_digest,
            "bundle_digest": trained["outputs"]["bundle"],
        },
        reports=lambda: _reports(context, run_key),
    )


def _reports(context: Context, run_key: str) -> dict[str, bytes]:
    """Return what is kept of a run for people; a run of before there were model cards has none."""
    evaluated = context.manifest("evaluate", run_key)["outputs"]
    reports = {f"{name}.json": context.store.get(evaluated[name]) for name in ("comparison", "verdict")}
    validated = context.manifest("validate", run_key)["outputs"]
    if "data_docs" in validated:
        reports["data_docs.html"] = context.store.get(validated["data_docs"])
    if "card" in evaluated:
        card = kept.model_card(context.store, run_key)
        reports["model_card.json"] = context.store.get(evaluated["card"])
        reports["model_card.html"] = card_page(card).encode()
        reports |= _pictures(card)
    return reports


def _pictures(card: ModelCard) -> dict[str, bytes]:
    try:
        from continuous_training.reports import _pictures as drawing
    except ImportError:  # an image that only registers models has no matplotlib; the page has the same figures
        return {}
    return drawing.pictures(card)
