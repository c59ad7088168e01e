"""The live view of a run: equity, positions, the latest decisions with their reasons, progress."""

import time
from collections import deque
from contextlib import AbstractContextManager
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from lotwise.app.summary import money, percent, when
from lotwise.domain.market import MarketStatus, Quote
from lotwise.domain.orders import Fill, Rejected
from lotwise.domain.values import EXACT, Time, plain
from lotwise.engine.engine import Engine
from lotwise.engine.records import (
    Decided,
    Deposited,
    Freed,
    Learned,
    Listed,
    MarketUpdate,
    Record,
    Stranded,
    Unexplained,
)

LATEST = 8
REDRAW_SECONDS = 0.1
LINE_SECONDS = 2.0


class Screen(AbstractContextManager["Screen"]):
    """Watches a run. On a terminal a live view; elsewhere plain lines, now and then."""

    def __init__(
        self, console: Console, engine: Engine, title: tuple[str, str], moments: NDArray[np.int64]
    ) -> None:
        self._engine = engine
        self._title, self._caution = title
        self._console = console
        self._latest: deque[str] = deque(maxlen=LATEST)
        self._time = engine.state.time
        self._drawn = 0.0
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("bars", total=len(moments))
        self._moments = moments
        self._live = (
            Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        )

    def __enter__(self) -> "Screen":
        if self._live:
            self._live.start()
        else:
            self._print(f"{self._title} ({self._caution})")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(self._view(), refresh=True)
            self._live.stop()

    def hear(self, time: Time, records: list[Record]) -> None:
        """Take in what happened at a time, where no end is known."""
        self._time = time
        self._note(time, records)
        self._redraw()

    def watch(self, update: MarketUpdate, records: list[Record]) -> None:
        """Take in one moment of a feed."""
        self._time = update.time
        done = int(np.searchsorted(self._moments, update.time, side="right"))
        self._progress.update(self._task, completed=done)
        self._note(update.time, records)
        self._redraw()

    def _note(self, time: Time, records: list[Record]) -> None:
        self._latest.extend(f"{when(time)}  {line}" for record in records if (line := describe(record)))

    def _redraw(self) -> None:
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
        latest = self._latest[-1] if self._latest else "no wish yet"
        return (
            f"{when(self._time)}  equity {money(engine.equity(), engine.plan.quote)}"
            f"  orders {totals.orders}  refused for size {totals.size_rejections}  | {latest}"
        )

    def _view(self) -> RenderableType:
        # The newest on top and the progress above: a low terminal cuts off old decisions only.
        latest = Text("\n".join(reversed(self._latest)) or "no wish yet")
        return Group(
            Panel(
                self._numbers(),
                title=self._title,
                title_align="left",
                subtitle=self._caution,
                subtitle_align="right",
            ),
            self._progress,
            self._positions(),
            Panel(latest, title="Latest decisions", title_align="left"),
        )

    def _numbers(self) -> Table:
        engine, totals = self._engine, self._engine.state.totals
        equity, start, quote = engine.equity(), totals.deposits, engine.plan.quote
        change = EXACT.subtract(equity, start)
        colour, sign = ("green", "+") if change >= 0 else ("red", "")
        grid = Table.grid(padding=(0, 4))
        grid.add_row(
            f"equity [bold]{money(equity, quote)}[/] [{colour}]{sign}{money(change)}[/]",
            f"fees {money(totals.fees_paid)}",
            f"largest fall {percent(totals.max_drawdown_fraction)}",
        )
        grid.add_row(
            f"orders [bold]{totals.orders}[/], refused for size [bold]{totals.size_rejections}[/]",
            f"round trips {totals.trades}",
            f"won {totals.wins}",
        )
        return grid

    def _positions(self) -> Table:
        table = Table("Position", "Quantity", "Cost", "Bid", "Stop", "Target", "Exit", expand=True)
        for symbol, holding in sorted(self._engine.state.holdings.items()):
            quote: Quote | None = self._engine.quotes.get(symbol)
            table.add_row(
                symbol,
                plain(holding.position.quantity),
                money(holding.position.cost, self._engine.plan.quote),
                plain(quote.bid) if quote else "?",
                plain(holding.stop),
                plain(holding.target),
                f"stuck: {holding.stuck}" if holding.stuck else (holding.leaving or "waiting"),
            )
        if not self._engine.state.holdings:
            table.add_row("none", *[""] * 6)
        return table


def describe(record: Record) -> str:
    """One record in words, if it is one that people want to see."""
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
        return f"the exchange refused {record.client_id}: {record.rejection.text}"
    if isinstance(record, Stranded):
        return f"{record.symbol}: {plain(record.quantity)} stranded, {record.why}"
    if isinstance(record, Freed):
        return f"{record.symbol}: can be sold again"
    if isinstance(record, Listed) and record.status is not MarketStatus.ONLINE:
        return f"{record.listing.symbol}: the exchange says {record.status}"
    if isinstance(record, Unexplained):
        return f"books disagree: {record.why}; no entries until that is explained"
    if isinstance(record, Deposited):
        moved = "came" if record.amount.number > 0 else "left"
        return f"{record.amount} {moved}"
    if isinstance(record, Listed):
        least = plain(record.listing.min_quantity)
        return f"{record.listing.symbol}: the exchange's rules are new, minimum {least}"
    if isinstance(record, Learned) and record.evidence:
        against = ", against its listing" if record.evidence.contradicts else ""
        return f"{record.symbol}: learned a higher minimum from a refusal{against}"
    return ""
