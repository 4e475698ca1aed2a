"""`ct manifests`: what a cluster needs, as YAML for people and GitOps tools."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from continuous_training.cli.models import load_model
from continuous_training.core.errors import UsageError
from continuous_training.deployers.base import Release
from continuous_training.deployers.planes import serving_plane, work_plane
from continuous_training.deployers.pods import ServedPods
from continuous_training.ledger import Ledger
from continuous_training.settings import Settings
from continuous_training.spec import ModelSpec

if TYPE_CHECKING:
    import argparse

_NOTE = "# Written by `ct manifests`; change the model file or a patch, not this file.\n"
_INDEX = "kustomization.yaml"


def manifests(options: argparse.Namespace) -> int:
    """Print or write the objects of one model's champion, or the namespaces and rights of the work and the serving."""
    settings = Settings.from_environment()
    if options.model is None:
        serving = serving_plane(options.serving, options.airflow, via=options.via, work=options.work)
        planes = [*work_plane(options.work, options.airflow), *serving]
        objects = list({_place(each): each for each in planes}.values())  # both may be one namespace
    else:
        objects = _champion(load_model(options.model, settings), options.namespace, settings)
    if options.output is None:
        print("---\n".join(map(_text, objects)), end="")
    else:
        _write(Path(options.output), objects)
    return 0


def _champion(spec: ModelSpec, namespace: str | None, settings: Settings) -> list[dict[str, Any]]:
    deployment = spec.deployment
    if not isinstance(deployment, ServedPods):
        msg = (
            f"{spec.model} is deployed as {deployment.kind}, which has no manifests; write kind: kubernetes or kserve under "
            "deployment; a retry gives the same"
        )
        raise UsageError(msg)
    champion = Ledger(settings.ledger).champion(spec.model)
    if champion is None:
        msg = f"{spec.model} has no champion yet, so there is nothing to serve; train one (ct run train {spec.model})"
        raise UsageError(msg)
    if namespace is not None:
        deployment = type(deployment).model_validate(deployment.model_dump() | {"namespace": namespace})
    release = Release.model_validate(champion.model_dump(include=set(Release.model_fields)))
    return deployment.manifests(release, settings)


def _place(manifest: dict[str, Any]) -> str:
    """Return the file name of an object: no two objects have the same."""
    of = manifest["metadata"]
    return "-".join(filter(None, [of.get("namespace", ""), manifest["kind"].lower(), of["name"]])) + ".yaml"


def _text(manifest: dict[str, Any]) -> str:
    return str(yaml.safe_dump(manifest, sort_keys=False, width=120))


def _write(folder: Path, objects: list[dict[str, Any]]) -> None:
    """Write one file for each object and an index of them; files that the last index had and this one has not go."""
    index = folder / _INDEX
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if index.exists() and not index.read_text().startswith(_NOTE):
            msg = f"{index} was not written by `ct manifests`, so it is left alone; name another folder"
            raise UsageError(msg)
        old = yaml.safe_load(index.read_text())["resources"] if index.exists() else []
        files = {_place(each): _text(each) for each in objects}
        for name in set(old) - files.keys():
            (folder / Path(name).name).unlink(missing_ok=True)
        listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": list(files)}
        for name, text in (files | {_INDEX: _text(listed)}).items():
            (folder / name).write_text(_NOTE + text)
    except OSError as error:
        raise UsageError(f"cannot write to {folder} ({error}); name a folder that can be written") from error
    print(f"{folder}: {len(files)} objects", file=sys.stderr)
