"""How the tests are spread over processes, where `pytest --numprocesses` is used."""

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_SYSTEMS = {"tests/e2e/": "airflow", "tests/docker/": "containers", "tests/kubernetes/": "containers"}


def _system(nodeid: str) -> str | None:
    """Return which whole system a test starts or uses; `None` for most."""
    return next((system for folder, system in _SYSTEMS.items() if nodeid.startswith(folder)), None)


class ByFile(LoadScopeScheduling):
    """Gives each process whole files, and one process all that use one system: those would be in each other's way."""

    def _split_scope(self, nodeid: str) -> str:
        return _system(nodeid) or nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """Spread the tests by file."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole systems, which take longest, in the order of what they take."""
    order = [*dict.fromkeys(_SYSTEMS.values()), None]
    items.sort(key=lambda item: order.index(_system(item.nodeid)))
