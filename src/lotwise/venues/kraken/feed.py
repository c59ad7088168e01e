"""Live market data: Kraken's stream as the moments, prices and rules that the engine is told.

Laws: the same candles give the same moments as a recorded feed. Fail closed: while the connection is lost
nothing is told; a pair gives a signal only when its history has no hole, its rules were told on this
connection, the exchange is open and its prices are fresh. No order book is used, so no checksum is needed.
Nothing here decides anything.

History: REST OHLC, at most 720 bars of a pair, the last unfinished (Kraken's documentation of 2026-05-27);
asked for at the start, and again where a new connection's snapshot (nine bars, recorded 2026-09-10) does
not reach back to what is known.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from lotwise.domain.market import Candle, Market, Quote
from lotwise.domain.values import BadField, Time
from lotwise.engine.ports import Stops
from lotwise.engine.records import Event, Listed, MarketUpdate
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import ohlc_row_of
from lotwise.kraken.stream import Malformed, Message, Request
from lotwise.kraken.stream_channels import BEST, subscribe
from lotwise.kraken.stream_fields import number, rows, text
from lotwise.kraken.stream_market import MINUTE, Bar, bar_of, listing_of, status_of, system_of
from lotwise.strategies.candles import TIMEFRAMES, Candles
from lotwise.strategies.indicators import day_swing
from lotwise.strategies.strategy import Strategy
from lotwise.strategies.wishes import wishes_of
from lotwise.venues.kraken.feed_moments import Gathering, Moment, Waits
from lotwise.venues.kraken.feed_window import Window
from lotwise.venues.kraken.rest import NoAnswer, Refused
from lotwise.venues.kraken.stream import Line, Stream

HISTORY = 720
"""So many bars are kept beyond what the strategy needs to warm up."""

BETWEEN_CALLS = 1.0
AFTER_FAILURE = 10.0
"""Seconds between two calls for history: Kraken takes one public call a second."""

ONLINE = "online"


class PublicRest(Protocol):
    """The one call that a feed makes."""

    async def public(self, endpoint: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The result of a public call. Raises Refused, NoAnswer."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched: pairs, the bar, and whose wishes are asked for; `least` and `window` as for a
    recorded feed. gather_seconds: how long after a close its bars are awaited; stale_seconds: how old
    prices may be for a signal, and how late a moment may be told."""

    symbols: tuple[str, ...]
    timeframe: str
    strategy: Strategy
    least: float = 0.0
    window: int | None = None
    gather_seconds: float = 2.0
    stale_seconds: float = 30.0

    @property
    def waits(self) -> Waits:
        """The same in milliseconds."""
        gather, late = (int(1000 * seconds) for seconds in (self.gather_seconds, self.stale_seconds))
        return Waits(TIMEFRAMES[self.timeframe], gather, late)

    @property
    def kept(self) -> int:
        """How many bars of a pair are kept."""
        return max(self.strategy.warm_up, self.window or 0) + HISTORY


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where a feed tells, and what it asks. stops: the prices awaited, by pair; fees: a pair's maker and
    taker fee; known: the rules told so far (a view that grows with what is put); `connected` and `lost`
    as of a stream."""

    put: Callable[[list[Event]], None]
    stops: Stops
    fees: Callable[[str], tuple[Decimal, Decimal]]
    known: Mapping[str, Listed] = field(default_factory=dict)
    connected: Callable[[], None] = lambda: None
    lost: Callable[[str], None] = lambda why: None


class LiveFeed:
    """The moments that close after a time, while `run` runs. `troubles`: why a pair gives no signal, by
    pair, as far as it is the pair's own affair."""

    def __init__(
        self, watched: Watched, rest: PublicRest, line: Line, outlet: Outlet, after: Time | None = None
    ) -> None:
        self.troubles: dict[str, str] = {}
        self._watched, self._rest, self._line, self._outlet = watched, rest, line, outlet
        self._clock = line.clock
        self._windows = {s: Window(s, watched.timeframe, watched.kept) for s in watched.symbols}
        self._gathering = Gathering(self._windows, watched.waits, self._clock() if after is None else after)
        self._stream = Stream(line, self)
        self._gaps = set(watched.symbols)
        self._gap = asyncio.Event()
        self._begins: dict[str, Time] = {}
        self._quotes: dict[str, Quote] = {}
        self._ruled: set[str] = set()
        self._touched: dict[str, tuple[Decimal, Decimal]] = {}
        self._system = ""

    # What a run asks when it begins

    async def load(self) -> None:
        """The history of all pairs, as far as it can be had now; `run` asks for the rest."""
        for place, symbol in enumerate(self._watched.symbols):
            if place:
                await asyncio.sleep(BETWEEN_CALLS)
            await self._load(symbol)

    def last(self, at: Time) -> dict[str, Candle]:
        """The last known candle of each pair that had closed at a time."""
        found: dict[str, Candle] = {}
        for symbol, window in self._windows.items():
            dates = window.dates(Time(0), Time(at - self._watched.waits.bar))
            if dates:
                found[symbol] = window.candle(dates[-1])
        return found

    def high(self, symbol: str, opened: Time, at: Time) -> Decimal | None:
        """The highest price of a pair's known bars that opened at a time or later and had closed at
        another."""
        window = self._windows.get(symbol)
        if window is None:
            return None
        dates = window.dates(opened, Time(at - self._watched.waits.bar))
        return max((window.candle(date).high for date in dates), default=None)

    async def run(self) -> None:
        """Listen and tell; never ends by itself."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream.run())
            group.create_task(self._fill())
            group.create_task(self._keep_time())

    # What the stream says

    async def requests(self) -> Sequence[Request]:
        symbols, minutes = self._watched.symbols, self._watched.waits.bar // MINUTE
        return [
            subscribe("ohlc", symbols, interval=minutes),
            subscribe("ticker", symbols, event_trigger=BEST),
            subscribe("instrument"),
        ]

    def connected(self) -> None:
        silent = [symbol for symbol in self._watched.symbols if symbol not in self._begins]
        self._want(*silent)
        self._gathering.connected(self._clock())
        self._outlet.connected()

    def refused(self, symbol: str, why: str) -> None:
        self.troubles[symbol] = why
        self._gathering.ignore(symbol)

    def lost(self, why: str) -> None:
        self._gathering.lost()
        for known in (self._begins, self._quotes, self._ruled, self._touched):
            known.clear()
        self._system = ""
        self._outlet.lost(why)

    def hear(self, message: Message) -> None:
        match message.get("channel"):
            case "ticker":
                self._prices(message)
            case "ohlc":
                self._bars(message)
            case "instrument":
                self._rules(message)
            case "status":
                self._system = system_of(rows(message, "data")[-1])
        self.look()

    def look(self) -> None:
        """Tell the moments that are whole by now, then the stops that are reached."""
        while (moment := self._gathering.due(self._clock())) is not None:
            self._outlet.put([self._update(moment)])
        self._watch_stops()
