"""The recorded feed: candles of several pairs as one stream of moments, with all signals computed at
once."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from lotwise.domain.market import Candle
from lotwise.domain.values import Time
from lotwise.engine.records import MarketUpdate
from lotwise.strategies.candles import Candles
from lotwise.strategies.strategy import Strategy
from lotwise.strategies.wishes import wishes_of


class Bars(Mapping[str, Candle]):
    """The candles of one moment by pair, each made when it is looked at (most never are)."""

    def __init__(self, recorded: Mapping[str, Candles], index: Mapping[str, int]) -> None:
        self._recorded = recorded
        self._index = index

    def __getitem__(self, symbol: str) -> Candle:
        return self._recorded[symbol].candle(self._index[symbol])

    def __iter__(self) -> Iterator[str]:
        return iter(self._index)

    def __len__(self) -> int:
        return len(self._index)


class RecordedFeed:
    """Candles of one timeframe by pair; `speed` times faster than they happened (None: at once).

    A moment is the close of all bars that opened together; a pair without a bar there is absent.
    `troubles`: the pairs on which the strategy cannot be trusted and makes no wish, each with the reason.
    """

    def __init__(self, recorded: Mapping[str, Candles], strategy: Strategy, speed: int | None = None) -> None:
        assert len({candles.timeframe for candles in recorded.values()}) == 1, "one timeframe a run"
        self._recorded = recorded
        self._bar = next(iter(recorded.values())).bar
        self._speed = speed
        told = {symbol: wishes_of(strategy, candles) for symbol, candles in recorded.items()}
        self._confidence = {symbol: wishes.confidence for symbol, wishes in told.items()}
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
        last: dict[str, Candle] = {}
        for symbol, candles in self._recorded.items():
            count = int(np.searchsorted(candles.dates, at - self._bar, side="right"))
            if count:
                last[symbol] = candles.candle(count - 1)
        return last

    async def moments(self, after: Time) -> AsyncIterator[MarketUpdate]:
        """The moments later than a time, in order."""
        first = int(np.searchsorted(self.closes, after, side="right"))
        position = {s: int(np.searchsorted(c.dates, self._dates[first:][:1])[0]) if first < len(self._dates)
                    else len(c) for s, c in self._recorded.items()}  # fmt: skip
        dates = {symbol: candles.dates.tolist() for symbol, candles in self._recorded.items()}
        signals = {symbol: confidence.tolist() for symbol, confidence in self._confidence.items()}
        for number, date in enumerate(self._dates[first:].tolist()):
            if self._speed is not None and number:
                await asyncio.sleep(self._bar / 1000 / self._speed)
            elif number % 64 == 0:
                await asyncio.sleep(0)  # a run at full speed must still hear Ctrl-C
            index: dict[str, int] = {}
            wishes: dict[str, float] = {}
            for symbol, times in dates.items():
                here = position[symbol]
                if here < len(times) and times[here] == date:
                    index[symbol] = here
                    position[symbol] = here + 1
                    if signals[symbol][here] > 0:
                        wishes[symbol] = signals[symbol][here]
            yield MarketUpdate(Time(date + self._bar), Bars(self._recorded, index), wishes, {})
