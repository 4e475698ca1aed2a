"""Write down each prediction before it is sent, so that none that a client has seen is missing.

A record is one line of JSON, given to the kernel with one `write` before the answer is sent: whatever ends the process, even
SIGKILL, the kernel has it. (Only the end of the whole machine can lose the last seconds, for nothing waits for the disk.)
When the disk is full or cannot be written, requests are still answered; what was not written down is counted and told.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import hashlib
import json
import logging
import os
import secrets
import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from continuous_training.core.prediction_log import LogPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from continuous_training.deployers.base import Release
    from continuous_training.serving.app import Answered

SEGMENT_BYTES = 16 * 2**20
SEGMENT_SECONDS = 3600.0
FEW_ROWS = 100
"""A request with more is written down in a thread, while others are answered."""

PAUSE_SECONDS = 1.0
"""After a failure nothing is tried for so long, so that a full disk does not slow every answer."""

_KEY_BYTES = 32
_DIGEST_BYTES = 16
_log = logging.getLogger(__name__)
_encode = json.JSONEncoder(separators=(",", ":"), default=lambda value: value.tolist()).encode


class Reason(NamedTuple):
    """Why a version answers, as the router decided."""

    text: str = "champion"
    share: float = 1.0
    entity: str = ""


_CHAMPION = Reason()
REASON: ContextVar[Reason] = ContextVar("reason", default=_CHAMPION)
"""Set by the router around the request that it hands on."""


class PredictionLog:
    """The segments of one server process.

    Parameters
    ----------
    folder
        The model's folder, see `core/prediction_log.py`.
    release
        Who answers.
    policy
        What is kept.
    clock
        The present in seconds since 1970.

    Attributes
    ----------
    recorded, lost
        Requests that were written down, and those that should have been and were not.
    """

    def __init__(
        self, folder: Path, release: Release, policy: LogPolicy, clock: Callable[[], float] = time.time
    ) -> None:
        self.recorded = 0
        self.lost = 0
        self._folder = folder
        self._policy = policy
        self._clock = clock
        self._fence = release.fence
        self._key: bytes | None = None
        self._file = -1
        self._size = 0
        self._roll_at = 0.0
        self._pause_until = 0.0
        self._lock = threading.Lock()
        self._hidden = frozenset((*policy.hash, *policy.drop))
        self._segment_bytes = min(SEGMENT_BYTES, policy.most_mb * 2**20 // 8)

    def record(self, answered: Answered) -> Awaitable[None] | None:
        """Write down one request with its predictions, or return what does when it is awaited; neither ever raises."""
        if not self._policy.samples(answered.id):
            return None
        if len(answered.predictions) > FEW_ROWS:
            return asyncio.to_thread(self._record, answered)
        self._record(answered)
        return None

    def _record(self, answered: Answered) -> None:
        now = self._clock()
        try:
            with self._lock:
                if self._file < 0 or self._size >= self._segment_bytes or now >= self._roll_at:
                    self._roll(now)
            line = self._line(answered, now)
            with self._lock:
                self._append(line)
                self.recorded += 1
        except Exception as error:  # noqa: BLE001 - whatever fails here, the client gets the answer
            with self._lock:
                self._lose(error, now)

    def close(self) -> None:
        """Let go of the segment, so that a reader may turn it into Parquet."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def _line(self, answered: Answered, now: float) -> bytes:
        assert self._key is not None
        columns: dict[str, Any] = answered.columns
        reason = REASON.get()
        if (
            len(answered.predictions) == 1
        ):  # most requests have one row, and a list around each value takes long to write
            columns = {name: values[0] for name, values in columns.items()}
        text = _text(columns)
        digest = hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES, key=self._key).hexdigest()
        if self._hidden or self._policy.keep != "all":
            text = _text(self._kept(columns))
        head = {
            "id": answered.id,
            "time": now,
            "version": answered.version,
            "fence": self._fence,
            "reason": reason.text,
            "share": reason.share,
            "entity": self._hashed(reason.entity) if reason.entity else "",
            "digest": digest,
            "predictions": answered.predictions,
        }
        return f'{_encode(head)[:-1]},"columns":{text}}}\n'.encode()

    def _kept(self, columns: dict[str, Any]) -> dict[str, Any]:
        names = columns if self._policy.keep == "all" else [name for name in self._policy.keep if name in columns]
        kept = {name: columns[name] for name in names if name not in self._hidden}
        return kept | {name: self._hidden_value(columns[name]) for name in self._policy.hash if name in columns}

    def _hidden_value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._hidden_value(each) for each in value]
        return None if value is None else self._hashed(str(value))

    def _hashed(self, text: str) -> str:
        assert self._key is not None
        return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES, key=self._key).hexdigest()

    def _append(self, line: bytes) -> None:
        written = os.write(self._file, line)
        if written != len(line):  # the disk became full on the way: half a line must not stay
            os.ftruncate(self._file, self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written

    def _roll(self, now: float) -> None:
        if now < self._pause_until:
            raise _Pausing
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._key = self._key or _key(self._folder / "key")
        self._make_room(now)
        path = self._folder / f"{int(now * 1000):013d}-{secrets.token_hex(4)}.new"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # tells readers that the segment is still written,
        os.rename(path, path.with_suffix(".jsonl"))  # and has to be held before they see it
        self._size, self._roll_at = 0, now + SEGMENT_SECONDS

    def _make_room(self, now: float) -> None:
        """Delete the oldest segments, so that with the next one there are no more bytes than allowed."""
        found = []
        for entry in os.scandir(self._folder):
            if entry.name.endswith((".jsonl", ".parquet", ".new")):
                with suppress(FileNotFoundError):  # another process makes room too
                    state = entry.stat()
                    found.append((entry.name, entry.path, state.st_size, state.st_mtime))
        left = self._policy.most_mb * 2**20 - self._segment_bytes
        for _, path, size, changed in sorted(found, reverse=True):
            left -= size
            if left < 0 or changed < now - self._policy.age.total_seconds():
                with suppress(FileNotFoundError):
                    os.unlink(path)

    def _lose(self, error: Exception, now: float) -> None:
        self.lost += 1
        if isinstance(error, _Pausing):
            return
        self.close()
        self._pause_until = now + PAUSE_SECONDS
        _log.error(
            "predictions of %s are not written down (%s); requests are answered, %s are missing in the log so far; it is tried "
            "again every second",
            self._folder.name,
            error,
            f"{self.lost:,}",
        )


class _Pausing(Exception):
    """The last failure is too recent to try again."""


def _text(columns: dict[str, Any]) -> str:
    """Return JSON, made column by column where there are many rows: other requests get their turn in between."""
    if not isinstance(next(iter(columns.values()), None), list):
        return _encode(columns)
    return f"{{{','.join(f'{_encode(name)}:{_encode(values)}' for name, values in columns.items())}}}"


def _key(path: Path) -> bytes:
    """Return the secret that hashes are made with; the first process that asks makes it."""
    if not path.exists():
        staged = path.with_name(f".key.{secrets.token_hex(4)}")
        file = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(file, secrets.token_bytes(_KEY_BYTES))
        finally:
            os.close(file)
        with suppress(FileExistsError):  # the other process's key is as good
            os.link(staged, path)
        os.unlink(staged)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise OSError(errno.EINVAL, f"{path} holds {len(key)} bytes instead of {_KEY_BYTES}")
    return key
