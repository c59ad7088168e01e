"""Kraken's WebSocket v2 in words: exact numbers, requests and answers, and every message both ways."""

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.market import FeeAsset, Liquidity, Market, MarketStatus
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Expired,
    Fill,
    Order,
    OrderType,
    Purpose,
    TimeInForce,
)
from lotwise.domain.values import Amount, Side, Time, amount, exact
from lotwise.kraken.rest_orders import new_order, order_parameters
from lotwise.kraken.stream import (
    MAX_CHARACTERS,
    Answer,
    Malformed,
    Refused,
    Request,
    answer_of,
    failure,
    pong,
    read,
    request_of,
    success,
    timestamp,
    write,
)
from lotwise.kraken.stream_account import (
    ExecType,
    Execution,
    Known,
    change_row,
    order_row,
    past_trade_row,
    report_of,
    trade_row,
)
from lotwise.kraken.stream_balances import (
    BalanceChange,
    balance_of,
    balance_row,
    change_of,
)
from lotwise.kraken.stream_balances import change_row as balance_change_row
from lotwise.kraken.stream_channels import acknowledged, subscribe, subscriptions, unsubscribe
from lotwise.kraken.stream_market import (
    BookChange,
    Kind,
    Ticker,
    Trade,
    bar_of,
    bar_row,
    book_of,
    book_row,
    decimals_of,
    listing_of,
    message,
    pair_row,
    printer_of,
    snapshot_of,
    status_message,
    status_of,
    system_of,
    ticker_of,
    ticker_row,
    trade_of,
)
from lotwise.kraken.stream_market import trade_row as public_trade_row
from lotwise.kraken.stream_orders import add_order, amend_order, calls, cancel_order, result_of

PAYLOADS = Path(__file__).parents[1].parent / "shared/data/kraken/payloads"
NOW = Time(1_790_359_706_844)

MARKET = Market(
    "BTC/USD",
    tick_size=Decimal("0.1"),
    lot_step=Decimal("0.00000001"),
    min_quantity=Decimal("0.00005"),
    min_notional=Decimal("0.5"),
    quote_precision=5,
    maker_fee=Decimal("0.004"),
    taker_fee=Decimal("0.008"),
)
PRINTER = printer_of(MARKET)


def payload(name: str) -> dict[str, Any]:
    file = PAYLOADS / f"{name}.json"
    if not file.exists():
        pytest.skip(f"../shared/data/kraken/payloads/{name}.json is absent")
    return read(file.read_text())


def shape(value: Any) -> Any:
    """The types and field names of a message, its lists by their first item; numbers are of one kind."""
    match value:
        case dict():
            return {name: shape(item) for name, item in value.items()}
        case list() | tuple():
            return [shape(item) for item in value[:1]]
        case bool():
            return "boolean"
        case int() | Decimal():
            return "number"
        case _:
            return type(value).__name__


def order(**changes: Any) -> Order:
    fields: dict[str, Any] = {
        "client_id": "mine-1",
        "symbol": "BTC/USD",
        "side": Side.BUY,
        "type": OrderType.LIMIT,
        "quantity": Decimal("0.01"),
        "price": Decimal("30000"),
        "reserve": amount("0 USD"),
        "purpose": Purpose.ENTRY,
        "time": NOW,
    }
    return Order(**{**fields, **changes})


def fill(trade_id: str = "TA", quantity: str = "0.004", price: str = "30000") -> Fill:
    cost = exact(quantity) * exact(price)
    return Fill(
        trade_id,
        "mine-1",
        "BTC/USD",
        Side.BUY,
        exact(price),
        exact(quantity),
        Amount(cost, "USD"),
        amount("0.96 USD"),
        Liquidity.TAKER,
        NOW,
    )


def known(*fills: Fill, **changes: Any) -> Known:
    executions = tuple(Execution(one, one.trade_id, number) for number, one in enumerate(fills, 1))
    fields: dict[str, Any] = {
        "order": order(),
        "terms": MARKET,
        "order_id": "OABCDE-12345-FGHIJK",
        "accepted": NOW,
        "executions": executions,
        "cl_ord_id": "mine-1",
    }
    return Known(**{**fields, **changes})


# Text


def test_numbers_come_in_and_go_out_with_their_digits() -> None:
    text = '{"price":66788.0,"qty":0.10000000,"gone":0.00000000,"count":12,"small":1e-08}'
    message = read(text)
    assert message["price"] == Decimal("66788.0") and str(message["price"]) == "66788.0"
    assert write(message) == text.replace("1e-08", "0.00000001")


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=-(10**15), max_value=10**15))
def test_no_decimal_passes_through_a_float(number: Decimal) -> None:
    back = read(write({"n": number}))["n"]
    assert back == number and f"{back:f}" == f"{number:f}"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.text()
    | st.decimals(-(10**9), 10**9, places=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_what_is_written_reads_back_and_is_plain_json(value: dict[str, Any]) -> None:
    assert read(write(value)) == value
    json.loads(write(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[]",
        "12",
        '{"a":NaN}',
        '{"a":Infinity}',
        '{"a":1e999}',
        '{"a":' + "9" * 5000 + "}",
        '{"a":' + "[" * 100_000 + "}",
        '{"a":0.' + "1" * 200 + "}",
        b"\xff\xfe\x00",
        "x" * (MAX_CHARACTERS + 1),
    ],
)
def test_what_is_no_message_is_malformed(text: str | bytes) -> None:
    with pytest.raises(Malformed):
        read(text)


def test_times_are_told_in_utc_with_as_many_digits_as_asked_for() -> None:
    assert timestamp(NOW) == "2026-09-25T18:08:26.844000Z"
    assert timestamp(NOW, digits=9) == "2026-09-25T18:08:26.844000000Z"
    assert timestamp(NOW, digits=3) == "2026-09-25T18:08:26.844Z"
    assert timestamp(NOW, digits=0) == "2026-09-25T18:08:26Z"


# Requests and answers


def test_a_request_is_read_as_it_was_written() -> None:
    for request in (
        Request("ping", {}, 42),
        subscribe("book", ["BTC/USD"], 7, depth=25),
        unsubscribe("executions", token="t"),
        add_order(order(), "t", Time(NOW + 5000), 9),
        cancel_order(["mine-1"], "t"),
        amend_order("mine-1", "t", Decimal("0.02"), Decimal("1.50")),
    ):
        assert request_of(read(write(request.message()))) == request


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "Method(s) not found"),
        ('{"method":5}', "Method field must be a string"),
        ('{"method":"ping","req_id":"1"}', "Req_id field must be an integer"),
        ('{"method":"ping","req_id":true}', "Req_id field must be an integer"),
        ('{"method":"subscribe","params":[]}', "Params field must be an object"),
        ('{"method":"subscribe","error":1}', "Unsupported field: 'error' for the given msg type: subscribe"),
    ],
)
def test_a_frame_that_is_no_request_is_refused_in_krakens_words(text: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        request_of(read(text))
    assert refused.value.error == words


def subscription_error(**params: Any) -> str:
    with pytest.raises(Refused) as refused:
        subscriptions(Request("subscribe", params, 5))
    assert refused.value.beside == {"method": "subscribe", "req_id": 5}
    return refused.value.error


def test_a_subscription_that_cannot_be_is_refused_in_krakens_words() -> None:
    btc = ["BTC/USD"]
    assert subscription_error() == "Channel(s) not found"
    assert subscription_error(channel="nothing") == "Subscription name invalid"
    assert subscription_error(channel="ticker") == "Symbol(s) not found"
    assert (
        subscription_error(channel="ticker", symbol="BTC/USD") == "Symbol field must be an array of strings"
    )
    assert subscription_error(channel="ticker", symbol=[]) == "Symbol(s) not found"
    assert subscription_error(channel="book", symbol=btc, depth=7) == "Subscription depth not supported"
    assert subscription_error(channel="book", symbol=btc, depth="10") == "Depth field must be an integer"
    assert subscription_error(channel="ohlc", symbol=btc, interval=7) == (
        "Subscription ohlc interval not supported"
    )
    assert subscription_error(channel="trade", symbol=btc, snapshot=1) == "Snapshot field must be a boolean"
    assert subscription_error(channel="trade", symbol=btc, depth=10) == (
        "Unsupported field: 'depth' for the given msg type: subscribe"
    )


def test_there_is_one_subscription_for_each_symbol() -> None:
    both = subscriptions(subscribe("book", ["BTC/USD", "SOL/USD"], depth=25))
    assert [(one.symbol, one.options["depth"]) for one in both] == [("BTC/USD", 25), ("SOL/USD", 25)]
    assert both[0] != subscriptions(subscribe("book", ["BTC/USD"], depth=10))[0]
    assert both[0] == subscriptions(subscribe("book", ["BTC/USD"], depth=25, snapshot=False))[0]


def test_an_answer_reads_as_a_result_or_an_error() -> None:
    request = Request("add_order", {}, 9)
    assert answer_of(success(request, {"order_id": "O1"}, NOW, NOW)) == Answer(
        "add_order", 9, {"order_id": "O1"}, None
    )
    refused = request.refused("EOrder:Insufficient funds")
    assert answer_of(failure(refused, NOW, NOW)) == Answer("add_order", 9, None, "EOrder:Insufficient funds")
    assert answer_of(pong(Request("ping", {}, 1), NOW, NOW)) == Answer("pong", 1, None, None)


def test_what_does_not_say_that_it_succeeded_has_failed() -> None:
    for told in ({"success": "true"}, {"success": 1}, {}):
        answer = answer_of({"method": "add_order", **told})
        assert answer is not None and answer.error == "no reason given"
    recorded = {
        "channel": "executions",
        "method": "subscribe",
        "success": False,
        "error": "ESession:Invalid session",
    }
    answer = answer_of(recorded)
    assert answer is not None and answer.error == "ESession:Invalid session"
    assert answer_of({"channel": "heartbeat"}) is None


# Shapes, both ways


def test_answers_have_the_shapes_that_kraken_documents() -> None:
    told = subscriptions(subscribe("ticker", ["BTC/USD"]))[0]
    made = success(Request("subscribe", {}, 1), acknowledged(told, True), NOW, NOW)
    assert shape(made) == shape(payload("ws_subscribe_response"))
    assert shape(pong(Request("ping", {}, 42), NOW, NOW)) == shape(payload("ws_pong"))
    refused = Request("add_order", {}, 99).refused("EOrder:Insufficient funds")
    assert shape(failure(refused, NOW, NOW)) == shape(payload("ws_add_order_response_failure"))


def test_an_accepted_order_is_answered_in_krakens_shape() -> None:
    request = request_of(payload("ws_add_order_request"))
    call = calls(request, NOW)[0]
    result = result_of(call, {"txid": ["OABCDE-12345-FGHIJK"]})
    expected = payload("ws_add_order_response_success")
    # Kraken's example answers order_userref beside cl_ord_id although the two exclude each other.
    del expected["result"]["order_userref"]
    assert shape(success(request, result, NOW, NOW)) == shape(expected)


def test_a_ticker_has_krakens_shape_and_reads_back() -> None:
    told = payload("ws_ticker_snapshot")
    ticker = ticker_of(told["data"][0])
    assert ticker.bid == Decimal("105944.20") and ticker.change_percent == Decimal("0.24")
    made = message("ticker", Kind.SNAPSHOT, [ticker_row(ticker, PRINTER)])
    # Since 2026 a ticker counts its trades, which the older example does not.
    del made["data"][0]["trades"]
    assert shape(made) == shape(told)
    numbers = map(Decimal, ("1.5", "2", "1.6", "3", "1.5", "9", "1.4", "1.0", "2.0", "-0.5", "-25.00"))
    again = Ticker("BTC/USD", *numbers, 7, NOW)  # type: ignore[arg-type,call-arg]
    assert ticker_of(read(write(ticker_row(again, PRINTER)))) == again


def test_public_trades_have_krakens_shape_and_read_back() -> None:
    told = payload("ws_trade_update")
    trades = [trade_of(row) for row in told["data"]]
    assert trades[1] == Trade(
        "BTC/USD",
        Side.SELL,
        Decimal("105910.50"),
        Decimal("0.00012460"),
        OrderType.MARKET,
        10218209,
        Time(1696613756123),
    )
    made = message("trade", Kind.UPDATE, [public_trade_row(trade, PRINTER) for trade in trades])
    assert shape(made) == shape(told)
    assert [trade_of(row) for row in read(write(made))["data"]] == trades


def test_candles_have_krakens_shape_and_read_back() -> None:
    told = payload("ws_ohlc_update")
    bar = bar_of(told["data"][0])
    assert bar.begin == Time(1696436700000) and bar.trades == 12 and bar.volume == Decimal("30927.68066226")
    row = bar_row(bar, PRINTER)
    assert row["timestamp"] == "2023-10-04T16:26:00.000000Z"
    # The deprecated end of the interval is not in the example; Kraken's documentation has it.
    del row["timestamp"]
    assert shape(message("ohlc", Kind.UPDATE, [row])) == shape(told)
    assert bar_of(read(write(row))) == bar


def test_books_have_krakens_shape_and_read_back() -> None:
    snapshot, update = payload("ws_book_snapshot"), payload("ws_book_update")
    whole = book_of(snapshot["data"][0])
    assert whole.bids[0] == (Decimal("105944.20"), Decimal("0.136")) and whole.checksum == 2439117997
    made = snapshot_of("BTC/USD", PRINTER.levels(whole.bids), PRINTER.levels(whole.asks), whole.time)
    assert shape(message("book", Kind.SNAPSHOT, [book_row(made)])) == shape(snapshot)
    assert book_of(read(write(book_row(made)))) == made
    change = book_of(update["data"][0])
    assert shape(message("book", Kind.UPDATE, [book_row(change)])) == shape(update)
    assert change == BookChange(
        "BTC/USD", ((Decimal("105944.2"), Decimal("0.25")),), (), 2114181697, change.time
    )


def test_instruments_tell_the_rules_in_force() -> None:
    row = read(write(pair_row(MARKET, MarketStatus.POST_ONLY)))
    listing = listing_of(row, date(2026, 9, 25))
    assert (listing.min_quantity, listing.min_notional) == (MARKET.min_quantity, MARKET.min_notional)
    assert (listing.tick_size, listing.lot_step, listing.quote_precision) == (
        MARKET.tick_size,
        MARKET.lot_step,
        MARKET.quote_precision,
    )
    assert status_of(row) is MarketStatus.POST_ONLY
    assert (row["price_precision"], row["qty_precision"]) == (1, 8)
    assert status_of({"status": "work_in_progress"}) is MarketStatus.OFFLINE


def test_instruments_tell_with_how_many_decimals_a_coin_is_kept() -> None:
    told = {"assets": [{"id": "BTC", "precision": 4}, {"id": "ODD"}], "pairs": []}
    assert decimals_of(told, {"BTC", "ETH"}) == {"BTC": 4} and decimals_of({"pairs": []}, {"BTC"}) == {}
    row = read(write(pair_row(MARKET, MarketStatus.ONLINE)))
    assert listing_of(row, date(2026, 9, 25), {"BTC": 4}).lot_step == Decimal("0.0001")
    assert listing_of(row, date(2026, 9, 25), {"BTC": 10}).lot_step == MARKET.lot_step


def test_the_status_names_the_system_and_the_connection() -> None:
    data = status_message("online", 7)["data"][0]
    assert (system_of(data), data["connection_id"], data["api_version"]) == ("online", 7, "v2")


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"symbol": 5},
        {"symbol": "BTC/USD", "side": "long", "price": 1, "qty": 1, "ord_type": "limit", "trade_id": 1},
        {"symbol": "BTC/USD", "side": "buy", "price": "1", "qty": 1, "ord_type": "limit", "trade_id": 1},
        {"symbol": "BTC/USD", "side": "buy", "price": 1, "qty": 1, "ord_type": "limit", "trade_id": True},
    ],
)
def test_a_row_that_is_none_is_malformed(row: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        trade_of({**row, "timestamp": "2026-09-25T18:08:26Z"})


# Orders


def rest_call(**params: Any) -> dict[str, str]:
    fields = {"order_type": "limit", "side": "buy", "order_qty": 1, "symbol": "BTC/USD", "token": "t"}
    return calls(Request("add_order", {**fields, **params}), NOW)[0].parameters


def order_error(method: str = "add_order", **params: Any) -> str:
    with pytest.raises(Refused) as refused:
        calls(Request(method, {"token": "t", **params}, 3), NOW)
    assert refused.value.beside == {"method": method, "req_id": 3}
    return refused.value.error


@pytest.mark.parametrize(
    "placed",
    [
        order(),
        order(post_only=True, side=Side.SELL, fee_asset=FeeAsset.QUOTE),
        order(type=OrderType.MARKET, price=None),
        order(time_in_force=TimeInForce.IOC, fee_asset=FeeAsset.BASE),
        order(time_in_force=TimeInForce.GTD, expires=Time(NOW - NOW % 1000 + 60_000)),
        order(type=OrderType.STOP_LOSS, side=Side.SELL, price=None, trigger=Decimal("28000")),
        order(type=OrderType.TAKE_PROFIT_LIMIT, side=Side.SELL, trigger=Decimal("33000.5")),
    ],
)
def test_an_order_means_the_same_over_websocket_and_rest(placed: Order) -> None:
    request = request_of(read(write(add_order(placed, "t").message())))
    streamed = {**calls(request, NOW)[0].parameters, "pair": "XBTUSD"}
    assert new_order(streamed, NOW) == new_order(order_parameters(placed), NOW)


def test_prices_with_a_type_become_relative_prices() -> None:
    assert rest_call(limit_price=Decimal("1.5"))["price"] == "1.5"
    assert rest_call(limit_price=Decimal("-2.0"), limit_price_type="pct")["price"] == "-2%"
    assert rest_call(limit_price=150, limit_price_type="quote")["price"] == "+150"
    stop = rest_call(
        order_type="stop-loss-limit",
        limit_price=29,
        triggers={"price": Decimal("-2.5"), "price_type": "pct", "reference": "last"},
    )
    assert (stop["price"], stop["price2"], stop["trigger"]) == ("-2.5%", "29", "last")


def test_every_other_field_has_its_rest_name() -> None:
    told = rest_call(
        cash_order_qty=Decimal("12.5"),
        order_userref=7,
        fee_preference="base",
        post_only=True,
        no_mpp=True,
        stp_type="cancel_both",
        time_in_force="gtd",
        expire_time="2026-10-01T00:00:00.500Z",
        effective_time="2026-09-30T00:00:00Z",
        margin=True,
        reduce_only=True,
        display_qty=1,
        validate=True,
        deadline="2026-09-25T18:08:30Z",
        conditional={"order_type": "stop-loss-limit", "trigger_price": 28, "limit_price": 27},
    )
    assert told == {
        "pair": "BTC/USD",
        "type": "buy",
        "ordertype": "limit",
        "volume": "12.5",
        "oflags": "post,fcib,viqc,nompp",
        "timeinforce": "GTD",
        "expiretm": "1790812800.5",
        "starttm": "1790726400",
        "displayvol": "1",
        "leverage": "2",
        "reduce_only": "true",
        "stptype": "cancel-both",
        "validate": "true",
        "userref": "7",
        "close[ordertype]": "stop-loss-limit",
        "close[price]": "28",
        "close[price2]": "27",
    }


def test_a_field_of_another_type_is_refused_in_krakens_words() -> None:
    assert order_error(order_qty="1") == "Order_qty field must be a number_float"
    assert order_error(order_qty=10**40) == "Order_qty field must be a number_float"
    assert order_error(limit_price=True) == "Limit_price field must be a number_float"
    assert order_error(post_only=1) == "Post_only field must be a boolean"
    assert order_error(order_userref="x") == "Order_userref field must be an integer"
    assert order_error(triggers=5) == "Triggers field must be an object"
    assert order_error(triggers={"price": "5"}) == "Price field must be a number_float"
    assert order_error(price=5) == "Unsupported field: 'price' for the given msg type: add order"
    assert order_error("cancel_order", order_id="O1") == "Order_id field must be an array"
    assert order_error("cancel_order", order_id=[5]) == "Order_id field must be a string"


def test_a_field_that_is_missing_is_named() -> None:
    assert order_error() == "Order_type(s) not found"
    assert order_error(order_type="limit", side="buy", symbol="BTC/USD") == "Order_qty(s) not found"
    assert order_error("amend_order", order_qty=1) == "Order_id(s) not found"
    assert order_error("edit_order", order_id="O1") == "Symbol(s) not found"
    assert order_error("cancel_order") == "Order_id(s) not found"
    assert order_error("cancel_all_orders_after") == "Timeout(s) not found"


def test_a_deadline_lies_between_half_a_second_and_a_minute_ahead() -> None:
    invalid = "EGeneral:Invalid arguments:deadline"
    assert order_error(deadline="2026-09-25T18:08:26.843Z") == "EService:Deadline elapsed"
    assert order_error(deadline="2026-09-25T18:08:27.000Z") == invalid
    assert order_error(deadline="2026-09-25T18:09:26.845Z") == invalid
    assert order_error(deadline="soon") == invalid
    assert rest_call(deadline="2026-09-25T18:08:27.344Z")["volume"] == "1"


def test_a_word_that_a_field_does_not_know_is_an_invalid_argument() -> None:
    whole: dict[str, Any] = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD"}
    whole |= {"order_qty": 1, "limit_price": 5}
    for wrong in (
        {"limit_price_type": "half"},
        {"stp_type": "cancel_none"},
        {"fee_preference": "gold"},
        {"expire_time": "tomorrow"},
    ):
        (name,) = wrong
        assert order_error(**{**whole, **wrong}) == f"EGeneral:Invalid arguments:{name}"


def test_batches_are_answered_with_invalid_arguments() -> None:
    for name in ("batch_add", "batch_cancel"):
        assert order_error(name) == "EGeneral:Invalid arguments"
    assert order_error(method="batch_add") == "EGeneral:Invalid arguments"


def test_krakens_example_requests_become_rest_calls() -> None:
    added = calls(request_of(payload("ws_add_order_request")), NOW)[0]
    assert added.endpoint == "AddOrder" and new_order(added.parameters, NOW).price == 30000
    amended = calls(request_of(payload("ws_amend_order_request")), NOW)[0]
    assert (amended.endpoint, amended.parameters["order_qty"]) == ("AmendOrder", "0.005")
    canceled = calls(request_of(payload("ws_cancel_order_request")), NOW)
    assert [(call.endpoint, call.parameters) for call in canceled] == [
        ("CancelOrder", {"txid": "OABCDE-12345-FGHIJ"})
    ]
    with pytest.raises(Refused):
        calls(request_of(payload("ws_batch_add_request")), NOW)


def test_each_order_to_cancel_is_a_call_of_its_own() -> None:
    request = Request("cancel_order", {"order_id": ["O1", "O2"], "cl_ord_id": ["a"], "order_userref": [7]})
    told = [(call.parameters, dict(call.named)) for call in calls(request, NOW)]
    assert told == [
        ({"txid": "O1"}, {"order_id": "O1"}),
        ({"txid": "O2"}, {"order_id": "O2"}),
        ({"cl_ord_id": "a"}, {"cl_ord_id": "a"}),
        ({"txid": "7"}, {"order_userref": 7}),
    ]


# Executions and balances


def test_an_order_that_comes_in_is_told_whole() -> None:
    row = order_row(known(), ExecType.PENDING_NEW, NOW)
    assert (row["exec_type"], row["order_status"]) == ("pending_new", "pending_new")
    assert write(row["order_qty"]) == "0.01000000" and write(row["limit_price"]) == "30000.0"
    assert (row["cl_ord_id"], row["order_userref"], row["fee_ccy_pref"]) == ("mine-1", 0, "fciq")


def test_a_trade_that_completes_an_order_says_partially_filled_all_the_same() -> None:
    whole = known(fill("TA", "0.004"), fill("TB", "0.006", "30001"))
    first, last = (trade_row(whole, execution) for execution in whole.executions)
    assert (first["cum_qty"], first["cum_cost"], first["avg_price"]) == (Decimal("0.004"), 120, 30000)
    assert (last["cum_qty"], last["cum_cost"], last["avg_price"]) == (
        Decimal("0.01"),
        Decimal("300.006"),
        Decimal("30000.6"),
    )
    assert last["order_status"] == "partially_filled"
    assert change_row(whole, ExecType.FILLED, NOW)["order_status"] == "filled"
    assert past_trade_row(whole, whole.executions[0])["order_status"] == "filled"


def test_a_cancelled_order_says_why_and_what_it_filled() -> None:
    row = change_row(known(fill()), ExecType.CANCELED, NOW, "User requested")
    assert (row["reason"], row["cancel_reason"]) == ("User requested", "User requested")
    assert (row["order_status"], row["cum_qty"], row["cum_cost"]) == ("canceled", Decimal("0.004"), 120)


def test_an_amended_order_tells_what_it_reads_now() -> None:
    row = change_row(known(fill(), amended=True), ExecType.AMENDED, NOW, "User requested")
    assert (row["amended"], row["order_qty"], row["order_status"]) == (
        True,
        Decimal("0.01"),
        "partially_filled",
    )
    assert "cancel_reason" not in row


def test_a_trigger_is_told_with_its_state() -> None:
    stop = order(type=OrderType.STOP_LOSS, price=None, side=Side.SELL, trigger=Decimal("28000"))
    waiting = order_row(known(order=stop), ExecType.PENDING_NEW, NOW)
    assert waiting["triggers"] == {
        "reference": "last",
        "price": 28000,
        "price_type": "static",
        "actual_price": 28000,
        "status": "untriggered",
    }
    woken = change_row(known(order=stop, triggered=True), ExecType.STATUS, NOW)
    assert woken["triggers"]["status"] == "triggered"


def test_a_close_and_a_parent_are_told() -> None:
    close = (OrderType.STOP_LOSS_LIMIT, Decimal("27000"), Decimal("28000"))
    row = order_row(known(contingent=close, parent="OPARENT"), ExecType.NEW, NOW)
    assert row["ord_ref_id"] == "OPARENT"
    assert row["contingent"] == {
        "order_type": "stop-loss-limit",
        "limit_price": 27000,
        "limit_price_type": "static",
        "trigger_price": 28000,
        "trigger_price_type": "static",
    }


def test_what_is_told_of_an_order_reads_back_as_its_reports() -> None:
    of = known(fill())
    rows = {
        ExecType.NEW: Accepted("mine-1", of.order_id, NOW),
        ExecType.CANCELED: Canceled("mine-1", "why", NOW),
        ExecType.EXPIRED: Expired("mine-1", NOW),
        ExecType.FILLED: None,
    }
    for happened, report in rows.items():
        row = read(write(change_row(of, happened, NOW, "why")))
        assert report_of(row) == report
    assert report_of(read(write(trade_row(of, of.executions[0])))) == of.executions[0].fill
    assert report_of(read(write(order_row(of, ExecType.PENDING_NEW, NOW)))) is None


def test_an_order_without_a_name_of_ours_is_known_by_krakens() -> None:
    nameless = known(cl_ord_id=None)
    assert report_of(change_row(nameless, ExecType.NEW, NOW)) == Accepted(
        nameless.order_id, nameless.order_id, NOW
    )


def test_balances_read_back() -> None:
    held = amount("80595.4943 USD")
    assert balance_of(read(write(balance_row(held)))) == held
    change = BalanceChange(
        "LA", "TA", NOW, "trade", "USD", Decimal("-19.9743"), Decimal("0.0499"), Decimal("118.0677")
    )
    assert change_of(read(write(balance_change_row(change)))) == change
