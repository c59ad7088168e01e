"""Kraken's REST words: what is written reads back as it was, and real answers have these shapes."""

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.market import FeeAsset, Liquidity, Market, MarketStatus
from lotwise.domain.orders import Order, OrderType, Purpose, TimeInForce
from lotwise.domain.values import Amount, BadField, Side, Time
from lotwise.kraken import limits, rest, rest_account, rest_money, rest_orders
from lotwise.kraken.fees import SINCE_JULY_2026
from lotwise.kraken.limits import Counter, Verification, charge, level_at, trading_cost
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import Digits, fixed
from lotwise.kraken.rest_account import OrderInfo, TradeInfo
from lotwise.kraken.rest_money import LedgerInfo
from lotwise.kraken.rest_orders import Close, Offset, new_order, price_of, priced

D = Decimal
PAYLOADS = Path(__file__).parents[2] / "shared/data/kraken/payloads"
NOW = Time(1_790_000_000_000)
DIGITS = Digits(1, 8, 5)
BTC = Market("BTC/USDT", D("0.1"), D("0.00000001"), D("0.00005"), D("0.5"), 5, D("0.004"), D("0.008"))
LIMIT = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "volume": "1.25", "price": "37500"}


def payload(name: str) -> Any:
    """The result of a stored answer."""
    file = PAYLOADS / f"http_{name}.json"
    if not file.exists():
        pytest.skip(f"../shared/data/kraken/payloads/{file.name} is absent")
    return json.loads(file.read_text(), parse_float=Decimal)["result"]


def on_the_wire(value: object) -> Any:
    """As a client reads it."""
    return json.loads(json.dumps(value), parse_float=Decimal)


def shape(value: Any) -> Any:
    """The names and types of a payload; numbers are one type, with a fraction or not."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [shape(inner) for inner in value]
    return (
        "number" if isinstance(value, int | Decimal) and not isinstance(value, bool) else type(value).__name__
    )


# Real answers, read and written again


def test_a_ticker_reads_and_writes_as_the_real_one() -> None:
    entry = payload("ticker")["XBTUSDT"]
    assert on_the_wire(rest.ticker(rest.ticker_of(entry), DIGITS)) == entry


def test_an_order_book_reads_and_writes_as_the_real_one() -> None:
    entry = payload("order_book")["XBTUSDT"]
    asks, bids = rest.depth_of(entry)
    assert on_the_wire(rest.depth(asks, bids, DIGITS)) == entry


def test_candles_read_and_write_as_the_real_ones() -> None:
    rows = payload("ohlc")["XBTUSDT"]
    assert len(rows) > 700
    assert [on_the_wire(rest.ohlc_row(rest.ohlc_row_of(row), DIGITS)) for row in rows] == rows


def test_public_trades_read_and_write_as_the_real_ones_to_the_millisecond() -> None:
    for row in payload("trades")["XBTUSDT"]:
        written = on_the_wire(rest.public_trade(rest.public_trade_of(row), DIGITS))
        assert written[:2] == row[:2]
        assert 0 <= row[2] - written[2] < D("0.001")
        assert written[3:] == row[3:]


def test_the_clock_and_the_status_write_as_the_real_ones() -> None:
    entry = payload("server_time")
    now = rest.server_time_of(entry)
    assert rest.server_time(now) == entry
    status = payload("system_status")
    at = rest.time_from_rfc3339(status["timestamp"])
    assert at is not None
    assert rest.system_status(status["status"], at) == status


def test_an_asset_pair_has_the_names_and_types_of_the_real_one() -> None:
    entry = payload("asset_pairs")["XBTUSDT"]
    ours = on_the_wire(rest.asset_pair(BTC, MarketStatus.ONLINE, SINCE_JULY_2026))
    positions = {"long_position_limit", "short_position_limit"}
    assert set(entry) - set(ours) <= positions
    assert set(ours) - set(entry) <= {"execution_venue"}
    listed = set(ours) & set(entry) - {"leverage_buy", "leverage_sell", "fees", "fees_maker"}
    assert {name: shape(ours[name]) for name in listed} == {name: shape(entry[name]) for name in listed}
    assert shape(ours["fees"][0]) == shape(entry["fees"][0])


def test_a_real_asset_pair_reads_as_a_listing() -> None:
    listing = rest.listing_of(payload("asset_pairs")["XBTUSDT"], date(2025, 11, 15))
    assert (listing.symbol, listing.tick_size, listing.lot_step) == ("BTC/USDT", D("0.1"), D("1e-8"))
    assert (listing.min_quantity, listing.min_notional, listing.quote_precision) == (
        D("0.00005"),
        D("0.5"),
        5,
    )
    assert rest.status_of({}) is MarketStatus.ONLINE


def test_a_coin_that_is_kept_with_fewer_decimals_is_bought_in_what_can_be_sold_again() -> None:
    row = {
        "wsname": "PENGU/EUR", "pair_decimals": 6, "lot_decimals": 5, "cost_decimals": 10,
        "ordermin": "100", "costmin": "0.45", "tick_size": "0.000001", "status": "online",
    }  # fmt: skip
    told = {"PENGU": {"aclass": "currency", "altname": "PENGU", "decimals": 4, "display_decimals": 4},
            "PENGU.F": {"aclass": "currency", "altname": "PENGU.F", "decimals": 8},
            "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10}, "odd": {}}  # fmt: skip
    decimals = rest.decimals_of(told, {"PENGU", "BTC"})
    assert decimals == {"PENGU": 4, "BTC": 10}
    assert rest.listing_of(row, date(2025, 5, 1), decimals).lot_step == D("0.0001")
    assert rest.listing_of({**row, "lot_decimals": 2}, date(2025, 5, 1), decimals).lot_step == D("0.01")
    assert rest.listing_of(row, date(2025, 5, 1)).lot_step == D("0.00001")


@pytest.mark.parametrize("name", ["open_orders", "closed_orders"])
def test_orders_have_the_shape_of_the_stored_ones(name: str) -> None:
    stored = next(iter(payload(name).values()))
    for txid, entry in stored.items():
        if entry["descr"]["ordertype"] == "stop-loss":
            continue  # the stored one has its trigger in price2, which the documentation does not
        written = on_the_wire(rest_account.order_payload(rest_account.order_info(txid, entry), DIGITS))
        assert shape(written) == shape(entry)


def test_trades_have_the_shape_of_the_stored_ones() -> None:
    for txid, entry in payload("trades_history")["trades"].items():
        info = rest_account.trade_info(txid, entry)
        written = on_the_wire(rest_account.trade_payload(info, DIGITS, ledgers=True))
        assert shape(written) == shape(entry)
        same = ("ordertxid", "pair", "time", "type", "ordertype", "vol", "trade_id", "maker", "ledgers")
        assert {name: written[name] for name in same if name != "time"} == {
            name: entry[name] for name in same if name != "time"
        }


def test_trade_balance_has_the_names_of_the_stored_one_but_a_margin_level() -> None:
    ours = rest_money.trade_balance(D(5), D(1))
    assert set(payload("spot_trade_balance")) - set(ours) == {"ml"}
    assert ours["eb"] == ours["mf"] == "5.0000"


# Written and read


amounts = st.integers(1, 10**12).map(lambda units: D(units).scaleb(-8))
prices = st.integers(1, 10**8).map(lambda units: D(units).scaleb(-1))
times = st.integers(1, 2 * 10**12).map(Time)
names = st.sampled_from(["OU22CG-KLAF2-FWUDD7", "O5KZFT-GH3AD-LP6TLU"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_an_order_reads_as_it_was_written(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(OrderType))
    priceless = kind is OrderType.MARKET
    closed = data.draw(st.none() | times)
    info = OrderInfo(
        data.draw(names),
        data.draw(st.sampled_from(["BTC/USD", "SOL/USDT", "DOGE/EUR"])),
        data.draw(st.sampled_from(Side)),
        kind,
        data.draw(amounts),
        data.draw(times),
        "open" if closed is None else data.draw(st.sampled_from(["closed", "canceled", "expired"])),
        None if priceless else data.draw(prices),
        data.draw(prices) if kind.has_trigger and kind.has_limit else None,
        data.draw(amounts),
        data.draw(amounts),
        data.draw(amounts),
        data.draw(prices),
        data.draw(st.none() | times),
        closed,
        None if closed is None else data.draw(st.sampled_from([None, "User requested"])),
        data.draw(st.frozensets(st.sampled_from(["post", "fciq"]))),
        data.draw(st.none() | st.integers(1, 2**31 - 1)),
        data.draw(st.none() | st.just("mine")),
        data.draw(st.none() | names),
        kind.has_trigger and data.draw(st.booleans()),
        None,
        tuple(data.draw(st.lists(names, max_size=2))),
    )
    written = on_the_wire(rest_account.order_payload(info, DIGITS, trades=True))
    assert rest_account.order_info(info.txid, written) == info


def test_a_trade_and_a_ledger_row_read_as_they_were_written() -> None:
    trade = TradeInfo(
        "TCCCTY-WJ6EO-4FP4VZ", "O26VBY-ISGAE-JP5TLU", "BTC/USD", NOW, Side.SELL, OrderType.LIMIT,
        D("29500.5"), D("14750.25"), D("23.6"), D("0.5"), 7, Liquidity.MAKER, ("L4UESK-KG3EQ-BJM7HJ",),
    )  # fmt: skip
    written = on_the_wire(rest_account.trade_payload(trade, DIGITS, ledgers=True))
    assert rest_account.trade_info(trade.txid, written) == trade
    row = LedgerInfo("L1", "T1", NOW, "trade", Amount(D("-0.123456789012"), "BTC"), D("0.1"), D(7))
    assert rest_money.ledger_info("L1", on_the_wire(rest_money.ledger_payload(row))) == row


def test_balances_read_as_they_were_written_and_staked_ones_stay_apart() -> None:
    totals = {"BTC": (D("1.5"), D("0.5")), "USD": (D("0.00001"), D(0))}
    assert rest_money.balances_of(rest_money.balance_ex(totals)) == totals
    assert rest_money.balance({"USD": D("0.00001"), "SOL": D(1)}) == {
        "ZUSD": "0.00001",
        "SOL": "1.0000000000",
    }
    held = {"balance": "1.5", "hold_trade": "0.5"}
    assert rest_money.balances_of(dict.fromkeys(("ADA", "ADA.F", "ADA.S"), held)) == {
        "ADA": (D(3), D(1)),
        "ADA.S": (D("1.5"), D("0.5")),
    }


@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("stop market", OrderType.STOP_LOSS),
        ("stop-loss", OrderType.STOP_LOSS),
        ("touched market", OrderType.TAKE_PROFIT),
        ("limit", OrderType.LIMIT),
        ("liquidation market", None),
    ],
)
def test_a_trade_is_read_whatever_kind_of_order_made_it(written: str, kind: OrderType | None) -> None:
    trade = TradeInfo("T", "O", "SOL/EUR", NOW, Side.SELL, OrderType.LIMIT, D(90), D(90), D(0), D(1), 7,
                      Liquidity.TAKER)  # fmt: skip
    row = {**on_the_wire(rest_account.trade_payload(trade, DIGITS)), "ordertype": written}
    assert rest_account.trade_info("T", row) == replace(trade, type=kind)
    # A margin pair that is none of ours keeps Kraken's name.
    assert rest_account.trade_info("T", {**row, "pair": "XBTEURR"}).symbol == "XBTEURR"


def test_the_fate_of_an_order_is_read_whatever_order_it_is() -> None:
    opened = {
        "refid": None, "userref": None, "status": "open", "opentm": 1745310000.5, "starttm": 0, "expiretm": 0,
        "descr": {"pair": "XBTEURR", "type": "sell", "ordertype": "trailing-stop", "price": "+50.0000%",
                  "price2": "0", "leverage": "none", "order": "sell 1 XBTEURR @ trailing stop", "close": ""},
        "vol": "1.00000000", "vol_exec": "0.00000000", "cost": "0.00", "fee": "0.00", "price": "0.00",
        "stopprice": "0.00", "limitprice": "0.00", "misc": "", "oflags": "fciq",
    }  # fmt: skip
    fate = rest_account.order_fate("OB5VMB-B4U2U-DK2WRW", opened)
    assert (fate.symbol, fate.side, fate.volume, fate.cl_ord_id) == ("XBTEURR", Side.SELL, 1, None)
    assert (fate.status, fate.executed, fate.closed, fate.trades) == ("open", 0, None, ())
    ended = {**opened, "cl_ord_id": "a-1", "status": "canceled", "closetm": 1745310001.25, "reason": "User",
             "trades": ["T1"]}  # fmt: skip
    fate = rest_account.order_fate("OB5VMB-B4U2U-DK2WRW", ended)
    assert (fate.cl_ord_id, fate.closed, fate.reason, fate.trades) == ("a-1", 1745310001250, "User", ("T1",))


def test_fees_read_as_they_were_written() -> None:
    told = rest_money.trade_volume(D(2600), SINCE_JULY_2026, ("BTC/USD",))
    assert rest_money.fees_of(told, "XXBTZUSD") == (D("0.003"), D("0.006"))
    entry = told["fees"]["XXBTZUSD"]
    assert (entry["nextfee"], entry["tiervolume"], entry["nextvolume"]) == (
        "0.3800",
        "2501.0000",
        "10001.0000",
    )
    assert "fees" not in rest_money.trade_volume(D(0), SINCE_JULY_2026, ())
    top = rest_money.trade_volume(D(10**9), SINCE_JULY_2026, ("BTC/USD",))["fees"]["XXBTZUSD"]
    assert (top["nextfee"], top["nextvolume"]) == (None, None)


@given(st.sampled_from(OrderType), st.sampled_from(Side), st.data())
@settings(max_examples=60, deadline=None)
def test_the_parameters_of_an_order_ask_for_that_order(
    kind: OrderType, side: Side, data: st.DataObject
) -> None:
    waits = kind is OrderType.LIMIT
    force = data.draw(st.sampled_from(TimeInForce if waits else [TimeInForce.GTC]))
    expires = Time(NOW + data.draw(st.integers(1, 86_400)) * 1000) if force is TimeInForce.GTD else None
    wanted = Order(
        "mine", "BTC/USDT", side, kind, data.draw(amounts),
        data.draw(prices) if kind.has_limit else None, Amount(D(0), "USDT" if side is Side.BUY else "BTC"),
        Purpose.ENTRY, NOW, force, expires,
        waits and force in (TimeInForce.GTC, TimeInForce.GTD) and data.draw(st.booleans()),
        data.draw(st.sampled_from(FeeAsset)), data.draw(prices) if kind.has_trigger else None,
    )  # fmt: skip
    parameters = rest_orders.order_parameters(wanted)
    asked = priced(new_order(parameters, NOW), BTC, None)
    assert asked.new.cl_ord_id == "mine"
    assert asked.new.pair == "XBTUSDT"
    assert rest_orders.domain_order(asked, BTC, "mine", asked.new.volume, NOW) == wanted


# Parameters


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("pair", {"pair": ""}),
        ("type", {"type": "short"}),
        ("type", {"type": ""}),
        ("ordertype", {"ordertype": "iceberg"}),
        ("volume", {"volume": "0"}),
        ("volume", {"volume": "-1"}),
        ("volume", {"volume": "1e3"}),
        ("volume", {"volume": "nan"}),
        ("volume", {"volume": "1" * 200}),
        ("volume", {"volume": "1.1.1"}),
        ("price", {"price": ""}),
        ("price", {"price": "0"}),
        ("price", {"price": "+"}),
        ("price", {"price": "+1%%"}),
        ("price", {"ordertype": "market"}),
        ("price2", {"price2": "1"}),
        ("price2", {"ordertype": "stop-loss-limit"}),
        ("oflags", {"oflags": "fcib,fciq"}),
        ("oflags", {"oflags": "fast"}),
        ("oflags", {"oflags": "viqc"}),
        ("oflags", {"oflags": "post", "ordertype": "stop-loss"}),
        ("oflags", {"oflags": "post", "timeinforce": "IOC"}),
        ("timeinforce", {"timeinforce": "DAY"}),
        ("timeinforce", {"timeinforce": "IOC", "ordertype": "stop-loss"}),
        ("timeinforce", {"timeinforce": "GTD", "expiretm": "+5", "ordertype": "market", "price": ""}),
        ("expiretm", {"timeinforce": "GTD"}),
        ("expiretm", {"expiretm": "+5"}),
        ("expiretm", {"timeinforce": "GTD", "expiretm": "1"}),
        ("expiretm", {"timeinforce": "GTD", "expiretm": "+3000000"}),
        ("expiretm", {"timeinforce": "GTD", "expiretm": "9" * 30}),
        ("expiretm", {"timeinforce": "GTD", "expiretm": "soon"}),
        ("userref", {"userref": "2147483648"}),
        ("userref", {"userref": "1.5"}),
        ("userref", {"userref": "9" * 5000}),
        ("cl_ord_id", {"cl_ord_id": "a" * 19}),
        ("cl_ord_id", {"cl_ord_id": "ü"}),
        ("cl_ord_id", {"cl_ord_id": "a", "userref": "1"}),
        ("stptype", {"stptype": "cancel-none"}),
        ("deadline", {"deadline": "soon"}),
        ("deadline", {"deadline": "2026-09-21T14:13:25"}),
        ("deadline", {"deadline": rest.rfc3339(Time(NOW + 1_999))}),
        ("deadline", {"deadline": rest.rfc3339(Time(NOW + 60_001))}),
        ("validate", {"validate": "maybe"}),
        ("close[ordertype]", {"close[price]": "1"}),
        ("close[ordertype]", {"close[ordertype]": "market"}),
        ("close[price]", {"close[ordertype]": "limit"}),
        ("close[price2]", {"close[ordertype]": "stop-loss-limit", "close[price]": "1"}),
    ],
)
def test_names_the_parameter_that_cannot_be(field: str, changes: dict[str, str]) -> None:
    with pytest.raises(BadField) as told:
        new_order({**LIMIT, **changes}, NOW)
    assert told.value.field == field


def test_takes_what_clients_send() -> None:
    asked = new_order(
        LIMIT
        | {
            "oflags": "post,fcib",
            "timeinforce": "GTD",
            "expiretm": "+60",
            "userref": "-5",
            "validate": "True",
        }
        | {"deadline": rest.rfc3339(Time(NOW + 2_000)), "price2": "0", "stptype": "cancel-both"}
        | {"close[ordertype]": "stop-loss-limit", "close[price]": "#5%", "close[price2]": "-10"},
        NOW,
    )
    assert (asked.expires, asked.deadline) == (Time(NOW + 60_000), Time(NOW + 2_000))
    assert (asked.userref, asked.validate, asked.fee_asset) == (-5, True, FeeAsset.BASE)
    assert asked.close == Close(OrderType.STOP_LOSS_LIMIT, Offset("#", D(5), True), Offset("-", D(10), False))
    for name in ("6d1b345e-2821-40e2-ad83-4ecb18a06876", "6d1b345e282140e2ad834ecb18a06876", "my-order-001"):
        assert new_order(LIMIT | {"cl_ord_id": name}, NOW).cl_ord_id == name


def test_an_elapsed_deadline_is_no_wrong_argument() -> None:
    asked = new_order(LIMIT | {"deadline": rest.rfc3339(Time(NOW - 1))}, NOW)
    assert asked.deadline == NOW - 1


@pytest.mark.parametrize(
    ("kind", "side", "text", "limit", "trigger"),
    [
        ("limit", "buy", "-1%", "99000", None),
        ("limit", "buy", "#1%", "99000", None),
        ("limit", "sell", "#1%", "101000", None),
        ("limit", "sell", "+0.37", "100000.3", None),
        ("stop-loss", "sell", "#1%", None, "99000"),
        ("stop-loss", "buy", "#1%", None, "101000"),
        ("take-profit", "sell", "#1%", None, "101000"),
        ("limit", "buy", "-33.3333%", "66666.7", None),
    ],
)
def test_relative_prices_are_worked_out_from_the_last_trade_and_cut_to_the_tick(
    kind: str, side: str, text: str, limit: str | None, trigger: str | None
) -> None:
    asked = priced(new_order(LIMIT | {"ordertype": kind, "type": side, "price": text}, NOW), BTC, D(100000))
    assert asked.limit == (None if limit is None else D(limit))
    assert asked.trigger == (None if trigger is None else D(trigger))


def test_the_second_price_is_relative_to_the_trigger() -> None:
    shape = {"ordertype": "stop-loss-limit", "type": "sell", "price": "#10%", "price2": "#1%"}
    asked = priced(new_order(LIMIT | shape, NOW), BTC, D(100000))
    assert (asked.trigger, asked.limit) == (D(90000), D(89100))


def test_a_relative_price_needs_a_last_one() -> None:
    with pytest.raises(BadField, match="price"):
        priced(new_order(LIMIT | {"price": "+1"}, NOW), BTC, None)


def test_orders_are_told_in_kraken_s_sentences() -> None:
    info = OrderInfo("O", "BTC/USD", Side.BUY, OrderType.LIMIT, D("1.25"), NOW, price=D(27500))
    close = Close(OrderType.STOP_LOSS_LIMIT, D(22000), D(21000))
    assert rest_account.description(info, DIGITS) == {"order": "buy 1.25000000 XBTUSD @ limit 27500.0"}
    assert rest_account.description(replace(info, close=close), DIGITS) == {
        "order": "buy 1.25000000 XBTUSD @ limit 27500.0",
        "close": "close position @ stop loss 22000.0 -> limit 21000.0",
    }
    market = replace(info, type=OrderType.MARKET, price=None)
    assert rest_account.order_in_words(market, DIGITS) == "buy 1.25000000 XBTUSD @ market"
    assert str(price_of("+5.50%")) == "+5.5%"


def test_numbers_have_kraken_s_digits_and_lose_none() -> None:
    assert fixed(D("1.2"), 5) == "1.20000"
    assert fixed(D("0.1234567"), 5) == "0.1234567"
    assert fixed(D("1E+3"), 0) == "1000"
    assert fixed(D("-0.00001"), 1) == "-0.00001"
    assert rest.digits_of(BTC) == DIGITS
    assert rest.rfc3339(Time(NOW + 7)) == "2026-09-21T14:13:20.007Z"
    assert rest.time_from_rfc3339("2026-09-21T16:13:20.007+02:00") == NOW + 7
    assert rest.time_of(D("1762795433.9717445")) == 1762795433971


def test_assets_have_their_names() -> None:
    assert [rest.asset_altname(asset) for asset in ("BTC", "DOGE", "USD", "SOL")] == [
        "XBT",
        "XDG",
        "USD",
        "SOL",
    ]
    assert rest.asset_info("BTC")["decimals"] == 10
    assert pair_names("BTC/USD").rest_key == "XXBTZUSD"


# Limits


def test_the_counter_of_a_key_falls_with_time() -> None:
    starter = limits.REST[Verification.STARTER]
    counter: Counter | None = Counter()
    for _ in range(7):
        assert counter is not None
        counter = charge(counter, starter, 2, NOW)
    assert counter is not None and counter.level == 14
    assert charge(counter, starter, 2, NOW) is None
    assert charge(counter, starter, 1, NOW) == Counter(D(15), NOW)
    assert level_at(counter, starter, Time(NOW + 10_000)) == D("10.7")
    assert level_at(counter, starter, Time(NOW + 10**9)) == 0
    assert level_at(counter, starter, Time(NOW - 5_000)) == 14


def test_the_younger_an_order_the_more_it_costs_to_touch() -> None:
    ages = (0, 4_999, 5_000, 10_000, 15_000, 45_000, 90_000, 300_000)
    assert [trading_cost("cancel", age) for age in ages] == [8, 8, 6, 5, 4, 2, 1, 0]
    assert [trading_cost("amend", age) for age in ages] == [4, 4, 3, 2, 1, 1, 1, 1]
    assert [trading_cost("edit", age) for age in ages] == [7, 7, 6, 5, 3, 2, 1, 1]
    assert [trading_cost("add", age) for age in ages] == [1] * 8


def test_what_costs_nothing_is_never_refused() -> None:
    full = Counter(D(61), NOW)
    assert charge(full, limits.TRADING[Verification.STARTER], 0, NOW) == full
    assert charge(full, limits.TRADING[Verification.STARTER], 1, NOW) is None
