"""Orders of several accounts and a crowd in one book: who trades with whom, at what price, what follows."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from lotwise.domain.market import FeeSchedule, FeeTier, Liquidity, Market, MarketStatus, Quote
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Expired,
    Fill,
    Order,
    OrderType,
    Purpose,
    Rejected,
    Rejection,
    RejectionKind,
    Report,
    Status,
    TimeInForce,
)
from lotwise.domain.values import EPOCH, BadField, Side, Time, amount
from lotwise.exchange.accounts import RowKind
from lotwise.exchange.events import (
    NOT_AT_ONCE,
    ON_REQUEST,
    PLAIN,
    POST_ONLY_CROSSED,
    REPLACED,
    SELF_TRADE,
    UNFUNDED,
    Amended,
    Amendment,
    Closing,
    Event,
    Instructions,
    SelfTrade,
    Triggered,
)
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching, ladder
from lotwise.ledger.postings import held

D = Decimal
ME, SHE = "me", "she"
NOW = Time(36_000_000)
BUY, SELL = Side.BUY, Side.SELL
BOOK = HouseRules(matching=Matching.BOOK)

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
    """A limit order, or a market order when it has no price."""
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


def stop(side: Side, quantity: str, trigger: str, price: str | None = None, **changes: Any) -> Order:
    type = OrderType.STOP_LOSS if price is None else OrderType.STOP_LOSS_LIMIT
    return order(side, quantity, price, type=type, trigger=D(trigger), **changes)


Depth = list[tuple[str, str]]


def world(bids: Depth = (), asks: Depth = (), house: HouseRules = BOOK) -> Exchange:  # type: ignore[assignment]
    """A book with this crowd in it, where ME and SHE have 10000 USDT and 100 SOL each."""
    exchange = Exchange({"SOL/USDT": SOL}, house=house)
    for account in (ME, SHE):
        exchange.deposit(account, amount("10000 USDT"))
        exchange.deposit(account, amount("100 SOL"))
    show(exchange, bids, asks)
    return exchange


def show(exchange: Exchange, bids: Depth, asks: Depth) -> list[tuple[str, Report]]:
    buyers, sellers = ([(D(price), D(some)) for price, some in levels] for levels in (bids, asks))
    return exchange.show_depth("SOL/USDT", buyers, sellers, NOW)


def traded(reports: list[Report]) -> list[tuple[str, str, Liquidity]]:
    return [(str(r.price), str(r.quantity), r.liquidity) for r in reports if isinstance(r, Fill)]


def events(exchange: Exchange, account: str) -> list[Event]:
    return list(exchange.history(account).events)


def depth(exchange: Exchange, side: Side) -> list[tuple[str, str]]:
    return [(str(level.price), str(level.quantity)) for level in exchange.book("SOL/USDT").depth(side, 10)]


TAKER, MAKER = Liquidity.TAKER, Liquidity.MAKER


# Price and time


def test_an_order_walks_the_levels_to_its_limit_and_its_rest_waits() -> None:
    exchange = world(asks=[("100.00", "1"), ("101.00", "2"), ("103.00", "5")])
    told = exchange.accept(ME, order(BUY, "4", "102"), NOW)
    assert told[0] == Accepted("a", "O1", NOW)
    assert traded(told) == [("100.00", "1.000", TAKER), ("101.00", "2.000", TAKER)]
    assert depth(exchange, BUY) == [("102.00", "1.000")]
    assert depth(exchange, SELL) == [("103.00", "5.000")]
    (waiting,) = exchange.open_orders(ME)
    assert (waiting.rest, waiting.filled) == (D(1), D(3))


def test_two_accounts_trade_with_each_other_and_both_are_told() -> None:
    exchange = world()
    exchange.accept(SHE, order(SELL, "2", "100", client_id="s"), NOW)
    told = exchange.accept(ME, order(BUY, "1", "105"), NOW)
    assert traded(told) == [("100.00", "1.000", TAKER)]
    accepted, fill = events(exchange, SHE)
    assert accepted == Accepted("s", "O1", NOW)
    assert isinstance(fill, Fill)
    assert (fill.price, fill.quantity, fill.liquidity) == (D(100), D(1), MAKER)
    assert fill.fee == amount("0.4 USDT")
    assert exchange.ledger(SHE).total("USDT") == amount("10099.6 USDT")
    assert exchange.ledger(ME).total("USDT") == amount("9899.2 USDT")
    assert exchange.ledger(SHE).balance(held("s"), "SOL") == amount("1 SOL")
    assert exchange.strangers() == ({}, {})
    (trade,) = exchange.tape("SOL/USDT").trades
    assert (trade.number, trade.side, trade.type) == (1, BUY, OrderType.LIMIT)
    assert (trade.taker, trade.maker) == ((ME, "a"), (SHE, "s"))


def test_the_earlier_of_one_price_trades_first_whoever_it_is() -> None:
    exchange = world(bids=[("100", "1")])
    exchange.accept(SHE, order(BUY, "1", "100", client_id="s"), NOW)
    exchange.accept(ME, order(BUY, "1", "100", client_id="m"), NOW)
    show(exchange, [("100", "3")], [])  # the crowd's new orders stand behind
    exchange.accept(ME, order(SELL, "1.5", client_id="x"), NOW)
    assert [fill.quantity for _, fill in exchange.history(SHE).fills] == [D("0.5")]
    exchange.deposit("third", amount("9 SOL"))
    exchange.accept("third", order(SELL, "1.25"), NOW)
    assert exchange.open_order(SHE, "s") is None
    fills = [(fill.client_id, fill.quantity) for _, fill in exchange.history(ME).fills]
    assert fills == [("x", D(1)), ("x", D("0.5")), ("m", D("0.75"))]


def test_a_recorded_level_that_shrinks_leaves_from_behind_our_order() -> None:
    exchange = world(bids=[("100", "1")])
    exchange.accept(ME, order(BUY, "1", "100"), NOW)
    show(exchange, [("100", "5")], [])
    show(exchange, [("100", "0.4")], [])
    exchange.accept(SHE, order(SELL, "0.5", client_id="x"), NOW)
    assert [fill.quantity for _, fill in exchange.history(ME).fills] == [D("0.1")]
    assert depth(exchange, BUY) == [("100.00", "0.900")]


def test_a_recorded_book_that_crosses_our_order_trades_with_it_at_our_price() -> None:
    exchange = world(bids=[("99", "1")])
    exchange.accept(ME, order(BUY, "2", "100"), NOW)
    told = show(exchange, [("98", "1")], [("99.5", "0.5"), ("99.9", "4")])
    assert traded([report for _, report in told]) == [("100.00", "0.500", MAKER), ("100.00", "1.500", MAKER)]
    assert depth(exchange, SELL) == [("99.90", "2.500")]
    assert depth(exchange, BUY) == [("98.00", "1.000")]
    assert exchange.strangers()[0] == {"SOL": D(-2), "USDT": D(200)}


def test_recorded_levels_carry_the_time_at_which_they_were_shown() -> None:
    exchange = world(bids=[("99", "1"), ("98", "1")])
    levels = [(D(98), D(1)), (D(97), D(2))]
    exchange.show_depth("SOL/USDT", levels, [], Time(NOW + 7))
    shown = exchange.book("SOL/USDT").depth(BUY, 9)
    assert [(str(level.price), level.time) for level in shown] == [("98.00", NOW), ("97.00", NOW + 7)]
    last = exchange.book("SOL/USDT").changes(0)
    assert last is not None
    assert [change.time for change in last] == [NOW, NOW, NOW + 7, NOW + 7]


def test_a_recorded_book_may_not_cross_itself() -> None:
    exchange = world(bids=[("99", "1")])
    with pytest.raises(BadField, match="depth"):
        show(exchange, [("100", "1")], [("100", "1")])
    assert depth(exchange, BUY) == [("99.00", "1.000")]


def test_a_market_order_that_finds_too_little_is_cancelled_for_the_rest() -> None:
    exchange = world(bids=[("99", "1")], asks=[("100", "1")])
    told = exchange.accept(ME, order(BUY, "3"), NOW)
    assert traded(told) == [("100.00", "1.000", TAKER)]
    assert told[-1] == Canceled("a", NOT_AT_ONCE, NOW)
    assert exchange.ledger(ME).free("USDT") == exchange.ledger(ME).total("USDT") == amount("9899.2 USDT")


def test_ioc_trades_what_it_can_and_fok_all_or_nothing() -> None:
    exchange = world(asks=[("100", "1"), ("101", "1")])
    ioc = order(BUY, "1.5", "100", time_in_force=TimeInForce.IOC)
    told = exchange.accept(ME, ioc, NOW)
    assert traded(told) == [("100.00", "1.000", TAKER)]
    assert told[-1] == Canceled("a", NOT_AT_ONCE, NOW)
    fok = order(BUY, "1.001", "101", time_in_force=TimeInForce.FOK)
    assert exchange.accept(ME, fok, NOW)[1:] == [Canceled("a", NOT_AT_ONCE, NOW)]
    assert traded(exchange.accept(ME, replace(fok, quantity=D(1)), NOW)) == [("101.00", "1.000", TAKER)]


def test_post_only_is_cancelled_when_it_would_cross_and_waits_otherwise() -> None:
    exchange = world(bids=[("99", "1")], asks=[("100", "1")])
    told = exchange.accept(ME, order(BUY, "1", "100", post_only=True), NOW)
    assert told == [Accepted("a", "O1", NOW), Canceled("a", POST_ONLY_CROSSED, NOW)]
    assert len(exchange.accept(ME, order(BUY, "1", "99.99", post_only=True), NOW)) == 1
    assert exchange.quotes()["SOL/USDT"] == Quote("SOL/USDT", NOW, D("99.99"), D(100))


def test_an_order_until_a_date_expires_at_its_own_time_however_late_it_is_asked() -> None:
    exchange = world()
    until = order(BUY, "1", "99", time_in_force=TimeInForce.GTD, expires=Time(NOW + 5))
    exchange.accept(ME, until, NOW)
    assert exchange.advance(Time(NOW + 4)) == []
    assert exchange.advance(Time(NOW + 900)) == [(ME, Expired("a", Time(NOW + 5)))]
    assert depth(exchange, BUY) == []
    assert exchange.history(ME).closed[-1].status is Status.EXPIRED
    assert exchange.history(ME).closed[-1].time == NOW + 5


def test_an_expiry_is_not_that_of_a_later_order_of_the_same_name() -> None:
    exchange = world()
    until = order(BUY, "1", "99", time_in_force=TimeInForce.GTD, expires=Time(NOW + 5))
    exchange.accept(ME, until, NOW)
    exchange.cancel(ME, "a", NOW)
    exchange.accept(ME, order(BUY, "1", "99"), NOW)
    assert exchange.advance(Time(NOW + 900)) == []
    assert len(exchange.open_orders(ME)) == 1


# Self-trade


@pytest.mark.parametrize(
    ("choice", "fills", "mine", "theirs"),
    [
        (SelfTrade.CANCEL_NEWEST, ["0.5"], True, Canceled("b", SELF_TRADE, NOW)),
        (SelfTrade.CANCEL_OLDEST, ["0.5", "1.0"], False, None),
        (SelfTrade.CANCEL_BOTH, ["0.5"], False, Canceled("b", SELF_TRADE, NOW)),
    ],
)
def test_an_account_never_trades_with_itself(
    choice: SelfTrade, fills: list[str], mine: bool, theirs: Report | None
) -> None:
    exchange = world(asks=[("99", "0.5"), ("101", "9")])
    exchange.accept(ME, order(SELL, "1", "100", client_id="a"), NOW)
    told = exchange.accept(ME, order(BUY, "1.5", "102", client_id="b"), NOW, Instructions(choice))
    assert [D(quantity) for _, quantity, _ in traded(told)] == [D(quantity) for quantity in fills]
    assert (exchange.open_order(ME, "a") is not None) is mine
    assert (Canceled("a", SELF_TRADE, NOW) in told) is not mine
    assert exchange.open_order(ME, "b") is None
    assert theirs is None or theirs in told


def test_what_lies_behind_its_own_order_is_not_within_reach_of_a_whole_fill() -> None:
    exchange = world(asks=[("99", "0.5"), ("101", "9")])
    exchange.accept(ME, order(SELL, "1", "100", client_id="a"), NOW)
    fok = order(BUY, "1", "102", client_id="b", time_in_force=TimeInForce.FOK)
    assert exchange.accept(ME, fok, NOW)[1:] == [Canceled("b", NOT_AT_ONCE, NOW)]
    assert exchange.open_order(ME, "a") is not None


# Stops and take-profits


def test_a_stop_holds_its_funds_unseen_and_sells_when_the_price_falls_to_it() -> None:
    exchange = world(bids=[("99", "1"), ("98", "5")], asks=[("100", "5")])
    assert exchange.accept(ME, stop(SELL, "2", "99.00"), NOW) == [Accepted("a", "O1", NOW)]
    assert exchange.ledger(ME).free("SOL") == amount("98 SOL")
    assert depth(exchange, SELL) == [("100.00", "5.000")]
    exchange.accept(SHE, order(BUY, "0.1"), NOW)
    assert len(events(exchange, ME)) == 1
    exchange.accept(SHE, order(SELL, "0.5"), NOW)
    _, woken, first, second = events(exchange, ME)
    assert woken == Triggered("a", NOW)
    assert traded([first, second]) == [("99.00", "0.500", TAKER), ("98.00", "1.500", TAKER)]  # type: ignore[list-item]
    assert exchange.ledger(ME).total("SOL") == exchange.ledger(ME).free("SOL") == amount("98 SOL")


@pytest.mark.parametrize(
    ("side", "type", "trigger", "price"),
    [
        (SELL, OrderType.STOP_LOSS, "99", "99"),
        (SELL, OrderType.TAKE_PROFIT, "101", "101"),
        (BUY, OrderType.STOP_LOSS, "101", "101"),
        (BUY, OrderType.TAKE_PROFIT, "99", "99"),
    ],
)
def test_each_kind_wakes_at_its_trigger_and_not_a_tick_before(
    side: Side, type: OrderType, trigger: str, price: str
) -> None:
    exchange = world()
    print_at(exchange, "100")
    exchange.accept(ME, order(side, "1", type=type, trigger=D(trigger)), NOW)
    towards = D("0.01") if D(trigger) > 100 else D("-0.01")
    print_at(exchange, str(D(price) - towards))
    assert Triggered("a", NOW) not in events(exchange, ME)
    print_at(exchange, price)
    assert Triggered("a", NOW) in events(exchange, ME)


def print_at(exchange: Exchange, price: str) -> None:
    """Let two strangers to ME trade at a price, in an otherwise empty book."""
    exchange.accept(SHE, order(SELL, "0.1", price, client_id="p"), NOW)
    exchange.deposit("other", amount("1000 USDT"))
    exchange.accept("other", order(BUY, "0.1", price, client_id="q"), NOW)


def test_a_stop_with_a_limit_waits_in_the_book_once_it_is_woken() -> None:
    exchange = world()
    exchange.accept(ME, stop(SELL, "1", "99", "99.50"), NOW)
    print_at(exchange, "98")
    assert depth(exchange, SELL) == [("99.50", "1.000")]
    (waiting,) = exchange.open_orders(ME)
    assert waiting.triggered
    assert exchange.cancel(ME, "a", NOW) == [Canceled("a", ON_REQUEST, NOW)]
    assert depth(exchange, SELL) == []


def test_a_trigger_that_is_reached_already_wakes_at_once() -> None:
    exchange = world(bids=[("97", "9")])
    print_at(exchange, "98")
    told = exchange.accept(ME, stop(SELL, "1", "99"), NOW)
    assert traded(told) == [("97.00", "1.000", TAKER)]


def test_one_stop_sets_off_the_next() -> None:
    exchange = world(bids=[("99", "1"), ("98", "1"), ("97", "1"), ("96", "5")], asks=[("100", "1")])
    for name, trigger in (("deep", "97"), ("near", "99"), ("far", "90")):
        exchange.accept(ME, stop(SELL, "1", trigger, client_id=name), NOW)
    exchange.accept(SHE, order(SELL, "1.5"), NOW)
    woken = [event.client_id for event in events(exchange, ME) if isinstance(event, Triggered)]
    assert woken == ["near", "deep"]
    assert [waiting.order.client_id for waiting in exchange.open_orders(ME)] == ["far"]


def test_stops_that_one_trade_wakes_wake_in_order_of_acceptance() -> None:
    exchange = world(bids=[("90", "9")])
    print_at(exchange, "100")
    for name, trigger in (("b", "98"), ("a", "99"), ("c", "98.5")):
        exchange.accept(ME, stop(SELL, "1", trigger, client_id=name), NOW)
    print_at(exchange, "97")
    woken = [event.client_id for event in events(exchange, ME) if isinstance(event, Triggered)]
    assert woken == ["b", "a", "c"]


def test_a_woken_buy_that_costs_more_than_its_hold_takes_it_from_what_is_free_or_is_cancelled() -> None:
    asks = [("100", "0.1"), ("110", "9")]
    for money, cancelled in (("110.88", False), ("110.8799", True)):
        exchange = world(asks=asks)
        exchange.deposit("poor", amount(f"{money} USDT"))
        told = exchange.accept("poor", stop(BUY, "1", "100"), NOW)
        assert exchange.ledger("poor").balance(held("a"), "USDT") == amount("100.8 USDT")
        assert len(told) == 1
        exchange.accept(ME, order(BUY, "0.1", client_id="x"), NOW)
        assert (Canceled("a", UNFUNDED, NOW) in events(exchange, "poor")) is cancelled
        assert exchange.ledger("poor").total("SOL") == amount("0 SOL" if cancelled else "1 SOL")
        assert exchange.ledger("poor").balance(held("a"), "USDT") == amount("0 USDT")


@pytest.mark.parametrize("wrong", [{"trigger": None}, {"trigger": D("99.001")}, {"trigger": D(0)}])
def test_a_stop_without_a_proper_trigger_is_refused(wrong: dict[str, Any]) -> None:
    (told,) = world().accept(ME, replace(stop(SELL, "1", "99"), **wrong), NOW)
    assert isinstance(told, Rejected)


# Orders that hang on a fill


def test_each_fill_of_an_entry_places_an_order_on_the_other_side_for_its_quantity() -> None:
    exchange = world(asks=[("100", "1"), ("101", "0.01")])
    closing = Instructions(closing=Closing(OrderType.STOP_LOSS_LIMIT, D("94"), D("95")))
    told = exchange.accept(ME, order(BUY, "2", "101"), NOW, closing)
    kinds = [type(report).__name__ for report in told]
    assert kinds == ["Accepted", "Fill", "Fill", "Accepted", "Rejected"]
    refused = told[-1]
    assert isinstance(refused, Rejected)
    assert (refused.client_id, refused.rejection.kind) == ("a/2", RejectionKind.MIN_QUANTITY)
    child = exchange.open_order(ME, "a/1")
    assert child is not None
    assert (child.order.side, child.order.quantity, child.order.trigger) == (SELL, D(1), D(95))
    assert (child.order.purpose, child.parent, child.sleeps) == (Purpose.STOP, "O1", True)
    exchange.accept(SHE, order(SELL, "0.5", "101", client_id="s"), NOW)  # as maker too
    child = exchange.open_order(ME, "a/3")
    assert child is not None
    assert child.order.quantity == D("0.5")


# Changes


def test_less_of_an_order_keeps_its_place_and_frees_what_it_no_longer_needs() -> None:
    exchange = world()
    exchange.accept(ME, order(BUY, "2", "100"), NOW)
    exchange.accept(SHE, order(BUY, "1", "100", client_id="s"), NOW)
    assert exchange.amend(ME, "a", Amendment(quantity=D(1)), NOW) == []
    assert exchange.ledger(ME).balance(held("a"), "USDT") == amount("100.8 USDT")
    exchange.accept(SHE, order(SELL, "1", "100", client_id="x"), NOW)
    assert traded(events(exchange, ME)) == [("100.00", "1.000", MAKER)]  # type: ignore[arg-type]
    amended = events(exchange, ME)[1]
    assert isinstance(amended, Amended)
    assert amended.order.quantity == D(1)


@pytest.mark.parametrize("amendment", [Amendment(quantity=D("2.5")), Amendment(price=D("100.01"))])
def test_more_of_an_order_or_another_price_is_a_new_place(amendment: Amendment) -> None:
    exchange = world()
    exchange.accept(ME, order(BUY, "2", "100"), NOW)
    exchange.accept(SHE, order(BUY, "1", "100", client_id="s"), NOW)
    assert exchange.amend(ME, "a", amendment, NOW) == []
    assert exchange.amend(ME, "a", Amendment(price=D(100)), NOW) == []
    exchange.accept("x", order(SELL, "1", "100", client_id="x"), NOW)
    exchange.deposit("x", amount("10 SOL"))
    exchange.accept("x", order(SELL, "1", "100", client_id="x"), NOW)
    assert traded(events(exchange, SHE)) == [("100.00", "1.000", MAKER)]  # type: ignore[arg-type]


def test_a_new_price_that_crosses_trades_at_once() -> None:
    exchange = world(asks=[("101", "1")])
    exchange.accept(ME, order(BUY, "2", "100"), NOW)
    told = exchange.amend(ME, "a", Amendment(price=D("101")), NOW)
    assert isinstance(told, list)
    assert traded(told) == [("101.00", "1.000", TAKER)]
    assert depth(exchange, BUY) == [("101.00", "1.000")]


def test_a_partly_filled_order_holds_enough_for_its_rest_at_a_lower_price() -> None:
    exchange = world(asks=[("100", "5")])
    exchange.accept(ME, order(BUY, "10", "100"), NOW)
    exchange.amend(ME, "a", Amendment(price=D("50")), NOW)
    assert exchange.ledger(ME).balance(held("a"), "USDT") == amount("252 USDT")
    exchange.accept(SHE, order(SELL, "5", "50", client_id="x"), NOW)
    assert exchange.open_orders(ME) == ()
    assert exchange.ledger(ME).free("USDT") == amount("9245 USDT")  # 500 + 250, fees 4 + 1


@pytest.mark.parametrize(
    ("amendment", "kind"),
    [
        (Amendment(quantity=D("1")), RejectionKind.INVALID),
        (Amendment(quantity=D("0.5")), RejectionKind.INVALID),
        (Amendment(quantity=D("2.0005")), RejectionKind.LOT_STEP),
        (Amendment(price=D("100.001")), RejectionKind.TICK),
        (Amendment(quantity=D("200")), RejectionKind.FUNDS),
        (Amendment(price=D("101"), post_only=True), RejectionKind.POST_ONLY),
        (Amendment(trigger=D("101")), RejectionKind.INVALID),
    ],
)
def test_a_change_that_is_refused_changes_nothing(amendment: Amendment, kind: RejectionKind) -> None:
    exchange = world(asks=[("100", "1"), ("101", "1")])
    exchange.accept(ME, order(BUY, "2", "100"), NOW)
    before = exchange.state()
    refused = exchange.amend(ME, "a", amendment, NOW)
    assert isinstance(refused, Rejection)
    assert refused.kind is kind
    assert exchange.state() == before


def test_a_new_trigger_may_wake_the_order_at_once_but_not_after_it_woke() -> None:
    exchange = world(bids=[("98", "1")])
    print_at(exchange, "100")
    exchange.accept(ME, stop(SELL, "1", "90", "105"), NOW)
    assert exchange.amend(ME, "a", Amendment(trigger=D("91")), NOW) == []
    assert exchange.amend(ME, "a", Amendment(trigger=D("100")), NOW) == []
    assert depth(exchange, SELL) == [("105.00", "1.000")]
    refused = exchange.amend(ME, "a", Amendment(trigger=D("90")), NOW)
    assert isinstance(refused, Rejection)


def test_what_is_not_open_cannot_be_changed_or_replaced() -> None:
    exchange = world()
    assert isinstance(exchange.amend(ME, "a", Amendment(price=D(1)), NOW), Rejection)
    assert isinstance(exchange.replace(ME, "a", order(BUY, "1", "1"), NOW), Rejection)


def test_a_replacement_may_use_what_the_old_order_held_and_its_name() -> None:
    exchange = world(house=replace(BOOK, max_open_orders=1))
    exchange.accept(ME, order(BUY, "90", "100"), NOW)
    told = exchange.replace(ME, "a", order(BUY, "95", "100"), NOW)
    assert told == [Canceled("a", REPLACED, NOW), Accepted("a", "O2", NOW)]
    refused = exchange.replace(ME, "a", order(BUY, "100", "100"), NOW)
    assert isinstance(refused, Rejection)
    assert refused.kind is RejectionKind.FUNDS
    assert depth(exchange, BUY) == [("100.00", "95.000")]


# The house


def test_so_many_orders_of_an_account_on_a_pair_and_no_more() -> None:
    exchange = world(house=replace(BOOK, max_open_orders=2))
    for name in "ab":
        exchange.accept(ME, order(BUY, "1", "90", client_id=name), NOW)
    (refused,) = exchange.accept(ME, order(BUY, "1", "90", client_id="c"), NOW)
    assert isinstance(refused, Rejected)
    assert refused.rejection.kind is RejectionKind.ORDERS_LIMIT
    assert len(exchange.accept(SHE, order(BUY, "1", "90", client_id="c"), NOW)) == 1
    exchange.cancel(ME, "a", NOW)
    assert exchange.check(ME, order(BUY, "1", "90", client_id="c")) is None


def test_an_account_pays_the_fees_of_its_own_volume_from_the_next_order_on() -> None:
    tiers = (FeeTier(D(0), D("0.004"), D("0.008")), FeeTier(D(200), D("0.001"), D("0.002")))
    schedule = FeeSchedule(effective=date(2026, 7, 9), tiers=tiers)
    exchange = world(asks=[("100", "9")], house=replace(BOOK, fees=ladder(schedule, frozenset({"USDT"}))))
    fees = []
    for _ in range(3):
        (fill,) = [r for r in exchange.accept(ME, order(BUY, "1", "100"), NOW) if isinstance(r, Fill)]
        fees.append(str(fill.fee))
    assert fees == ["0.8 USDT", "0.8 USDT", "0.2 USDT"]
    assert exchange.volume(ME, NOW) == {"USDT": D(300)}
    month_later = Time(NOW + 30 * 86_400_000)
    assert exchange.volume(ME, month_later) == {}
    (fill,) = [r for r in exchange.accept(ME, order(BUY, "1", "100"), month_later) if isinstance(r, Fill)]
    assert fill.fee == amount("0.8 USDT")


def test_each_status_takes_its_orders_only_and_cancelling_always_works() -> None:
    takes = {
        MarketStatus.ONLINE: {"limit", "market", "post", "sell"},
        MarketStatus.LIMIT_ONLY: {"limit", "post", "sell"},
        MarketStatus.POST_ONLY: {"post"},
        MarketStatus.REDUCE_ONLY: {"sell"},
        MarketStatus.CANCEL_ONLY: set(),
        MarketStatus.OFFLINE: set(),
    }
    orders = {
        "limit": order(BUY, "1", "90"),
        "market": order(BUY, "1"),
        "post": order(BUY, "1", "90", post_only=True),
        "sell": order(SELL, "1", "110"),
    }
    exchange = world(bids=[("99", "1")], asks=[("100", "1")])
    exchange.accept(ME, order(BUY, "1", "90", client_id="old"), NOW)
    for status, taken in takes.items():
        exchange.set_status("SOL/USDT", status)
        assert exchange.status("SOL/USDT") is status
        refused = {name: exchange.check(ME, order) for name, order in orders.items()}
        assert {name for name, rejection in refused.items() if rejection is None} == taken
        for rejection in refused.values():
            assert rejection is None or rejection.kind is RejectionKind.PAIR_OFFLINE
            assert rejection is None or status.value in rejection.text
    assert isinstance(exchange.amend(ME, "old", Amendment(price=D(91)), NOW), Rejection)
    assert len(exchange.cancel(ME, "old", NOW)) == 1


def test_an_order_keeps_its_grid_when_the_pair_gets_a_finer_or_a_crossing_one() -> None:
    exchange = world(asks=[("100", "1")])
    exchange.accept(ME, order(BUY, "1", "99.99"), NOW)
    for tick in ("0.025", "0.001", "1"):
        exchange.list_market(replace(SOL, tick_size=D(tick)))
        assert exchange.quotes()["SOL/USDT"] == Quote("SOL/USDT", NOW, D("99.99"), D(100))
    exchange.accept(SHE, order(SELL, "1", "99", client_id="s"), NOW)
    assert traded(events(exchange, ME)) == [("99.990", "1.000", MAKER)]  # type: ignore[arg-type]


def test_a_book_has_its_own_prices_and_candles_have_no_book() -> None:
    with pytest.raises(BadField, match="book"):
        world().quote(Quote("SOL/USDT", NOW, D(1), D(2)))
    with pytest.raises(BadField, match="no book"):
        Exchange({"SOL/USDT": SOL}).book("SOL/USDT")


def test_a_cost_in_quote_is_turned_into_whole_lots_along_the_book() -> None:
    exchange = world(bids=[("99", "2")], asks=[("100", "1"), ("101", "1")])
    assert exchange.affordable("SOL/USDT", BUY, D("99.99")) == D("0.999")
    assert exchange.affordable("SOL/USDT", BUY, D("150")) == D("1.495")
    assert exchange.affordable("SOL/USDT", BUY, D("1000")) == D("2")
    assert exchange.affordable("SOL/USDT", SELL, D("10")) == D("0.101")


def test_the_book_tells_its_changes_and_the_last_best_prices() -> None:
    exchange = world(bids=[("99", "2")], asks=[("100", "1")])
    book = exchange.book("SOL/USDT")
    sequence = book.sequence
    exchange.accept(ME, order(BUY, "1", "99.5"), Time(NOW + 1))
    exchange.accept(SHE, order(SELL, "1"), Time(NOW + 2))
    changes = book.changes(sequence)
    assert changes is not None
    assert [(str(c.price), str(c.quantity), c.side, c.time) for c in changes] == [
        ("99.50", "1.000", BUY, NOW + 1),
        ("99.50", "0.000", BUY, NOW + 2),
    ]
    assert [change.sequence for change in changes] == [sequence + 1, sequence + 2]
    assert book.changes(sequence - 100) is None
    assert book.spreads(Time(NOW + 1)) == [(NOW + 1, D("99.5"), D(100)), (NOW + 2, D(99), D(100))]


def test_accounts_put_back_one_by_one_stand_in_the_book_in_the_order_of_their_acceptance() -> None:
    first = world()
    print_at(first, "100")
    first.accept(SHE, order(BUY, "1", "100", client_id="s"), NOW)
    first.accept(ME, order(BUY, "1", "100", client_id="m"), NOW)
    first.accept(ME, stop(SELL, "1", "90", client_id="z"), NOW)
    second = Exchange({"SOL/USDT": SOL}, issued=first.issued, house=BOOK)
    for account in (ME, SHE):
        ledger = first.ledger(account)
        owned = [ledger.total(asset) for asset in ledger.assets()]
        second.restore(account, owned, first.open_orders(account))
    for exchange in (first, second):
        exchange.deposit("third", amount("9 SOL"))
        exchange.accept("third", order(SELL, "1.5"), NOW)
        assert [fill.quantity for _, fill in exchange.history(ME).fills] == [D("0.5")]
        exchange.accept("third", order(BUY, "0.1", "90"), NOW)
        assert exchange.ledger(ME).balance(held("z"), "SOL") == amount("1 SOL")


# What is remembered


def test_an_account_finds_its_closed_orders_trades_and_every_change_of_its_balances() -> None:
    exchange = Exchange({"SOL/USDT": SOL}, house=BOOK)
    exchange.deposit(ME, amount("500 USDT"), Time(1))
    exchange.deposit(ME, amount("-100 USDT"), Time(2))
    show(exchange, [("99", "1")], [("100", "1")])
    exchange.accept(ME, order(BUY, "1"), NOW)
    history = exchange.history(ME)
    assert [(r.kind, r.asset, str(r.amount), str(r.fee), str(r.balance)) for r in history.rows] == [
        (RowKind.DEPOSIT, "USDT", "500", "0", "500"),
        (RowKind.WITHDRAWAL, "USDT", "-100", "0", "400"),
        (RowKind.TRADE, "SOL", "1.000", "0", "1.000"),
        (RowKind.TRADE, "USDT", "-100.0000", "0.8000", "299.2000"),
    ]
    assert [row.reference for row in history.rows][2:] == ["T2", "T2"]
    assert [row.number for row in history.rows] == [1, 2, 3, 4]
    (closed,) = history.closed
    assert (closed.status, closed.why, closed.order.venue_id) == (Status.FILLED, "", "O1")
    ((venue_id, fill),) = history.fills
    assert (venue_id, fill.trade_id) == ("O1", "T2")
    assert exchange.accounts() == (ME,)


def test_histories_are_bounded_and_say_when_they_no_longer_know() -> None:
    exchange = world(house=replace(BOOK, kept=5))
    for _ in range(4):
        exchange.accept(ME, order(BUY, "1", "90"), NOW)
        exchange.cancel(ME, "a", NOW)
    log = exchange.history(ME).events
    assert (len(log), log.number) == (5, 8)
    assert log.since(2) is None
    latest = log.since(6)
    assert latest is not None
    assert [number for number, _ in latest] == [7, 8]
    assert log.since(8) == []
    assert len(exchange.history(ME).closed) == 4
    assert len(exchange.history("nobody").events) == 0


def test_what_is_refused_is_on_record_and_a_check_is_not() -> None:
    exchange = world()
    bad = order(BUY, "0.001", "90")
    refused = exchange.check(ME, bad, PLAIN)
    assert events(exchange, ME) == []
    assert refused is not None
    assert exchange.accept(ME, bad, NOW) == events(exchange, ME) == [Rejected("a", refused, NOW)]
    assert exchange.issued == 0


def test_time_never_goes_back() -> None:
    exchange = world()
    exchange.advance(Time(NOW + 10))
    assert exchange.accept(ME, order(BUY, "1", "90"), EPOCH) == [Accepted("a", "O1", Time(NOW + 10))]
