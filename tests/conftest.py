"""How the tests are spread over processes, where `pytest --numprocesses` is used."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_SYSTEMS = ("tests/e2e/", "tests/docker/", "tests/kubernetes/")


class ByFile(LoadScopeScheduling):
    """Gives each process whole files, and one process all that start whole systems: those would be in each other's way."""

    def _split_scope(self, nodeid: str) -> str:
        return _SYSTEMS[0] if nodeid.startswith(_SYSTEMS) else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Spread the tests by file."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole systems, which take longest."""
    items.sort(key=lambda item: not item.nodeid.startswith(_SYSTEMS))
