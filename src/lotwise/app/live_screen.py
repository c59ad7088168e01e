"""The view of a run on live data: whether it is connected, what it may do, what it holds and who watches its
stops, what waits, and what happened last.

Laws: what is not known is said to be not known, never shown as 0; a terminal and a log are told the same
lines; a view never ends a run with real orders.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from types import TracebackType

from rich.console import Console, Group, RenderableType

from lotwise.app.live import ACCOUNT, BOOKS, KEY, PRICES
from lotwise.app.screen import (
    BAD,
    DOUBTFUL,
    GOOD,
    LATEST,
    PLAIN,
    Happening,
    Line,
    View,
    describe,
    drawn,
    held,
    stuck,
)
from lotwise.app.summary import clock_time, counted, order_words, restriction, when
from lotwise.domain.market import Quote
from lotwise.domain.orders import Purpose
from lotwise.domain.values import EPOCH, Side, Time, plain
from lotwise.engine.engine import Engine
from lotwise.engine.records import Record, Trading
from lotwise.engine.sight import AT_THE_EXCHANGE
from lotwise.engine.state import Holding
from lotwise.strategies.candles import TIMEFRAMES, utc_text

REPORT_EVERY, LINES_EVERY = 600_000, 2_000
"""Milliseconds. Where there is no terminal all is told so often, and when a person must know a change, but
not more often than the second."""

SUBJECTS: Mapping[str, str] = {
    PRICES: "the market data",
    ACCOUNT: "the account's stream",
    BOOKS: "the comparison of the books",
    KEY: "the key",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds of a subject: a trouble or none, since when, and when that was last told."""

    trouble: str | None
    since: Time
    told: Time


class Notices:
    """What a run on live data says beside its records. Made before the run is joined: what is noted then,
    or where there is no terminal, is a line at once; else the view shows it."""

    def __init__(self, console: Console, clock: Callable[[], Time]) -> None:
        self.latest: deque[Happening] = deque(maxlen=LATEST)
        self.standings: dict[str, Standing] = {}
        self.in_view = False
        self.now = clock
        self._console = console

    def note(self, text: str) -> None:
        """Something happened just now."""
        now = self.now()
        self.latest.append((now, text))
        if not self.in_view:
            self.say(f"{when(now)}  {text}")

    def say(self, line: str) -> None:
        """A line as it is, however long: it may go to a file. That nobody reads it ends nothing."""
        # The second is how rich ends when the reader has left; the third, a terminal without our characters.
        with suppress(OSError, SystemExit, UnicodeError):
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def standing(self, subject: str, trouble: str | None) -> None:
        """What holds of a subject from now on; None: all is well."""
        now, before = self.now(), self.standings.get(subject)
        same = before is not None and (before.trouble is None) == (trouble is None)
        self.standings[subject] = Standing(trouble, before.since if before and same else now, now)
        if not same and (before is not None or trouble is not None):
            self.note(f"{SUBJECTS.get(subject, subject)}: {trouble or 'well again'}")

    def trouble(self, subject: str) -> str | None:
        """What is wrong with a subject as far as it was told."""
        known = self.standings.get(subject)
        return None if known is None else known.trouble


@dataclass(frozen=True, slots=True)
class OnExchange:
    """What the view of a run on an exchange's live data asks beside the engine: what is noted, the prices
    of now, whether orders are real, the journal to name in commands, and by pair why it gives no signal."""

    notices: Notices
    quotes: Callable[[], Iterable[Quote]]
    real: bool
    journal: Path
    troubles: Mapping[str, str] = field(default_factory=dict)


class LiveScreen(View):
    """Watches a run on an exchange's live data; `keep` keeps it up to date while nothing happens."""

    def __init__(self, console: Console, engine: Engine, title: tuple[str, str], there: OnExchange) -> None:
        super().__init__(console, engine, title, whole=True)
        self._there = there
        self._notices = there.notices
        self._told: object = None
        self._reported = EPOCH

    def __enter__(self) -> "LiveScreen":
        if self._live:
            self._notices.in_view = True
            self._live.start()
        else:
            self._notices.say(f"{self._title} ({self._caution})")
        self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, SystemExit):
            super().__exit__(kind, error, trace)
            if self._live:  # the last picture stays when the terminal is as it was
                self._console.print(self._view())
        self._notices.in_view = False

    def hear(self, records: list[Record]) -> None:
        """Take in what happened."""
        for record in records:
            if line := describe(record, self._engine.state):
                self._notices.note(line)
        self._draw()

    async def keep(self) -> None:
        """Go on for ever."""
        while True:
            await asyncio.sleep(1.0)
            self._draw()

    def _draw(self) -> None:
        """A picture now; or all facts as lines when it is time, or when one of them is news."""
        if self._live:
            with suppress(OSError, SystemExit):
                self._live.update(self._view(), refresh=True)
            return
        now, news = self._notices.now(), self._news()
        passed = abs(now - self._reported)  # a clock that is set back does not silence it
        if passed >= REPORT_EVERY or (news != self._told and passed >= LINES_EVERY):
            self._told, self._reported = news, now
            for line, _ in self._facts():
                self._notices.say(f"{when(now)}  {line}")

    def _news(self) -> object:
        """What is told at once where it changes: what the run may do, who watches what, and that no pair
        gives a signal."""
        lines = [line for line, _ in (*self._may(), *self._holdings(bids=False))]
        troubles = [subject for subject in SUBJECTS if self._notices.trouble(subject)]
        mute = self._engine.plan.policies.keys() <= self._there.troubles.keys()
        return lines, troubles, sorted(self._notices.standings), mute

    def _view(self) -> RenderableType:
        return Group(
            *self._heading(), *drawn(self._facts()), self._latest(self._notices.latest, self._notices.now())
        )

    def _facts(self) -> Iterable[Line]:
        """All that a person wants to know at a glance, the gravest first."""
        yield from self._may()
        yield from self._connection()
        now, bar = self._notices.now(), self._engine.plan.bar
        name = next(name for name, length in TIMEFRAMES.items() if length == bar)
        closes = clock_time(Time((now // bar + 1) * bar), now)
        yield f"{utc_text(now)[11:19]} UTC, next {name} bar closes {closes}; {self._caution}", PLAIN
        yield from self._money(self._shown(), self._has_prices())
        yield from self._holdings()
        yield from self._orders()

    def _may(self) -> Iterable[Line]:
        state, notices = self._engine.state, self._notices
        if refused := notices.trouble(KEY):
            since = self._since(KEY)
            yield (
                f"THE KEY IS REFUSED since {since}: nothing can be bought OR SOLD ({refused}). Sell by hand "
                "at the exchange, or stop this run and go on with a key that works",
                BAD,
            )
        if state.unexplained:
            yield f"BUYS NOTHING: {state.unexplained}; see `lotwise reconcile`", BAD
        if restriction(state):
            lift = f"lotwise panic lift --journal {quote(str(self._there.journal))}"
            yield f"{restriction(state)}. To lift it: {lift}", DOUBTFUL
        elif not self._engine.compared():
            yield "BUYS NOTHING: the books were not compared with the exchange's yet; it sells", DOUBTFUL
        elif not self._has_prices():
            yield "BUYS NOTHING: there is no market data now", DOUBTFUL
        elif not state.unexplained and not refused:
            yield from self._open_pairs()

    def _open_pairs(self) -> Iterable[Line]:
        """Whether the exchange takes purchases."""
        engine, listed = self._engine, self._engine.state.listed
        told = {symbol: engine.status(symbol) for symbol in engine.plan.policies if symbol in listed}
        closed = {s: says for s, says in told.items() if not says.takes(Side.BUY, True, post_only=False)}
        if told and len(closed) == len(told):
            words = ", ".join(sorted(set(closed.values())))
            yield f"BUYS NOTHING: the exchange takes no purchases now ({words})", DOUBTFUL
            return
        yield "ACTIVE: it may buy and sell", GOOD
        for symbol, status in closed.items():
            yield f"but not buy {symbol}: the exchange says {status}", DOUBTFUL

    def _connection(self) -> Iterable[Line]:
        wanted = (PRICES, ACCOUNT) if self._there.real else (PRICES,)
        standings = self._notices.standings
        well = [subject for subject in wanted if subject in standings and not standings[subject].trouble]
        if len(well) == len(wanted):
            since = max(standings[subject].since for subject in wanted)
            yield f"connected since {clock_time(since, self._notices.now())}", GOOD
        else:
            for subject in wanted:
                if subject not in standings:
                    yield f"{SUBJECTS[subject]}: not connected yet", DOUBTFUL
                elif trouble := standings[subject].trouble:
                    yield f"{SUBJECTS[subject]}: LOST since {self._since(subject)}: {trouble}", BAD
        if self._there.real and (books := standings.get(BOOKS)):
            if books.trouble is None:
                yield f"books agreed with the exchange's at {utc_text(books.told)[11:19]} UTC", GOOD
            else:
                yield f"books NOT COMPARED since {self._since(BOOKS)}: {books.trouble}", BAD

    def _since(self, subject: str) -> str:
        return clock_time(self._notices.standings[subject].since, self._notices.now())

    def _shown(self) -> dict[str, Quote]:
        return {shown.symbol: shown for shown in self._there.quotes()}

    def _holdings(self, bids: bool = True) -> Iterable[Line]:
        engine, shown = self._engine, self._shown()
        for symbol, holding in sorted(engine.state.holdings.items()):
            bid = f"; {self._bid(symbol, shown.get(symbol))}" if bids else ""
            yield f"HELD {held(engine, symbol, holding)}{bid}", PLAIN
            if holding.stuck:
                yield f"  {stuck(symbol, holding)}", BAD
            elif holding.leaving:
                yield f"  being sold ({holding.leaving})", DOUBTFUL
            else:
                yield self._stop(symbol, holding)
                yield self._target(symbol, holding)
        if not engine.state.holdings:
            yield "holds no coins", PLAIN

    def _bid(self, symbol: str, shown: Quote | None) -> str:
        if shown is not None:
            return f"bid {plain(shown.bid)} now"
        known = self._engine.quotes.get(symbol)
        if known is None:
            return "no price yet"
        return f"bid {plain(known.bid)} at {clock_time(known.time, self._notices.now())}, no newer"

    def _stop(self, symbol: str, holding: Holding) -> Line:
        engine, stop = self._engine, plain(self._engine.stop(symbol, holding))
        if engine.bracket(symbol, holding).stop is None:
            return f"  stop {stop} rests at the exchange", PLAIN
        if blind := self._blind(symbol):
            return f"  stop {stop} IS NOT WATCHED: {blind}", BAD
        if why := engine.unsellable(symbol, Purpose.STOP, self._notices.now()):
            return f"  stop {stop} watched by this run, but nothing can be sold now: {why}", BAD
        here = "watched by this run, not at the exchange" if engine.plan.stop_rests else "watched by this run"
        return f"  stop {stop} {here}", PLAIN

    def _target(self, symbol: str, holding: Holding) -> Line:
        engine, target, resting = self._engine, plain(holding.target), self._engine.resting(symbol)
        if engine.plan.stop_rests:
            return (
                f"  target {target} {'IS NOT WATCHED' if self._blind(symbol) else 'watched by this run'}",
                PLAIN,
            )
        there = resting is not None and resting.status in AT_THE_EXCHANGE
        return f"  target {target} {'rests' if there else 'does not rest'} at the exchange", PLAIN

    def _has_prices(self) -> bool:
        return PRICES in self._notices.standings and not self._notices.trouble(PRICES)

    def _blind(self, symbol: str) -> str:
        """Why the run would not sell at a stop; empty when it would."""
        if self._engine.state.trading is Trading.HALTED:
            return "the run is halted"
        if self._notices.trouble(KEY):
            return "the key is refused"
        if not self._has_prices():
            return "there is no market data now"
        known = symbol in self._shown() or symbol in self._engine.quotes
        return "" if known else "there is no price of it yet"

    def _orders(self) -> Iterable[Line]:
        """The orders under way, but those told with what is held; and where none will come from."""
        state = self._engine.state
        told = {known.order.client_id for s in state.holdings if (known := self._engine.resting(s))}
        others = [known for name, known in state.orders.items() if name not in told]
        if others:
            yield f"{counted(len(others), 'order')} under way:", PLAIN
        for known in others:
            yield f"  {order_words(known, state)}", PLAIN
        for symbol, why in sorted(self._there.troubles.items()):
            yield f"{symbol} gives no signal: {why}", DOUBTFUL
