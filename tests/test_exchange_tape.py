"""What the public sees of trades: candles of every length, statistics, the last trades; all bounded."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.orders import OrderType
from lotwise.domain.values import Side, Time
from lotwise.exchange.tape import BARS_KEPT, MINUTE, MINUTES, TRADES_KEPT, Print, Tape

D = Decimal
DAY = 86_400_000


def taped(trades: list[tuple[int, int, int]]) -> Tape:
    """Trades of (milliseconds after the last, price, hundredths of the base)."""
    tape, now = Tape(), 50 * DAY
    for number, (later, price, hundredths) in enumerate(trades, 1):
        now += later
        printed = Print(
            number, Time(now), D(price), D(hundredths) / 100, Side.BUY, OrderType.LIMIT, None, None
        )
        tape.add(printed)
    return tape


gaps = st.one_of(st.integers(0, 90_000), st.integers(0, 3 * DAY))


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    st.lists(st.tuples(gaps, st.integers(1, 50), st.integers(1, 900)), min_size=1, max_size=40),
    st.sampled_from(MINUTES),
)
def test_every_candle_is_what_its_trades_say(trades: list[tuple[int, int, int]], minutes: int) -> None:
    tape = taped(trades)
    groups: dict[int, list[Print]] = {}
    for trade in tape.trades:
        groups.setdefault(trade.time // (minutes * MINUTE) * minutes * MINUTE, []).append(trade)
    bars = tape.candles(minutes)
    assert [bar.time for bar in bars] == list(groups)
    for bar, group in zip(bars, groups.values(), strict=True):
        prices = [trade.price for trade in group]
        assert (bar.open, bar.close) == (prices[0], prices[-1])
        assert (bar.high, bar.low, bar.count) == (max(prices), min(prices), len(group))
        value = sum(Fraction(trade.price) * Fraction(trade.quantity) for trade in group)
        volume = sum(Fraction(trade.quantity) for trade in group)
        assert (Fraction(bar.value), Fraction(bar.volume)) == (value, volume)
        assert 0 <= value / volume - Fraction(bar.average) < Fraction(1, 10**12)


def test_statistics_cover_the_whole_minutes_from_a_time_on() -> None:
    tape = taped([(0, 10, 100), (60_000, 30, 100), (60_000, 20, 200)])
    day = tape.statistics(Time(50 * DAY + 60_000))
    assert day is not None
    assert (day.open, day.high, day.low, day.close) == (D(30), D(30), D(20), D(20))
    assert (day.volume, day.value, day.count, day.average) == (D(3), D(70), 2, D("23.333333333333"))
    assert tape.statistics(Time(50 * DAY + 120_001)) is None
    assert Tape().statistics(Time(0)) is None
    first = tape.candles(1)[0]
    assert (first.high, first.count) == (D(10), 1)  # the sum is not kept in its first bar


def test_only_the_last_trades_and_candles_are_kept() -> None:
    tape = taped([(60_000, 1 + number % 7, 1) for number in range(1600)])
    assert (len(tape.trades), tape.number) == (TRADES_KEPT, 1600)
    assert len(tape.candles(1)) == BARS_KEPT
    assert len(tape.candles(5)) == 321
    day = tape.statistics(Time(tape.trades[-1].time - DAY))
    assert day is not None
    assert day.count == 1441
    assert [trade.number for trade in tape.since(1598)] == [1599, 1600]
    assert tape.since(1600) == []
    assert next(iter(tape.since(0))).number == 601


def test_an_unknown_length_of_candle_is_no_candle() -> None:
    with pytest.raises(KeyError):
        Tape().candles(2)
