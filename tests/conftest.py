"""How the tests are spread over processes, where `pytest --numprocesses` is used."""

import pytest

_WHOLE_SYSTEMS = ("e2e", "docker", "kubernetes")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file, and all that start whole systems, in one process each; the latter are the longest, so first."""
    whole = [item for item in items if any(map(item.get_closest_marker, _WHOLE_SYSTEMS))]
    for item in items:
        item.add_marker(pytest.mark.xdist_group("systems" if item in whole else str(item.path)))
    items[:] = whole + [item for item in items if item not in whole]
