"""Signatures of a model's folder by the OpenSSF's model-signing, with a key of the owner's (elliptic curve, PEM)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from continuous_training.core.errors import ArtefactCorrupt, MissingExtra, UsageError

if TYPE_CHECKING:
    from pathlib import Path

SIGNATURE = "model.sig"


def sign(folder: Path, private_key: Path) -> None:
    """Write `model.sig` into `folder`, over every other file in it.

    Raises
    ------
    UsageError
        The file is no private key on an elliptic curve, or one with a password.
    MissingExtra
        The extra `sign` is not installed.
    """
    signing, hashing = _library("signing"), _hashing()
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key)
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise _no_key(private_key, "private", error) from error
    signer.set_hashing_config(hashing).sign(folder, folder / SIGNATURE)


def verify(folder: Path, public_key: Path) -> None:
    """Return when `model.sig` in `folder` was made with the key's other half over exactly the files in it.

    Raises
    ------
    UsageError
        The file is no public key on an elliptic curve.
    ArtefactCorrupt
        There is no signature, it is by another key, or a file was changed, added or removed.
    MissingExtra
        The extra `sign` is not installed.
    """
    verifying, hashing = _library("verifying"), _hashing()
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise _no_key(public_key, "public", error) from error
    if not (folder / SIGNATURE).is_file():
        msg = (
            f"{folder} has no {SIGNATURE}, and only what was signed with the other half of {public_key} is served; package "
            "the model with --private-key; a retry gives the same"
        )
        raise ArtefactCorrupt(msg)
    try:
        verifier.set_hashing_config(hashing).verify(folder, folder / SIGNATURE)
    except Exception as error:  # whatever the libraries below raise, the signature does not hold
        msg = (
            f"{SIGNATURE} in {folder} does not hold for {public_key} ({type(error).__name__}: {error}); the files are not "
            "those that were signed, or another key signed them; package the model again; a retry gives the same"
        )
        raise ArtefactCorrupt(msg) from error


def _library(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(f"model_signing.{module}")
    except ImportError as error:
        msg = "signatures need model-signing: pip install 'airflow-provider-continuous-training[sign]'; a retry gives the same"
        raise MissingExtra(msg) from error


def _hashing() -> Any:
    return _library("hashing").Config().set_ignored_paths(paths=[SIGNATURE], ignore_git_paths=False)


def _no_key(path: Path, half: str, error: Exception) -> UsageError:
    return UsageError(
        f"{path} holds no {half} key that can be used ({error or type(error).__name__}); name a PEM file with a {half} key on "
        "the curve P-256, P-384 or P-521, without a password; a retry gives the same"
    )
