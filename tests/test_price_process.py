"""The embedded market: the same for everybody, fair to nobody's strategy, alive enough to trade."""

import hashlib
from decimal import Decimal

import numpy as np
import pytest

from lotwise.domain.values import BadField, Time
from lotwise.exchange import prices
from lotwise.exchange.prices import BLOCK, PriceProcess, synthetic_candles
from lotwise.strategies.candles import TIMEFRAMES, Candles
from lotwise.strategies.dip import Dip

START = Time(1_751_328_000_000)  # 2025-07-01
SOL = PriceProcess("SOL/USDT", Decimal("150.00"), Decimal("0.01"), seed=7)


def digest(candles: Candles) -> str:
    columns = (candles.dates, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return hashlib.sha256(
        b"".join(c.astype(c.dtype.newbyteorder("<")).tobytes() for c in columns)
    ).hexdigest()


def hours(seed: int, bars: int = 2_000) -> Candles:
    return synthetic_candles(PriceProcess("SOL/USDT", Decimal(150), Decimal("0.01"), seed), bars, "1h", START)


def test_one_seed_gives_these_bytes_on_every_machine() -> None:
    assert (
        digest(synthetic_candles(SOL, 500, "1m", START))
        == "0cb27875790fa66a77379c56360f3794e33e688f2658193b5d0921f05f1e6e4f"
    )
    assert (
        digest(synthetic_candles(SOL, 500, "1d", START))
        == "e9701243046938e2a02b9c6c1da71f1efbc87748b8286d8109f1199ba59abfd3"
    )


def test_more_bars_only_add_at_the_end() -> None:
    long = synthetic_candles(SOL, BLOCK + 500, "1m", START)
    for bars in (1, 200, BLOCK, BLOCK + 1):
        end = Time(START + bars * TIMEFRAMES["1m"])
        assert synthetic_candles(SOL, bars, "1m", START) == long.between(START, end)


def test_the_size_of_a_block_changes_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = synthetic_candles(SOL, 500, "1h", START)
    monkeypatch.setattr(prices, "BLOCK", 7)
    assert synthetic_candles(SOL, 500, "1h", START) == whole


def test_another_seed_or_symbol_is_another_market() -> None:
    doge = PriceProcess("DOGE/USDT", SOL.start_price, SOL.step, SOL.seed)
    other = PriceProcess(SOL.symbol, SOL.start_price, SOL.step, seed=8)
    closes = {synthetic_candles(p, 50, "1h", START).close.tobytes() for p in (SOL, doge, other)}
    assert len(closes) == 3


@pytest.mark.parametrize("timeframe", TIMEFRAMES)
def test_bars_follow_each_other_without_a_gap_in_time_or_price(timeframe: str) -> None:
    candles = synthetic_candles(SOL, 300, timeframe, START)
    assert candles.dates[0] == START
    assert set(np.diff(candles.dates)) == {TIMEFRAMES[timeframe]}
    assert candles.candle(0).open == Decimal(150)
    assert np.array_equal(candles.open[1:], candles.close[:-1])
    assert (candles.volume > 0).all()


def test_the_grid_is_that_of_the_step() -> None:
    shib = PriceProcess("SHIB/USDT", Decimal("0.00001220"), Decimal("0.00000001"), seed=1)
    candles = synthetic_candles(shib, 100, "1h", START)
    assert candles.step == Decimal("0.00000001")
    assert len({int(price) for price in candles.close}) > 10


def test_a_price_that_falls_out_of_sight_stays_one_step_above_nothing() -> None:
    cheap = PriceProcess("X/USDT", Decimal(1), Decimal(1), seed=2, volatility=3.0)
    candles = synthetic_candles(cheap, 2_000, "1d", START)
    assert candles.low.min() == 1


def test_nobody_gains_on_average_by_holding_or_by_buying_dips() -> None:
    held, dips = [], []
    for seed in range(150):
        candles = hours(seed)
        moves = np.diff(candles.closes()) / candles.closes()[:-1]
        held.append(moves.sum())
        dips.append(moves[Dip().confidence(candles)[:-1] > 0].sum())
    for gains in (np.array(held), np.array(dips)):
        assert abs(gains.mean()) < 2.5 * gains.std() / np.sqrt(len(gains))


def test_calm_and_wild_times_cluster_and_some_moves_are_far_out() -> None:
    clustering, tails = [], []
    for seed in range(20):
        moves = np.diff(np.log(hours(seed).closes()))
        size = np.abs(moves)
        clustering.append(np.corrcoef(size[6:], size[:-6])[0, 1])
        tails.append(np.mean((moves - moves.mean()) ** 4) / np.var(moves) ** 2)
    assert np.mean(clustering) > 0.1
    assert np.mean(tails) > 5  # 3 for normal moves


def test_a_typical_year_moves_by_the_volatility_asked_for() -> None:
    years = np.sqrt(np.mean([np.var(np.diff(np.log(hours(seed).closes()))) for seed in range(60)]) * 8_760)
    assert 0.7 < years < 1.0  # 0.8, and a little more by the jumps


def test_dips_come_and_go() -> None:
    share = np.mean([np.mean(Dip().confidence(hours(seed)) > 0) for seed in range(20)])
    assert 0.01 < share < 0.06


def test_every_candle_shows_a_path_within_its_bar() -> None:
    candles = hours(3)
    assert np.mean(candles.high > np.maximum(candles.open, candles.close)) > 0.5
    assert np.mean(candles.low < np.minimum(candles.open, candles.close)) > 0.5


@pytest.mark.parametrize(
    ("field", "price", "step", "seed", "volatility"),
    [
        ("start_price", "0", "0.01", 1, 0.8),
        ("start_price", "1.005", "0.01", 1, 0.8),
        ("seed", "1", "0.01", -1, 0.8),
        ("volatility", "1", "0.01", 1, 0.0),
        ("volatility", "1", "0.01", 1, float("nan")),
        ("volatility", "1", "0.01", 1, 3.1),
    ],
)
def test_refuses_a_market_that_cannot_be(
    field: str, price: str, step: str, seed: int, volatility: float
) -> None:
    with pytest.raises(BadField) as no:
        PriceProcess("SOL/USDT", Decimal(price), Decimal(step), seed, volatility)
    assert no.value.field == field


def test_refuses_bars_that_cannot_be() -> None:
    for bars, timeframe, start, field in (
        (0, "1h", START, "bars"),
        (5, "2h", START, "timeframe"),
        (5, "1h", Time(START + 1), "date"),
    ):
        with pytest.raises(BadField) as no:
            synthetic_candles(SOL, bars, timeframe, start)
        assert no.value.field == field
