"""`ct package` writes the champion, or a version that was champion, as the same bytes each time."""

import json
import sys
from collections.abc import Callable

import pytest

from continuous_training.packages import open_package, read_release
from small_deployment import Deployment


def test_the_champion_is_packaged_below_the_home_and_its_digest_is_told(
    ct: Callable, deployment: Deployment, tmp_path
) -> None:
    said = ct("package", "m", "--json")
    assert said.code == 0, said.err
    told = json.loads(said.out)
    champion = deployment.ledger.champion("m")
    assert (told["version"], told["bundle"], told["run"]) == (champion.version, champion.bundle, champion.run_key)
    assert told["spec"] == deployment.ledger.run(champion.run_key).run.spec_digest
    release = read_release(open_package(deployment.home / "packages" / "m-1", tmp_path / "opened"))
    assert (release.model, release.version, release.fence, release.bundle) == ("m", "1", 1, champion.bundle)

    again = ct("package", "m", "--version", "1", "--output", str(tmp_path / "again"))
    assert again.out == f"{tmp_path / 'again'} {told['digest']}\n"


def test_what_cannot_be_packaged_is_refused_in_words(ct: Callable, tmp_path) -> None:
    for arguments, words in (
        (["unknown"], "unknown has no champion to package; train one first"),
        (["m", "--version", "9"], "m has no version 9 that was champion; there are: 1"),
        (["m", "--output", str(tmp_path)], "exists; name another folder"),
        (["m", "--base", "nowhere.tar"], "nowhere.tar holds no image that can be used"),
        (["m", "--private-key", "nowhere.pem"], "nowhere.pem holds no private key that can be used"),
    ):
        said = ct("package", *arguments)
        assert said.code == 2
        assert words in said.err


def test_a_signature_without_its_library_names_the_extra_and_leaves_nothing(
    ct: Callable, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("model_signing.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    (tmp_path / "key.pem").touch()
    said = ct("package", "m", "--private-key", str(tmp_path / "key.pem"), "--output", str(tmp_path / "out"))
    assert said.code == 2
    assert "ct: signatures need model-signing: pip install 'airflow-provider-continuous-training[sign]'" in said.err
    assert not (tmp_path / "out").exists()
