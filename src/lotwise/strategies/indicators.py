"""Indicators over arrays of prices: value t comes from the last `length` prices up to t alone.

Law: bit for bit the same whatever lies before or after that window. Hence plain sums in a set
order, place by place: a running sum would remember the start, a library's sum depends on the shape.
"""

from collections.abc import Iterator
from math import sqrt

import numpy as np

from lotwise.strategies.candles import Candles, Floats, Ints


def moving_average(prices: Floats, length: int) -> Floats:
    """Mean of the last `length` prices; NaN until there are that many."""
    return prices + _mean_offset(prices, length)


def moving_deviation(prices: Floats, length: int) -> Floats:
    """Standard deviation (of the population) of the last `length` prices; NaN until there are that many."""
    result = np.full(len(prices), np.nan)
    middle = _mean_offset(prices, length)[length - 1 :]
    squares = np.zeros(len(middle))
    for offset in _offsets(prices, length):
        squares += (offset - middle) ** 2
    result[length - 1 :] = np.sqrt(squares / length)
    return result


def moving_highest(prices: Ints, length: int) -> Ints:
    """Highest of the last `length` prices (whole steps); above any price until there are that many."""
    result = np.full(len(prices), np.iinfo(np.int64).max)
    highest = prices[length - 1 :].copy()
    for place in range(length - 1):
        np.maximum(highest, prices[place : place + len(highest)], out=highest)
    result[length - 1 :] = highest
    return result


def day_swing(candles: Candles, length: int) -> Floats:
    """How much the price moves in a typical day, as a fraction: the standard deviation of the last
    `length` moves from close to close, scaled by the square root of the bars in a day; 0 until there
    are that many."""
    closes = candles.closes()
    moves = closes[1:] / closes[:-1] - 1.0
    result = np.zeros(len(closes))
    if len(moves) >= length:
        result[1:] = moving_deviation(moves, length) * sqrt(86_400_000 / candles.bar)
    return np.nan_to_num(result)


def _mean_offset(prices: Floats, length: int) -> Floats:
    result = np.full(len(prices), np.nan)
    total = np.zeros(len(prices[length - 1 :]))
    for offset in _offsets(prices, length):
        total += offset
    result[length - 1 :] = total / length
    return result


def _offsets(prices: Floats, length: int) -> Iterator[Floats]:
    """For each place in the window, how far that price lies above the window's newest.

    Offsets are exactly 0 on constant prices, where sums of the prices themselves would leave dust."""
    newest = prices[length - 1 :]
    for place in range(length):
        yield prices[place : place + len(newest)] - newest
