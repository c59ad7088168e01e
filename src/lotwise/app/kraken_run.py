"""`lotwise run --feed kraken` and `--live`: who may trade, where and with how much, and then the loop.

Law: nothing is sent and no file is made before everything that can stand in the way has been looked at, and
for real orders the person has said yes to the numbers.
"""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from filelock import Timeout
from rich.console import Console

from lotwise.app.accounts import check_account, lock_of, lock_of_account, nonces_of
from lotwise.app.findings import (
    Finding,
    Verdict,
    check_clock,
    check_key,
    left_found,
    money_found,
    must,
    pairs_found,
    streams_found,
    system_found,
)
from lotwise.app.journals import kept_journal, problem, unfoldable
from lotwise.app.kraken import Place, clock, open_rest, trouble
from lotwise.app.live import LiveRun, NoPairs, Ports, live_settings, open_live
from lotwise.app.live_screen import LiveScreen, Notices, OnExchange
from lotwise.app.loop import follow, until_stopped
from lotwise.app.operator import Operator, serve
from lotwise.app.secrets import load_credentials
from lotwise.app.settings import Settings
from lotwise.app.summary import left_behind, lines, summary
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem, confirmed
from lotwise.app.which_journal import left_alone, other_journal
from lotwise.app.wire import LIVE, PAPER, OtherRun, differing, load_state, opened
from lotwise.engine.codec import Unfoldable
from lotwise.engine.records import Event, Record
from lotwise.kraken.signature import Credentials
from lotwise.store.journal import Journal, JournalError
from lotwise.venues.kraken.account import Account
from lotwise.venues.kraken.facts import pairs, system
from lotwise.venues.kraken.nonces import LockLost
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.socket import connect
from lotwise.venues.kraken.stream import Line


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asked for on the command line. named: whether that names the journal; options: those
    with which to go on, as words."""

    live: bool
    yes: bool
    as_json: bool
    named: bool
    options: str


@dataclass(frozen=True, slots=True)
class Start:
    """What a run begins with. other: a journal of real orders that it was not told to go on with; key: None
    on paper."""

    settings: Settings
    place: Place
    asked: Asked
    path: Path
    other: Path | None
    key: Credentials | None
    notices: Notices

    @property
    def title(self) -> str:
        """What kind of run this is, and where, when that is not Kraken."""
        mode = PAPER if self.key is None else LIVE
        return f"lotwise, {mode}{'' if self.place.is_kraken else f' at {self.place.name}, not Kraken'}"

    @property
    def caution(self) -> str:
        """What kind of orders it makes."""
        return "simulated orders on live prices" if self.key is None else "real orders"


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found before the run. account: as the journal calls it, owner: as the key names it now, "" on
    paper; allotment: how much a run that begins may touch,
    and the question whether it may (None: nothing is to be asked)."""

    account: str = ""
    owner: str = ""
    allotment: Decimal | None = None
    question: str | None = None


def run_on_kraken(settings: Settings, place: Place, asked: Asked, path: Path) -> dict[str, Any]:
    """Run until stopped; the numbers of the end. Raises Problem with what stands in the way."""
    key, console = load_credentials() if asked.live else None, Console(stderr=asked.as_json)
    other = None if asked.named or key is None else other_journal()
    start = Start(settings, place.with_streams(), asked, path, other, key, Notices(console, clock))
    try:
        with lock_of(key) if key else nullcontext(), kept_journal(path) as journal:
            live = _run(start, journal, console)
            return _ended(start, live, console)
    except Timeout:
        text = "another lotwise run trades with this key, or with another one of this account"
        raise Problem(f"{text}; stop it first", UNSAFE) from None
    except LockLost as lost:
        text = "another run may trade with this key: nothing more was sent; see that there is one run"
        raise Problem(f"{lost}: {text}, and go on with it", UNSAFE) from None
    except Unfoldable as wrong:
        raise unfoldable(path, wrong) from None
    except JournalError as no:
        raise problem(no) from None
    except (Refused, NoAnswer) as no:
        raise trouble(no, place).problem from None
    except OtherRun as other:
        raise Problem(f"{other}. Give another --journal", UNSAFE) from None
    except NoPairs as none:
        raise Problem(str(none), UNAVAILABLE) from None


def _run(start: Start, journal: Journal, console: Console) -> LiveRun:
    """Look, ask outside of the loop (where Ctrl-C is an answer too), and trade until stopped."""
    looked: list[Looked] = []
    made: list[LiveRun] = []

    async def look() -> None:
        async with _calls(start) as rest:
            looked.append(await _looked(start, rest, journal))

    async def trade() -> None:
        async with _calls(start) as rest:
            ports = _ports(start, rest, looked[0].account)
            live = await open_live(start.settings, journal, ports, looked[0].allotment)
            made.append(live)
            await _traded(start, live, console)

    until_stopped(look())
    if looked and (question := looked[0].question) is not None:
        _agree(start, question)
    if looked:
        with lock_of_account(looked[0].owner) if start.key else nullcontext():
            until_stopped(trade())
    if not made:
        raise Problem("stopped before the run began: nothing was sent", UNAVAILABLE)
    return made[0]


def _calls(start: Start) -> AbstractAsyncContextManager[Rest]:
    return open_rest(start.place, start.key, nonces_of(start.key) if start.key else None)


def _agree(start: Start, question: str) -> None:
    """Raises Problem when the person does not want it."""
    if start.asked.yes:
        start.notices.note(question)
    elif not confirmed(question):
        raise Problem("nothing was begun", UNSAFE)


async def _looked(start: Start, rest: Rest, journal: Journal) -> Looked:
    """Raises Problem with what stands in the way; Refused, NoAnswer, Unfoldable."""
    settings, place, key = start.settings, start.place, start.key
    await check_clock(rest)
    _tell(start, must(system_found(await system(rest), place)))
    owner = account = "" if key is None else await check_key(rest, key, place)
    must([await streams_found(place, private=key is not None)])
    listings = await pairs(rest, settings.pairs, clock())
    begins = key is not None and not journal.count
    held = await Account(rest).balances() if begins else {}
    _tell(start, must(await pairs_found(rest, settings, listings, held)))
    if begins and start.other is not None:
        must([await left_alone(rest, start.other, account)])
    if begins:
        money, allotment = await money_found(rest, settings, listings, held)
        must([money])
        where = "on Kraken" if place.is_kraken else f"at {place.name} (not Kraken)"
        return Looked(account, account, allotment, f"Real orders {where} with {money.seen}. Begin?")
    if key is not None and (told := opened(journal)).mode == LIVE:
        state = load_state(journal)
        account = await check_account(account, told, state, rest)
        if not (state.holdings or state.orders):  # what is held must be watched, whatever else can be bought
            left = must([await left_found(rest, settings, listings, state)])
            start.notices.note(left[0].seen)
        now = live_settings(settings).fingerprint()
        if changes := differing({name: told.settings.get(name) for name in now}, now):
            return Looked(account, owner, None, f"Begun with other settings: {changes}. Go on with these?")
    return Looked(account, owner)


def _tell(start: Start, findings: list[Finding]) -> None:
    """Say what is no reason not to begin, but to be known."""
    for finding in findings:
        if finding.verdict is Verdict.WARNING:
            start.notices.note(f"{finding.seen}: {finding.remedy}")


def _ports(start: Start, rest: Rest, account: str) -> Ports:
    place = start.place
    return Ports(
        rest,
        Line(place.public_stream, connect, clock, seed=1),
        Line(place.private_stream, connect, clock, seed=2) if start.key else None,
        clock,
        account,
        start.notices.standing,
    )


async def _traded(start: Start, live: LiveRun, console: Console) -> None:
    """The loop, watched."""
    title = f"{start.title}: {', '.join(live.symbols)}"
    real, path = start.key is not None, start.path
    shown = OnExchange(start.notices, live.feed.quotes, real, path, live.feed.troubles)
    live.background.append(partial(serve, Operator(live.engine, live.inbox, clock), path, start.notices.note))
    with LiveScreen(console, live.engine, (title, start.caution), shown) as screen:
        live.background.append(screen.keep)

        def watch(_: list[Event], records: list[Record]) -> None:
            screen.hear(records)

        await follow(live, watch)


def _ended(start: Start, live: LiveRun, console: Console) -> dict[str, Any]:
    """The numbers of the end, and how to go on."""
    result = {**summary(live.engine, start.path, finished=False), "exchange": start.place.name}
    words = f"lotwise run --journal {start.path}{start.asked.options}"
    where = "" if start.place.is_kraken else f" All of it was at {start.place.name}, not Kraken."
    for line in (
        *lines(result),
        *left_behind(live.engine, start.key is not None),
        f"Stopped.{where} Go on with: {words}",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    return result
