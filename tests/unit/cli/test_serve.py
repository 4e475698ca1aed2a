"""`ct serve` by a model's name serves what the ledger calls its champion."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx

from small_deployment import Deployment


def test_a_models_name_stands_for_its_champion(deployment: Deployment) -> None:
    command = [sys.executable, "-m", "continuous_training.cli", "serve", "m", "--port", "0", "--drain", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        place = next(found for line in server.stderr if (found := re.search(r"ready on 127.0.0.1 port (\d+)", line)))
        told = httpx.get(f"http://127.0.0.1:{place[1]}/version").json()
        server.send_signal(signal.SIGTERM)
    champion = deployment.ledger.champion("m")
    assert champion is not None
    assert (told["model"], told["version"], told["fence"], told["bundle"]) == ("m", "1", 1, champion.bundle)
    assert told["data_cutoff"].startswith("2024-02-10")


def test_a_name_of_nothing_is_refused_with_what_it_might_be(ct: Callable[..., Any]) -> None:
    said = ct("serve", "nothing")
    assert said.code == 2
    assert "nothing is no folder here, no digest and no model with a champion in the ledger" in said.err


def test_a_folder_goes_before_a_model_of_its_name(ct: Callable[..., Any], tmp_path: Any) -> None:
    (tmp_path / "m").mkdir()
    said = ct("serve", "m")
    assert said.code == 1
    assert "has no bundle.json" in said.err
