"""Live market data: Kraken's stream as the moments, prices and rules that the engine is told.

Laws: the same candles give the same moments as a recorded feed. Fail closed: while the connection is lost
nothing is told; a pair gives a signal only when its history has no hole, its rules were told on this
connection, the exchange is open and its prices are fresh. No order book is used, so no checksum is needed.
Nothing here decides anything.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from lotwise.domain.market import Candle, Market, Quote, split_symbol
from lotwise.domain.values import EPOCH, BadField, Time
from lotwise.engine.ports import Brackets
from lotwise.engine.records import Bracket, Event, Listed, MarketUpdate
from lotwise.kraken.stream import Malformed, Message, Request
from lotwise.kraken.stream_channels import BEST, subscribe
from lotwise.kraken.stream_fields import number, rows, text
from lotwise.kraken.stream_market import MINUTE, bar_of, decimals_of, listing_of, status_of, system_of
from lotwise.strategies.candles import TIMEFRAMES
from lotwise.strategies.indicators import day_swing
from lotwise.strategies.strategy import Strategy
from lotwise.strategies.wishes import wishes_of
from lotwise.venues.kraken.feed_history import History, PublicRest
from lotwise.venues.kraken.feed_moments import Gathering, Moment, Waits
from lotwise.venues.kraken.feed_window import Window
from lotwise.venues.kraken.stream import Line, Stream

HISTORY = 720
"""So many bars are kept beyond what the strategy needs to warm up."""

ONLINE = "online"


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
    """Where a feed tells, and what it asks. brackets: the prices awaited, by pair; fees: a pair's maker and
    taker fee; known: the rules told so far (a view that grows with what is put); `connected` and `lost`
    as of a stream."""

    put: Callable[[list[Event]], None]
    brackets: Brackets
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
        self._watched, self._outlet, self._clock = watched, outlet, line.clock
        self._windows = {s: Window(s, watched.timeframe, watched.kept) for s in watched.symbols}
        self._gathering = Gathering(self._windows, watched.waits, self._clock() if after is None else after)
        self._stream = Stream(line, self)
        self._history = History(watched.symbols, watched.waits.bar, rest, self._gathering.fill)
        self._quotes: dict[str, Quote] = {}
        self._ruled: set[str] = set()
        self._decimals: dict[str, int] = {}
        self._touched: dict[str, tuple[Decimal, Bracket]] = {}
        self._system = ""

    # What a run asks when it begins

    async def load(self) -> None:
        """The history of all pairs, as far as it can be had now; `run` asks for the rest."""
        await self._history.load()

    def last(self, at: Time) -> dict[str, Candle]:
        """The last known candle of each pair that had closed at a time."""
        found: dict[str, Candle] = {}
        for symbol, window in self._windows.items():
            dates = window.dates(EPOCH, Time(at - self._watched.waits.bar))
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

    def quotes(self) -> list[Quote]:
        """The prices of now, of the pairs that have any."""
        return list(self._fresh().values())

    def _fresh(self) -> dict[str, Quote]:
        now, late = self._clock(), self._watched.waits.late
        return {symbol: quote for symbol, quote in self._quotes.items() if now - quote.time <= late}

    async def run(self) -> None:
        """Listen and tell; never ends by itself."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._stream.run())
            group.create_task(self._history.keep())
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
        self._history.connected()
        self._gathering.connected(self._clock())
        self._outlet.connected()

    def refused(self, symbol: str, why: str) -> None:
        self.troubles[symbol] = why
        self._gathering.ignore(symbol)
        self._history.ignore(symbol)

    def lost(self, why: str) -> None:
        self._gathering.lost()
        self._history.lost()
        for known in (self._quotes, self._ruled, self._touched):
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
                for row in rows(message, "data"):
                    self._system = system_of(row)
        self.look()

    def look(self) -> None:
        """Tell the moments that are whole by now, then the stops that are reached."""
        while (moment := self._gathering.due(self._clock())) is not None:
            self._outlet.put([self._update(moment)])
        self._watch_brackets()

    def _prices(self, message: Message) -> None:
        """Prices of a pair; without a bid below an ask it has none until it is told of others."""
        now = self._clock()
        for row in rows(message, "data"):
            symbol = text(row, "symbol")
            if symbol not in self._windows:
                continue
            try:
                bid, ask = number(row, "bid"), number(row, "ask")
            except Malformed:
                bid = ask = Decimal(0)
            if 0 < bid < ask:
                self._quotes[symbol] = Quote(symbol, now, bid, ask)
            else:
                self._quotes.pop(symbol, None)

    def _bars(self, message: Message) -> None:
        waits, now = self._watched.waits, self._clock()
        for row in rows(message, "data"):
            bar = bar_of(row)
            window = self._windows.get(bar.symbol)
            if window is None or bar.minutes * MINUTE != waits.bar:
                continue
            if bar.begin > now + waits.late:
                raise Malformed(
                    f"a bar of {bar.symbol} begins {(bar.begin - now) // 1000} s ahead of our clock"
                )
            self._history.hears(bar, window.newest)
            self._gathering.hear(bar)

    def _rules(self, message: Message) -> None:
        """Tell the rules and statuses that are not as told before. Rules that no market can have are not
        told; without rules there is no signal."""
        now, told, data = self._clock(), list[Event](), message.get("data")
        if not isinstance(data, Mapping):
            raise Malformed("instrument data is no object")
        self._decimals |= decimals_of(data, {split_symbol(symbol)[0] for symbol in self._windows})
        for row in rows(data, "pairs"):
            symbol = text(row, "symbol")
            if symbol not in self._windows:
                continue
            try:
                listed = self._listed(symbol, row, now)
            except (Malformed, BadField) as bad:
                self._ruled.discard(symbol)
                self.troubles[symbol] = f"its rules cannot be read: {bad}"
                continue
            self._ruled.add(symbol)
            known = self._outlet.known.get(symbol)
            if known is None or known.terms != listed.terms:
                told.append(listed)
        if told:
            self._outlet.put(told)

    def _listed(self, symbol: str, row: Mapping[str, Any], now: Time) -> Listed:
        listing = listing_of(row, datetime.fromtimestamp(now // 1000, tz=UTC).date(), self._decimals)
        maker_fee, taker_fee = self._outlet.fees(symbol)
        Market(
            symbol,
            listing.tick_size,
            listing.lot_step,
            listing.min_quantity,
            listing.min_notional,
            listing.quote_precision,
            maker_fee,
            taker_fee,
        )
        return Listed(listing, maker_fee, taker_fee, now, status_of(row))

    # What is told

    def _update(self, moment: Moment) -> MarketUpdate:
        watched, fresh = self._watched, self._fresh()
        signals: dict[str, float] = {}
        swings: dict[str, float] = {}
        for symbol in moment.symbols:
            sure, swing = self._asked(symbol, moment.date)
            why = self._doubt(symbol) if symbol in fresh else "its prices are not fresh"
            if why:
                self.troubles[symbol] = why
            elif sure:
                signals[symbol] = sure
            if watched.window is not None:
                swings[symbol] = swing
        candles = {symbol: self._windows[symbol].candle(moment.date) for symbol in moment.symbols}
        closed = Time(moment.date + watched.waits.bar)
        return MarketUpdate(closed, candles, signals, fresh, moment.passed, swings)

    def _doubt(self, symbol: str) -> str:
        """Why a pair's signal cannot be trusted; empty when it can."""
        if self._system != ONLINE:
            return f"the exchange is {self._system or 'of unknown status'}"
        if hole := self._history.hole(symbol):
            return f"its history {hole}"
        return "" if symbol in self._ruled else "its rules are not told"

    def _asked(self, symbol: str, date: Time) -> tuple[float, float]:
        """(the strategy's wish at a bar, the swing there); no wish where it cannot be asked."""
        watched = self._watched
        try:
            candles = self._windows[symbol].candles(date)
        except BadField as bad:
            self.troubles[symbol] = str(bad)
            return 0.0, 0.0
        wishes = wishes_of(watched.strategy, candles)
        sure = float(wishes.confidence[-1])
        swing = 0.0 if watched.window is None else float(day_swing(candles, watched.window)[-1])
        if wishes.trouble:
            self.troubles[symbol] = f"strategy {watched.strategy.name} {wishes.trouble}"
        else:
            self.troubles.pop(symbol, None)
        return 0.0 if 0 < sure < watched.least else sure, swing

    def _watch_brackets(self) -> None:
        """Tell the prices of each pair whose bid has left its bracket, once for each bid."""
        now, told = self._clock(), list[Event]()
        for symbol, bracket in self._outlet.brackets().items():
            quote = self._quotes.get(symbol)
            if quote is None or bracket.holds(quote.bid):
                self._touched.pop(symbol, None)
            elif self._touched.get(symbol) != (quote.bid, bracket):
                self._touched[symbol] = quote.bid, bracket
                told.append(Quote(symbol, now, quote.bid, quote.ask))
        if told:
            self._outlet.put(told)

    # What goes on beside

    async def _keep_time(self) -> None:
        """Look when a bar's time to be told is over, though nothing is heard."""
        waits = self._watched.waits
        while True:
            left = waits.bar - (self._clock() - waits.gather) % waits.bar
            await asyncio.sleep(left / 1000)
            self.look()
