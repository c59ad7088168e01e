"""Where runs keep their journals, and how a command finds the one it is to read."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem
from lotwise.engine.codec import Unfoldable
from lotwise.store.journal import Journal, JournalError, Trouble

RUNS = Path("runs")
EXIT_CODES = {Trouble.IN_USE: UNSAFE, Trouble.FULL: UNAVAILABLE, Trouble.UNUSABLE: 2}

journal_option = click.option(
    "--journal",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The journal to read. Default: the newest in ./runs.",
)


def fresh_journal() -> Path:
    """The path of a new journal: ./runs/run-001.journal, or the first number that is free."""
    taken = {path.stem for path in RUNS.glob("run-*.journal")}
    return RUNS / next(f"{name}.journal" for n in range(1, 10**6) if (name := f"run-{n:03}") not in taken)


@contextmanager
def kept_journal(path: Path) -> Iterator[Journal]:
    """A journal to write, made when absent; one that was made here and in which nothing was written is
    taken away again. Raises JournalError."""
    new = not path.exists()
    with Journal(path) as journal:
        try:
            yield journal
        finally:
            if new and not journal.count:
                path.unlink(missing_ok=True)


def newest_journal(among: Iterable[Path] = ()) -> Path:
    """The journal that was written last, among these or else in ./runs; Problem when there is none."""
    found = max(list(among) or RUNS.glob("*.journal"), key=_written, default=None)
    if found is None:
        raise Problem(
            f"there is no journal in ./{RUNS}; start one with `lotwise run`, or name one with --journal"
        )
    return found


def _written(path: Path) -> int:
    """When a journal was last written, in nanoseconds; while a run is on, that shows beside it only."""
    files = path, path.with_name(f"{path.name}-wal")
    return max(file.stat().st_mtime_ns for file in files if file.exists())


def problem(trouble: JournalError) -> Problem:
    """The trouble for people, with its exit code."""
    return Problem(str(trouble), EXIT_CODES[trouble.trouble])


def unfoldable(path: Path, bad: Unfoldable, row: int | None = None) -> Problem:
    """Rows that no run can have written: nothing may be built on them."""
    where = f"row {row}" if row is not None else "a row"
    text = f"{path}: {where} cannot be folded: {bad}"
    return Problem(f"{text}; restore the file from a backup, or start a new journal", UNSAFE)
