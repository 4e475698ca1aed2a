"""Ports for the demo and the tests are free when they are chosen, and nobody else's by the time they are used."""

import socket
from pathlib import Path

import pytest

import services


def test_a_port_that_is_listened_on_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (free,) = services.free_ports(1)
        monkeypatch.setattr(services, "PORTS", (taken.getsockname()[1], free))
        assert services.free_ports(1) == [free]


def test_ports_differ_and_lie_outside_the_range_that_the_system_takes_its_own_from() -> None:
    own = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not own.is_file():
        pytest.skip("not Linux: its range is not to be read here")
    first, last = map(int, own.read_text().split())
    ports = services.free_ports(20)
    assert len(set(ports)) == len(ports) == 20
    assert [port for port in ports if first <= port <= last] == []
