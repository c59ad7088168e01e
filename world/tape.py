"""A journal in memory that dies as a process does: what is not committed is lost, what is committed stays.

Laws: its rows, their hashes and their order are those of the journal on disk; after its end nothing is
written any more.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from lotwise.domain.values import Time
from lotwise.store.journal import GENESIS, Journal, Row, chain
from lotwise.venues.kraken.nonces import AHEAD, Nonces


class Disk:
    """What survives: the committed rows, and the mark above all nonces."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.mark = 0


class Marks(Nonces):
    """One life's nonces, with their mark on a disk."""

    def __init__(self, disk: Disk, clock: Callable[[], Time]) -> None:
        super().__init__(None, clock)
        self._disk = disk
        self._last = disk.mark

    def next(self) -> int:
        number = super().next()
        if number >= self._disk.mark:
            self._disk.mark = number + AHEAD
        return number


class Tape(Journal):
    """One life's journal on a disk. `committing` is called before and after each commit, and may end the
    life; `dead` lets nothing be written any more."""

    def __init__(self, disk: Disk, committing: Callable[[str], None]) -> None:
        self.path = Path("journal of the simulated world")
        self.dead = False
        self._disk = disk
        self._committing = committing
        self.count = len(disk.rows)
        self.hash = disk.rows[-1].hash if disk.rows else GENESIS
        self._waiting: list[Row] = []

    def append(self, kind: str, body: str) -> None:
        self.hash = chain(self.hash, kind, body)
        self._waiting.append(Row(self.count, kind, body, self.hash))
        self.count += 1

    def commit(self) -> None:
        if self.dead or not self._waiting:
            return
        self._committing("before")
        self._disk.rows += self._waiting
        self._waiting.clear()
        self._committing("after")

    def rows(self, start: int = 0) -> Iterator[Row]:
        yield from self._disk.rows[start:]

    def last(self, kind: str) -> Row | None:
        return next((row for row in reversed(self._disk.rows) if row.kind == kind), None)

    def close(self) -> None:
        self.dead = True
