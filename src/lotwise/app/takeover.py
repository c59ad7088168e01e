"""In the place of a run that does not answer: end it, take its lock, and act as a restart would.

Law: one process sends orders for a key and writes a journal; whoever had both is gone before we begin.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import click
from filelock import Timeout

from lotwise.app.accounts import account_name, lock_of, nonces_of
from lotwise.app.journals import unfoldable
from lotwise.app.kraken import Place, clock, open_rest
from lotwise.app.live import NoPairs, Ports, open_live
from lotwise.app.loop import follow, until_stopped
from lotwise.app.operator import Operator, Receipt, listener
from lotwise.app.settings import Settings
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem
from lotwise.app.wire import OtherRun, opened
from lotwise.engine.codec import Unfoldable
from lotwise.kraken.signature import Credentials
from lotwise.store.journal import Journal, JournalError, Trouble
from lotwise.venues.kraken.facts import key_info
from lotwise.venues.kraken.rest import NoAnswer, Refused
from lotwise.venues.kraken.socket import connect
from lotwise.venues.kraken.stream import Line

GRACE = 5.0
"""Seconds that a process is given to end when asked, and again when made to."""

LOOK = 0.1


def act_instead(path: Path, word: str, place: Place, key: Credentials) -> Receipt:
    """End the run of a journal if there is one, and carry out a word in its place. Raises Problem,
    JournalError."""
    journal, ended = _taken(path)
    with journal:
        try:
            with lock_of(key):
                return {**_acted(journal, word, place, key), "ended": ended}
        except Timeout:
            raise Problem("another run, of another journal, trades with this key", UNSAFE) from None
        except Unfoldable as bad:
            raise unfoldable(path, bad) from None
        except OtherRun as other:
            raise Problem(f"{other}. Is this the key of the run's account?", UNSAFE) from None
        except (Refused, NoAnswer, NoPairs) as trouble:
            text = f"Kraken: {trouble}; {'the run was ended, but ' if ended else ''}nothing else was done"
            raise Problem(text, UNAVAILABLE) from None


def _taken(path: Path) -> tuple[Journal, int | None]:
    """The journal, and the process that was ended for it."""
    journal = _free(path)
    if journal is not None:
        return journal, None
    process = listener(path)
    if process is None or not _is_lotwise(process):
        text = "another process holds it that neither answers nor can be told"
        raise Problem(f"{path}: {text}; end it by hand, and ask again", UNSAFE)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        os.kill(process, sign)
        end = time.monotonic() + GRACE
        while time.monotonic() < end:
            journal = _free(path)
            if journal is not None:
                return journal, process
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


def _acted(journal: Journal, word: str, place: Place, key: Credentials) -> Receipt:
    """A run that is taken up, does this, and ends. Raises Refused, NoAnswer, NoPairs, OtherRun,
    Unfoldable."""
    told = opened(journal).settings
    known = {name: value for name, value in told.items() if name in Settings.model_fields}
    settings = Settings.model_validate(known)
    receipts: list[dict[str, Any]] = []

    async def work() -> None:
        async with open_rest(place, key, nonces_of(key)) as rest:
            ports = Ports(
                rest,
                Line(place.public_stream, connect, clock, seed=1),
                Line(place.private_stream, connect, clock, seed=2),
                clock,
                lambda text: click.echo(f"note: {text}", err=True),
                account_name(await key_info(rest), key),
            )
            live = await open_live(settings, journal, ports, None)
            operator = Operator(live.engine, live.inbox, clock)

            async def do() -> None:
                receipts.append(await operator.carry_out(word))

            live.background.append(do)
            await follow(live, lambda _, __: None)

    until_stopped(work())
    if not receipts:
        raise Problem("stopped before it was done; see `lotwise reconcile` for what is open", UNSAFE)
    return receipts[0]
