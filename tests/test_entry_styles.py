"""How a position is opened: in the book, at once, or first the one and then the other; and how large the
targets of risk, swing and volume let it be."""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import pstdev
from typing import Any

import pytest

from lotwise.domain.market import Liquidity
from lotwise.domain.orders import Fill, Order, Purpose, TimeInForce
from lotwise.domain.values import Side
from lotwise.engine.records import Decided, Record, Skip, Submit
from lotwise.strategies.candles import Candles
from tests.test_engine import CALM, SOL, bars, of
from tests.test_exits import traded
from tests.test_happenings import ADA, BOUGHT, FALL, World, at, live

D = Decimal
RISING = [(10000 + 100 * i, 10050 + 100 * i, 10000 + 100 * i, 10000 + 100 * i) for i in range(8)]
"""Each bar closes a whole unit higher, and none comes back to the close before it."""


def entries(records: list[Record]) -> list[Order]:
    orders = [submit.order for submit in of(records, Submit)]
    return [order for order in orders if order.purpose is Purpose.ENTRY]


# Waiting in the book, and at once


@pytest.mark.parametrize("replaces", [0, 1, 3])
def test_a_maker_entry_that_ends_unfilled_is_placed_anew_at_the_bid_so_many_times(
    tmp_path: Path, replaces: int
) -> None:
    style = {"entry__replaces": replaces, "entry__lifetime_bars": 1}
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *RISING)}, {SOL: [1]}), **style)
    placed = entries(records)
    assert [order.price for order in placed] == [100 + number for number in range(replaces + 1)]
    assert [order.time for order in placed] == [at(number) for number in range(1, replaces + 2)]
    assert all(order.post_only for order in placed)
    assert [decided.attempt for decided in of(records, Decided)] == list(range(replaces + 1))


def test_a_wish_that_comes_again_is_a_wish_of_its_own_and_not_one_more_try(tmp_path: Path) -> None:
    style = {"entry__replaces": 1, "entry__lifetime_bars": 1}
    world = World({SOL: bars(SOL, *RISING)}, {SOL: [1, 1]})
    _, records = live(tmp_path / "j", world, **style)
    assert [decided.attempt for decided in of(records, Decided)] == [0, 0, 1]


def test_what_a_maker_entry_got_in_part_is_kept_and_not_chased(tmp_path: Path) -> None:
    candles = traded(bars(SOL, CALM, BOUGHT, *RISING[1:4]), 1e6, 0.5)
    style = {"entry__replaces": 2, "entry__lifetime_bars": 1, "paper__volume_share": "0.1"}
    joined, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1]}), **style)
    assert len(entries(records)) == 1
    assert joined.engine.state.holdings[SOL].position.quantity == D("0.05")


@pytest.mark.parametrize("replaces", [0, 2])
def test_maker_then_taker_takes_at_the_last_attempt(tmp_path: Path, replaces: int) -> None:
    style = {"entry__style": "maker_then_taker", "entry__lifetime_bars": 1, "entry__replaces": replaces}
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *RISING)}, {SOL: [1]}), **style)
    *waited, took = entries(records)
    assert [order.time_in_force for order in waited] == [TimeInForce.GTD] * (replaces + 1)
    assert (took.time_in_force, took.post_only) == (TimeInForce.IOC, False)
    fill = of(records, Fill)[0]
    assert (fill.client_id, fill.liquidity, fill.time) == (took.client_id, Liquidity.TAKER, at(replaces + 2))


def test_maker_then_taker_does_not_take_when_the_edge_does_not_pay_the_taker_fee(tmp_path: Path) -> None:
    """Break-even is 0.5013 % as maker and 0.6517 % as taker."""
    style = {"entry__style": "maker_then_taker", "entry__lifetime_bars": 1}
    world = World({SOL: bars(SOL, *RISING)}, {SOL: [1]})
    _, records = live(tmp_path / "j", world, target="0.0065", **style)
    waited, refused = of(records, Decided)
    assert (waited.reason, waited.liquidity) == (None, Liquidity.MAKER)
    assert (refused.reason, refused.liquidity) == (Skip.EDGE_BELOW_FEES, Liquidity.TAKER)
    assert of(records, Fill) == []
    _, records = live(tmp_path / "cure", world, target="0.006517", **style)
    assert [decided.reason for decided in of(records, Decided)] == [None, None]
    assert of(records, Fill)[0].liquidity is Liquidity.TAKER


@pytest.mark.parametrize(
    ("cap", "quantity", "time_in_force"),
    [("4.0004", "0.04", TimeInForce.IOC), ("4.0003", "0.039999", TimeInForce.FOK)],
)
def test_a_taker_entry_of_which_half_could_not_be_sold_again_comes_whole_or_not_at_all(
    tmp_path: Path, cap: str, quantity: str, time_in_force: TimeInForce
) -> None:
    """The smallest sale is 0.02, and the ask 100.01."""
    style = {"entry__style": "taker", "paper__slippage": 0, "sizing__max_order_size_usdt": cap}
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, CALM, CALM)}, {SOL: [1]}), **style)
    (entry,) = entries(records)
    assert (entry.quantity, entry.time_in_force) == (D(quantity), time_in_force)


def test_half_an_entry_must_be_sellable_with_the_headroom_asked_for(tmp_path: Path) -> None:
    style = {"entry__style": "taker", "paper__slippage": 0, "sizing__max_order_size_usdt": "4.0004"}
    world = World({SOL: bars(SOL, CALM, CALM)}, {SOL: [1]})
    _, records = live(tmp_path / "j", world, sizing__exit_headroom="1.1", **style)
    assert entries(records)[0].time_in_force is TimeInForce.FOK


# How much


RICH = {"dry_run_wallet": 1000, "sizing__max_order_size_usdt": 100_000}
COARSE = [*[(1200, 1201, 1199, 1200)] * 3, (1200, 1201, 1150, 1155), (1155, 1156, 1154, 1155)]


def lost(records: list[Record]) -> Decimal:
    """What a round trip that left nothing has cost, both fees included; money first and last in quote."""
    (bought, sold), quote = of(records, Fill), "USDT"
    assert (bought.side, sold.side) == (Side.BUY, Side.SELL)
    fees = sum((fill.fee.number for fill in (bought, sold) if fill.fee.asset == quote), D(0))
    return D(bought.cost.number + fees - sold.cost.number)


@pytest.mark.parametrize("share", ["0.001", "0.01", "0.02"])
@pytest.mark.parametrize("fee_asset", ["quote", "base"])
@pytest.mark.parametrize("style", ["maker", "taker"])
@pytest.mark.parametrize("pair", ["SOL/USDT", "SHIB/USDT"])
def test_a_stopped_out_trade_loses_no_more_than_its_share_of_the_equity(
    tmp_path: Path, pair: str, style: str, fee_asset: str, share: str
) -> None:
    """SHIB moves in steps of a twelfth of a percent here, and its stop falls by up to one of them."""
    rows = [CALM, BOUGHT, CALM, (10000, 10010, 9650, 9660), FALL]
    candles = bars(SOL, *rows) if pair == SOL else coarse(COARSE)
    settings = {"entry__style": style, "sizing__fee_asset": fee_asset, "sizing__risk_per_trade": share}
    joined, records = live(tmp_path / "j", World({pair: candles}, {pair: [1]}), **settings, **RICH)
    budget = 1000 * D(share)
    assert of(records, Decided)[0].bound == "risk"
    assert of(records, Submit)[-1].order.purpose is Purpose.STOP
    assert budget * D("0.93") < lost(records) <= budget
    assert joined.engine.state.ledger.total("USDT").number == 1000 - lost(records)


def coarse(rows: list[tuple[int, int, int, int]]) -> Candles:
    """SHIB/USDT, whose tick is 0.00000001."""
    candles = bars("SHIB/USDT", *rows)
    return replace(candles, step=D("0.00000001"))


def test_the_risk_is_a_share_of_all_that_is_owned_not_of_what_is_free(tmp_path: Path) -> None:
    pairs = {SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 3), ADA: bars(ADA, *[(50, 51, 49, 50)] * 5)}
    settings = {"sizing__risk_per_trade": "0.01", "max_open_trades": 2}
    _, records = live(tmp_path / "j", World(pairs, {SOL: [1], ADA: [0, 0, 1]}), **settings, **RICH)
    first, second = of(records, Decided)
    assert second.free < 740
    assert abs(second.notional - first.notional) < 2


def swing(closes: list[int], window: int) -> float:
    """How much hourly closes move in a typical day."""
    moves = [after / before - 1 for before, after in pairwise(closes)]
    return pstdev(moves[-window:]) * 24**0.5


def test_a_typical_day_moves_a_position_by_no_more_than_its_share_of_the_equity(tmp_path: Path) -> None:
    closes = [10000, 10050, 9990, 10020, 10090, 10000]
    rows = [(close, close + 5, close - 5, close) for close in closes]
    settings: dict[str, Any] = {"sizing__volatility_target": "0.005", "sizing__volatility_bars": 4}
    world = World({SOL: bars(SOL, *rows)}, {SOL: [0, 0, 0, 0, 1]})
    _, records = live(tmp_path / "j", world, **settings, **RICH)
    (decided,) = of(records, Decided)
    most = 1000 * 0.005 / swing(closes[:5], 4)
    assert decided.bound == "risk"
    assert most - 0.01 < float(decided.notional) <= most
    wilder = [*closes[:4], 10290, 10000]
    rows = [(close, close + 5, close - 5, close) for close in wilder]
    world = World({SOL: bars(SOL, *rows)}, {SOL: [0, 0, 0, 0, 1]})
    _, records = live(tmp_path / "wild", world, **settings, **RICH)
    assert of(records, Decided)[0].notional < decided.notional / 2


def test_until_there_are_enough_bars_the_swing_limits_nothing(tmp_path: Path) -> None:
    settings = {"sizing__volatility_target": "0.0001", "sizing__volatility_bars": 4}
    world = World({SOL: bars(SOL, *RISING)}, {SOL: [0, 0, 1]})
    _, records = live(tmp_path / "j", world, **settings)
    assert of(records, Decided)[0].bound == "fraction"


def test_a_market_that_moves_by_the_same_share_each_bar_has_a_swing_too_small_to_limit(
    tmp_path: Path,
) -> None:
    rows = [(close, close, close, close) for close in (10000, 11000, 12100, 13310, 14641, 14641)]
    settings = {"sizing__volatility_target": "0.01", "sizing__volatility_bars": 2}
    world = World({SOL: bars(SOL, *rows)}, {SOL: [0, 0, 0, 0, 1]})
    _, records = live(tmp_path / "j", world, **settings)
    assert of(records, Decided)[0].bound == "fraction"


def test_an_entry_is_no_more_than_its_share_of_what_the_bar_traded(tmp_path: Path) -> None:
    """The bar of the wish trades 0.5 SOL at 100."""
    candles = traded(bars(SOL, CALM, CALM), 0.5)
    world = World({SOL: candles}, {SOL: [1]})
    _, records = live(tmp_path / "j", world, limits__volume="0.1")
    (decided,) = of(records, Decided)
    assert (decided.notional, decided.bound) == (5, "risk")


def test_a_bar_that_traded_too_little_for_the_smallest_order_is_waited_out(tmp_path: Path) -> None:
    """The smallest order is 2.50, a tenth of 25."""
    for volume, reason in ((0.2499, Skip.VOLUME), (0.25, None)):
        candles = traded(bars(SOL, CALM, CALM), volume)
        _, records = live(tmp_path / f"{volume}", World({SOL: candles}, {SOL: [1]}), limits__volume="0.1")
        assert of(records, Decided)[0].reason == reason
