"""The recorded feed: candles of several pairs as one stream of moments, with all signals computed at
once, and the bars in which nothing can happen passed over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from lotwise.domain.market import Candle
from lotwise.domain.values import EPOCH, Time, steps_down, steps_up
from lotwise.engine.records import Awaited, MarketUpdate, Passed
from lotwise.strategies.candles import Candles, Floats, Ints
from lotwise.strategies.indicators import day_swing
from lotwise.strategies.strategy import Strategy
from lotwise.strategies.wishes import wishes_of

DAY = 86_400_000
EVERY_BAR = Awaited(soon=True)

Awaiting = Callable[[Time], Awaited]
"""What the engine waits for after a moment."""


class Bars(Mapping[str, Candle]):
    """The candles of one moment by pair, each made when it is looked at (most never are)."""

    def __init__(self, tracks: Mapping[str, "Track"], index: Mapping[str, int]) -> None:
        self._tracks = tracks
        self._index = index

    def __getitem__(self, symbol: str) -> Candle:
        return self._tracks[symbol].candles.candle(self._index[symbol])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """One pair's bars with what is to be known of each: confidence and swing by bar; wishes, farewells
    and new_days are the numbers of the bars with a wish to buy, to sell, and of each day's first."""

    candles: Candles
    confidence: Floats
    swing: Floats | None
    wishes: Ints
    farewells: Ints
    new_days: Ints

    def next_bar(self, first: int, end: int, awaited: Awaited) -> int:
        """The first bar of [first, end) that is no silent one; `end` when there is none."""
        symbol = self.candles.symbol
        marks = [self.new_days]
        if symbol not in awaited.deaf:
            marks.append(self.wishes)
        if symbol in awaited.held:
            marks.append(self.farewells)
        for numbers in marks:
            place = int(np.searchsorted(numbers, first))
            if place < len(numbers):
                end = min(end, int(numbers[place]))
        if first >= end:
            return end
        return min(end, *(first + at for at in self._reached(first, end, awaited)), end)

    def _reached(self, first: int, end: int, awaited: Awaited) -> Iterator[int]:
        """How many bars from the first on each awaited price is reached, if it is."""
        symbol, candles = self.candles.symbol, self.candles
        lows, highs = candles.low[first:end], candles.high[first:end]
        found = []
        if symbol in awaited.falls:
            found.append(lows <= self._steps(awaited.falls[symbol]))
        if symbol in awaited.rises:
            found.append(highs >= self._steps(awaited.rises[symbol]))
        if symbol in awaited.trails:
            fraction, tick = awaited.trails[symbol]
            before = np.concatenate(([0], np.maximum.accumulate(highs)[:-1]))
            slack = steps_up(tick, candles.step) + 1
            found.append(lows <= before * (1.0 - float(fraction)) * (1 + 1e-9) + slack)
        for reached in found:
            at = int(np.argmax(reached))
            if reached[at]:
                yield at

    def _steps(self, price: Decimal) -> int:
        return min(steps_down(price, self.candles.step), 1 << 62)

    def passed(self, first: int, end: int) -> Passed:
        """The bars of [first, end), of which there is one at least, as they are told when passed over."""
        wishes = self.wishes[slice(*np.searchsorted(self.wishes, (first, end)))]
        last = self.candles.close_time(int(wishes[-1])) if len(wishes) else EPOCH
        high = self.candles.price(self.candles.high[first:end].max())
        return Passed(self.candles.candle(end - 1), self.candles.close_time(end - 1), high, len(wishes), last)


class RecordedFeed:
    """Candles of one timeframe by pair; `speed` times faster than they happened (None: at once).

    A moment is the close of all bars that opened together; a pair without a bar there is absent. Wishes
    to buy with less than `least` confidence are none. `window`: over how many bars a pair's swing is
    measured (None: not at all). `troubles`: the pairs on which the strategy cannot be trusted and makes
    no wish, each with the reason.
    """

    def __init__(
        self,
        recorded: Mapping[str, Candles],
        strategy: Strategy,
        speed: int | None = None,
        least: float = 0.0,
        window: int | None = None,
    ) -> None:
        assert len({candles.timeframe for candles in recorded.values()}) == 1, "one timeframe a run"
        self._bar = next(iter(recorded.values())).bar
        self._speed = speed
        told = {symbol: wishes_of(strategy, candles) for symbol, candles in recorded.items()}
        self._tracks = {
            s: _track(candles, told[s].confidence, least, window) for s, candles in recorded.items()
        }
        self.troubles = tuple(
            f"{symbol}: strategy {strategy.name} {wishes.trouble}"
            for symbol, wishes in told.items()
            if wishes.trouble
        )
        self._dates: NDArray[np.int64] = np.unique(np.concatenate([c.dates for c in recorded.values()]))

    @property
    def closes(self) -> NDArray[np.int64]:
        """The times of all moments."""
        return self._dates + self._bar

    def last(self, at: Time) -> dict[str, Candle]:
        """The last candle of each pair that had closed at a time, for who takes up a run there."""
        ends = {symbol: self._closed(track, at) for symbol, track in self._tracks.items()}
        return {symbol: self._tracks[symbol].candles.candle(end - 1) for symbol, end in ends.items() if end}

    def high(self, symbol: str, opened: Time, at: Time) -> Decimal | None:
        """The highest price of a pair's bars that opened at a time or later and had closed at another."""
        track = self._tracks.get(symbol)
        if track is None:
            return None
        first = int(np.searchsorted(track.candles.dates, opened))
        highs = track.candles.high[first : self._closed(track, at)]
        return track.candles.price(highs.max()) if len(highs) else None

    def wishes(self, symbol: str, after: Time, at: Time) -> tuple[int, Time]:
        """(how many, the last): a pair's wishes to buy after one moment and up to another."""
        track = self._tracks.get(symbol)
        if track is None:
            return 0, EPOCH
        closes = track.candles.dates[track.wishes] + self._bar
        found = closes[slice(*np.searchsorted(closes, (after, at), side="right"))]
        return len(found), Time(int(found[-1])) if len(found) else EPOCH

    def _closed(self, track: Track, at: Time) -> int:
        return int(np.searchsorted(track.candles.dates, at - self._bar, side="right"))

    async def moments(self, after: Time, awaiting: Awaiting | None = None) -> AsyncIterator[MarketUpdate]:
        """The moments later than a time, in order; only those in which something can happen when
        `awaiting` says what that would be. The last moment of all is always among them."""
        number = int(np.searchsorted(self.closes, after, side="right"))
        visited, places, now = 0, self._places(number), after
        while number < len(self._dates):
            if awaiting is not None:
                number = self._next(number, places, awaiting(now))
            if self._speed is not None and visited:
                await asyncio.sleep(self._bar / 1000 / self._speed)
            elif visited % 64 == 0:
                await asyncio.sleep(0)  # a run at full speed must still hear Ctrl-C
            ends = self._places(number)
            update = self._update(number, places, ends)
            yield update
            now, date, number, visited = update.time, self._dates[number], number + 1, visited + 1
            for symbol, end in ends.items():
                dates = self._tracks[symbol].candles.dates
                places[symbol] = end + (end < len(dates) and dates[end] == date)

    def _places(self, number: int) -> dict[str, int]:
        """For each pair the number of its first bar at or after a moment."""
        if number == len(self._dates):
            return {symbol: len(track.candles) for symbol, track in self._tracks.items()}
        date = self._dates[number]
        return {s: int(np.searchsorted(track.candles.dates, date)) for s, track in self._tracks.items()}

    def _next(self, number: int, places: Mapping[str, int], awaited: Awaited) -> int:
        """The number of the next moment that is not silent."""
        if awaited.soon:
            return number
        last = len(self._dates) - 1
        closes = self._dates[number : last + 1]
        # The first moment of a day is one, by when its bars close.
        until = (int(self._dates[number]) // DAY + 1) * DAY - self._bar
        limit = min(until, int(awaited.by) - self._bar if awaited.by is not None else until)
        best = min(last, number + int(np.searchsorted(closes, limit)))
        for symbol, track in self._tracks.items():
            dates, first = track.candles.dates, places[symbol]
            end = int(np.searchsorted(dates, self._dates[best]))
            found = track.next_bar(first, end, awaited)
            if found < end:
                best = int(np.searchsorted(self._dates, dates[found]))
        return best

    def _update(self, number: int, places: Mapping[str, int], ends: Mapping[str, int]) -> MarketUpdate:
        date = int(self._dates[number])
        index = {s: end for s, end in ends.items() if _opens(self._tracks[s], end, date)}
        signals = {s: sure for s, at in index.items() if (sure := float(self._tracks[s].confidence[at]))}
        swings = {
            s: float(swing[at]) for s, at in index.items() if (swing := self._tracks[s].swing) is not None
        }
        passed = {s: self._tracks[s].passed(places[s], end) for s, end in ends.items() if end > places[s]}
        return MarketUpdate(Time(date + self._bar), Bars(self._tracks, index), signals, {}, passed, swings)


def _opens(track: Track, place: int, date: int) -> bool:
    dates = track.candles.dates
    return place < len(dates) and int(dates[place]) == date


def _track(candles: Candles, confidence: Floats, least: float, window: int | None) -> Track:
    sure = np.where((confidence > 0) & (confidence < least), 0.0, confidence)
    days = candles.dates // DAY
    return Track(
        candles,
        sure,
        None if window is None else day_swing(candles, window),
        np.flatnonzero(sure > 0),
        np.flatnonzero(sure < 0),
        np.flatnonzero(np.diff(days, prepend=days[:1] - 1)),
    )
