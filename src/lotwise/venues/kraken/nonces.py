"""Numbers that only rise, across restarts too: Kraken takes a key's nonce once and only upwards."""

import os
from collections.abc import Callable
from pathlib import Path

from lotwise.domain.values import Time

AHEAD = 60_000
"""How far the mark on disk lies ahead, in milliseconds: it is written once a minute at most."""


class Nonces:
    """Milliseconds of the clock, or one more than the last. `path` keeps a mark above all that were given
    out, so that a clock which goes back between two runs gives none of them twice. Raises OSError."""

    def __init__(self, path: Path | None, clock: Callable[[], Time]) -> None:
        self._path = path
        self._clock = clock
        self._mark = int(path.read_text()) if path is not None and path.exists() else 0
        self._last = self._mark

    def next(self) -> int:
        """A number above all before."""
        self._last = max(self._last + 1, self._clock())
        if self._last >= self._mark and self._path is not None:
            self._write(self._last + AHEAD)
        return self._last

    def close(self) -> None:
        """A clean end: the mark is the last that was given out, so that the next run need not leap."""
        if self._path is not None and self._last > 0:
            self._write(self._last)

    def _write(self, mark: int) -> None:
        assert self._path is not None
        draft = self._path.with_suffix(".draft")
        with draft.open("w") as file:
            file.write(str(mark))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)
        self._mark = mark
