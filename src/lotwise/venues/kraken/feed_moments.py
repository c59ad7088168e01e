"""When a moment is whole: the bars of all pairs that opened together, once they are known to be final.

Laws: pure, time is handed in. Kraken does not say that a bar is closed, and sends none for an interval
without trades: a pair's bar is final when the pair has told of a later interval, and every bar is when
`gather` has passed since its close. Moments come in order, each once. What was told too late for its
moment, or changed after it, is told with the next one as passed; it gives no signal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from lotwise.domain.values import EPOCH, Time
from lotwise.engine.records import Passed
from lotwise.kraken.stream_market import Bar
from lotwise.venues.kraken.feed_window import Window


@dataclass(frozen=True, slots=True)
class Waits:
    """Milliseconds. gather: so long after the close a bar may still be told; late: so long after it a
    moment may be told; after that it has passed."""

    bar: int
    gather: int
    late: int


@dataclass(frozen=True, slots=True)
class Moment:
    """The pairs with a bar that opened at `date`, and by pair what has passed since the last moment."""

    date: Time
    symbols: tuple[str, ...]
    passed: Mapping[str, Passed]


class Gathering:
    """Bars in, moments out. Moments that closed at `after` or before are none."""

    def __init__(self, windows: Mapping[str, Window], waits: Waits, after: Time) -> None:
        self._windows = windows
        self._waits = waits
        self._born = self._done = Time(after // waits.bar * waits.bar - waits.bar)
        self._since: Time | None = None
        self._newest: dict[str, Time] = {}
        self._pending: set[Time] = set()
        self._owed: dict[str, set[Time]] = {symbol: set() for symbol in windows}
        self._deaf: set[str] = set()

    def connected(self, now: Time) -> None:
        """From here on bars are told as they come."""
        self._since = now

    def lost(self) -> None:
        """What was told may be incomplete; each pair must be told anew."""
        self._since = None
        self._newest.clear()
        self._deaf.clear()

    def ignore(self, symbol: str) -> None:
        """Nothing will be told of a pair: nobody waits for it."""
        self._deaf.add(symbol)

    def heard(self, symbol: str) -> bool:
        """Whether a pair was told on this connection."""
        return symbol in self._newest

    def hear(self, bar: Bar) -> None:
        """A bar of the stream, final or not. Raises Malformed."""
        self.fill(bar)
        self._newest[bar.symbol] = max(bar.begin, self._newest.get(bar.symbol, EPOCH))

    def fill(self, bar: Bar) -> None:
        """A bar of the history. Raises Malformed."""
        date = bar.begin
        if not self._windows[bar.symbol].put(bar):
            return
        if date > self._done:
            self._pending.add(date)
        elif date > self._born:
            self._owed[bar.symbol].add(date)

    def due(self, now: Time) -> Moment | None:
        """The next moment that is whole by now; None when there is none."""
        if self._since is None:
            return None
        for date in sorted(self._pending):
            closed = date + self._waits.bar
            if not self._told_later(date) and now < max(closed, self._since) + self._waits.gather:
                return None
            self._pending.discard(date)
            self._done = date
            having = [symbol for symbol, window in self._windows.items() if date in window]
            whole = () if now > closed + self._waits.late else tuple(filter(self.heard, having))
            for symbol in having:
                if symbol not in whole:
                    self._owed[symbol].add(date)
            if whole:
                return Moment(date, whole, self._passed())
        return None

    def _told_later(self, date: Time) -> bool:
        return all(self._newest.get(s, EPOCH) > date for s in self._windows if s not in self._deaf)

    def _passed(self) -> dict[str, Passed]:
        told = {}
        for symbol, owed in self._owed.items():
            window = self._windows[symbol]
            candles = [window.candle(date) for date in sorted(owed) if date in window]
            owed.clear()
            if candles:
                last, high = candles[-1], max(candle.high for candle in candles)
                told[symbol] = Passed(last, Time(last.date + self._waits.bar), high, 0, EPOCH)
        return told
