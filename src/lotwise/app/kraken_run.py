"""`lotwise run --feed kraken` and `--live`: who may trade, with how much, and then the loop."""

from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
from filelock import Timeout
from rich.console import Console

from lotwise.app.accounts import account_name, lock_of, nonces_of
from lotwise.app.journals import problem, unfoldable
from lotwise.app.kraken import Place, clock, open_rest
from lotwise.app.live import LIVE, PAPER, LiveRun, NoPairs, Ports, allotment_of, open_live
from lotwise.app.loop import follow, until_stopped
from lotwise.app.operator import Operator, serve
from lotwise.app.screen import Screen
from lotwise.app.secrets import load_credentials
from lotwise.app.settings import Settings
from lotwise.app.summary import lines, summary
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem
from lotwise.app.wire import OtherRun
from lotwise.domain.values import plain
from lotwise.engine.codec import Unfoldable
from lotwise.engine.records import Event, Record
from lotwise.kraken.signature import Credentials
from lotwise.store.journal import Journal, JournalError
from lotwise.venues.kraken.account import Account
from lotwise.venues.kraken.facts import clocks, key_info
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.socket import connect
from lotwise.venues.kraken.stream import Line


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for on the command line."""

    live: bool
    yes: bool
    as_json: bool


def run_on_kraken(settings: Settings, place: Place, asked: Asked, path: Path) -> dict[str, Any]:
    """Run until stopped; the numbers of the end. Raises Problem with what stands in the way."""
    key = load_credentials() if asked.live else None
    console = Console(stderr=asked.as_json)
    try:
        if key is None:
            with Journal(path) as journal:
                return _run(settings, place, asked, journal, console, None)
        with lock_of(key), Journal(path) as journal:
            return _run(settings, place, asked, journal, console, (key, nonces_of(key)))
    except Timeout:
        raise Problem("another lotwise run trades with this key; stop it first", UNSAFE) from None
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None


def _run(
    settings: Settings,
    place: Place,
    asked: Asked,
    journal: Journal,
    console: Console,
    key: tuple[Credentials, Path] | None,
) -> dict[str, Any]:
    made: list[LiveRun] = []

    async def work() -> None:
        credentials, nonces = key or (None, None)
        async with open_rest(place, credentials, nonces) as rest:
            if asked.live:
                await _check_clock(rest)
            account = await _check_key(rest, credentials) if credentials is not None else ""
            ports = Ports(
                rest,
                Line(place.public_stream, connect, clock, seed=1),
                Line(place.private_stream, connect, clock, seed=2) if asked.live else None,
                clock,
                lambda text: click.echo(f"note: {text}", err=True),
                account,
            )
            allotment = await _allowed(settings, ports, asked, journal)
            live = await open_live(settings, journal, ports, allotment)
            made.append(live)
            operator = Operator(live.engine, live.inbox, clock)
            live.background.append(partial(serve, operator, journal.path, ports.tell))
            title = f"lotwise, {LIVE if asked.live else PAPER}: {', '.join(live.symbols)}"
            nothing = np.array([], dtype=np.int64)
            with Screen(console, live.engine, (title, _caution(asked)), nothing) as screen:

                def watch(events: list[Event], records: list[Record]) -> None:
                    screen.hear(clock(), records)

                await follow(live, watch)

    try:
        until_stopped(work())
    except (Refused, NoAnswer) as trouble:
        raise Problem(f"Kraken: {trouble}", UNAVAILABLE) from None
    except OtherRun as other:
        raise Problem(f"{other}. Give another --journal", UNSAFE) from None
    except NoPairs as none:
        raise Problem(str(none), UNAVAILABLE) from None
    if not made:
        raise Problem("stopped before the run began: nothing was sent", UNAVAILABLE)
    result = summary(made[0].engine, journal.path, finished=False)
    for line in lines(result):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    again = "--live" if asked.live else "--feed kraken"
    console.print(
        f"Stopped. Go on with: lotwise run {again} --journal {journal.path} and the same options",
        highlight=False,
        soft_wrap=True,
    )
    return result


def _caution(asked: Asked) -> str:
    return "real orders" if asked.live else "simulated orders on live prices"


async def _allowed(settings: Settings, ports: Ports, asked: Asked, journal: Journal) -> Decimal | None:
    """How much a live run may touch: asks the person once, with the numbers. None: paper."""
    if not asked.live:
        return None
    rest = ports.rest
    if journal.count:
        return Decimal(0)
    asset = settings.stake_currency
    balances = await Account(rest).balances()
    available = balances[asset].number if asset in balances else Decimal(0)
    allotment = allotment_of(settings, available)
    if allotment <= 0:
        held = ", ".join(str(amount) for amount in balances.values()) or "nothing"
        raise Problem(
            f"the account has no {asset} to trade with (it holds {held}); choose --stake", UNAVAILABLE
        )
    share = f"{plain(settings.live.fraction)} of {plain(available)} {asset}"
    pairs = ", ".join(settings.pairs)
    text = f"Real orders with {plain(allotment)} {asset} ({share}, live.fraction) on {pairs}."
    if not asked.yes and not click.confirm(f"{text} Begin?", err=True):
        raise Problem("nothing was begun", UNSAFE)
    return allotment


async def _check_clock(rest: Rest) -> None:
    """Refuse a clock by which orders would come too late, or seem to."""
    seen = await clocks(rest, clock)
    if seen.wrong:
        off = f"{seen.ahead / 1000:+.1f} s off Kraken's"
        raise Problem(f"our clock is {off}: set it; orders carry a deadline", UNSAFE)


async def _check_key(rest: Rest, key: Credentials) -> str:
    """Refuse a key that can withdraw, or of which that cannot be told; else a name of its account."""
    try:
        info = await key_info(rest)
    except (Refused, NoAnswer) as trouble:
        text = f"Kraken does not tell what the key may do ({trouble}): a live run needs to know"
        raise Problem(text, UNSAFE if isinstance(trouble, Refused) else UNAVAILABLE) from None
    if info.may_withdraw:
        raise Problem("this key may withdraw money: make one that cannot; lotwise refuses it", UNSAFE)
    if info.nonce_window:
        raise Problem(
            "this key has a nonce window: set it to 0 on Kraken's key page, or orders may double", UNSAFE
        )
    if info.lacks:
        lacking = ", ".join(sorted(info.lacks))
        raise Problem(f"this key lacks {lacking}: allow it on Kraken's key page", UNSAFE)
    return account_name(info, key)
