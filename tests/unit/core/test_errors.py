"""The tree of errors is what its text says, and every error knows its exit code."""

import re

import pytest

from continuous_training.core import errors
from continuous_training.core.errors import ContinuousTrainingError, Permanent, Transient

EXIT_CODES = {
    "ContinuousTrainingError": 1,
    "Permanent": 1,
    "SpecError": 2,
    "UsageError": 2,
    "MissingExtra": 2,
    "DataInvalid": 4,
    "ArtefactCorrupt": 1,
    "Conflict": 6,
    "DeploymentFailed": 1,
    "Transient": 7,
    "ClusterUnavailable": 7,
    "SourceUnavailable": 7,
    "RegistryUnavailable": 7,
    "StoreUnavailable": 7,
}
TREE = re.findall(r"^((?:[│├└─ ]*))([A-Z]\w+)", (errors.__doc__ or "").split("\n\n")[1], re.MULTILINE)


def everything(root: type[ContinuousTrainingError]) -> list[type[ContinuousTrainingError]]:
    """Return the class and all below it, depth first, in the order of definition."""
    return [
        root,
        *(
            found
            for child in root.__subclasses__()
            if child.__module__ == errors.__name__
            for found in everything(child)
        ),
    ]


def test_the_text_lists_every_class_under_its_parent() -> None:
    shown: list[tuple[str, str | None]] = []
    above: dict[int, str] = {}
    for indent, name in TREE:
        depth = len(indent) // 4
        shown.append((name, above.get(depth - 1)))
        above[depth] = name
    defined = [
        (kind.__name__, None if kind is ContinuousTrainingError else kind.__bases__[0].__name__)
        for kind in everything(ContinuousTrainingError)
    ]
    assert shown == defined


def test_every_class_has_the_exit_code_of_the_command_line() -> None:
    assert {kind.__name__: kind.exit_code for kind in everything(ContinuousTrainingError)} == EXIT_CODES


@pytest.mark.parametrize("kind", everything(ContinuousTrainingError)[1:], ids=lambda kind: kind.__name__)
def test_an_error_is_either_permanent_or_transient(kind: type[ContinuousTrainingError]) -> None:
    assert issubclass(kind, Permanent) != issubclass(kind, Transient)
    assert kind.__doc__


def test_exactly_the_errors_a_retry_may_mend_say_that_a_dependency_is_down() -> None:
    for kind in everything(ContinuousTrainingError):
        assert (kind.exit_code == 7) == issubclass(kind, Transient)
