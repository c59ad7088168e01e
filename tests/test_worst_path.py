"""Where a candle cannot tell, the worse is taken; where there is no price, nothing is sold."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lotwise.app.summary import summary
from lotwise.domain.market import Liquidity, Market
from lotwise.domain.orders import Canceled, Expired, Fill, Purpose
from lotwise.domain.values import Time
from lotwise.engine.records import Decided, Stranded, Submit
from lotwise.strategies.candles import Candles
from tests.test_engine import CALM, HOUR, SOL, START, bars, of, told

ADA = "ADA/USDT"
BOUGHT = (10000, 10010, 9999, 10000)


def without(candles: Candles, *gone: int) -> Candles:
    """The same candles with some bars missing."""
    keep = np.array([index not in gone for index in range(len(candles))])
    columns = {
        name: getattr(candles, name)[keep] for name in ("dates", "open", "high", "low", "close", "volume")
    }
    return replace(candles, **columns)


def test_a_bar_that_fell_through_its_stop_and_closed_beyond_the_target_is_a_loss(
    tmp_path: Path,
) -> None:
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10700, 9000, 10600))})
    bought, sold = of(records, Fill)
    assert (bought.price, sold.price) == (Decimal(100), Decimal("96.90"))


def test_a_bar_that_closes_beyond_the_target_of_its_own_entry_sells_in_the_next(tmp_path: Path) -> None:
    rows = [CALM, (10000, 10700, 9999, 10600), (10600, 10700, 10590, 10600)]
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, *rows)})
    bought, sold = of(records, Fill)
    assert sold.time - bought.time == HOUR
    assert (sold.price, sold.liquidity) == (Decimal(105), Liquidity.MAKER)


def test_an_order_ends_in_time_although_its_pair_has_no_bars(tmp_path: Path) -> None:
    small = (50, 51, 49, 50)
    sol = without(bars(SOL, *[CALM] * 12), *range(1, 12))
    wishes = {SOL: [1.0], ADA: [0.0] * 5 + [1.0]}
    _, records = told(tmp_path, wishes, {SOL: sol, ADA: bars(ADA, *[small] * 12)})
    (expired,) = of(records, Expired)[:1]
    assert expired.time - START == 4 * HOUR
    assert [(d.symbol, d.reason) for d in of(records, Decided)] == [(SOL, None), (ADA, None)]


def test_a_position_is_not_sold_at_a_price_from_before_a_gap(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, *[CALM] * 6, (5000, 5010, 4990, 5000)]
    sol = without(bars(SOL, *rows), *range(2, 8))
    ada = bars(ADA, *[(50, 51, 49, 50)] * len(rows))
    _, records = told(tmp_path, {SOL: [1.0]}, {SOL: sol, ADA: ada}, max_hold_bars=3)
    sold = of(records, Fill)[1]
    assert sold.time - START == len(rows) * HOUR
    assert sold.price < Decimal(51)


def test_the_only_sale_that_the_rules_still_allow_is_not_cancelled(tmp_path: Any) -> None:
    """The minimum rises above the holding while its target rests; then the price falls, then rises."""
    rows = [CALM, BOUGHT, *[CALM] * 22, *[CALM] * 3, (9600, 9700, 9500, 9600), (10000, 10600, 9990, 10590)]

    def rising(calm: Market, time: Time) -> Market:
        late = time >= START + 24 * HOUR
        return replace(calm, min_quantity=calm.min_quantity * 100) if late else calm

    joined, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, *rows)}, rising)
    assert of(records, Canceled) == []
    assert len(of(records, Stranded)) == 1 and "only the resting target" in of(records, Stranded)[0].why
    assert of(records, Fill)[1].price == Decimal(105)
    assert joined.engine.state.totals.size_rejections == 0


def test_a_stop_below_the_minimum_cost_is_not_ordered(tmp_path: Path) -> None:
    """The market opens so low that what is held is worth less than the exchange takes."""
    rows = [CALM, BOUGHT, (1000, 1010, 990, 1000), (1000, 1010, 990, 1000)]
    joined, records = told(
        tmp_path,
        {SOL: [1]},
        {SOL: bars(SOL, *rows)},
        sizing__tier_min_costs__TIER_1=0,
        sizing__max_order_size_usdt="2.1",
    )
    assert joined.engine.state.totals.size_rejections == 0
    assert [submit.order.purpose for submit in of(records, Submit)] == [Purpose.ENTRY, Purpose.TARGET]
    assert joined.engine.state.evidence == {}


def test_the_largest_fall_counts_what_is_held_now(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, (9900, 9910, 9790, 9800)]
    joined, _ = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, *rows)})
    result = summary(joined.engine, tmp_path, finished=True)
    fall = 1 - result["equity_end"] / result["equity_start"]
    assert result["max_drawdown_fraction"] == pytest.approx(fall, abs=Decimal("0.000002"))


def test_a_pair_worth_less_than_a_tick_is_passed_over(tmp_path: Path) -> None:
    dates, price = START + HOUR * np.arange(3, dtype=np.int64), np.full(3, 5, dtype=np.int64)
    lost = Candles(SOL, "1h", dates, price, price, price, price, Decimal("0.001"), np.ones(3))
    _, records = told(tmp_path, {SOL: [1, 1, 1]}, {SOL: lost, ADA: bars(ADA, *[(50, 51, 49, 50)] * 3)})
    assert of(records, Submit) == []
