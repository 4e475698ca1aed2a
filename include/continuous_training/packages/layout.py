"""The OCI image layout of a package.

Source: https://github.com/opencontainers/image-spec. `manifest.json` is there for engines that load docker-archives only.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tarfile
import tempfile
import uuid
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from continuous_training.core.digest import canonical
from continuous_training.core.errors import ArtefactCorrupt, StoreUnavailable, UsageError
from continuous_training.core.frozen import Frozen
from continuous_training.deployers.base import Release
from continuous_training.packages.base import Base, read_base
from continuous_training.packages.bill import BILL, bill, installed
from continuous_training.packages.blobs import Blob, Blobs
from continuous_training.packages.release import RELEASE
from continuous_training.packages.signature import SIGNATURE, sign

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
ARTEFACT_TYPE = "application/vnd.continuous-training.model.v1"
OURS = "continuous-training."
"""Begins the annotations and labels that no standard names."""

FOLDER = "model"
MOST_BYTES = 4 * 2**20
"""Largest index or manifest that is read."""

_FILE = re.compile(rf"{FOLDER}/\w[\w.-]{{0,254}}")
_TAG = re.compile(r"[a-z0-9]+(_{1,2}[a-z0-9]+)*:[\w][\w.-]{0,127}")


class Contents(Frozen):
    """What goes into a package."""

    release: Release
    created: datetime
    facts: dict[str, str]
    """More annotations, by the second half of their names."""


def write_package(
    bundle: Path, contents: Contents, output: Path, *, base: Path | None = None, private_key: Path | None = None
) -> str:
    """Write the layout into the folder `output`, which must not be there yet, and return the digest of its manifest.

    The same inputs give the same bytes; a signature is new each time, and only its own layer changes with it.

    Parameters
    ----------
    bundle
        Folder of the checked bundle; all its files are packaged.
    contents
        What is said of it.
    output
        Folder to make.
    base
        Image to put the model on, usually the server's; without one the package is an artefact.
    private_key
        Key to sign with.

    Raises
    ------
    UsageError
        `output` exists, or the base or the key cannot be used.
    StoreUnavailable
        `output` cannot be written.
    """
    if output.exists():
        msg = f"{output} exists; name another folder or delete it first; a retry gives the same"
        raise UsageError(msg)
    with _written(output) as staged, tempfile.TemporaryDirectory() as folder:
        blobs, model = Blobs(staged), Path(folder)
        found = read_base(base, blobs) if base else None
        files = {path.name: shutil.copyfile(path, model / path.name) for path in bundle.iterdir()}
        digests = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        parts = found.components if found else installed()
        (model / RELEASE).write_text(contents.release.model_dump_json())
        (model / BILL).write_text(canonical(bill(contents.release, digests, contents.facts, parts)))
        layers = [blobs.add_layer(list(model.iterdir()), FOLDER)]
        if private_key:
            sign(model, private_key)
            layers.append(blobs.add_layer([model / SIGNATURE], FOLDER))
        return _write_manifest(staged, blobs, contents, found, layers)


@contextmanager
def _written(output: Path) -> Iterator[Path]:
    """Give a folder to write beside `output`, which takes its place when that went well."""
    staged = output.with_name(f".{output.name}.{uuid.uuid4().hex}")
    try:
        staged.mkdir(parents=True)
        yield staged
        staged.rename(output)
    except OSError as error:
        msg = f"cannot write {output} ({error}); check space and rights; a retry starts again"
        raise StoreUnavailable(msg) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _write_manifest(
    root: Path, blobs: Blobs, contents: Contents, base: Base | None, layers: list[tuple[Blob, str]]
) -> str:
    release = contents.release
    notes = {
        "org.opencontainers.image.title": release.model,
        "org.opencontainers.image.version": release.version,
        "org.opencontainers.image.created": contents.created.isoformat(),
        f"{OURS}model": release.model,
        f"{OURS}fence": str(release.fence),
        f"{OURS}bundle": release.bundle,
        **{f"{OURS}{name}": value for name, value in contents.facts.items()},
    }
    tag = f"{release.model}:{release.version}"
    config = blobs.add_json(_config(base, notes, layers) if base else {}, CONFIG_TYPE if base else EMPTY_TYPE)
    manifest = blobs.add_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            **({} if base else {"artifactType": ARTEFACT_TYPE}),
            "config": config.descriptor(),
            "layers": [
                *(layer.descriptor() for layer in (base.layers if base else ())),
                *(layer.descriptor(annotations={f"{OURS}layer": FOLDER}) for layer, _ in layers),
            ],
            "annotations": notes,
        },
        MANIFEST_TYPE,
    )
    named = manifest.descriptor(annotations={"org.opencontainers.image.ref.name": tag})
    _write_json(root / "index.json", {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": [named]})
    _write_json(root / "oci-layout", {"imageLayoutVersion": "1.0.0"})
    if base:
        places = [layer.place for layer in [*base.layers, *(layer for layer, _ in layers)]]
        tags = [tag] if _TAG.fullmatch(tag) else []
        _write_json(root / "manifest.json", [{"Config": config.place, "RepoTags": tags, "Layers": places}])
    return manifest.digest


def _config(base: Base, notes: dict[str, str], layers: list[tuple[Blob, str]]) -> dict[str, Any]:
    config, run = dict(base.config), dict(base.config.get("config") or {})
    run["Env"] = [*(run.get("Env") or ()), f"CT_BUNDLE=/{FOLDER}"]
    run["Labels"] = {**(run.get("Labels") or {}), **notes}
    created = notes["org.opencontainers.image.created"]
    step = {"created": created, "created_by": f"ct package {notes['org.opencontainers.image.title']}"}
    rootfs = {"type": "layers", "diff_ids": [*config["rootfs"]["diff_ids"], *(diff for _, diff in layers)]}
    history = [*config.get("history", ()), *([step] * len(layers))]
    return {**config, "created": created, "config": run, "rootfs": rootfs, "history": history}


def _write_json(path: Path, value: object) -> None:
    path.write_text(canonical(value))


def open_package(package: Path, home: Path) -> Path:
    """Return a folder below `home` with the model that the layout `package` holds, every byte of it checked.

    Raises
    ------
    ArtefactCorrupt
        The layout is not one of ours, or something in it is not what its digest says.
    """
    try:
        (image,) = json.loads(_limited(package / "index.json"))["manifests"]
        digest = image["digest"]
        manifest = json.loads(_checked(package, digest, _limited(_place(package, digest))))
        layers = [one for one in manifest["layers"] if one.get("annotations", {}).get(f"{OURS}layer") == FOLDER]
        target = home / "packages" / _place(package, digest).name
        staged = target.with_name(f".{uuid.uuid4().hex}")
        staged.mkdir(parents=True)
        for layer in layers:
            _unpack(package, layer["digest"], staged)
        shutil.rmtree(target, ignore_errors=True)
        staged.rename(target)
    except (OSError, EOFError, KeyError, TypeError, AttributeError, ValueError, tarfile.TarError) as error:
        msg = (
            f"{package} is no package that can be served ({type(error).__name__}: {error}); copy it again, or make it with "
            "`ct package`; a retry reads the same"
        )
        raise ArtefactCorrupt(msg) from error
    return target


def _unpack(package: Path, digest: str, folder: Path) -> None:
    path = _place(package, digest)
    with path.open("rb") as file:
        if f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}" != digest:
            msg = f"the bytes of {digest} were changed"
            raise ValueError(msg)
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isdir() and member.name == FOLDER:
                continue
            found = archive.extractfile(member) if member.isfile() and _FILE.fullmatch(member.name) else None
            if found is None:
                msg = f"{member.name!r} has no place in a package"
                raise ValueError(msg)
            with (folder / Path(member.name).name).open("wb") as written:
                shutil.copyfileobj(found, written)


def _place(package: Path, digest: str) -> Path:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        msg = f"{digest!r} is no SHA-256 digest"
        raise ValueError(msg)
    return package / "blobs" / digest.replace(":", "/")


def _limited(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        msg = f"{path.name} has over {MOST_BYTES} bytes"
        raise ValueError(msg)
    return data


def _checked(package: Path, digest: str, data: bytes) -> bytes:
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        msg = f"the manifest in {package.name} was changed"
        raise ValueError(msg)
    return data
