"""What the simulated exchange takes, refuses, holds, fills and charges."""

import ast
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lotwise.exchange
from lotwise.domain.market import Candle, FeeAsset, Liquidity, Market, Quote
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Expired,
    Fill,
    Opportunity,
    Order,
    OrderType,
    Purpose,
    Rejected,
    Rejection,
    RejectionKind,
    Report,
    TimeInForce,
)
from lotwise.domain.policy import Policy
from lotwise.domain.sizing import Sized, size_order
from lotwise.domain.values import Amount, BadField, Side, Time, amount
from lotwise.exchange.booking import OpenOrder, Trade, hold
from lotwise.exchange.candle_matcher import stop_touch
from lotwise.exchange.exchange import Exchange, issued_in
from lotwise.ledger.postings import FEES, Overdrawn, held

D = Decimal
ME, SHE = "me", "she"
HOUR = 3_600_000
NOW = Time(10 * HOUR)
NEXT_HOUR = Time(11 * HOUR)
BOTH_SIDES = pytest.mark.parametrize("side", list(Side))

SOL = Market(
    "SOL/USDT",
    tick_size=D("0.01"),
    lot_step=D("0.001"),
    min_quantity=D("0.02"),
    max_quantity=D("50"),
    min_notional=D("0.5"),
    quote_precision=4,
    maker_fee=D("0.004"),
    taker_fee=D("0.008"),
)


def in_base(market: Market) -> Market:
    return replace(market, fee_asset=FeeAsset.BASE)


def sol(quantity: str, price: str | None = "150", side: Side = Side.BUY, **changes: Any) -> Order:
    """A limit order on SOL, or a market order when it has no price."""
    order = Order(
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
    return replace(order, **changes)


def quoted(bid: str = "149.99", ask: str = "150.01", market: Market = SOL) -> Exchange:
    """An exchange that shows these prices, where ME has 1000 USDT and 10 SOL."""
    exchange = Exchange({"SOL/USDT": market})
    exchange.deposit(ME, amount("1000 USDT"))
    exchange.deposit(ME, amount("10 SOL"))
    exchange.quote(Quote("SOL/USDT", NOW, D(bid), D(ask)))
    return exchange


def candle(low: str, high: str, close: str | None = None, date: Time = NOW) -> Candle:
    return Candle("SOL/USDT", date, D(low), D(high), D(low), D(close or high), D(1))


def fills(reports: list[Report]) -> list[Fill]:
    return [report for report in reports if isinstance(report, Fill)]


def refusal(exchange: Exchange, order: Order) -> RejectionKind | None:
    """The kind of refusal; check and accept must agree on it."""
    checked = exchange.check(ME, order)
    first = exchange.accept(ME, order, NOW)[0]
    assert (first.rejection if isinstance(first, Rejected) else None) == checked
    return checked.kind if checked else None


# What is refused


@BOTH_SIDES
@pytest.mark.parametrize(
    ("quantity", "price", "kind"),
    [
        ("0.02", "150", None),
        ("0.019", "150", RejectionKind.MIN_QUANTITY),
        ("0.0205", "150", RejectionKind.LOT_STEP),
        ("0", "150", RejectionKind.MIN_QUANTITY),
        ("-1", "150", RejectionKind.MIN_QUANTITY),
        ("50.001", "150", RejectionKind.MAX_QUANTITY),
        ("0.02", "25", None),
        ("0.02", "24.99", RejectionKind.MIN_NOTIONAL),
        ("0.02", "150.005", RejectionKind.TICK),
        ("0.02", "0", RejectionKind.PRICE),
        ("0.02", "-150", RejectionKind.PRICE),
        ("NaN", "150", RejectionKind.INVALID),
        ("0.02", "Infinity", RejectionKind.INVALID),
        ("1e40", "150", RejectionKind.INVALID),
    ],
)
def test_refuses_each_broken_rule_by_its_kind(
    side: Side, quantity: str, price: str, kind: RejectionKind | None
) -> None:
    assert refusal(quoted(), sol(quantity, price, side)) is kind


def test_takes_the_largest_quantity_and_any_quantity_where_there_is_no_largest() -> None:
    exchange = quoted()
    exchange.deposit(ME, amount("100 SOL"))
    assert refusal(exchange, sol("50", "200", Side.SELL)) is None
    exchange.list_market(replace(SOL, max_quantity=None))
    assert refusal(exchange, sol("50.001", "200", Side.SELL, client_id="b")) is None


@pytest.mark.parametrize(
    ("side", "bid", "ask", "kind"),
    [
        (Side.BUY, "24", "25", None),
        (Side.BUY, "24", "24.99", RejectionKind.MIN_NOTIONAL),
        (Side.SELL, "25", "26", None),
        (Side.SELL, "24.99", "26", RejectionKind.MIN_NOTIONAL),
    ],
)
def test_values_a_market_order_at_the_price_it_takes_from(
    side: Side, bid: str, ask: str, kind: RejectionKind | None
) -> None:
    assert refusal(quoted(bid, ask), sol("0.02", None, side)) is kind


@BOTH_SIDES
def test_refuses_a_market_order_where_there_is_no_price_yet(side: Side) -> None:
    exchange = Exchange({"SOL/USDT": SOL})
    assert refusal(exchange, sol("0.02", None, side)) is RejectionKind.PAIR_OFFLINE


def test_refuses_a_pair_it_does_not_list() -> None:
    assert refusal(quoted(), sol("1", symbol="ADA/USDT")) is RejectionKind.UNKNOWN_PAIR


@pytest.mark.parametrize(
    "malformed",
    [
        sol("1", None, type=OrderType.LIMIT),
        sol("1", "150", type=OrderType.MARKET),
        sol("1", None, post_only=True),
        sol("1", post_only=True, time_in_force=TimeInForce.IOC),
        sol("1", post_only=True, time_in_force=TimeInForce.FOK),
        sol("1", time_in_force=TimeInForce.GTD),
        sol("1", expires=NEXT_HOUR),
        sol("1", time_in_force=TimeInForce.GTD, expires=NOW),
    ],
)
def test_refuses_orders_that_contradict_themselves(malformed: Order) -> None:
    assert refusal(quoted(), malformed) is RejectionKind.INVALID


def test_refuses_a_second_open_order_of_one_name_but_takes_the_name_again_after_its_end() -> None:
    exchange = quoted()
    assert refusal(exchange, sol("0.1", "100")) is None
    assert refusal(exchange, sol("0.1", "101")) is RejectionKind.INVALID
    exchange.cancel(ME, "a", NOW)
    assert refusal(exchange, sol("0.1", "101")) is None


@pytest.mark.parametrize(
    ("order", "needed"),
    [
        (sol("1", "100", post_only=True), "100.4 USDT"),
        (sol("1", "100"), "100.8 USDT"),
        (sol("1", "160"), "161.28 USDT"),
        (sol("1", None), "151.3714 USDT"),  # 150.01 x 1.001, up to the tick, and the taker's 0.8 %
        (sol("1", "100", time_in_force=TimeInForce.IOC), "100.8 USDT"),
        (sol("1", "200", Side.SELL), "1 SOL"),
        (sol("1", None, Side.SELL), "1 SOL"),
    ],
)
def test_asks_for_the_funds_of_the_whole_order_with_its_fee_to_the_last_unit(
    order: Order, needed: str
) -> None:
    need = amount(needed)
    exchange = Exchange({"SOL/USDT": SOL})
    exchange.quote(Quote("SOL/USDT", NOW, D("149.99"), D("150.01")))
    exchange.deposit(ME, need - Amount(D("0.0001"), need.asset))
    assert refusal(exchange, order) is RejectionKind.FUNDS
    exchange.deposit(ME, Amount(D("0.0001"), need.asset))
    assert refusal(exchange, order) is None


@pytest.mark.parametrize(
    ("order", "needed"),
    [
        (sol("1", "100"), "100 USDT"),
        (sol("1", "200", Side.SELL), "1.008 SOL"),
        (sol("1", "200", Side.SELL, post_only=True), "1.004 SOL"),
        (sol("0.02", "200", Side.SELL), "0.021 SOL"),  # the fee of 0.00016 is a whole lot
    ],
)
def test_a_fee_in_base_asks_no_quote_of_a_buy_and_more_base_of_a_sell(order: Order, needed: str) -> None:
    exchange = quoted(market=in_base(SOL))
    exchange.accept(ME, order, NOW)
    assert exchange.ledger(ME).balance(held("a"), amount(needed).asset) == amount(needed)


def test_holds_the_dearer_rate_when_makers_pay_more_than_takers() -> None:
    exchange = quoted(market=replace(SOL, maker_fee=D("0.01")))
    exchange.accept(ME, sol("1", "100"), NOW)
    assert exchange.ledger(ME).balance(held("a"), "USDT") == amount("101 USDT")


def test_a_refusal_names_the_numbers_and_changes_nothing() -> None:
    exchange = quoted()
    before = exchange.ledger(ME)
    assert exchange.accept(ME, sol("0.01"), NOW) == [
        Rejected("a", Rejection(RejectionKind.MIN_QUANTITY, "quantity 0.01 is below the minimum 0.02"), NOW)
    ]
    assert exchange.ledger(ME) == before
    assert exchange.open_orders(ME) == ()
    assert exchange.issued == 0


def test_a_check_changes_nothing() -> None:
    exchange = quoted()
    before = exchange.ledger(ME)
    assert exchange.check(ME, sol("0.1")) is None
    assert (exchange.ledger(ME), exchange.open_orders(ME), exchange.issued) == (before, (), 0)


# What trades at once


@pytest.mark.parametrize(
    ("order", "price"),
    [
        (sol("1", None), "150.17"),  # 150.01 x 1.001 = 150.16001
        (sol("1", None, Side.SELL), "149.84"),  # 149.99 x 0.999 = 149.84001
        (sol("1", "150.01"), "150.01"),
        (sol("1", "151"), "150.17"),
        (sol("1", "149.99", Side.SELL), "149.99"),
        (sol("1", "149", Side.SELL), "149.84"),
        (sol("1", "151", time_in_force=TimeInForce.IOC), "150.17"),
        (sol("1", "149", Side.SELL, time_in_force=TimeInForce.FOK), "149.84"),
    ],
)
def test_what_is_marketable_fills_whole_at_the_slipped_price_within_its_limit(
    order: Order, price: str
) -> None:
    exchange = quoted()
    accepted, fill = exchange.accept(ME, order, NOW)
    assert accepted == Accepted("a", "O1", NOW)
    assert isinstance(fill, Fill)
    assert (fill.price, fill.quantity, fill.liquidity) == (D(price), D(1), Liquidity.TAKER)
    assert (fill.trade_id, fill.time) == ("T2", NOW)
    assert exchange.open_orders(ME) == ()
    assert exchange.ledger(ME).balance(held("a"), "USDT") == amount("0 USDT")


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
@pytest.mark.parametrize("order", [sol("1", "150"), sol("1", "150", Side.SELL)])
def test_what_must_trade_at_once_and_cannot_is_cancelled_and_frees_its_hold(
    order: Order, time_in_force: TimeInForce
) -> None:
    exchange = quoted()
    before = exchange.ledger(ME)
    reports = exchange.accept(ME, replace(order, time_in_force=time_in_force), NOW)
    assert reports == [Accepted("a", "O1", NOW), Canceled("a", "Not filled at once", NOW)]
    assert exchange.ledger(ME) == before


@pytest.mark.parametrize("order", [sol("1", "150.01"), sol("1", "149.99", Side.SELL)])
def test_a_post_only_order_that_would_cross_is_accepted_and_then_cancelled(order: Order) -> None:
    exchange = quoted()
    before = exchange.ledger(ME)
    reports = exchange.accept(ME, replace(order, post_only=True), NOW)
    assert reports == [Accepted("a", "O1", NOW), Canceled("a", "Post only order", NOW)]
    assert exchange.ledger(ME) == before


@pytest.mark.parametrize("order", [sol("1", "150"), sol("1", "150", Side.SELL), sol("1", post_only=True)])
def test_a_limit_between_the_best_prices_waits_with_its_hold(order: Order) -> None:
    exchange = quoted()
    assert exchange.accept(ME, order, NOW) == [Accepted("a", "O1", NOW)]
    (waiting,) = exchange.open_orders(ME)
    assert (waiting.venue_id, waiting.accepted, waiting.rest) == ("O1", NOW, D(1))
    assert exchange.ledger(ME).balance(held("a"), waiting.held.asset) == waiting.held


def test_a_limit_waits_where_there_is_no_price_yet() -> None:
    exchange = Exchange({"SOL/USDT": SOL})
    exchange.deposit(ME, amount("1000 USDT"))
    assert exchange.accept(ME, sol("1", "150", post_only=True), NOW) == [Accepted("a", "O1", NOW)]


def test_an_order_that_comes_after_its_own_expiry_trades_nothing() -> None:
    exchange = quoted()
    late = sol("1", "160", time_in_force=TimeInForce.GTD, expires=NEXT_HOUR)
    assert exchange.accept(ME, late, NEXT_HOUR) == [Accepted("a", "O1", NEXT_HOUR), Expired("a", NEXT_HOUR)]
    assert exchange.ledger(ME).free("USDT") == amount("1000 USDT")


def test_a_market_sale_never_goes_below_one_tick() -> None:
    exchange = quoted(bid="0.01", ask="0.02", market=replace(SOL, min_notional=D(0)))
    (fill,) = fills(exchange.accept(ME, sol("1", None, Side.SELL), NOW))
    assert fill.price == D("0.01")


# What a candle does


@pytest.mark.parametrize(
    ("order", "low", "high", "filled"),
    [
        (sol("1", "140"), "140", "150", False),
        (sol("1", "140"), "139.999", "150", True),
        (sol("1", "140"), "140.009", "150", False),
        (sol("1", "160", Side.SELL), "150", "160", False),
        (sol("1", "160", Side.SELL), "150", "160.009", False),
        (sol("1", "160", Side.SELL), "150", "160.01", True),
    ],
)
def test_a_waiting_limit_fills_only_when_the_price_trades_a_tick_through_it(
    order: Order, low: str, high: str, filled: bool
) -> None:
    exchange = quoted()
    exchange.accept(ME, order, NOW)
    told = exchange.settle(candle(low, high), NEXT_HOUR)
    if not filled:
        assert told == []
        assert len(exchange.open_orders(ME)) == 1
        return
    ((account, fill),) = told
    assert account == ME
    assert isinstance(fill, Fill)
    assert (fill.price, fill.quantity, fill.liquidity) == (order.price, D(1), Liquidity.MAKER)
    assert fill.time == NEXT_HOUR
    assert exchange.open_orders(ME) == ()


def test_a_waiting_buy_pays_its_limit_even_when_the_candle_opens_below_it() -> None:
    exchange = quoted()
    exchange.accept(ME, sol("1", "140"), NOW)
    ((_, fill),) = exchange.settle(candle("100", "110"), NEXT_HOUR)
    assert isinstance(fill, Fill)
    assert fill.price == D(140)


def test_an_order_accepted_within_a_candle_waits_for_the_next_one() -> None:
    exchange = quoted()
    exchange.accept(ME, sol("1", "140"), Time(NOW + 1))
    assert exchange.settle(candle("100", "150"), NEXT_HOUR) == []
    assert len(exchange.settle(candle("100", "150", date=NEXT_HOUR), Time(12 * HOUR))) == 1


def test_a_candle_touches_its_own_pair_only() -> None:
    ada = replace(SOL, symbol="ADA/USDT")
    exchange = quoted()
    exchange.list_market(ada)
    exchange.accept(ME, sol("1", "140"), NOW)
    assert exchange.settle(replace(candle("1", "2"), symbol="ADA/USDT"), NEXT_HOUR) == []


def test_orders_of_all_accounts_match_in_the_order_of_their_acceptance() -> None:
    exchange = quoted()
    exchange.deposit(SHE, amount("1000 USDT"))
    exchange.accept(ME, sol("1", "140", client_id="z"), NOW)
    exchange.accept(SHE, sol("1", "145", client_id="z"), NOW)
    exchange.accept(ME, sol("1", "141", client_id="a"), NOW)
    told = exchange.settle(candle("100", "150"), NEXT_HOUR)
    assert [(account, report.client_id, issued_in(report)) for account, report in told] == [
        (ME, "z", 4), (SHE, "z", 5), (ME, "a", 6),
    ]  # fmt: skip


@pytest.mark.parametrize("expires", [NOW + 1, NEXT_HOUR, NEXT_HOUR + 1])
def test_an_order_may_fill_in_the_candle_in_which_it_expires(expires: int) -> None:
    exchange = quoted()
    exchange.accept(ME, sol("1", "140", time_in_force=TimeInForce.GTD, expires=Time(expires)), NOW)
    assert [type(report) for _, report in exchange.settle(candle("100", "150"), NEXT_HOUR)] == [Fill]


def test_an_order_whose_time_ended_by_the_opening_expires_instead_of_filling() -> None:
    exchange = quoted()
    exchange.accept(ME, sol("1", "140", time_in_force=TimeInForce.GTD, expires=NEXT_HOUR), NOW)
    told = exchange.settle(candle("100", "150", date=NEXT_HOUR), Time(12 * HOUR))
    assert told == [(ME, Expired("a", Time(12 * HOUR)))]
    assert exchange.ledger(ME).free("USDT") == amount("1000 USDT")


def test_an_unfilled_order_expires_at_the_close_and_not_before() -> None:
    exchange = quoted()
    for name, expires in (("due", NEXT_HOUR), ("later", NEXT_HOUR + 1)):
        gtd = sol("1", "140", client_id=name, time_in_force=TimeInForce.GTD, expires=Time(expires))
        exchange.accept(ME, gtd, NOW)
    assert exchange.settle(candle("145", "150"), NEXT_HOUR) == [(ME, Expired("due", NEXT_HOUR))]
    assert [waiting.order.client_id for waiting in exchange.open_orders(ME)] == ["later"]


@pytest.mark.parametrize(
    ("spread", "close", "ask"),
    [
        ("0", "150", "150.01"),
        ("0", "150.019", "150.02"),
        ("0.001", "150", "150.15"),
        ("0.00001", "150", "150.01"),
    ],
)
def test_the_close_becomes_the_quote(spread: str, close: str, ask: str) -> None:
    exchange = Exchange({"SOL/USDT": SOL}, spread=D(spread))
    exchange.settle(candle("140", "160", close), NEXT_HOUR)
    bid = D(close).quantize(D("0.01"), rounding="ROUND_DOWN")
    assert exchange.quotes()["SOL/USDT"] == Quote("SOL/USDT", NEXT_HOUR, bid, D(ask))


def test_a_close_alone_moves_the_quote_and_matches_nothing() -> None:
    exchange = quoted()
    exchange.accept(ME, sol("1", "140"), NOW)
    exchange.close(candle("100", "130"), NEXT_HOUR)
    assert exchange.quotes() == {"SOL/USDT": Quote("SOL/USDT", NEXT_HOUR, D(130), D("130.01"))}
    assert len(exchange.open_orders(ME)) == 1


def test_a_close_below_one_tick_is_refused_before_anything_happens() -> None:
    exchange = quoted()
    exchange.accept(ME, sol("1", "140"), NOW)
    with pytest.raises(BadField, match="close"):
        exchange.settle(candle("0.001", "0.002"), NEXT_HOUR)
    assert len(exchange.open_orders(ME)) == 1


@pytest.mark.parametrize(
    ("opened", "low", "met"),
    [
        ("150", "145.01", None),
        ("150", "145", "145"),
        ("150", "145.009", "145"),
        ("144", "140", "144"),
        ("144.009", "140", "144"),
        ("145", "145", "145"),
    ],
)
def test_a_stop_is_met_at_itself_or_at_a_lower_opening(opened: str, low: str, met: str | None) -> None:
    bar = Candle("SOL/USDT", NOW, D(opened), D(160), D(low), D(150), D(1))
    assert stop_touch(bar, D(145), D("0.01")) == (None if met is None else D(met))


# What is charged


def oracle(order: Order, terms: Market, trades: list[Trade]) -> tuple[Fraction, Fraction]:
    """(cost, fee) of an order's trades together, reckoned apart from the program."""
    unit, lot = Fraction(1, 10**terms.quote_precision), Fraction(terms.lot_step)
    rates = {Liquidity.MAKER: Fraction(terms.maker_fee), Liquidity.TAKER: Fraction(terms.taker_fee)}
    notional = sum((Fraction(t.price) * Fraction(t.quantity) for t in trades), Fraction(0))
    cost = (ceil if order.side is Side.BUY else floor)(notional / unit) * unit
    if terms.fee_asset is FeeAsset.BASE:
        due = sum((Fraction(t.quantity) * rates[t.liquidity] for t in trades), Fraction(0))
        return cost, ceil(due / lot) * lot
    due = sum((Fraction(t.price) * Fraction(t.quantity) * rates[t.liquidity] for t in trades), Fraction(0))
    return cost, ceil(due / unit) * unit


@pytest.mark.parametrize(
    ("order", "fee_asset", "usdt", "coins", "fee"),
    [
        # 0.021 x 149.99 = 3.14979, up to 3.1498; 0.4 % of it = 0.01259916, up to 0.0126
        (sol("0.021", "149.99"), FeeAsset.QUOTE, "996.8376", "10.021", "0.0126 USDT"),
        # 0.021 x 150.01 = 3.15021, down to 3.1502; fee 0.01260084, up to 0.0127
        (sol("0.021", "150.01", Side.SELL), FeeAsset.QUOTE, "1003.1375", "9.979", "0.0127 USDT"),
        (sol("0.021", "149.99"), FeeAsset.BASE, "996.8502", "10.020", "0.001 SOL"),
        (sol("0.021", "150.01", Side.SELL), FeeAsset.BASE, "1003.1502", "9.978", "0.001 SOL"),
    ],
)
def test_costs_round_up_proceeds_down_and_fees_up_in_their_asset(
    order: Order, fee_asset: FeeAsset, usdt: str, coins: str, fee: str
) -> None:
    exchange = quoted(bid="149.995", ask="150.005", market=replace(SOL, fee_asset=fee_asset))
    assert exchange.accept(ME, order, NOW) == [Accepted("a", "O1", NOW)]
    exchange.settle(candle("100", "200"), NEXT_HOUR)
    ledger = exchange.ledger(ME)
    assert ledger.total("USDT") == ledger.free("USDT") == amount(f"{usdt} USDT")
    assert ledger.total("SOL") == ledger.free("SOL") == amount(f"{coins} SOL")
    assert ledger.balance(FEES, amount(fee).asset) == amount(fee)


@st.composite
def split_orders(draw: st.DrawFn) -> tuple[OpenOrder, list[Trade]]:
    """A waiting order and trades that fill it in parts, each at its limit or better."""
    terms = replace(
        SOL,
        quote_precision=draw(st.integers(0, 5)),
        maker_fee=draw(st.sampled_from([D(0), D("0.0016"), D("0.02")])),
        taker_fee=draw(st.sampled_from([D("0.0026"), D("0.008")])),
        fee_asset=draw(st.sampled_from(FeeAsset)),
    )
    side, limit = draw(st.sampled_from(Side)), draw(st.integers(100, 20_000))
    better = -1 if side is Side.BUY else 1
    trades = [
        Trade(D(limit + better * gain) / 100, D(lots) / 1000, liquidity)
        for lots, gain, liquidity in draw(
            st.lists(
                st.tuples(st.integers(1, 500), st.integers(0, 50), st.sampled_from(Liquidity)),
                min_size=1,
                max_size=6,
            )
        )
    ]
    order = sol(str(sum((trade.quantity for trade in trades), D(0))), str(D(limit) / 100), side)
    return OpenOrder(replace(order, reserve=hold(order, terms)), terms, "O1", NOW), trades


@settings(max_examples=300, derandomize=True, deadline=None)
@given(split_orders())
def test_parts_cost_together_what_the_whole_costs_and_never_more_than_is_held(
    case: tuple[OpenOrder, list[Trade]],
) -> None:
    waiting, trades = case
    order, terms = waiting.order, waiting.terms
    for number, trade in enumerate(trades, 1):
        fill = waiting.book(trade, f"T{number}", NOW)
        waiting = replace(waiting, fills=(*waiting.fills, fill))
        cost, fee = oracle(order, terms, trades[:number])
        charged = sum((Fraction(fill.fee.number) for fill in waiting.fills), Fraction(0))
        brings = Fraction(fill.quantity) if order.side is Side.BUY else Fraction(fill.cost.number)
        assert sum(Fraction(fill.cost.number) for fill in waiting.fills) == cost
        assert fill.cost.number >= 0
        assert fill.fee.number >= 0
        if (terms.fee_asset is FeeAsset.BASE) == (order.side is Side.BUY):
            assert charged == fee or (charged < fee and Fraction(fill.fee.number) == brings)
        else:
            assert charged == fee
        assert waiting.held.number >= 0
    assert waiting.rest == 0


def test_a_fee_is_never_more_than_the_proceeds_it_is_taken_from() -> None:
    exchange = quoted(bid="0.01", ask="0.02", market=replace(SOL, min_notional=D(0), quote_precision=0))
    exchange.deposit(ME, amount("-1000 USDT"))
    (fill,) = fills(exchange.accept(ME, sol("1", None, Side.SELL), NOW))
    assert (fill.cost, fill.fee) == (amount("0 USDT"), amount("0 USDT"))


# Accounts, rule changes, cancels


def test_accounts_are_strangers_to_each_other() -> None:
    exchange = quoted()
    exchange.deposit(SHE, amount("200 USDT"))
    exchange.accept(ME, sol("1", "140"), NOW)
    exchange.accept(SHE, sol("1", "141"), NOW)
    assert exchange.cancel(ME, "a", NOW) == [Canceled("a", "User requested", NOW)]
    assert exchange.open_orders(ME) == ()
    assert exchange.ledger(ME).free("USDT") == amount("1000 USDT")
    assert exchange.ledger(SHE).free("USDT") == amount("57.872 USDT")


def test_cancelling_what_is_not_open_reports_nothing() -> None:
    exchange = quoted()
    assert exchange.cancel(ME, "a", NOW) == []
    exchange.accept(ME, sol("1", None), NOW)
    assert exchange.cancel(ME, "a", NOW) == []


def test_what_is_held_cannot_be_spent_or_withdrawn() -> None:
    exchange = quoted()
    exchange.accept(ME, sol("7", "140", post_only=True), NOW)
    assert exchange.ledger(ME).free("USDT") == amount("16.08 USDT")
    assert refusal(exchange, sol("0.2", "140", client_id="b")) is RejectionKind.FUNDS
    with pytest.raises(Overdrawn):
        exchange.deposit(ME, amount("-16.0801 USDT"))


def test_changed_rules_bind_the_next_order_and_leave_a_waiting_one_its_own() -> None:
    exchange = quoted()
    exchange.accept(ME, sol("0.02", "140", post_only=True), NOW)
    dearer = replace(SOL, min_quantity=D("0.06"), maker_fee=D("0.1"), tick_size=D(3), fee_asset=FeeAsset.BASE)
    exchange.list_market(dearer)
    assert refusal(exchange, sol("0.02", "141", client_id="b")) is RejectionKind.MIN_QUANTITY
    assert refusal(exchange, sol("0.06", "140", client_id="b")) is RejectionKind.TICK
    ((_, fill),) = exchange.settle(candle("139.99", "150"), NEXT_HOUR)
    assert isinstance(fill, Fill)
    assert fill.fee == amount("0.0112 USDT")
    assert exchange.quotes()["SOL/USDT"] == Quote("SOL/USDT", NEXT_HOUR, D(150), D(153))


def test_a_waiting_order_goes_on_where_it_was_partly_filled() -> None:
    exchange = quoted()
    waiting = OpenOrder(sol("0.03", "149.99"), SOL, "O1", NOW)
    part = waiting.book(Trade(D("149.99"), D("0.01"), Liquidity.MAKER), "T2", NOW)
    exchange.restore(SHE, [amount("10 USDT")], [replace(waiting, fills=(part,))])
    # 4.4997 and 0.8 % up are 4.5357; 1.4999 and 0.4 % up, 1.5059, are spent
    assert exchange.ledger(SHE).free("USDT") == amount("6.9702 USDT")
    ((_, fill),) = exchange.settle(candle("140", "150"), NEXT_HOUR)
    assert isinstance(fill, Fill)
    assert (fill.quantity, fill.cost, fill.fee) == (D("0.02"), amount("2.9998 USDT"), amount("0.012 USDT"))
    assert exchange.ledger(SHE).free("USDT") == amount("6.9882 USDT")
    assert exchange.ledger(SHE).total("USDT") == amount("6.9882 USDT")


def test_a_restored_exchange_counts_on_and_keeps_the_order_of_acceptance() -> None:
    first = quoted()
    first.deposit(SHE, amount("500 USDT"))
    reports = [
        *first.accept(SHE, sol("1", "140"), NOW),
        *first.accept(ME, sol("1", "141"), NOW),
        *first.accept(SHE, sol("1", None, client_id="b"), NOW),
        *first.accept(ME, sol("1", "142", client_id="c"), Time(NOW + 1)),
    ]
    second = Exchange({"SOL/USDT": SOL}, issued=max(map(issued_in, reports)))
    for account in (ME, SHE):  # not the order of acceptance
        ledger = first.ledger(account)
        second.restore(
            account, [ledger.total(asset) for asset in ledger.assets()], first.open_orders(account)
        )
    for bar, end, filled in (
        (candle("100", "150"), NEXT_HOUR, 2),
        (candle("100", "150", date=NEXT_HOUR), 12 * HOUR, 1),
    ):
        told = first.settle(bar, Time(end))
        assert len(told) == filled
        assert second.settle(bar, Time(end)) == told
    assert second.issued == first.issued == 8


def test_an_account_is_restored_once() -> None:
    exchange = quoted()
    with pytest.raises(BadField, match="exists already"):
        exchange.restore(ME, [], [])


def test_reports_without_an_id_give_none_out() -> None:
    assert issued_in(Expired("a", NOW)) == 0


def test_prices_and_settings_that_cannot_be_are_refused() -> None:
    exchange = quoted()
    for bid, ask in (("0", "1"), ("-1", "1"), ("2", "1")):
        with pytest.raises(BadField, match="quote"):
            exchange.quote(Quote("SOL/USDT", NOW, D(bid), D(ask)))
    with pytest.raises(BadField, match="ADA/USDT is not listed"):
        exchange.quote(Quote("ADA/USDT", NOW, D(1), D(2)))
    with pytest.raises(BadField, match="slippage"):
        Exchange({}, slippage=D(1))
    with pytest.raises(BadField, match="spread"):
        Exchange({}, spread=D(-1))


# The independence of the checks


def test_no_module_of_the_exchange_imports_the_sizing() -> None:
    (folder,) = lotwise.exchange.__path__
    for path in Path(folder).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = [n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
        imported += [alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names]
        assert not [name for name in imported if "sizing" in name or name == "lotwise"], path.name


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    free=st.integers(1, 200_000),
    ticks=st.integers(100, 30_000),
    liquidity=st.sampled_from(Liquidity),
    fee_asset=st.sampled_from(FeeAsset),
    fraction=st.sampled_from(["0.5", "0.95", "1"]),
)
def test_what_the_sizing_calls_sized_is_accepted_and_can_be_sold_at_the_stop(
    free: int, ticks: int, liquidity: Liquidity, fee_asset: FeeAsset, fraction: str
) -> None:
    market, price = replace(SOL, fee_asset=fee_asset), D(ticks) / 100
    balance = Amount(D(free) / 10_000, "USDT")
    policy = Policy(cap=D(15), fraction=D(fraction), stop=D("0.03"))
    sized = size_order(Opportunity("SOL/USDT", price, liquidity), market, balance, policy)
    if not isinstance(sized, Sized):
        return
    exchange = Exchange({"SOL/USDT": market})
    exchange.deposit(ME, balance)
    post_only = liquidity is Liquidity.MAKER
    if not post_only:
        exchange.quote(Quote("SOL/USDT", NOW, price, price))
    assert refusal(exchange, sol(str(sized.quantity), str(price), post_only=post_only)) is None
    exchange.settle(candle("0.01", "400"), NEXT_HOUR)
    received = exchange.ledger(ME).free("SOL").number
    assert received == sized.received
    if fee_asset is FeeAsset.QUOTE:  # a fee in base must itself be left over from the sale
        stop = market.price_down(price * D("0.97"))
        assert exchange.check(ME, sol(str(received), str(stop), Side.SELL)) is None
