"""`ct doctor`: whether this deployment has what it needs: versions, settings, connections, rights, clock, licences."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote, unquote, urlsplit

from pydantic import TypeAdapter

from continuous_training.cli.tables import show
from continuous_training.core.errors import ContinuousTrainingError, Transient
from continuous_training.core.frozen import Frozen
from continuous_training.ledger import Ledger
from continuous_training.registry import Registry
from continuous_training.settings import Settings
from continuous_training.spec import load_specs
from continuous_training.storage import Store

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from continuous_training.spec import ModelSpec

DISTRIBUTION = "airflow-provider-continuous-training"
NOTED_SKEW, WRONG_SKEW = 5.0, 60.0
"""Seconds that this clock and the database's may differ: leases and ages are measured with both."""
LEAST_FREE = 2**30
"""Bytes that should be free where a deployment keeps its things."""
_SECRET = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL|AIRFLOW_CONN_|AIRFLOW__DATABASE__")
_SHORTEST_SECRET = 4

State = Literal["ok", "note", "wrong", "down"]
Told = tuple[State, str]


class Finding(Frozen):
    """What one check found."""

    check: str
    state: State
    text: str


def doctor(options: argparse.Namespace) -> int:
    """Check everything and say what is wrong: 1 where something is, 7 where something does not answer."""
    findings = list(examine())
    if options.json:
        print(TypeAdapter(list[Finding]).dump_json(findings, indent=1).decode())
    else:
        show(
            "Findings", ("check", "state", "what was found"), ((each.check, each.state, each.text) for each in findings)
        )
    states = {each.state for each in findings}
    return 1 if "wrong" in states else Transient.exit_code if "down" in states else 0


def examine(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Give the finding of each check; no secret of the settings or the environment is in them."""
    yield from _checked("versions", _versions, _secrets(environment))
    try:
        settings = Settings.from_environment(environment)
    except ContinuousTrainingError as error:
        said = str(error)
        yield from _checked("settings", lambda: ("wrong", said), _secrets(environment))
        return
    hidden = _secrets(environment, settings.ledger, settings.artefacts, settings.registry, *settings.locations.values())
    specs, errors = load_specs(Path(settings.models))
    checks: dict[str, Callable[[], Told]] = {
        "home": lambda: _home(Path(settings.home)),
        "model files": lambda: _models(settings, len(specs), {name: str(error) for name, error in errors.items()}),
        "ledger": lambda: _ledger(settings),
        "clock": lambda: _clock(settings),
        "artefacts": lambda: _artefacts(settings),
        "registry": lambda: _registry(settings),
        "champions": lambda: _champions(settings, specs),
    }
    for name, spec in specs.items():
        checks |= {f"{name}: {part}": check for part, check in _of_model(spec, settings).items()}
    for name, check in checks.items():
        yield from _checked(name, check, hidden)


def _checked(name: str, check: Callable[[], Told], hidden: tuple[str, ...]) -> Iterator[Finding]:
    try:
        state, text = check()
    except Transient as error:
        state, text = "down", str(error)
    except ContinuousTrainingError as error:
        state, text = "wrong", str(error)
    except Exception as error:  # noqa: BLE001 - whatever a library raises here is a finding
        state, text = "wrong", f"{type(error).__name__}: {error}"
    text = re.sub(r"(://[^/\s:@]*):[^@\s/]+@", r"\1:***@", text)
    for secret in hidden:
        text = text.replace(secret, "***")
    yield Finding(check=name, state=state, text=text)


def _secrets(environment: Mapping[str, str], *urls: str) -> tuple[str, ...]:
    """Return what must not be shown: passwords of URLs and values of variables that are called like secrets."""
    found = {value for name, value in environment.items() if _SECRET.search(name.upper())}
    for url in (*urls, *found):
        password = urlsplit(url).password if "://" in url else None
        if password:
            found |= {password, unquote(password), quote(password, safe="")}
    return tuple(sorted((each for each in found if len(each) >= _SHORTEST_SECRET), key=len, reverse=True))


def _versions() -> Told:
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or ()]
    problems, fitting = [], 0
    for each in wanted:
        optional = each.marker is not None and "extra" in str(each.marker)
        try:
            version = metadata.version(each.name)
        except metadata.PackageNotFoundError:
            problems += [] if optional else [f"{each.name} is not installed"]
            continue
        if each.specifier.contains(version, prereleases=True):
            fitting += 1
        else:
            problems.append(f"{each.name} is {version}, wanted {each.specifier}")
    if problems:
        return "wrong", f"{'; '.join(problems)}; install the versions of requirements.txt"
    python = ".".join(map(str, sys.version_info[:3]))
    return "ok", f"{metadata.version(DISTRIBUTION)} on Python {python}; {fitting} packages fit"


def _home(home: Path) -> Told:
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"ct doctor")
    except OSError as error:
        return "wrong", f"{home} cannot be written ({error}); give this user the right, or set CT_HOME"
    free = shutil.disk_usage(home).free
    few = free < LEAST_FREE
    return (
        "note" if few else "ok",
        f"{home} can be written; {free / 2**30:.1f} GiB free{', which is little' if few else ''}",
    )


def _models(settings: Settings, right: int, wrong: dict[str, str]) -> Told:
    if wrong:
        first = next(iter(wrong.values()))
        return "wrong", f"{len(wrong)} of {right + len(wrong)} in {settings.models} are wrong (`ct lint`): {first}"
    if not right:
        return "note", f"there are none in {settings.models}; write one, or set CT_MODELS"
    return "ok", f"{right} in {settings.models}"


def _ledger(settings: Settings) -> Told:
    ledger = Ledger(settings.ledger, lock_timeout=5.0)
    ledger.probe()
    return "ok", f"{ledger.place} can be read and written; it knows {len(ledger.models())} model(s)"


def _clock(settings: Settings) -> Told:
    ledger = Ledger(settings.ledger, lock_timeout=5.0)
    before = datetime.now(UTC)
    told = ledger.probe()
    after = datetime.now(UTC)
    # The database's moment lies between ours; SQLite tells whole seconds.
    skew = max((before - told).total_seconds() - 1, (told - after).total_seconds(), 0.0)
    text = f"this clock and the database's differ by {'less than a second' if skew < 1 else f'{skew:.0f} s'}"
    if skew <= NOTED_SKEW:
        return "ok", text
    return "wrong" if skew > WRONG_SKEW else "note", f"{text}; let both follow a time server"


def _artefacts(settings: Settings) -> Told:
    store = Store(settings.artefacts)
    store.get(store.put(b"ct doctor"))
    return "ok", f"{settings.artefacts} can be read and written"


def _registry(settings: Settings) -> Told:
    Registry(settings.registry).aliases("ct_doctor")  # nobody's: what matters is that there is an answer
    return "ok", f"{settings.registry} answers"


def _champions(settings: Settings, models: Iterable[str]) -> Told:
    registry, ledger = Registry(settings.registry), Ledger(settings.ledger, lock_timeout=5.0)
    champions = {model: champion for model in models if (champion := ledger.champion(model)) is not None}
    shown = {model: registry.aliases(model).get("champion") for model in champions}
    lost = [
        model for model, version in shown.items() if version is None or version != champions[model].registry_version
    ]
    if lost:
        text = f"MLflow does not show the champion of {', '.join(lost)} as the ledger has it"
        return "wrong", f"{text}: somebody deleted or moved it there, or it was down; run `ct reconcile`"
    return "ok", f"MLflow shows the champions of {len(champions)} model(s)"


def _of_model(spec: ModelSpec, settings: Settings) -> dict[str, Callable[[], Told]]:
    checks: dict[str, Callable[[], Told]] = {"data": lambda: _data(spec, settings)}
    licensed = sorted({each.kind for each in spec.drift if each.kind.startswith("alibi")})
    if licensed:
        checks["licences"] = lambda: _licences(licensed)
    if spec.deployment.kind in {"kubernetes", "kserve"} and not spec.deployment.in_pod:
        checks["cluster"] = lambda: _cluster(spec)
    return checks


def _licences(kinds: Sequence[str]) -> Told:
    text = (
        f"{', '.join(kinds)} use alibi-detect {metadata.version('alibi-detect')}, under the Business Source License 1.1: free for "
        "other than production use; commercial production needs a licence from its owner"
    )
    return "note", text


def _data(spec: ModelSpec, settings: Settings) -> Told:
    until = spec.source.watermark(task=spec.task, locations=settings.locations)
    return ("ok", f"rows until {until:%Y-%m-%d %H:%MZ}") if until else ("note", "there are no rows yet")


def _cluster(spec: ModelSpec) -> Told:
    from continuous_training.deployers.cluster import Cluster

    namespace = str(getattr(spec.deployment, "namespace", ""))
    found = Cluster.connect().pods(namespace, {"app.kubernetes.io/name": "continuous-training"})
    return "ok", f"the cluster answers; {len(found)} pod(s) of ours in {namespace}"
