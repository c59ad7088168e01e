"""Strategies see no future, and what they wish is a number from 0 to 1 whatever the prices do."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotwise.domain.values import BadField
from lotwise.strategies.candles import TIMEFRAMES, Candles, Floats
from lotwise.strategies.dip import Dip
from lotwise.strategies.indicators import moving_average, moving_deviation
from lotwise.strategies.strategy import Strategy

SHIPPED: tuple[Strategy, ...] = (Dip(), Dip(length=2, depth=0.5), Dip(length=7, depth=1.0))


def candles_of(closes: list[int]) -> Candles:
    prices = np.array(closes, dtype=np.int64)
    dates = TIMEFRAMES["1h"] * np.arange(len(closes), dtype=np.int64)
    volume = np.ones(len(closes))
    return Candles("SOL/USDT", "1h", dates, prices, prices, prices, prices, Decimal("0.01"), volume)


def part(candles: Candles, first: int, last: int) -> Candles:
    return candles_of(candles.close[first:last].tolist())


def seeded_walk(bars: int) -> Candles:
    moves = np.random.PCG64(3).random_raw(bars) % np.uint64(121)
    return candles_of((15_000 + np.cumsum(moves.astype(np.int64) - 60)).tolist())


def windows(prices: Floats, length: int) -> list[Floats]:
    return [prices[end - length : end] for end in range(length, len(prices) + 1)]


closes = st.lists(st.integers(1, 10**12), min_size=1, max_size=90)


@pytest.mark.parametrize("strategy", SHIPPED, ids=repr)
def test_every_cut_of_the_future_leaves_the_past_as_it_was_bit_for_bit(strategy: Strategy) -> None:
    candles = seeded_walk(160)
    whole = strategy.confidence(candles)
    assert np.count_nonzero(whole) > 0
    for bars in range(1, len(candles)):
        assert strategy.confidence(part(candles, 0, bars)).tobytes() == whole[:bars].tobytes()


@pytest.mark.parametrize("strategy", SHIPPED, ids=repr)
@given(closes=closes, data=st.data())
def test_any_cut_of_any_series_changes_no_earlier_value(
    strategy: Strategy, closes: list[int], data: st.DataObject
) -> None:
    candles = candles_of(closes)
    cut = data.draw(st.integers(1, len(closes)))
    whole = strategy.confidence(candles)
    assert strategy.confidence(part(candles, 0, cut)).tobytes() == whole[:cut].tobytes()


@pytest.mark.parametrize("strategy", SHIPPED, ids=repr)
def test_a_live_window_of_warm_up_and_one_bar_gives_the_value_of_the_whole_history(
    strategy: Strategy,
) -> None:
    candles = seeded_walk(160)
    whole = strategy.confidence(candles)
    for last in range(strategy.warm_up, len(candles)):
        window = part(candles, last - strategy.warm_up, last + 1)
        assert strategy.confidence(window)[-1] == whole[last]


@pytest.mark.parametrize("strategy", SHIPPED, ids=repr)
@given(closes=closes)
def test_confidence_is_from_0_to_1_and_0_during_warm_up(strategy: Strategy, closes: list[int]) -> None:
    confidence = strategy.confidence(candles_of(closes))
    assert confidence.dtype == np.float64
    assert confidence.shape == (len(closes),)
    assert not np.isnan(confidence).any()
    assert np.all((confidence >= 0) & (confidence <= 1))
    assert not confidence[: strategy.warm_up].any()


@pytest.mark.parametrize("strategy", SHIPPED, ids=repr)
@pytest.mark.parametrize("price", [1, 3, 211_800, 10**17 + 1])
def test_constant_prices_wake_no_wish_and_no_nan(strategy: Strategy, price: int) -> None:
    assert not strategy.confidence(candles_of([price] * 120)).any()


def test_no_candles_give_no_confidence() -> None:
    assert len(Dip().confidence(candles_of([]))) == 0


def test_confidence_grows_with_the_depth_of_the_dip_up_to_1() -> None:
    calm = [10_000 + (-1) ** bar * 10 for bar in range(100)]
    sure = [Dip().confidence(candles_of([*calm, 10_000 - drop]))[-1] for drop in (0, 20, 30, 40, 60, 2_000)]
    assert sure[0] == sure[1] == 0
    assert 0.5 < sure[2] < sure[3] < sure[4] < sure[5] == 1


def test_a_rise_is_no_dip() -> None:
    assert not Dip().confidence(candles_of([10_000] * 60 + [12_000])).any()


def test_the_dip_is_measured_in_deviations_of_its_own_window() -> None:
    candles = candles_of([100, 104, 100, 104, 97])
    # Of 100 104 100 104 97: mean 101, deviation sqrt(7.2), so the close lies 4 / sqrt(7.2) = 1.49 below.
    assert Dip(length=5, depth=1.4).confidence(candles)[-1] == pytest.approx(4 / 7.2**0.5 / 2.8)
    assert Dip(length=5, depth=1.5).confidence(candles)[-1] == 0


def test_the_average_and_deviation_are_those_of_each_window() -> None:
    prices = seeded_walk(60).closes()
    for length in (1, 2, 10, 60):
        average, deviation = moving_average(prices, length), moving_deviation(prices, length)
        assert np.isnan(average[: length - 1]).all()
        assert np.isnan(deviation[: length - 1]).all()
        assert average[length - 1 :] == pytest.approx([w.mean() for w in windows(prices, length)])
        assert deviation[length - 1 :] == pytest.approx([w.std() for w in windows(prices, length)])


def test_indicators_of_too_few_prices_are_nan_throughout() -> None:
    prices = np.array([1.0, 2.0, 3.0])
    assert np.isnan(moving_average(prices, 4)).all()
    assert np.isnan(moving_deviation(prices, 4)).all()


@pytest.mark.parametrize(
    ("field", "length", "depth"),
    [("length", 1, 2.0), ("length", 10_001, 2.0), ("depth", 48, 0.0), ("depth", 48, float("nan"))],
)
def test_refuses_parameters_without_a_meaning(field: str, length: int, depth: float) -> None:
    with pytest.raises(BadField) as no:
        Dip(length, depth)
    assert no.value.field == field
