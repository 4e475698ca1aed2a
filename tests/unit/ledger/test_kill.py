"""A process that dies in the middle leaves everything or nothing."""

import json
import subprocess
import sys

import ledger_parts
from continuous_training.ledger import Ledger

pytest_plugins = ["postgres"]


def test_a_death_after_any_statement_of_any_verb_leaves_nothing_and_the_next_attempt_does_all(url: str) -> None:
    command = [sys.executable, ledger_parts.__file__, url]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    reports = json.loads(done.stdout)
    assert reports.keys() == ledger_parts.VERBS.keys()
    for verb, report in reports.items():
        assert report["deaths"] >= 3, (verb, "the deaths must reach into the transaction")
        assert (report["torn"], report["status"], report["done"]) == ([], 0, True), verb
    assert reports["promote"]["deaths"] >= 8
    assert Ledger(url).verify() == []
