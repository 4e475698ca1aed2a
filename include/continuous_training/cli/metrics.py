"""`ct metrics`: what the ledger says of every model, for Prometheus."""

from __future__ import annotations

import signal
import sys
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest, push_to_gateway, start_http_server

from continuous_training.core.errors import StoreUnavailable, UsageError
from continuous_training.ledger import Ledger
from continuous_training.monitoring import Models
from continuous_training.settings import Settings

if TYPE_CHECKING:
    import argparse

JOB = "continuous_training"
_SECONDS = 10.0


def metrics(options: argparse.Namespace) -> int:
    """Print the metrics, push them to a Pushgateway, or answer on a port until the process is told to end."""
    registry = CollectorRegistry()
    registry.register(Models(Ledger(Settings.from_environment().ledger), now=lambda: datetime.now(UTC)))
    if options.push is not None:
        _push(options.push, registry)
    elif options.listen is not None:
        _serve(options.listen, registry)
    else:
        sys.stdout.write(generate_latest(registry).decode())
    return 0


def _push(url: str, registry: CollectorRegistry) -> None:
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
        raise UsageError(f"{url!r} is no Pushgateway; write its address, such as http://pushgateway:9091")
    try:
        push_to_gateway(url, job=JOB, registry=registry, timeout=_SECONDS)
    except OSError as error:
        shown = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
        msg = f"the Pushgateway at {shown} did not take the metrics: {error}; start it or correct the address; a retry pushes again"
        raise StoreUnavailable(msg) from error


def _serve(place: str, registry: CollectorRegistry) -> None:
    host, _, port = place.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:  # noqa: PLR2004 - the last port there is
        raise UsageError(f"{place!r} is no place to listen on; write HOST:PORT or a port, such as 127.0.0.1:9469")
    try:
        server, thread = start_http_server(int(port), host or "127.0.0.1", registry)
    except OSError as error:
        raise UsageError(f"{place} cannot be listened on: {error}; choose another port or stop who has it") from error
    print(f"metrics at http://{host or '127.0.0.1'}:{server.server_port}/metrics", file=sys.stderr, flush=True)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    server.shutdown()
    thread.join()
