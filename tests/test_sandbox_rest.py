"""The sandbox's REST half: what an account sees and does, end to end in Kraken's words."""

from decimal import Decimal
from typing import Any

import pytest

from lotwise.domain.market import MarketStatus
from lotwise.domain.values import Time, amount
from lotwise.exchange.crowd import Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.paths import Walk
from lotwise.kraken.limits import Verification
from lotwise.kraken.rest import rfc3339
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.core import Settings
from lotwise.sandbox.wire import Request, Response, refusal
from tests.sandbox_client import NOW, SECOND, Client, client, core, owned

D = Decimal
PLACED = "buy 1 SOLUSDT limit 99"


@pytest.fixture
def a() -> Client:
    return client()


# Public


def test_answers_under_kraken_s_own_pair_names(a: Client) -> None:
    for name in ("XXBTZUSD", "XBTUSD", "xbtusd"):
        assert list(a.public("Depth", pair=name)) == ["XXBTZUSD"]
    for name in ("XBT/USD", "BTC/USD"):
        assert list(a.public("Depth", pair=name)) == [name], "a name with a slash is answered under itself"
    assert list(a.public("AssetPairs")) == ["XXBTZUSD", "SOLUSDT", "XDGUSD", "SHIBUSDT"]
    assert list(a.public("Assets", asset="XBT,ZUSD,DOGE")) == ["XXBT", "ZUSD", "XXDG"]


def test_an_unknown_pair_or_asset_is_told_as_such(a: Client) -> None:
    for name in ("Ticker", "Depth", "OHLC", "Trades", "Spread", "AssetPairs"):
        assert a.public(name, pair="NOPE") == "EQuery:Unknown asset pair"
    assert a.public("Assets", asset="NOPE") == "EQuery:Unknown asset"
    assert a.public("Depth") == "EGeneral:Invalid arguments"


def test_a_delisted_pair_is_gone(a: Client) -> None:
    a.core.exchange.set_status("SOL/USDT", MarketStatus.OFFLINE)
    assert a.public("Depth", pair="SOLUSDT") == "EQuery:Unknown asset pair"
    assert a.order(PLACED) == "EQuery:Unknown asset pair"
    assert "SOLUSDT" not in a.public("AssetPairs")


def test_clients_in_the_eea_see_no_usdt(a: Client) -> None:
    assert "SOLUSDT" in a.public("AssetPairs", country_code="US:TX")
    assert list(a.public("AssetPairs", country_code="DE")) == ["XXBTZUSD", "XDGUSD"]


def test_info_chooses_what_of_a_pair_is_told(a: Client) -> None:
    assert set(a.public("AssetPairs", pair="XBTUSD", info="margin")["XXBTZUSD"]) == {
        "margin_call",
        "margin_stop",
    }
    assert a.public("AssetPairs", info="all") == "EGeneral:Invalid arguments:info"


def test_the_book_shows_levels_best_first_up_to_a_count(a: Client) -> None:
    book = a.public("Depth", pair="SOLUSDT", count=1)["SOLUSDT"]
    assert [row[:2] for row in book["asks"]] == [["100.10000", "3.000"]]
    assert [row[:2] for row in book["bids"]] == [["99.90000", "3.000"]]
    assert a.public("Depth", pair="SOLUSDT", count=501) == "EGeneral:Invalid arguments:count"


def test_trades_are_paged_by_their_nanoseconds(a: Client) -> None:
    a.order("buy 4 SOLUSDT limit 100.5")
    told = a.public("Trades", pair="SOLUSDT")
    assert [row[:2] for row in told["SOLUSDT"]] == [["100.10000", "3.00000000"], ["100.50000", "1.00000000"]]
    first = a.public("Trades", pair="SOLUSDT", since=0, count=1)
    assert len(first["SOLUSDT"]) == 1
    second = a.public("Trades", pair="SOLUSDT", since=first["last"])
    assert second["SOLUSDT"] == told["SOLUSDT"][1:]
    third = a.public("Trades", pair="SOLUSDT", since=second["last"])
    assert (third["SOLUSDT"], third["last"]) == ([], second["last"])


def test_candles_go_on_through_minutes_without_trades(a: Client) -> None:
    a.order("buy 1 SOLUSDT market")
    a.moved(150 * SECOND)
    told = a.public("OHLC", pair="SOLUSDT")
    times = [row[0] for row in told["SOLUSDT"]]
    assert len(times) >= 3 and times == list(range(times[0], times[-1] + 1, 60))
    assert told["SOLUSDT"][-1][1:] == ["100.10"] * 4 + ["0.00", "0.00000000", 0]
    assert told["last"] == times[-2]
    later = a.public("OHLC", pair="SOLUSDT", since=times[0])["SOLUSDT"]
    assert [row[0] for row in later] == times[1:]
    assert a.public("OHLC", pair="SOLUSDT", interval=2) == "EGeneral:Invalid arguments:interval"


def test_the_ticker_of_all_pairs_leaves_out_what_never_traded(a: Client) -> None:
    assert a.public("Ticker") == {}
    assert a.public("Ticker", pair="SOLUSDT") == "EService:Unavailable"
    a.order("buy 1 SOLUSDT market")
    told = a.public("Ticker")
    assert list(told) == ["SOLUSDT"]
    assert told["SOLUSDT"]["c"] == ["100.10000", "1.00000000"]
    assert told["SOLUSDT"]["v"] == ["1.00000000", "1.00000000"]


def test_the_best_prices_are_told_as_they_came_about(a: Client) -> None:
    a.moved(5 * SECOND)
    a.order("buy 3 SOLUSDT market")
    told = a.public("Spread", pair="SOLUSDT", since=a.now // 1000)
    assert told["SOLUSDT"] == [[a.now // 1000, "99.90000", "100.50000"]]


# Orders


def test_a_limit_order_waits_and_holds_its_cost_and_fee(a: Client) -> None:
    told = a.order(PLACED, cl_ord_id="mine", oflags="post")
    assert told["descr"] == {"order": "buy 1.00000000 SOLUSDT @ limit 99.00"}
    (txid,) = told["txid"]
    order = a.private("OpenOrders")["open"][txid]
    assert (order["status"], order["vol"], order["vol_exec"]) == ("open", "1.00000000", "0.00000000")
    assert (order["cl_ord_id"], order["userref"], order["oflags"]) == ("mine", None, "fciq,post")
    assert order["descr"]["price"] == "99.00"
    assert a.private("BalanceEx")["USDT"] == {"balance": "1000.00000000", "hold_trade": "99.39600000"}


def test_a_market_order_trades_at_once_and_is_booked(a: Client) -> None:
    txid = a.placed("buy 1 SOLUSDT market")
    order = a.told(txid)
    assert (order["status"], order["reason"], order["cost"], order["fee"]) == (
        "closed",
        None,
        "100.10000",
        "0.80080",
    )
    (trade_id,) = order["trades"]
    trade = a.private("TradesHistory", ledgers="true")["trades"][trade_id]
    assert (trade["ordertxid"], trade["ordertype"], trade["maker"]) == (txid, "market", False)
    rows = a.private("QueryLedgers", id=",".join(trade["ledgers"]))
    assert {row["asset"]: (row["amount"], row["fee"]) for row in rows.values()} == {
        "SOL": ("1.0000000000", "0.0000000000"),
        "USDT": ("-100.10000000", "0.80080000"),
    }
    assert a.private("Balance") == {"SOL": "11.0000000000", "USDT": "899.09920000"}
    assert a.private("QueryTrades", txid=trade_id)[trade_id]["ledgers"] == trade["ledgers"]


def test_volume_in_quote_buys_what_the_book_gives_for_it(a: Client) -> None:
    order = a.told(a.placed("buy 400 SOLUSDT market", oflags="viqc"))
    assert D("399.9") < D(order["cost"]) <= 400
    assert D(order["vol"]) == D("3.99203980")


def test_a_fee_in_base_is_taken_from_what_is_bought(a: Client) -> None:
    a.placed("buy 1 SOLUSDT market", oflags="fcib")
    assert owned(a.core, "a", "SOL") == amount("10.992 SOL")
    assert owned(a.core, "a", "USDT") == amount("899.9 USDT")


def test_validate_checks_everything_and_does_nothing(a: Client) -> None:
    assert a.order(PLACED, validate="true") == {"descr": {"order": "buy 1.00000000 SOLUSDT @ limit 99.00"}}
    assert a.order("buy 100 SOLUSDT limit 99", validate="true") == "EOrder:Insufficient funds"
    assert a.private("OpenOrders") == {"open": {}}


def test_a_post_only_order_that_would_cross_is_taken_then_cancelled(a: Client) -> None:
    order = a.told(a.placed("buy 1 SOLUSDT limit 100.1", oflags="post"))
    assert (order["status"], order["reason"], order["vol_exec"]) == (
        "canceled",
        "Post only order",
        "0.00000000",
    )


def test_what_cannot_wait_is_cancelled_and_all_or_nothing_is_nothing(a: Client) -> None:
    some = a.told(a.placed("buy 4 SOLUSDT limit 100.2", timeinforce="IOC"))
    assert (some["status"], some["vol_exec"]) == ("canceled", "3.00000000")
    nothing = a.told(a.placed("sell 4 SOLUSDT limit 99.9", timeinforce="FOK"))
    assert (nothing["status"], nothing["vol_exec"]) == ("canceled", "0.00000000")


def test_an_order_ends_when_its_time_is_over(a: Client) -> None:
    txid = a.placed(PLACED, timeinforce="GTD", expiretm="+5")
    assert a.told(txid)["expiretm"] == a.now // 1000 + 5
    a.moved(5 * SECOND)
    assert a.told(txid)["status"] == "expired"
    assert a.private("BalanceEx")["USDT"]["hold_trade"] == "0.00000000"


def test_a_stop_holds_its_coins_until_the_price_wakes_it(a: Client) -> None:
    txid = a.placed("sell 2 SOLUSDT stop-loss 99.6", userref=7)
    assert a.told(txid)["stopprice"] == "99.60000"
    assert a.private("BalanceEx")["SOL"]["hold_trade"] == "2.0000000000"
    b = client(a.core, "10 SOL", "b")
    b.order("sell 4 SOLUSDT market")
    order = a.told(txid)
    assert (order["status"], order["misc"], order["price"]) == ("closed", "stopped", "99.50000")


def test_a_conditional_close_is_placed_for_what_is_filled(a: Client) -> None:
    close = {"close[ordertype]": "limit", "close[price]": "#5%"}
    told = a.order("buy 1 SOLUSDT limit 100.1", userref=9, **close)
    assert told["descr"]["close"] == "close position @ limit 104.89"
    ((_, child),) = a.private("OpenOrders")["open"].items()
    assert (child["refid"], child["userref"]) == (told["txid"][0], 9)
    assert (child["descr"]["type"], child["vol"]) == ("sell", "1.00000000")


def test_a_conditional_close_does_not_take_its_parent_s_name(a: Client) -> None:
    a.order(
        "buy 1 SOLUSDT limit 100.1", cl_ord_id="mine", **{"close[ordertype]": "limit", "close[price]": "110"}
    )
    assert a.private("OpenOrders", cl_ord_id="mine") == {"open": {}}
    assert a.placed(PLACED, cl_ord_id="mine")


def test_of_a_refused_order_nothing_is_kept(a: Client) -> None:
    for words in ("buy 100 SOLUSDT limit 99", "buy 1 SOLUSDT limit 99.001"):
        a.order(words, userref=3)
    assert a.core.state()["desk"]["tags"] == {"a": {}}


def test_two_accounts_trade_with_each_other_by_price_and_time(a: Client) -> None:
    b = client(a.core, "1000 USDT", "b")
    first, second = a.placed("sell 1 SOLUSDT limit 100"), a.placed("sell 1 SOLUSDT limit 100")
    b.order("buy 1 SOLUSDT limit 100")
    assert (a.told(first)["status"], a.told(second)["status"]) == ("closed", "open")
    trade = next(iter(a.private("TradesHistory")["trades"].values()))
    assert trade["maker"] is True and trade["fee"] == "0.40000"


@pytest.mark.parametrize(
    ("choice", "newest", "oldest"),
    [
        ("cancel-newest", "canceled", "open"),
        ("cancel-oldest", "open", "canceled"),
        ("cancel-both", "canceled", "canceled"),
    ],
)
def test_an_account_does_not_trade_with_itself(a: Client, choice: str, newest: str, oldest: str) -> None:
    waiting = a.placed("sell 1 SOLUSDT limit 100")
    coming = a.placed("buy 1 SOLUSDT limit 100", stptype=choice)
    assert (a.told(coming)["status"], a.told(waiting)["status"]) == (newest, oldest)


def test_a_name_is_unique_among_open_orders_only(a: Client) -> None:
    first = a.placed(PLACED, cl_ord_id="mine")
    assert a.order(PLACED, cl_ord_id="mine") == "EGeneral:Invalid arguments:cl_ord_id not unique"
    assert client(a.core, "100 USDT", "b").placed(PLACED, cl_ord_id="mine")
    assert a.private("CancelOrder", cl_ord_id="mine") == {"count": 1}
    second = a.placed(PLACED, cl_ord_id="mine")
    assert set(a.private("ClosedOrders", cl_ord_id="mine")["closed"]) == {first}
    assert set(a.private("OpenOrders", cl_ord_id="mine")["open"]) == {second}


@pytest.mark.parametrize(
    ("words", "more", "error"),
    [
        ("buy 0.019 SOLUSDT limit 99", {}, "EGeneral:Invalid arguments:volume minimum not met"),
        ("buy 0.02 SOLUSDT limit 9", {}, "EOrder:Cost minimum not met"),
        ("buy 1 SOLUSDT limit 99.001", {},
         "EOrder:Invalid price:SOL/USDT price can only be specified up to 2 decimals."),
        ("buy 0.123456789 SOLUSDT limit 99", {}, "EGeneral:Invalid arguments:volume"),
        ("buy 11 SOLUSDT limit 99", {}, "EOrder:Insufficient funds"),
        ("sell 11 SOLUSDT limit 99", {}, "EOrder:Insufficient funds"),
        ("buy 1 SOLUSDT limit 99", {"leverage": "2:1"}, "EOrder:Cannot open position"),
        ("buy 1 SOLUSDT limit 99", {"leverage": "none", "displayvol": "0.5"},
         "EGeneral:Invalid arguments:displayvol"),
        ("buy 1 SOLUSDT limit 99", {"starttm": "+5"}, "EGeneral:Invalid arguments:starttm"),
        ("buy 1 SOLUSDT limit 99", {"reduce_only": "true"}, "EGeneral:Invalid arguments:reduce_only"),
        ("buy 1 SOLUSDT stop-loss 101", {"trigger": "index"}, "EGeneral:Invalid arguments:trigger"),
        ("buy 1 SOLUSDT trailing-stop +5", {}, "EGeneral:Invalid arguments:ordertype"),
        ("buy 1 SOLUSDT limit 99", {"deadline": rfc3339(Time(NOW - 1))}, "EService:Deadline elapsed"),
        ("buy 1 SHIBUSDT market", {}, "EGeneral:Invalid arguments:volume minimum not met"),
        ("buy 200000 SHIBUSDT market", {}, "EService:Unavailable"),
        ("buy 200000 SHIBUSDT limit -5%", {}, "EGeneral:Invalid arguments:price"),
        ("buy 1 SOLUSDT limit -100%", {}, "EOrder:Invalid price"),
        ("buy 1 SOLUSDT limit 99", {"close[ordertype]": "limit", "close[price]": "110.001"},
         "EOrder:Invalid price:SOL/USDT price can only be specified up to 2 decimals."),
        ("buy 1 SOLUSDT limit 99", {"close[ordertype]": "limit", "close[price]": "-100%"},
         "EOrder:Invalid price"),
        ("buy 1 NOPE limit 1", {}, "EQuery:Unknown asset pair"),
        ("buy 0 NOPE limit 1", {}, "EGeneral:Invalid arguments:volume"),
    ],
)  # fmt: skip
def test_refuses_in_kraken_s_words(a: Client, words: str, more: dict[str, str], error: str) -> None:
    assert a.order(words, **more) == error
    assert a.private("OpenOrders") == {"open": {}}


@pytest.mark.parametrize(
    ("status", "words", "more", "error"),
    [
        ("cancel_only", PLACED, {}, "EService:Market in cancel_only mode"),
        ("post_only", PLACED, {}, "EService:Market in post_only mode"),
        ("limit_only", "buy 1 SOLUSDT market", {}, "EService:Market in limit_only mode"),
        ("reduce_only", PLACED, {}, "EService:Market in reduce_only mode"),
    ],
)
def test_a_pair_s_status_says_which_orders_it_takes(
    a: Client, status: str, words: str, more: dict[str, str], error: str
) -> None:
    waiting = a.placed(PLACED)
    a.core.exchange.set_status("SOL/USDT", MarketStatus(status))
    assert a.order(words, **more) == error
    assert a.public("AssetPairs", pair="SOLUSDT")["SOLUSDT"]["status"] == status
    assert a.private("CancelOrder", txid=waiting) == {"count": 1}


def test_in_maintenance_only_the_clock_and_the_status_answer(a: Client) -> None:
    a.core.set_system_status("maintenance")
    assert a.public("SystemStatus")["status"] == "maintenance"
    assert a.public("Time")["unixtime"] == a.now // 1000
    assert (
        a.order(PLACED) == a.private("Balance") == a.public("Depth", pair="SOLUSDT") == "EService:Unavailable"
    )
    a.core.set_system_status("online")
    assert a.placed(PLACED)


def test_no_more_orders_are_open_on_a_pair_than_the_level_allows() -> None:
    a = client(level=Verification.STARTER)
    for _ in range(60):
        a.placed("buy 0.1 SOLUSDT limit 50")
    assert a.order("buy 0.1 SOLUSDT limit 50") == "EOrder:Orders limit exceeded"
    assert a.private("CancelAll") == {"count": 60}
    assert a.placed("buy 0.1 SOLUSDT limit 50")


# Changing and cancelling


def test_an_amended_order_keeps_its_id_and_its_fills(a: Client) -> None:
    txid = a.placed("buy 4 SOLUSDT limit 100.2")
    assert a.private("AmendOrder", txid=txid, order_qty="5", limit_price="99.00")["amend_id"].startswith("T")
    order = a.told(txid)
    assert (order["vol"], order["vol_exec"], order["descr"]["price"]) == ("5.00000000", "3.00000000", "99.00")


def test_an_order_amended_to_what_is_filled_ends(a: Client) -> None:
    txid = a.placed("buy 4 SOLUSDT limit 100.2", cl_ord_id="mine")
    a.private("AmendOrder", cl_ord_id="mine", order_qty="3")
    assert (a.told(txid)["status"], a.told(txid)["vol_exec"]) == ("canceled", "3.00000000")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, "EGeneral:Invalid arguments"),
        ({"cl_ord_id": "x", "order_qty": "2"}, "EGeneral:Invalid arguments"),
        ({"trigger_price": "98"}, "EGeneral:Invalid arguments:trigger_price"),
        ({"limit_price": "0"}, "EGeneral:Invalid arguments:limit_price"),
        ({"order_qty": "0"}, "EGeneral:Invalid arguments:order_qty"),
        ({"order_qty": "0.01"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"order_qty": "100"}, "EOrder:Insufficient funds"),
        (
            {"limit_price": "99.005"},
            "EOrder:Invalid price:SOL/USDT price can only be specified up to 2 decimals.",
        ),
        ({"limit_price": "100.1", "post_only": "true"}, "EOrder:Post only order"),
        ({"display_qty": "1"}, "EGeneral:Invalid arguments:display_qty"),
        ({"order_qty": "2", "deadline": rfc3339(Time(NOW - 1))}, "EService:Deadline elapsed"),
    ],
)
def test_refuses_a_change_and_leaves_the_order(a: Client, changes: dict[str, str], error: str) -> None:
    txid = a.placed(PLACED)
    before = a.told(txid)
    assert a.private("AmendOrder", txid=txid, **changes) == error
    assert a.told(txid) == before


def test_an_edited_order_is_another_one(a: Client) -> None:
    old = a.placed("buy 2 SOLUSDT limit 99", userref=5)
    told = a.private("EditOrder", txid=old, pair="SOLUSDT", volume="3", price="98.5")
    assert (told["status"], told["originaltxid"], told["orders_cancelled"]) == ("ok", old, 1)
    assert told["descr"] == {"order": "buy 3.00000000 SOLUSDT @ limit 98.50"}
    assert a.told(old)["status"] == "canceled"
    fresh = a.told(told["txid"])
    assert (fresh["vol"], fresh["descr"]["price"], fresh["userref"]) == ("3.00000000", "98.50", 0)


def test_what_was_filled_is_taken_off_an_edit(a: Client) -> None:
    old = a.placed("buy 4 SOLUSDT limit 100.2")
    told = a.private("EditOrder", txid=old, pair="SOLUSDT", price="99")
    assert a.told(told["txid"])["vol"] == "1.00000000"
    assert a.private("EditOrder", txid=told["txid"], pair="SOLUSDT", volume="0") != told


def test_a_refused_edit_leaves_the_order(a: Client) -> None:
    old = a.placed("buy 2 SOLUSDT limit 99")
    assert a.private("EditOrder", txid=old, pair="SOLUSDT", volume="20") == "EOrder:Insufficient funds"
    assert a.private("EditOrder", txid=old, pair="XBTUSD", volume="2") == "EGeneral:Invalid arguments:pair"
    named = a.placed(PLACED, cl_ord_id="mine")
    assert a.private("EditOrder", txid=named, pair="SOLUSDT", volume="2") == "EOrder:Invalid order"
    assert a.told(old)["status"] == a.told(named)["status"] == "open"


def test_an_edit_does_not_turn_an_order_round(a: Client) -> None:
    old = a.placed(PLACED)
    told = a.private("EditOrder", txid=old, pair="SOLUSDT", type="sell", ordertype="market", volume="2")
    assert told["descr"] == {"order": "buy 2.00000000 SOLUSDT @ limit 99.00"}


def test_cancels_by_id_name_or_reference(a: Client) -> None:
    txid = a.placed(PLACED)
    assert a.private("CancelOrder", txid=txid) == {"count": 1}
    for unknown in (txid, "OU22CG-KLAF2-FWUDD7", "O1", "nonsense"):
        assert a.private("CancelOrder", txid=unknown) == "EOrder:Unknown order"
        assert a.private("AmendOrder", txid=unknown, order_qty="1") == "EOrder:Unknown order"
    assert (a.told(txid)["status"], a.told(txid)["reason"]) == ("canceled", "User requested")
    for _ in range(3):
        a.placed(PLACED, userref=-7)
    assert a.private("CancelOrder", txid="-7") == {"count": 3}
    assert a.private("CancelOrder", userref="7") == "EOrder:Unknown order"
    assert a.private("CancelOrder") == "EGeneral:Invalid arguments"


def test_nobody_sees_or_cancels_another_s_orders(a: Client) -> None:
    txid = a.placed(PLACED)
    b = client(a.core, "1 USDT", "b")
    assert b.private("CancelOrder", txid=txid) == "EOrder:Unknown order"
    assert b.private("QueryOrders", txid=txid) == {}
    assert b.private("OpenOrders") == {"open": {}}
    assert b.private("CancelAll") == {"count": 0}


def test_the_timer_cancels_all_at_its_time(a: Client) -> None:
    txid = a.placed(PLACED)
    told = a.private("CancelAllOrdersAfter", timeout=60)
    assert told == {"currentTime": "2026-09-21T14:13:20Z", "triggerTime": "2026-09-21T14:14:20Z"}
    a.moved(59 * SECOND)
    assert a.told(txid)["status"] == "open"
    a.moved(100 * SECOND)
    assert (a.told(txid)["status"], a.told(txid)["closetm"]) == ("canceled", NOW // 1000 + 60)
    txid = a.placed(PLACED)
    a.private("CancelAllOrdersAfter", timeout=60)
    assert a.private("CancelAllOrdersAfter", timeout=0)["triggerTime"] == "0"
    a.moved(100 * SECOND)
    assert a.told(txid)["status"] == "open"
    assert a.private("CancelAllOrdersAfter") == "EGeneral:Invalid arguments"


def test_what_is_due_before_the_timer_happens_before_it(a: Client) -> None:
    txid = a.placed(PLACED, timeinforce="GTD", expiretm="+30")
    a.private("CancelAllOrdersAfter", timeout=60)
    a.moved(100 * SECOND)
    assert a.told(txid)["status"] == "expired"


# Looking back


def test_histories_come_in_pages_of_fifty_newest_first(a: Client) -> None:
    txids = []
    for _ in range(60):
        txids.append(a.placed("buy 0.02 SOLUSDT market"))
        a.moved(SECOND)
    first = a.private("ClosedOrders")
    assert (list(first["closed"]), first["count"]) == (txids[:9:-1], 60)
    rest = a.private("ClosedOrders", ofs=50, without_count="true")
    assert list(rest["closed"]) == txids[9::-1] and "count" not in rest
    trades = a.private("TradesHistory", ofs=55)
    assert (len(trades["trades"]), trades["count"]) == (5, 60)
    assert a.private("Ledgers", type="trade", asset="SOL")["count"] == 60
    assert a.private("Ledgers", type="deposit")["count"] == 2
    assert a.private("TradesHistory", type="closed position") == {"trades": {}, "count": 0}


def test_a_range_leaves_out_its_start_and_keeps_its_end(a: Client) -> None:
    txids = []
    for _ in range(4):
        a.moved(10 * SECOND)
        txids.append(a.placed("buy 0.02 SOLUSDT market"))
    at = [NOW // 1000 + 10 * number for number in (1, 2, 3, 4)]
    assert list(a.private("ClosedOrders", start=at[0], end=at[2])["closed"]) == [txids[2], txids[1]]
    assert list(a.private("ClosedOrders", start=txids[2])["closed"]) == [txids[3]]
    trades = a.private("TradesHistory", start=at[2] + 0.5)["trades"]
    assert [trade["ordertxid"] for trade in trades.values()] == [txids[3]]
    assert a.private("ClosedOrders", start="OAAAAA-AAAAA-AAAAAA") == "EGeneral:Invalid arguments:start"


def test_history_may_lag_behind(a: Client) -> None:
    a.core.desk.history_lag = 30 * SECOND
    txid = a.placed("buy 1 SOLUSDT market")
    assert a.private("ClosedOrders")["count"] == a.private("TradesHistory")["count"] == 0
    a.moved(30 * SECOND)
    assert list(a.private("ClosedOrders")["closed"]) == [txid]


def test_the_fee_follows_the_volume_of_thirty_days() -> None:
    a = client(money="4 BTC, 100000 USD")
    told = a.private("TradeVolume", pair="XBTUSD")
    assert (told["volume"], told["fees"]["XXBTZUSD"]["fee"]) == ("0.0000", "0.8000")
    a.placed("sell 0.1 XBTUSD limit 99000")
    told = a.private("TradeVolume", pair="XBTUSD,SOLUSDT")
    assert (told["volume"], told["fees"]["XXBTZUSD"]["fee"]) == ("9999.0000", "0.6000")
    assert told["fees_maker"]["SOLUSDT"]["fee"] == "0.3000"
    order = a.told(a.placed("sell 0.1 XBTUSD limit 99000"))
    assert D(order["fee"]) == D(order["cost"]) * D("0.006")
    a.moved(31 * 86_400 * SECOND)
    assert a.private("TradeVolume")["volume"] == "0.0000"


def test_the_worth_of_an_account_is_told_in_the_asset_asked_for(a: Client) -> None:
    assert a.private("TradeBalance")["eb"] == "1999.0000"
    assert a.private("TradeBalance", asset="SOL")["eb"] == "19.9900"
    assert a.private("TradeBalance", asset="ZEUR") == "EQuery:Unknown asset"
    a.placed(PLACED)
    assert a.private("TradeBalance")["uv"] == "99.0000"


def test_a_key_is_told_about_itself() -> None:
    a = client(permissions=frozenset({Permission.QUERY_FUNDS}))
    told = a.private("GetApiKeyInfo")
    assert (told["apiKey"], told["permissions"]) == (a.credentials.key, ["query-funds"])
    assert (told["nonce"], told["lastUsed"]) == ("1", str(a.now // 1000))


# The core


def test_equal_requests_at_equal_times_give_equal_bytes() -> None:
    def run() -> list[bytes]:
        one = client(core(Settings(seed=3)))
        calls: list[Any] = []
        for words in ("buy 1 SOLUSDT limit 99", "buy 2 SOLUSDT market", "sell 1 SOLUSDT stop-loss 90"):
            one.order(words)
            calls.append(one.last.body)
        for name in ("OpenOrders", "ClosedOrders", "Ledgers", "GetWebSocketsToken"):
            one.private(name)
            calls.append(one.last.body)
        return calls

    assert run() == run()


def living() -> Client:
    """An account on a market that lives."""
    a = client(money="100000 USDT, 1000 SOL")
    walk = Walk(100.0, 2.0, Dice(5), NOW)
    a.core.exchange.live("SOL/USDT", Crowd(CrowdSettings(), walk, Dice(6), Time(NOW + SECOND)))
    return a


def test_a_market_that_lives_looks_the_same_however_often_one_looks() -> None:
    seldom, often = living(), living()
    seldom.moved(300 * SECOND)
    for _ in range(60):
        often.moved(5 * SECOND)
        often.public("Depth", pair="SOLUSDT")
    for name in ("Ticker", "Depth", "Trades", "OHLC", "Spread"):
        assert seldom.public(name, pair="SOLUSDT") == often.public(name, pair="SOLUSDT")
        assert seldom.last.body == often.last.body
    book = seldom.public("Depth", pair="SOLUSDT")["SOLUSDT"]
    assert D(book["bids"][0][0]) < D(book["asks"][0][0])
    assert len(seldom.public("Trades", pair="SOLUSDT")["SOLUSDT"]) > 20


def test_the_crowd_fills_what_waits() -> None:
    a = living()
    a.moved(10 * SECOND)
    best = a.public("Depth", pair="SOLUSDT", count=1)["SOLUSDT"]["asks"][0][0]
    txid = a.placed(f"sell 0.1 SOLUSDT limit {D(best):.2f}")
    a.moved(600 * SECOND)
    order = a.told(txid)
    assert (order["status"], order["vol_exec"]) == ("closed", "0.10000000")
    assert all(trade["maker"] for trade in a.private("TradesHistory")["trades"].values())


def test_a_fault_may_answer_before_or_after_the_request_is_carried_out(a: Client) -> None:
    def lost(request: Request, response: Response, now: Time) -> Response | None:
        return Response(502, b"<html>") if "AddOrder" in request.target else None

    a.core.after.append(lost)
    body = b"nonce=1&pair=SOLUSDT&type=buy&ordertype=limit&volume=1&price=99"
    assert a.core.handle(a.signed("AddOrder", "1", body), a.now).status == 502
    a.nonce = 1
    assert len(a.private("OpenOrders")["open"]) == 1
    a.core.before.append(lambda request, now: refusal("EService:Busy"))
    assert a.private("CancelAll") == "EService:Busy"
    a.core.before.clear()
    assert len(a.private("OpenOrders")["open"]) == 1


def test_a_session_commands_what_a_request_does(a: Client) -> None:
    order = {"pair": "SOL/USDT", "type": "buy", "ordertype": "limit", "volume": "1", "price": "99"}
    told = a.core.command(a.credentials.key, "AddOrder", order, a.now)
    assert isinstance(told, dict) and list(a.private("OpenOrders")["open"]) == told["txid"]
    assert a.core.command(a.credentials.key, "AddOrder", {**order, "volume": "0"}, a.now) == (
        "EGeneral:Invalid arguments:volume"
    )
    assert a.core.command("nobody", "AddOrder", order, a.now) == "EAPI:Invalid key"
    ((client_id, order_told),) = [
        (waiting.order.client_id, a.core.order(a.credentials.key, waiting.order.client_id))
        for waiting in a.core.exchange.open_orders("a")
    ]
    assert order_told is not None and order_told.txid == told["txid"][0]
    assert a.core.order(a.credentials.key, client_id + "x") is None


def test_goes_on_after_a_restart_as_if_there_had_been_none(a: Client) -> None:
    txid = a.placed(PLACED, cl_ord_id="mine", userref="")
    a.private("CancelAllOrdersAfter", timeout=60)
    token = a.private("GetWebSocketsToken")["token"]
    saved = a.core.state()
    again = core()
    again.exchange = a.core.exchange
    again.desk.exchange = a.core.exchange
    for key in a.core.keys.all():
        again.open_account(key.account)
        again.add_key(key)
    again.restore(saved)
    a.core = again
    assert again.state() == saved
    assert a.sent(a.signed("Balance", "1", b"nonce=1")) == "EAPI:Invalid nonce"
    assert a.told(txid)["cl_ord_id"] == "mine"
    assert again.token_account(token, a.now) == a.credentials.key
    a.moved(60 * SECOND)
    assert a.told(txid)["status"] == "canceled"
