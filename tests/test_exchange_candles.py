"""What candles do to orders: a share of their volume, stops and take-profits, and putting back."""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.market import Candle, Liquidity, Market
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Fill,
    Order,
    OrderState,
    OrderType,
    Purpose,
    Report,
    Sent,
    TimeInForce,
    after,
)
from lotwise.domain.values import BadField, Side, Time, amount, round_down
from lotwise.exchange.booking import OpenOrder
from lotwise.exchange.events import UNFUNDED, Amendment, Closing, Instructions, Triggered
from lotwise.exchange.exchange import Exchange, issued_in
from lotwise.exchange.house import HouseRules
from lotwise.ledger.postings import held

D = Decimal
ME, SHE = "me", "she"
HOUR = 3_600_000
NOW = Time(10 * HOUR)
BUY, SELL = Side.BUY, Side.SELL

SOL = Market(
    "SOL/USDT",
    tick_size=D("0.01"),
    lot_step=D("0.001"),
    min_quantity=D("0.02"),
    min_notional=D("0.5"),
    quote_precision=4,
    maker_fee=D("0.004"),
    taker_fee=D("0.008"),
)


def order(side: Side, quantity: str, price: str | None = None, **changes: Any) -> Order:
    plain = Order(
        client_id="a",
        symbol="SOL/USDT",
        side=side,
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        quantity=D(quantity),
        price=None if price is None else D(price),
        reserve=amount("0 USDT"),
        purpose=Purpose.ENTRY,
        time=NOW,
    )
    return replace(plain, **changes)


def world(share: str | None = None) -> Exchange:
    """An exchange whose last close was 150, where ME has 10000 USDT and 100 SOL."""
    house = HouseRules(volume_share=None if share is None else D(share))
    exchange = Exchange({"SOL/USDT": SOL}, house=house)
    exchange.deposit(ME, amount("10000 USDT"))
    exchange.deposit(ME, amount("100 SOL"))
    exchange.close(candle(150, 150, 150, 150), NOW)
    return exchange


def candle(opened: int, high: int, low: int, close: int, volume: str = "1", hours: int = 0) -> Candle:
    date = Time(NOW + hours * HOUR)
    return Candle("SOL/USDT", date, D(opened), D(high), D(low), D(close), D(volume))


def settle(exchange: Exchange, bar: Candle) -> list[Report]:
    return [report for _, report in exchange.settle(bar, Time(bar.date + HOUR))]


def quantities(reports: list[Report]) -> list[tuple[str, str]]:
    return [(r.client_id, str(r.quantity)) for r in reports if isinstance(r, Fill)]


# A share of the volume


def test_waiting_orders_share_a_part_of_the_volume_in_order_of_acceptance() -> None:
    exchange = world("0.1")
    exchange.accept(ME, order(BUY, "0.3", "140", client_id="first"), NOW)
    exchange.accept(ME, order(BUY, "2", "145", client_id="second"), NOW)
    exchange.accept(ME, order(SELL, "5", "145", client_id="third", post_only=False), Time(NOW + 1))
    reports = settle(exchange, candle(150, 150, 139, 139, volume="12.3456"))
    assert quantities(reports) == [("first", "0.3"), ("second", "0.934")]
    reports = settle(exchange, candle(139, 150, 139, 139, volume="100", hours=1))
    assert quantities(reports) == [("second", "1.066")]


def test_an_order_waits_on_with_its_hold_when_its_share_is_less_than_a_lot() -> None:
    exchange = world("0.1")
    exchange.accept(ME, order(BUY, "1", "140"), NOW)
    assert settle(exchange, candle(150, 150, 139, 139, volume="0.00999")) == []
    assert settle(exchange, candle(150, 150, 139, 139, volume="0", hours=1)) == []
    assert exchange.ledger(ME).balance(held("a"), "USDT") == amount("141.12 USDT")
    reports = settle(exchange, candle(150, 150, 139, 139, volume="0.01", hours=2))
    assert quantities(reports) == [("a", "0.001")]


def test_what_trades_at_once_trades_whole_whatever_the_volume() -> None:
    exchange = world("0.01")
    (fill,) = [r for r in exchange.accept(ME, order(BUY, "10"), NOW) if isinstance(r, Fill)]
    assert fill.quantity == D(10)


@pytest.mark.parametrize("share", [D(0), D("-0.1"), D("1.1"), D("NaN")])
def test_a_share_that_cannot_be_is_refused(share: Decimal) -> None:
    with pytest.raises(BadField, match="volume_share"):
        HouseRules(volume_share=share)


wishes = st.lists(st.tuples(st.sampled_from(Side), st.integers(20, 900), st.integers(135, 160)), max_size=6)
bars = st.lists(st.tuples(st.integers(130, 160), st.integers(0, 30), st.integers(0, 900)), max_size=8)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    orders=st.lists(
        st.tuples(st.sampled_from(Side), st.integers(20, 900), st.integers(135, 160)), max_size=6
    ),
    bars=bars,
    cut=st.integers(0, 7),
)
def test_parts_never_exceed_the_share_and_a_restored_exchange_goes_on_exactly(
    orders: list[tuple[Side, int, int]], bars: list[tuple[int, int, int]], cut: int
) -> None:
    exchange = world("0.25")
    states: dict[str, OrderState] = {}
    for number, (side, lots, price) in enumerate(orders):
        wish = order(side, str(D(lots) / 1000), str(price), client_id=str(number))
        states[wish.client_id] = after(OrderState(wish), Sent(wish.client_id, NOW))
        for report in exchange.accept(ME, wish, NOW):
            states[wish.client_id] = after(states[wish.client_id], report)
    for hour, (low, height, hundredths) in enumerate(bars):
        bar = candle(low, low + height, low, low, volume=str(D(hundredths) / 100), hours=hour)
        if hour == cut:
            exchange = restored(exchange, states)
        reports = settle(exchange, bar)
        for report in reports:
            states[report.client_id] = after(states[report.client_id], report)
        traded = sum((r.quantity for r in reports if isinstance(r, Fill)), D(0))
        assert traded <= round_down(bar.volume * D("0.25"), SOL.lot_step)
        assert settle(restored(exchange, states), candle(100, 200, 100, 150, "9", hour + 1)) == settle(
            Exchange.from_state(json.loads(json.dumps(exchange.state())), HouseRules(volume_share=D("0.25"))),
            candle(100, 200, 100, 150, "9", hour + 1),
        )


def restored(exchange: Exchange, states: dict[str, OrderState]) -> Exchange:
    """As a journal would put it together: balances in all, open orders with their fills, the next id."""
    issued = exchange.issued
    other = Exchange({"SOL/USDT": SOL}, issued=issued, house=HouseRules(volume_share=D("0.25")))
    open_ids = {waiting.order.client_id for waiting in exchange.open_orders(ME)}
    waiting = [
        OpenOrder(state.order, SOL, state.venue_id, NOW, state.fills)
        for state in states.values()
        if state.order.client_id in open_ids and state.venue_id is not None
    ]
    ledger = exchange.ledger(ME)
    other.restore(ME, [ledger.total(asset) for asset in sorted(ledger.assets())], waiting)
    for quote in exchange.quotes().values():
        other.quote(quote)
    assert other.ledger(ME).free("USDT") == ledger.free("USDT")
    assert other.ledger(ME).free("SOL") == ledger.free("SOL")
    return other


# Stops and take-profits


@pytest.mark.parametrize(
    ("side", "type", "trigger", "bar", "price"),
    [
        (SELL, OrderType.STOP_LOSS, "140", candle(150, 151, 141, 150), None),
        (SELL, OrderType.STOP_LOSS, "140", candle(150, 151, 140, 150), "139.86"),  # 140 x 0.999
        (SELL, OrderType.STOP_LOSS, "140", candle(130, 151, 120, 150), "129.87"),
        (BUY, OrderType.STOP_LOSS, "160", candle(150, 159, 150, 150), None),
        (BUY, OrderType.STOP_LOSS, "160", candle(150, 160, 150, 150), "160.16"),
        (BUY, OrderType.STOP_LOSS, "160", candle(170, 180, 150, 150), "170.17"),
        (SELL, OrderType.TAKE_PROFIT, "160", candle(150, 160, 150, 150), None),
        (SELL, OrderType.TAKE_PROFIT, "160", candle(165, 170, 150, 150), "159.84"),
        (BUY, OrderType.TAKE_PROFIT, "140", candle(150, 150, 140, 150), None),
        (BUY, OrderType.TAKE_PROFIT, "140", candle(135, 150, 130, 150), "140.14"),
    ],
)
def test_a_stop_is_met_at_a_touch_and_a_profit_only_through_it_both_then_trade_with_slippage(
    side: Side, type: OrderType, trigger: str, bar: Candle, price: str | None
) -> None:
    exchange = world()
    exchange.accept(ME, order(side, "1", type=type, trigger=D(trigger)), NOW)
    reports = settle(exchange, bar)
    if price is None:
        assert reports == []
        return
    (fill,) = reports
    assert isinstance(fill, Fill)
    assert (fill.price, fill.quantity, fill.liquidity) == (D(price), D(1), Liquidity.TAKER)
    assert Triggered("a", Time(NOW + HOUR)) in exchange.history(ME).events
    assert exchange.quotes()["SOL/USDT"].bid == bar.close


def test_a_woken_stop_with_a_limit_waits_for_the_next_candle() -> None:
    exchange = world()
    stop = order(SELL, "1", "145", type=OrderType.STOP_LOSS_LIMIT, trigger=D("140"))
    exchange.accept(ME, stop, NOW)
    assert settle(exchange, candle(150, 150, 139, 139)) == []
    reports = settle(exchange, candle(139, 146, 139, 139, hours=1))
    assert [r.price for r in reports if isinstance(r, Fill)] == [D(145)]


def test_a_stop_that_is_reached_when_it_comes_trades_at_once() -> None:
    exchange = world()
    told = exchange.accept(ME, order(SELL, "1", type=OrderType.STOP_LOSS, trigger=D("150")), NOW)
    assert [type(report) for report in told] == [Accepted, Fill]


def test_a_stop_buy_that_opens_beyond_what_is_free_is_cancelled() -> None:
    exchange = world()
    exchange.deposit(SHE, amount("162 USDT"))
    exchange.accept(SHE, order(BUY, "1", type=OrderType.STOP_LOSS, trigger=D("160")), NOW)
    reports = settle(exchange, candle(170, 180, 150, 150))
    assert reports == [Canceled("a", UNFUNDED, Time(NOW + HOUR))]
    assert exchange.ledger(SHE).free("USDT") == amount("162 USDT")


def test_an_order_that_hangs_on_a_fill_meets_the_close_and_waits_for_the_next_candle() -> None:
    exchange = world()
    closing = Instructions(closing=Closing(OrderType.LIMIT, D("145")))
    exchange.accept(ME, order(BUY, "1", "140"), NOW, closing)
    reports = settle(exchange, candle(150, 150, 130, 144))
    assert [type(report) for report in reports] == [Fill, Accepted]
    (fill,) = settle(exchange, candle(144, 146, 144, 144, hours=1))
    assert (fill.client_id, isinstance(fill, Fill)) == ("a/1", True)


def test_a_waiting_order_can_be_changed_between_candles() -> None:
    exchange = world("0.1")
    exchange.accept(ME, order(BUY, "1", "140"), NOW)
    settle(exchange, candle(150, 150, 139, 139, volume="4"))
    assert exchange.amend(ME, "a", Amendment(quantity=D("0.5"), price=D("138")), Time(NOW + HOUR)) == []
    reports = settle(exchange, candle(139, 139, 137, 137, volume="4", hours=1))
    assert quantities(reports) == [("a", "0.100")]
    assert exchange.open_orders(ME) == ()


# Putting back


def test_an_exchange_of_candles_is_saved_and_goes_on_as_it_was() -> None:
    house = HouseRules(volume_share=D("0.1"))
    exchange = world("0.1")
    exchange.accept(ME, order(BUY, "1", "140", client_id="b"), NOW)
    exchange.accept(ME, order(SELL, "1", type=OrderType.STOP_LOSS, trigger=D("139")), NOW)
    gtd = order(BUY, "1", "120", client_id="g", time_in_force=TimeInForce.GTD, expires=Time(NOW + HOUR + 5))
    exchange.accept(ME, gtd, NOW)
    settle(exchange, candle(150, 150, 139, 139, volume="4"))
    other = Exchange.from_state(json.loads(json.dumps(exchange.state())), house)
    for hours in (1, 2):
        bar = candle(139, 150, 138, 145, volume="5", hours=hours)
        assert settle(other, bar) == settle(exchange, bar)
    assert other.state() == exchange.state()
    assert other.issued == max(
        issued_in(r) for r in exchange.history(ME).events if isinstance(r, Accepted | Fill)
    )


def test_data_of_another_make_is_refused() -> None:
    state = world().state()
    with pytest.raises(BadField, match="format"):
        Exchange.from_state(state | {"format": 0})
    with pytest.raises(ValueError, match="issued"):
        Exchange.from_state(state | {"issued": "many"})
