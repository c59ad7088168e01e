"""What the public sees of a pair's trades: the last of them, candles and statistics.

Laws: a candle is made of trades alone (no trade, no candle) and opens at a multiple of its length since
1970; the last may still grow; everything is bounded.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Context, Decimal
from itertools import islice
from operator import attrgetter

from lotwise.domain.orders import OrderType
from lotwise.domain.values import EXACT, Side, Time
from lotwise.exchange.events import Key

MINUTE = 60_000
MINUTES = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
BARS_KEPT = 721
"""As many as Kraken shows: 720 and the unfinished one (documentation of 2026-05-27)."""

DAY_OF_BARS = 1441
TRADES_KEPT = 1000
PRICE_UNIT = Decimal("0.000000000001")
"""An average price is cut to this."""

_CUT = Context(prec=60, rounding=ROUND_FLOOR)
"""Cutting twice, first far behind the last place that is kept, is cutting once."""


@dataclass(frozen=True, slots=True)
class Print:
    """One public trade. `side` and `type` are the taker's. `taker` and `maker` name the accounts' orders
    (None: the crowd): the truth, and not for publication."""

    number: int
    time: Time
    price: Decimal
    quantity: Decimal
    side: Side
    type: OrderType
    taker: Key | None
    maker: Key | None


@dataclass(slots=True)
class Bar:
    """The trades from `time` on: prices in quote, `volume` in base, `value` in quote, `count` trades."""

    time: Time
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    value: Decimal
    count: int

    @property
    def average(self) -> Decimal:
        """The price weighted by volume, cut at twelve places."""
        return _CUT.quantize(_CUT.divide(self.value, self.volume), PRICE_UNIT)

    def grow(self, price: Decimal, quantity: Decimal, value: Decimal) -> None:
        """Take in the next trade."""
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.volume = EXACT.add(self.volume, quantity)
        self.value = EXACT.add(self.value, value)
        self.count += 1


class Tape:
    """The trades of one pair."""

    def __init__(self) -> None:
        self.number = 0
        self.trades: deque[Print] = deque(maxlen=TRADES_KEPT)
        self.bars: dict[int, deque[Bar]] = {
            minutes: deque(maxlen=DAY_OF_BARS if minutes == 1 else BARS_KEPT) for minutes in MINUTES
        }
        self._span: tuple[Time, Time] | None = None
        self._done: Bar | None = None
        """What is known of the minutes of a span but the last, which alone may still grow."""

    def add(self, trade: Print) -> None:
        """The next trade; its number is one above the last, its time not before it."""
        assert trade.number == self.number + 1
        self.number = trade.number
        self.trades.append(trade)
        price, quantity, value = trade.price, trade.quantity, EXACT.multiply(trade.price, trade.quantity)
        for minutes, bars in self.bars.items():
            opened = Time(trade.time - trade.time % (minutes * MINUTE))
            if bars and bars[-1].time == opened:
                bars[-1].grow(price, quantity, value)
            else:
                bars.append(Bar(opened, price, price, price, price, quantity, value, 1))

    def candles(self, minutes: int) -> list[Bar]:
        """The candles of one of MINUTES, oldest first; the last may still grow."""
        return list(self.bars[minutes])[-BARS_KEPT:]

    def since(self, number: int) -> list[Print]:
        """The trades after this number, as far as they are kept, oldest first."""
        new = min(self.number - number, len(self.trades))
        return [self.trades[place] for place in range(-new, 0)]

    def statistics(self, since: Time) -> Bar | None:
        """One bar over the whole minutes from a time on (24 hours are kept); None without a trade."""
        bars = self.bars[1]
        first = bisect_left(bars, since, key=attrgetter("time"))
        if first == len(bars):
            return None
        span = bars[first].time, bars[-1].time
        if span != self._span:
            self._span, self._done = span, _together(islice(bars, first, len(bars) - 1))
        return _together(bar for bar in (self._done, bars[-1]) if bar is not None)


def _together(bars: Iterable[Bar]) -> Bar | None:
    total: Bar | None = None
    for bar in bars:
        if total is None:
            total = Bar(bar.time, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.value, bar.count)
            continue
        total.high, total.low = max(total.high, bar.high), min(total.low, bar.low)
        total.close = bar.close
        total.volume, total.value = EXACT.add(total.volume, bar.volume), EXACT.add(total.value, bar.value)
        total.count += bar.count
    return total
