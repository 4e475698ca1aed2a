"""Clients of the served model: they ask about flights, one after the other, until told to stop."""

from __future__ import annotations

import itertools
import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    import pandas as pd

PAUSE_SECONDS = 0.01


class Clients:
    """Threads that send requests while the block lasts.

    Parameters
    ----------
    url
        Where the champion answers.
    rows
        Flights to ask about, over and over.
    count
        Threads.

    Attributes
    ----------
    answered
        Answers by version and by why that version answered; what was no answer by its status.
    """

    def __init__(self, url: str, rows: pd.DataFrame, count: int = 2) -> None:
        self.answered: Counter[str] = Counter()
        self._url = url
        self._rows: list[dict[str, Any]] = json.loads(rows.to_json(orient="records", date_format="iso"))
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(place, count)) for place in range(count)]

    def __enter__(self) -> Self:
        """Begin to ask."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, and wait for the answers that are on their way."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def failed(self) -> int:
        """Return the number of requests that no version answered."""
        return sum(count for told, count in self.answered.items() if told.startswith("HTTP"))

    def _ask(self, place: int, count: int) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            for row in itertools.cycle(self._rows[place::count]):
                if self._ended.wait(PAUSE_SECONDS):
                    return
                answer = client.post("/invocations", json={"dataframe_records": [row]})
                why = answer.headers.get("ct-share", "champion 1").split()[0]
                told = f"version {answer.headers.get('ct-version')} ({why})"
                self.answered[told if answer.is_success else f"HTTP {answer.status_code}"] += 1
