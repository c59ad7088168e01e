"""Public channels of WebSocket v2 as logs of finished messages that any number of clients read.

Laws: a topic writes each message once, whoever listens; a client is a place in its log, and one that
falls behind the log's end has lost messages and must go; a snapshot agrees with the place it is given at.
"""

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import islice
from typing import Protocol

from lotwise.domain.values import EXACT, Side, Time
from lotwise.kraken.checksum import Level, book_checksum
from lotwise.kraken.stream import Message, timestamp, write
from lotwise.kraken.stream_channels import BEST, Subscription
from lotwise.kraken.stream_market import (
    BookChange,
    Kind,
    Printer,
    asset_row,
    bar_row,
    book_row,
    message,
    pair_row,
    printer_of,
    snapshot_of,
    ticker_row,
    trade_row,
)
from lotwise.sandbox.stream_ports import Listed, PublicSide

LINES_KEPT = 4096
"""How far a client may fall behind on one topic."""

SNAPSHOT_TRADES = 50
"""Kraken's documentation of 2026-05-27."""

SNAPSHOT_BARS = 10
"""As many one-minute candles a snapshot recorded in 2024-05 went back."""

ZERO = Decimal(0)


class Lines:
    """The last messages of a topic, counted from 1 on."""

    def __init__(self, kept: int) -> None:
        self.number = 0
        self._kept: deque[str] = deque(maxlen=kept)

    def add(self, line: Message) -> None:
        """The next message."""
        self.number += 1
        self._kept.append(write(line))

    def since(self, number: int) -> list[str] | None:
        """The messages after a number; None when some of them are gone."""
        count = self.number - number
        if count > len(self._kept):
            return None
        return list(islice(self._kept, len(self._kept) - count, None)) if count else []


class Topic(Protocol):
    """One public subscription, shared by all who have it."""

    lines: Lines

    def advance(self, now: Time) -> None:
        """Write what has changed since the last call."""

    def snapshot(self, now: Time) -> list[Message]:
        """How things stand after the last message; nothing where there is nothing to tell."""


class TickerTopic:
    """Speaks on each trade, or on each change of the best prices; once for all that came together."""

    def __init__(self, side: PublicSide, lines: Lines, symbol: str, trigger: str) -> None:
        self.lines = lines
        self._side, self._symbol, self._on_best = side, symbol, trigger == BEST
        self._number = self._count()
        self._best = self._prices()

    def advance(self, now: Time) -> None:
        number = self._count()
        if number == self._number:
            return
        self._number = number
        best = self._prices()
        if self._on_best and best == self._best:
            return
        self._best = best
        for told in self._tell(Kind.UPDATE, now):
            self.lines.add(told)

    def snapshot(self, now: Time) -> list[Message]:
        return self._tell(Kind.SNAPSHOT, now)

    def _count(self) -> int:
        side = self._side
        return side.book_number(self._symbol) if self._on_best else side.trade_number(self._symbol)

    def _prices(self) -> tuple[list[Level], ...]:
        return tuple(list(levels) for levels in self._side.depth(self._symbol, 1))

    def _tell(self, kind: Kind, now: Time) -> list[Message]:
        ticker = self._side.ticker(self._symbol, now)
        printer = _printer(self._side, self._symbol)
        return [] if ticker is None else [message("ticker", kind, [ticker_row(ticker, printer)])]


class BookTopic:
    """A book to a depth. One message tells all levels that changed since the last one; a level that was
    pushed beyond the depth is not told: the client cuts its copy, as Kraken's guide says."""

    def __init__(self, side: PublicSide, lines: Lines, symbol: str, depth: int) -> None:
        self.lines = lines
        self._side, self._symbol, self._depth = side, symbol, depth
        self._number = side.book_number(symbol)
        self._bids, self._asks = self._view()

    def advance(self, now: Time) -> None:
        number = self._side.book_number(self._symbol)
        if number == self._number:
            return
        self._number = number
        bids, asks = self._view()
        changed = (
            changed_levels(Side.BUY, self._bids, bids, self._depth),
            changed_levels(Side.SELL, self._asks, asks, self._depth),
        )
        self._bids, self._asks = bids, asks
        if any(changed):
            change = BookChange(self._symbol, *changed, book_checksum(asks, bids), now)
            self.lines.add(message("book", Kind.UPDATE, [book_row(change)]))

    def snapshot(self, now: Time) -> list[Message]:
        whole = snapshot_of(self._symbol, self._bids, self._asks, now)
        return [message("book", Kind.SNAPSHOT, [book_row(whole)])]

    def _view(self) -> tuple[tuple[Level, ...], tuple[Level, ...]]:
        printer = _printer(self._side, self._symbol)
        bids, asks = self._side.depth(self._symbol, self._depth)
        return printer.levels(bids), printer.levels(asks)


def changed_levels(
    side: Side, before: Sequence[Level], after: Sequence[Level], depth: int
) -> tuple[Level, ...]:
    """The levels to tell so that a copy of `before`, changed and cut to the depth, is `after`. Both are
    best first. Those that are gone come first, with quantity 0."""
    old, new = dict(before), dict(after)
    gone = [price for price in old if price not in new]
    if len(after) == depth:
        last = after[-1][0]
        gone = [price for price in gone if (price > last) == (side is Side.BUY)]
    zeros = tuple((price, EXACT.multiply(old[price], ZERO)) for price in gone)
    return zeros + tuple((price, quantity) for price, quantity in after if old.get(price) != quantity)


class TradeTopic:
    """Speaks of all trades that came together in one message."""

    def __init__(self, side: PublicSide, lines: Lines, symbol: str) -> None:
        self.lines = lines
        self._side, self._symbol = side, symbol
        self._number = side.trade_number(symbol)

    def advance(self, now: Time) -> None:
        number = self._side.trade_number(self._symbol)
        if number == self._number:
            return
        data = self._rows(self._number)
        self._number = number
        self.lines.add(message("trade", Kind.UPDATE, data))

    def snapshot(self, now: Time) -> list[Message]:
        data = self._rows(max(0, self._number - SNAPSHOT_TRADES))
        return [message("trade", Kind.SNAPSHOT, data)]

    def _rows(self, after: int) -> list[Message]:
        printer = _printer(self._side, self._symbol)
        return [trade_row(trade, printer) for trade in self._side.trades(self._symbol, after)]


class BarTopic:
    """Speaks on trades, of each candle that they changed or began."""

    def __init__(self, side: PublicSide, lines: Lines, symbol: str, minutes: int) -> None:
        self.lines = lines
        self._side, self._symbol, self._minutes = side, symbol, minutes
        self._number = side.trade_number(symbol)
        self._last = self._side.bars(symbol, minutes, 1)

    def advance(self, now: Time) -> None:
        number = self._side.trade_number(self._symbol)
        if number == self._number:
            return
        # So many trades have touched at most so many candles, the last ones.
        bars = self._side.bars(self._symbol, self._minutes, number - self._number)
        self._number = number
        changed = [bar for bar in bars if not self._last or bar.begin >= self._last[0].begin]
        for bar in changed:
            if [bar] != self._last:
                self.lines.add(self._tell(Kind.UPDATE, [bar_row(bar, self._printer())], now))
        self._last = bars[-1:]

    def snapshot(self, now: Time) -> list[Message]:
        bars = self._side.bars(self._symbol, self._minutes, SNAPSHOT_BARS)
        return [self._tell(Kind.SNAPSHOT, [bar_row(bar, self._printer()) for bar in bars], now)]

    def _tell(self, kind: Kind, data: list[Message], now: Time) -> Message:
        return message("ohlc", kind, data, timestamp=timestamp(now, digits=9))

    def _printer(self) -> Printer:
        return _printer(self._side, self._symbol)


class InstrumentTopic:
    """Speaks of each pair whose rules or status changed, and of assets that came with a new pair. It
    looks once at each moment, however many clients ask."""

    def __init__(self, side: PublicSide, lines: Lines) -> None:
        self.lines = lines
        self._side = side
        self._seen = dict(side.listed())
        self._looked: Time | None = None

    def advance(self, now: Time) -> None:
        if now == self._looked:
            return
        self._looked = now
        listed = dict(self._side.listed())
        changed = {symbol: pair for symbol, pair in listed.items() if self._seen.get(symbol) != pair}
        gone = self._seen.keys() - listed.keys()
        assert not gone, f"{gone} left the list; a pair that is gone keeps its row and its status says so"
        if not changed:
            return
        told = _assets(self._seen)
        self._seen = listed
        assets = [asset for asset in _assets(changed) if asset not in told]
        self.lines.add(message("instrument", Kind.UPDATE, _instruments(assets, changed)))

    def snapshot(self, now: Time) -> list[Message]:
        data = _instruments(_assets(self._seen), self._seen)
        return [message("instrument", Kind.SNAPSHOT, data)]


def _assets(pairs: dict[str, Listed]) -> list[str]:
    sides = (asset for pair in pairs.values() for asset in (pair.market.base, pair.market.quote))
    return list(dict.fromkeys(sides))


def _instruments(assets: Sequence[str], pairs: dict[str, Listed]) -> Message:
    return {
        "assets": [asset_row(asset) for asset in assets],
        "pairs": [pair_row(pair.market, pair.status) for pair in pairs.values()],
    }


def _printer(side: PublicSide, symbol: str) -> Printer:
    pair = side.pair(symbol)
    assert pair is not None, f"{symbol} has subscribers and no rules"
    return printer_of(pair.market)


class Hub:
    """The topics that anyone listens to; each keeps so many messages for those who are late."""

    def __init__(self, side: PublicSide, kept: int = LINES_KEPT) -> None:
        self._side = side
        self._kept = kept
        self._topics: dict[Subscription, Topic] = {}
        self._listeners: dict[Subscription, int] = {}

    def join(self, subscription: Subscription, now: Time) -> Topic:
        """The topic of a public subscription, up to date; who joins must leave."""
        topic = self._topics.get(subscription)
        if topic is None:
            topic = self._topics[subscription] = self._new(subscription)
        topic.advance(now)
        self._listeners[subscription] = self._listeners.get(subscription, 0) + 1
        return topic

    def leave(self, subscription: Subscription) -> None:
        """One listener less; a topic without any is forgotten."""
        self._listeners[subscription] -= 1
        if not self._listeners[subscription]:
            del self._listeners[subscription], self._topics[subscription]

    def __len__(self) -> int:
        return len(self._topics)

    def _new(self, subscription: Subscription) -> Topic:
        side, lines, options = self._side, Lines(self._kept), subscription.options
        symbol = subscription.symbol
        if symbol is None:
            return InstrumentTopic(side, lines)
        makers: dict[str, Callable[[], Topic]] = {
            "ticker": lambda: TickerTopic(side, lines, symbol, options["event_trigger"]),
            "book": lambda: BookTopic(side, lines, symbol, options["depth"]),
            "trade": lambda: TradeTopic(side, lines, symbol),
            "ohlc": lambda: BarTopic(side, lines, symbol, options["interval"]),
        }
        return makers[subscription.channel]()
