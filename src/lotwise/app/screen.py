"""The view of a run on recorded candles: its money, its positions, the latest decisions with their reasons,
progress. What a run on live data shows beside these is in `live_screen`."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from decimal import Decimal
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.rule import Rule
from rich.text import Text

from lotwise.app.summary import (
    clock_time,
    fall_to,
    money,
    percent,
    unpriced,
    when,
)
from lotwise.domain.market import MarketStatus, Quote
from lotwise.domain.orders import Canceled, Expired, Fill, ProvenAbsent, Purpose, Rejected, TimedOut
from lotwise.domain.values import EXACT, Amount, Time, plain
from lotwise.engine.engine import Engine
from lotwise.engine.records import (
    Corrected,
    Decided,
    Deposited,
    Freed,
    Impossible,
    Learned,
    Lent,
    Listed,
    MarketUpdate,
    Panic,
    Record,
    Restricted,
    Stranded,
    Unexplained,
)
from lotwise.engine.state import Holding, State
from lotwise.kraken.rest import asset_decimals

LATEST = 8
REDRAW_SECONDS = 0.1
LINE_SECONDS = 2.0

GOOD, DOUBTFUL, BAD, PLAIN = "green", "bold yellow", "bold red", ""
Line = tuple[str, str]
"""Words and how they look."""

Happening = tuple[Time, str]


class View(AbstractContextManager["View"], ABC):
    """A picture on a terminal; elsewhere plain lines, now and then."""

    def __init__(self, console: Console, engine: Engine, title: tuple[str, str], whole: bool) -> None:
        self._engine = engine
        self._title, self._caution = title
        self._console = console
        terminal = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(console=console, auto_refresh=False, screen=whole) if terminal else None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._view(), refresh=True)
            self._live.stop()

    @abstractmethod
    def _view(self) -> RenderableType: ...

    def _heading(self) -> list[RenderableType]:
        return [Text(self._title, style="bold"), Rule()]

    def _latest(self, latest: Iterable[Happening], now: Time) -> RenderableType:
        # The newest on top, at the end of the view: a low terminal cuts off old decisions only.
        told = Text("\n".join(f"{clock_time(at, now)}  {words}" for at, words in reversed(list(latest))))
        return Group(Rule("Latest decisions", align="left"), told if latest else "no wish yet")

    def _money(self, shown: Mapping[str, Quote] | None = None, known: bool = True) -> list[Line]:
        engine, totals, asset = self._engine, self._engine.state.totals, self._engine.plan.quote
        equity, doubts = engine.equity(shown), unpriced(engine, shown)
        change = EXACT.subtract(equity, totals.deposits)
        free = engine.state.ledger.free(asset).number
        ordered = EXACT.subtract(engine.state.ledger.total(asset).number, free)
        rest = f"free {money(free, asset)}{f', in orders {money(ordered)}' if ordered else ''}"
        sign, look = ("+", GOOD) if change >= 0 else ("", "red")
        about = "" if known and not doubts else "about "
        fall = max(totals.max_drawdown_fraction, fall_to(equity, totals.peak_equity))
        told = [
            (f"equity {about}{money(equity, asset)} ({sign}{money(change)}), {rest}", look),
            *((f"no price of {s} yet: it counts as {worth}", DOUBTFUL) for s, worth in doubts.items()),
        ]
        done = f"round trips {totals.trades}, won {totals.wins}"
        return [
            *told,
            (f"fees {money(totals.fees_paid)}, largest fall {percent(fall)}", PLAIN),
            (f"orders {totals.orders}, refused for size {totals.size_rejections}; {done}", PLAIN),
        ]


class Screen(View):
    """Watches a run on recorded candles."""

    def __init__(
        self, console: Console, engine: Engine, title: tuple[str, str], moments: NDArray[np.int64]
    ) -> None:
        super().__init__(console, engine, title, whole=False)
        self._drawn = 0.0
        self._happened: deque[Happening] = deque(maxlen=LATEST)
        self._time = engine.state.time
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("bars", total=len(moments))
        self._moments = moments

    def __enter__(self) -> "Screen":
        if self._live:
            self._live.start()
        else:
            self._print(f"{self._title} ({self._caution})")
        return self

    def watch(self, update: MarketUpdate, records: list[Record]) -> None:
        """Take in one moment of a feed."""
        self._time, state = update.time, self._engine.state
        done = int(np.searchsorted(self._moments, update.time, side="right"))
        self._progress.update(self._task, completed=done)
        lines = (describe(record, state) for record in records)
        self._happened.extend((update.time, line) for line in lines if line)
        self._draw()

    def _draw(self) -> None:
        """Draw, but only so often."""
        now = time.monotonic()
        if self._live and now - self._drawn >= REDRAW_SECONDS:
            self._live.update(self._view(), refresh=True)
            self._drawn = now
        elif not self._live and now - self._drawn >= LINE_SECONDS:
            self._print(self._line())
            self._drawn = now

    def _print(self, line: str) -> None:
        """As it is, however long: it may go to a file."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _line(self) -> str:
        engine, totals = self._engine, self._engine.state.totals
        at, words = self._happened[-1] if self._happened else (self._time, "no wish yet")
        return (
            f"{when(self._time)}  equity {money(engine.equity(), engine.plan.quote)}"
            f"  orders {totals.orders}  refused for size {totals.size_rejections}  | {when(at)}  {words}"
        )

    def _view(self) -> RenderableType:
        return Group(
            *self._heading(),
            Text(self._caution, style="dim"),
            *drawn(self._money()),
            self._progress,
            Rule("Positions", align="left"),
            *drawn(self._positions()),
            self._latest(self._happened, self._time),
        )

    def _positions(self) -> Iterable[Line]:
        for symbol, holding in sorted(self._engine.state.holdings.items()):
            quote = self._engine.quotes.get(symbol)
            bid = f"bid {plain(quote.bid)}" if quote else "no price yet"
            yield f"HELD {held(self._engine, symbol, holding)}; {bid}", PLAIN
            stop, target = plain(self._engine.stop(symbol, holding)), plain(holding.target)
            doing = stuck(symbol, holding) or (f"being sold ({holding.leaving})" if holding.leaving else "")
            yield f"  {doing or f'stop {stop}, target {target}'}", DOUBTFUL if holding.stuck else PLAIN
        if not self._engine.state.holdings:
            yield "none", PLAIN


def drawn(lines: Iterable[Line]) -> list[Text]:
    return [Text(words, style=look) for words, look in lines]


def held(engine: Engine, symbol: str, holding: Holding) -> str:
    cost = money(holding.position.cost, engine.plan.quote)
    return f"{plain(holding.position.quantity)} {symbol.partition('/')[0]} for {cost}"


def stuck(symbol: str, holding: Holding) -> str:
    return f"CANNOT BE SOLD: {holding.stuck}. See `lotwise rescue {symbol}`" if holding.stuck else ""


def describe(record: Record, state: State) -> str:
    """One record in words, if it is one that people want to see."""
    if isinstance(record, Canceled | Expired | TimedOut | ProvenAbsent):
        return _end(record, state)
    if isinstance(record, Panic):
        return f"the owner's word: panic {record.extent}"
    if isinstance(record, Restricted):
        return f"{record.trading}: {record.why}"
    if isinstance(record, Decided):
        if record.reason is None:
            assert record.quantity is not None and record.notional is not None
            size = f"{plain(record.quantity)} for {money(record.notional, '')}".strip()
            return f"{record.symbol}: buy {size} at {plain(record.price)} (bound by {record.bound})"
        no = record.rungs[-1]
        return f"{record.symbol}: skipped, {record.reason} ({no.have}). Remedy: {no.remedy}"
    if isinstance(record, Fill):
        done = "bought" if record.side == "buy" else "sold"
        fee = f"fee {money(record.fee.number, record.fee.asset)}"
        return f"{record.symbol}: {done} {plain(record.quantity)} at {plain(record.price)}, {fee}"
    if isinstance(record, Rejected):
        name, text = record.client_id, record.rejection.text
        return f"{name}: {text}" if text.startswith("not sent") else f"the exchange refused {name}: {text}"
    if isinstance(record, Stranded):
        return f"{record.symbol}: {plain(record.quantity)} stranded, {record.why}"
    if isinstance(record, Freed):
        return f"{record.symbol}: can be sold again"
    if isinstance(record, Listed) and record.status is not MarketStatus.ONLINE:
        return f"{record.listing.symbol}: the exchange says {record.status}"
    if isinstance(record, Impossible):
        remedy = "nothing is bought until `lotwise panic lift`; compare with `lotwise reconcile`"
        return f"IMPOSSIBLE: {record.what}: {record.why}; {remedy}"
    if isinstance(record, Unexplained):
        return f"books disagree: {record.why}; no entries until that is explained"
    if isinstance(record, Deposited):
        moved = "came" if record.amount.number > 0 else "left"
        return f"{record.amount} {moved}"
    if isinstance(record, Lent):
        return f"{record.amount} of the account's other money went for trade {record.trade_id}: fees rose"
    if isinstance(record, Corrected) and not _is_rounding(record.amount):
        return f"trade {record.trade_id} was booked otherwise than told: {record.amount}"
    if isinstance(record, Listed):
        least = plain(record.listing.min_quantity)
        return f"{record.listing.symbol}: the exchange's minimum is {least}"
    if isinstance(record, Learned) and record.evidence:
        against = ", against its listing" if record.evidence.contradicts else ""
        return f"{record.symbol}: learned a higher minimum from a refusal{against}"
    return ""


def _is_rounding(amount: Amount) -> bool:
    """Whether so little came of rounding: of a trade's amount and its fee half a unit each at the most."""
    return abs(amount.number) <= Decimal(1).scaleb(-asset_decimals(amount.asset))


def _end(record: Canceled | Expired | TimedOut | ProvenAbsent, state: State) -> str:
    """An order that ended without its fills, or may have; a sale that only makes room is nothing to tell."""
    known = state.find(record.client_id)
    if known is None:
        return ""
    what = f"{known.order.symbol}: the order to {known.order.side}"
    if isinstance(record, TimedOut):
        return f"{what} was not answered: its fate is looked up"
    if isinstance(record, ProvenAbsent):
        return f"{what} never reached the exchange"
    if known.order.purpose is not Purpose.ENTRY:
        return ""
    done = f"{plain(known.filled)} of {plain(known.order.quantity)} done"
    return f"{what} {'ran out' if isinstance(record, Expired) else 'was cancelled'}, {done}"
