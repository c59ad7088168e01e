"""Which journal a live run would write, and whether that can be: a row of `lotwise doctor`."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lotwise.app.accounts import known_as
from lotwise.app.books import folded, live_journal
from lotwise.app.findings import Finding, bad, fine, warning
from lotwise.app.journals import RUNS, fresh_journal, problem, unfoldable
from lotwise.app.operator import listener
from lotwise.app.summary import counted
from lotwise.app.terminal import BAD_INPUT, UNSAFE, Problem
from lotwise.app.wire import LIVE
from lotwise.engine.codec import Unfoldable
from lotwise.engine.records import Opened
from lotwise.engine.state import State
from lotwise.store.journal import JournalError
from lotwise.venues.kraken.rest import Rest

JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Which:
    """The row; and what the run's books fold to, where one would go on (None: it would begin)."""

    finding: Finding
    state: State | None = None


async def which_journal(rest: Rest, path: Path | None, account: str) -> Which:
    """The journal named, or what lies in ./runs. Raises Refused, NoAnswer."""
    if not (_begun(path) if path else any(RUNS.glob("*.journal"))):
        return Which(_new(path or fresh_journal()))
    try:
        found = path or live_journal()
    except Problem as several:
        return Which(warning(JOURNAL, several.message, "so that it is looked at"))
    try:
        told, state = folded(found)
    except Unfoldable as wrong:
        return Which(_unread(unfoldable(found, wrong), path))
    except JournalError as no:
        return Which(_unread(problem(no), path))
    same = told.mode == LIVE and await known_as(account, told, state, rest) == told.settings.get("account")
    process = listener(found)
    if process is not None and told.mode == LIVE:
        return Which(fine(JOURNAL, f"{found}: a run is on with it (process {process})"), state)
    if path is None:
        return Which((_beside(found, state) if same else None) or _new(fresh_journal()))
    return Which(_named(path, told, state, same), state if same else None)


def other_journal() -> Path | None:
    """The journal of real orders in ./runs that a run which names none does not go on with; None: none."""
    with suppress(Problem):
        return live_journal() if any(RUNS.glob("*.journal")) else None
    return None


async def left_alone(rest: Rest, found: Path, account: str) -> Finding:
    """Whether a run may begin beside this journal: not where that holds something of this account, for nobody
    would watch it. Raises Refused, NoAnswer."""
    try:
        told, state = folded(found)
    except (Unfoldable, JournalError):
        return fine(JOURNAL, f"{found} cannot be read")
    same = told.mode == LIVE and await known_as(account, told, state, rest) == told.settings.get("account")
    nothing = fine(JOURNAL, f"{found} holds nothing of this account")
    return (_beside(found, state) if same else None) or nothing


def _beside(found: Path, state: State) -> Finding | None:
    """A journal that holds something must be gone on with; None: it holds nothing."""
    if not (left := _held(state)):
        return None
    what = f"go on with it (--journal {found}), or name a new one with --journal: nobody watches that then"
    return bad(JOURNAL, f"{found} holds {left} of this account", what, UNSAFE)


def _begun(path: Path) -> bool:
    """Whether there is a file in which something may be written: an empty one is as one that is absent."""
    return path.exists() and (not path.is_file() or path.stat().st_size > 0)


def _named(path: Path, told: Opened, state: State, same: bool) -> Finding:
    """The journal that the run is to go on with."""
    if told.mode != LIVE:
        return bad(JOURNAL, f"{path} is of a run in mode {told.mode}", "give another --journal", UNSAFE)
    if not same:
        return bad(JOURNAL, f"{path} is of another account", "give its key, or another --journal", UNSAFE)
    if not _may_be_written(path):
        return _unwritten(path)
    return fine(JOURNAL, f"{path} can be read, is of this account, and holds {_held(state) or 'nothing'}")


def _held(state: State) -> str:
    counts = (len(state.holdings), "position"), (len(state.orders), "order")
    return " and ".join(counted(count, noun) for count, noun in counts if count)


def _new(path: Path) -> Finding:
    """A journal that would be made."""
    return fine(JOURNAL, f"a run would begin with {path}") if _may_be_written(path) else _unwritten(path)


def _may_be_written(path: Path) -> bool:
    """The file, where there is one, and its folder, in which others are made beside it."""
    folder = next(above for above in path.absolute().parents if above.exists())
    files = [folder, path] if path.exists() else [folder]
    as_we_are = os.access in os.supports_effective_ids
    return folder.is_dir() and all(os.access(one, os.W_OK, effective_ids=as_we_are) for one in files)


def _unwritten(path: Path) -> Finding:
    what = "choose a folder you may write to with --journal"
    return bad(JOURNAL, f"{path} cannot be written", what, BAD_INPUT)


def _unread(no: Problem, named: Path | None) -> Finding:
    """A journal that cannot be read: no run can go on with it, but one that names none begins another."""
    seen, _, what = no.message.rpartition("; ")
    return bad(JOURNAL, seen, what, no.exit_code) if named else warning(JOURNAL, seen, what)
