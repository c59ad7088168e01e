"""In the place of a run that does not answer: end it, take its lock, and act as a restart would.

Laws: what can fail is tried before the run is ended, and when it fails the run is left as it is; one process
sends orders for a key and writes a journal: whoever had both is gone before we begin.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import click
import numpy as np
from filelock import Timeout
from pydantic import ValidationError

from lotwise.app.accounts import check_account, lock_of, lock_of_account, nonces_of, own_nonces
from lotwise.app.books import folded, going_on
from lotwise.app.findings import ONLINE, bad, check_clock, check_key, must, system_found
from lotwise.app.journals import EXIT_CODES, unfoldable
from lotwise.app.kraken import STATUS_PAGE, Place, clock, open_rest, trouble
from lotwise.app.live import NoPairs, Ports, open_live
from lotwise.app.loop import follow, until_stopped
from lotwise.app.operator import Operator, Receipt, listener
from lotwise.app.settings import Settings
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem
from lotwise.app.wire import OtherRun
from lotwise.engine.codec import Unfoldable
from lotwise.engine.records import Extent
from lotwise.kraken.signature import Credentials
from lotwise.store.journal import Journal, JournalError, Trouble
from lotwise.strategies.candles import Candles, Floats
from lotwise.venues.kraken.facts import pairs, system
from lotwise.venues.kraken.nonces import LockLost
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.socket import connect
from lotwise.venues.kraken.stream import Line

GRACE = 5.0
"""Seconds that a process is given to end when asked, and again when made to."""

LOOK = 0.1

AGAIN = (1.0, 5.0, 15.0)
"""Seconds until another try, once a run was ended and Kraken does not answer as it did before."""


class Idle:
    """Wishes for nothing: to stop a run its strategy is not needed, and may not be there."""

    name: ClassVar[str] = "idle"
    warm_up: ClassVar[int] = 0

    def confidence(self, candles: Candles) -> Floats:
        """No wish, for each bar."""
        return np.zeros(len(candles.dates))


@dataclass(frozen=True, slots=True)
class Deed:
    """What is to be done: the word, to the run of which journal, where, and with whose key."""

    word: str
    path: Path
    place: Place
    key: Credentials


@dataclass(frozen=True, slots=True)
class Ready:
    """What was learnt while nothing was touched: the run's settings without its strategy, and its account as
    its journal calls it, and as the key names it now."""

    settings: Settings
    account: str
    owner: str


def act_instead(deed: Deed) -> Receipt:
    """End the run of a journal if there is one, and carry out a word in its place. Raises Problem,
    JournalError."""
    with ExitStack() as held:
        journal, process = _free(deed.path), None
        if journal is None:
            process = _holder(deed.path)
        else:
            held.enter_context(journal)
        alive = f"The run (process {process}) does not answer, and was left as it is."
        with _troubles(deed, f"Nothing was done. {alive if process else 'No run is on.'}"):
            _lock_is_free_or_of(deed.key, process)
            ready = asyncio.run(_checked(deed))
        if process is not None:
            journal = held.enter_context(_taken(deed.path, process))
        assert journal is not None
        ended = f"The run (process {process}) was ended. " if process else ""
        left = f"{ended}No stop is watched now: ask again, or `{going_on(deed.path, deed.place)}`."
        with _troubles(deed, left), lock_of(deed.key), lock_of_account(ready.owner):
            return {**_acted_at_last(deed, journal, ready), "ended": process}


@contextmanager
def _troubles(deed: Deed, left: str) -> Iterator[None]:
    """Each trouble as one message; its last line says how everything was left."""
    try:
        yield
    except Timeout:
        raise Problem(f"another run, of another journal, trades with this key\n{left}", UNSAFE) from None
    except Unfoldable as wrong:
        raise Problem(f"{unfoldable(deed.path, wrong).message}\n{left}", UNSAFE) from None
    except OtherRun as other:
        raise Problem(f"{other}. Is this the key of the run's account?\n{left}", UNSAFE) from None
    except NoPairs as none:
        raise Problem(f"{none}\n{left}", UNAVAILABLE) from None
    except LockLost as lost:
        raise Problem(f"{lost}; another run may trade with this key\n{left}", UNSAFE) from None
    except JournalError as no:
        raise Problem(f"{no}\n{left}", EXIT_CODES[no.trouble]) from None
    except (Refused, NoAnswer) as no:
        problem = trouble(no, deed.place).problem
        raise Problem(f"{problem.message}\n{left}", problem.exit_code) from None
    except Problem as no:
        raise Problem(f"{no.message}\n{left}", no.exit_code) from None


async def _checked(deed: Deed) -> Ready:
    """All that an act in the run's place needs, without touching the run. Raises Problem, Refused, NoAnswer,
    NoPairs, Unfoldable, JournalError."""
    told, state = folded(deed.path)
    known = {name: value for name, value in told.settings.items() if name in Settings.model_fields}
    try:
        settings = Settings.model_validate({**known, "strategy": f"{__name__}:{Idle.__name__}"})
    except ValidationError as wrong:
        raise Unfoldable(f"what its run was told is of another version: {wrong.errors()[0]['msg']}") from None
    place = deed.place.with_streams()
    with own_nonces(deed.key) as nonces:
        async with open_rest(place, deed.key, nonces) as rest:
            await _check_system(rest, deed)
            await check_clock(rest)
            name = await check_key(rest, deed.key, place)
            account = await check_account(name, told, state, rest)
            if not await pairs(rest, settings.pairs, clock()):
                raise NoPairs(f"Kraken lists none of {', '.join(settings.pairs)} for this account")
    return Ready(settings, account, name)


async def _check_system(rest: Rest, deed: Deed) -> None:
    """Raises Problem for what the exchange would not take now; Refused, NoAnswer."""
    told = await system(rest)
    must(system_found(told, deed.place))
    if deed.word == Extent.FLATTEN and told.status != ONLINE:
        seen = f"{deed.place.name} takes no sales at the market now (it is {told.status})"
        must([bad("status", seen, f"wait ({STATUS_PAGE}), or `lotwise panic orders`", UNAVAILABLE)])


def _lock_is_free_or_of(key: Credentials, process: int | None) -> None:
    """Raises Timeout where another than this process trades with the key, as far as the system tells."""
    lock = lock_of(key)
    try:
        with lock:
            return
    except Timeout:
        if process is None or not _has_open(process, Path(lock.lock_file)):
            raise


def _has_open(process: int, file: Path) -> bool:
    """Whether a process has a file open, where the system tells."""
    try:
        return any(link.exists() and link.samefile(file) for link in Path(f"/proc/{process}/fd").iterdir())
    except OSError:
        return not Path("/proc/self").exists()


def _holder(path: Path) -> int:
    """The process that holds a journal and does not answer. Raises Problem where it is not known, or none
    of ours."""
    process = listener(path)
    if process is None or not _is_lotwise(process):
        text = "another process holds it that neither answers nor can be told"
        raise Problem(f"{path}: {text}; end it by hand, and ask again", UNSAFE)
    return process


def _taken(path: Path, process: int) -> Journal:
    """The journal, once the process that holds it was ended."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if listener(path) == process:  # it may have ended by itself, and its number been given to another
            os.kill(process, sign)
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            journal = _free(path)
            if journal is not None:
                return journal
            time.sleep(LOOK)
    raise Problem(f"{path}: process {process} does not end; end it by hand, and ask again", UNSAFE)


def _free(path: Path) -> Journal | None:
    """The journal, if nobody holds it."""
    try:
        return Journal(path)
    except JournalError as trouble:
        if trouble.trouble is Trouble.IN_USE:
            return None
        raise


def _is_lotwise(process: int) -> bool:
    """Whether that is what a process was started as, where the system tells."""
    try:
        return b"lotwise" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return not Path("/proc/self").exists()


def _acted_at_last(deed: Deed, journal: Journal, ready: Ready) -> Receipt:
    """The act, tried anew where Kraken does not answer: nobody else does it now. Raises as `_acted`."""
    for seconds in AGAIN:
        try:
            return _acted(deed, journal, ready)
        except (Refused, NoAnswer) as no:
            click.echo(f"note: {deed.place.name}: {no}; once more in {seconds:g} s", err=True)
            time.sleep(seconds)
    return _acted(deed, journal, ready)


def _acted(deed: Deed, journal: Journal, ready: Ready) -> Receipt:
    """A run that is taken up, does this, and ends. Raises Refused, NoAnswer, NoPairs, OtherRun,
    Unfoldable."""
    place, receipts = deed.place, list[dict[str, Any]]()

    async def work() -> None:
        async with open_rest(place, deed.key, nonces_of(deed.key)) as rest:
            ports = Ports(
                rest,
                Line(place.public_stream, connect, clock, seed=1),
                Line(place.private_stream, connect, clock, seed=2),
                clock,
                ready.account,
                _told,
            )
            live = await open_live(ready.settings, journal, ports, None)
            operator = Operator(live.engine, live.inbox, clock)

            async def do() -> None:
                receipts.append(await operator.carry_out(deed.word))

            live.background.append(do)
            await follow(live, lambda _, __: None)

    until_stopped(work())
    if not receipts:
        raise Problem("stopped before it was done; see `lotwise reconcile` for what is open", UNSAFE)
    return receipts[0]


def _told(subject: str, trouble: str | None) -> None:
    """What is in the way while it acts, in words."""
    if trouble is not None:
        click.echo(f"note: {subject}: {trouble}", err=True)
