"""Numbers that only rise, across restarts too: Kraken takes a key's nonce once and only upwards."""

import os
from collections.abc import Callable
from pathlib import Path

from lotwise.domain.values import Time

AHEAD = 60_000
"""How far the mark on disk lies ahead, in milliseconds: it is written once a minute at most."""


class LockLost(Exception):
    """The lock of a key is not ours any more: another process may trade with it, so nothing is sent."""


class Nonces:
    """Milliseconds of the clock, or one more than the last. `path` keeps a mark above all that were given
    out, so that a clock which goes back between two runs gives none of them twice. Beside it lies the lock
    of who may use them, if there is one: no number is given out after that was taken away. Raises OSError."""

    def __init__(self, path: Path | None, clock: Callable[[], Time]) -> None:
        self._path = path
        self._lock = None if path is None else path.with_suffix(".lock")
        self._locked = self._inode()
        self._clock = clock
        self._mark = int(path.read_text()) if path is not None and path.exists() else 0
        self._last = self._mark

    def next(self) -> int:
        """A number above all before. Raises LockLost."""
        if self._inode() != self._locked:
            raise LockLost(f"{self._lock} is not the lock any more that this process took")
        self._last = max(self._last + 1, self._clock())
        if self._last >= self._mark and self._path is not None:
            self._write(self._last + AHEAD)
        return self._last

    def close(self) -> None:
        """A clean end: the mark is the last that was given out, so that the next run need not leap."""
        if self._path is not None and self._last > 0 and self._inode() == self._locked:
            self._write(self._last)

    def _inode(self) -> int | None:
        """What tells the file of the lock from another of its name, as long as one of us has it open."""
        try:
            return None if self._lock is None else self._lock.stat().st_ino
        except FileNotFoundError:
            return None

    def _write(self, mark: int) -> None:
        assert self._path is not None
        draft = self._path.with_suffix(".draft")
        with draft.open("w") as file:
            file.write(str(mark))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        self._mark = mark
