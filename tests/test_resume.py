"""A run that dies anywhere goes on as if it had not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lotwise.engine.codec import fold, state_hash
from lotwise.engine.state import State
from lotwise.store.journal import Journal, read
from tests.runs import built_in, run_through, settings_of

BARS = 400


class Death(BaseException):
    """The process ends here, whatever it was doing."""


class MortalJournal(Journal):
    """Dies at its nth commit, just before or just after the rows are durable."""

    def __init__(self, path: Path, commits: int, after: bool) -> None:
        super().__init__(path)
        self._left, self._after = commits, after

    def commit(self) -> None:
        if self._left < 0:
            return  # the dead write nothing
        self._left -= bool(self.waiting)
        if self._left >= 0 or self._after:
            super().commit()
        if self._left < 0:
            raise Death


def journal_hash(path: Path) -> str:
    return list(read(path))[-1].hash


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    path = tmp_path_factory.mktemp("whole") / "run.journal"
    settings = settings_of(dry_run_wallet="40", max_open_trades=3, paper__bars=BARS, entry__lifetime_bars=2)
    with Journal(path) as journal:
        joined = run_through(settings, built_in(settings), journal)
    totals = joined.engine.state.totals
    assert totals.trades >= 3 and totals.orders >= 10, "the run must have something to lose"
    return journal_hash(path), state_hash(joined.engine.state)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("first", "rows_at_once"), [(1, 1), (2, 1), (5, 1), (13, 1), (34, 1), (2, 25), (4, 25)]
)
def test_a_run_that_dies_twice_ends_in_the_same_rows_and_state(
    tmp_path: Path, whole: tuple[str, str], first: int, rows_at_once: int, after: bool
) -> None:
    path = tmp_path / "run.journal"
    settings = settings_of(dry_run_wallet="40", max_open_trades=3, paper__bars=BARS, entry__lifetime_bars=2)
    for commits in (first, 2):
        with MortalJournal(path, commits, after) as mortal, pytest.raises(Death):
            run_through(settings, built_in(settings), mortal, rows_at_once=rows_at_once)
    with Journal(path) as journal:
        joined = run_through(settings, built_in(settings), journal)
    assert (journal_hash(path), state_hash(joined.engine.state)) == whole


def test_replay_from_row_0_gives_the_state_of_the_run(tmp_path: Path) -> None:
    path = tmp_path / "run.journal"
    settings = settings_of(dry_run_wallet="40", paper__bars=BARS)
    with Journal(path) as journal:
        joined = run_through(settings, built_in(settings), journal)
    folded = State()
    for row in read(path):
        fold(folded, row.kind, row.body)
    assert state_hash(folded) == state_hash(joined.engine.state)


def test_the_order_of_hashes_in_memory_changes_no_row(tmp_path: Path) -> None:
    hashes = set()
    for seed in ("0", "1", "4711"):
        path = tmp_path / f"{seed}.journal"
        environment = {**os.environ, "PYTHONHASHSEED": seed, "LOTWISE__PAPER__BARS": str(BARS)}
        command = [sys.executable, "-m", "lotwise", "run", "--journal", str(path), "--json"]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
        hashes.add(journal_hash(path))
    assert len(hashes) == 1
