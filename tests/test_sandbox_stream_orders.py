"""Orders, executions and balances over the sandbox's private WebSocket, on a real exchange."""

from decimal import Decimal
from typing import Any

import pytest

from lotwise.domain.market import MarketStatus
from lotwise.domain.orders import Canceled, Fill
from lotwise.domain.values import amount
from lotwise.kraken.signature import credentials
from lotwise.kraken.stream import Message
from lotwise.kraken.stream_account import report_of
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.keys import ApiKey, made_up_key
from tests.test_sandbox_stream import BTC, SOL, World, error, of


class Account:
    """A private connection of one account."""

    def __init__(self, world: World, account: int = 0) -> None:
        self.world, self.token, self.client = world, world.token(account), world.connect(private=True)
        self.client.hear()

    def listen(self, channel: str = "executions", **options: Any) -> list[Message]:
        return self.client.say("subscribe", channel=channel, token=self.token, **options)

    def ask(self, method: str, req_id: int | None = None, **params: Any) -> list[Message]:
        return self.client.say(method, req_id, token=self.token, **params)

    def limit(self, side: str, price: str, quantity: str = "0.01", **more: Any) -> list[Message]:
        fields: dict[str, Any] = {
            "order_type": "limit",
            "side": side,
            "symbol": BTC,
            "order_qty": Decimal(quantity),
        }
        return self.ask("add_order", **fields, limit_price=Decimal(price), **more)

    def market(self, side: str, quantity: str, **more: Any) -> list[Message]:
        fields: dict[str, Any] = {
            "order_type": "market",
            "side": side,
            "symbol": BTC,
            "order_qty": Decimal(quantity),
        }
        return self.ask("add_order", **fields, **more)


@pytest.fixture
def quiet() -> World:
    """No crowd: two far orders, and between them only the two accounts trade."""
    world = World(crowd=False)
    far = (Decimal(40_000), Decimal(1)), (Decimal(70_000), Decimal(1))
    world.exchange.show_depth(BTC, far[:1], far[1:], world.now)
    return world


@pytest.fixture
def ada(quiet: World) -> Account:
    return Account(quiet, 0)


@pytest.fixture
def bob(quiet: World) -> Account:
    return Account(quiet, 1)


def result(messages: list[Message]) -> Message:
    answers = [message for message in messages if "method" in message]
    assert len(answers) == 1 and answers[0]["success"], answers
    found = answers[0]["result"]
    assert isinstance(found, dict)
    return found


def events(messages: list[Message]) -> list[Message]:
    return [row for message in of("executions", messages) for row in message["data"]]


def story(messages: list[Message]) -> list[tuple[str, str]]:
    return [(row["exec_type"], row["order_status"]) for row in events(messages)]


# Orders


def test_an_order_is_answered_first_and_then_told(ada: Account) -> None:
    ada.listen()
    heard = ada.limit("buy", "50000", cl_ord_id="mine-1")
    assert [message.get("method", message.get("channel")) for message in heard] == [
        "add_order",
        "executions",
        "executions",
    ]
    order_id = result(heard)["order_id"]
    assert result(heard)["cl_ord_id"] == "mine-1" and order_id[0] == "O" and len(order_id) == 19
    assert story(heard) == [("pending_new", "pending_new"), ("new", "new")]
    assert {row["order_id"] for row in events(heard)} == {order_id}
    assert events(heard)[0]["limit_price"] == 50000 and events(heard)[0]["cl_ord_id"] == "mine-1"


def test_a_trade_that_completes_the_order_is_followed_by_filled(ada: Account, bob: Account) -> None:
    ada.listen()
    ada.limit("buy", "50000", "0.01")
    bob.market("sell", "0.004")
    assert story(ada.client.hear()) == [("trade", "partially_filled")]
    bob.market("sell", "0.006")
    heard = ada.client.hear()
    assert story(heard) == [("trade", "partially_filled"), ("filled", "filled")]
    trade = events(heard)[0]
    assert (trade["cum_qty"], trade["last_qty"]) == (Decimal("0.01"), Decimal("0.006"))
    assert (trade["liquidity_ind"], trade["fees"][0]["asset"]) == ("m", "USD")


def test_the_taker_hears_its_own_side(ada: Account, bob: Account) -> None:
    bob.listen()
    ada.limit("buy", "50000", "0.01")
    heard = bob.market("sell", "0.01")
    assert story(heard) == [
        ("pending_new", "pending_new"),
        ("new", "new"),
        ("trade", "partially_filled"),
        ("filled", "filled"),
    ]
    assert events(heard)[2]["liquidity_ind"] == "t" and events(heard)[2]["last_price"] == 50000


def test_private_and_public_name_a_trade_alike(ada: Account, bob: Account) -> None:
    watching = ada.world.connect()
    watching.say("subscribe", channel="trade", symbol=[BTC])
    ada.listen()
    ada.limit("buy", "50000", "0.01")
    bob.market("sell", "0.01")
    private, public = events(ada.client.hear())[0], of("trade", watching.hear())[0]["data"][0]
    assert (private["last_price"], private["last_qty"]) == (public["price"], public["qty"])
    assert (public["side"], public["ord_type"]) == ("sell", "market")


def test_what_is_heard_reads_as_domain_reports(ada: Account, bob: Account) -> None:
    ada.listen()
    ada.limit("buy", "50000", "0.01", cl_ord_id="mine-1")
    bob.market("sell", "0.004")
    heard = ada.client.hear() + ada.ask("cancel_order", cl_ord_id=["mine-1"])
    reports = [report_of(row) for row in events(heard)]
    assert isinstance(reports[0], Fill) and reports[0].quantity == Decimal("0.004")
    assert isinstance(reports[1], Canceled) and reports[1].client_id == "mine-1"


def test_each_cancelled_order_is_answered_by_itself(ada: Account) -> None:
    first = result(ada.limit("buy", "50000"))["order_id"]
    ada.limit("buy", "49000", cl_ord_id="second")
    ada.limit("buy", "48000", order_userref=77)
    answers = ada.ask("cancel_order", 5, order_id=[first, "OAAAAA-AAAAA-AAAAAA"], cl_ord_id=["second"])
    told = [(answer["success"], answer.get("result", answer.get("error"))) for answer in answers]
    assert told == [
        (True, {"order_id": first}),
        (False, "EOrder:Unknown order"),
        (True, {"cl_ord_id": "second"}),
    ]
    assert {answer["req_id"] for answer in answers} == {5}
    assert result(ada.ask("cancel_order", order_userref=[77])) == {"order_userref": 77}


def test_a_cancelled_order_says_who_wanted_it(ada: Account) -> None:
    ada.listen()
    ada.limit("buy", "50000")
    heard = ada.ask("cancel_all")
    assert result(heard) == {"count": 1}
    row = events(heard)[0]
    assert (row["exec_type"], row["reason"], row["cum_qty"]) == ("canceled", "User requested", 0)


def test_a_post_only_order_that_would_cross_is_accepted_and_then_cancelled(
    ada: Account, bob: Account
) -> None:
    bob.limit("sell", "50000")
    ada.listen()
    heard = ada.limit("buy", "50000", post_only=True)
    assert result(heard)["order_id"]
    assert story(heard)[-1] == ("canceled", "canceled")
    assert events(heard)[-1]["reason"] == "Post only order"


def test_an_order_whose_time_is_over_expires(ada: Account) -> None:
    ada.listen()
    ada.limit("buy", "50000", time_in_force="gtd", expire_time="2026-09-25T18:00:30Z")
    assert story(ada.client.hear(29_000)) == []
    assert story(ada.client.hear(1_000)) == [("expired", "expired")]


def test_an_amended_order_keeps_its_id_and_reads_anew(ada: Account) -> None:
    ada.listen()
    order_id = result(ada.limit("buy", "50000"))["order_id"]
    heard = ada.ask("amend_order", order_id=order_id, order_qty=Decimal("0.02"), limit_price=Decimal("49000"))
    assert result(heard)["order_id"] == order_id and result(heard)["amend_id"]
    row = events(heard)[0]
    assert (row["exec_type"], row["order_qty"], row["limit_price"]) == ("amended", Decimal("0.02"), 49000)


def test_an_edited_order_is_a_new_one(ada: Account) -> None:
    ada.listen()
    order_id = result(ada.limit("buy", "50000"))["order_id"]
    heard = ada.ask("edit_order", order_id=order_id, symbol=BTC, limit_price=Decimal("49000"))
    assert result(heard)["original_order_id"] == order_id and result(heard)["order_id"] != order_id
    assert [happened for happened, _ in story(heard)] == ["canceled", "pending_new", "new"]


def test_a_stop_waits_for_its_trigger_and_says_when_it_woke(ada: Account, bob: Account) -> None:
    ada.listen()
    bob.limit("buy", "50000", "0.05")
    ada.market("sell", "0.01")
    stop = ada.ask(
        "add_order",
        order_type="stop-loss",
        side="sell",
        order_qty=Decimal("0.01"),
        symbol=BTC,
        triggers={"price": Decimal("-2"), "price_type": "pct"},
    )
    assert events(stop)[0]["triggers"]["price"] == 49000
    assert events(stop)[0]["triggers"]["status"] == "untriggered"
    bob.ask("cancel_all")
    bob.limit("buy", "48900", "0.05")
    heard = ada.market("sell", "0.01")
    told = [row for row in events(heard) if row["order_id"] == result(stop)["order_id"]]
    assert [row["exec_type"] for row in told] == ["status", "trade", "filled"]
    assert told[0]["triggers"]["status"] == "triggered" and told[1]["last_price"] == 48900


def test_the_timer_cancels_all_when_it_is_not_renewed(ada: Account) -> None:
    ada.listen()
    ada.limit("buy", "50000")
    armed = result(ada.ask("cancel_all_orders_after", timeout=30))
    assert armed == {"currentTime": "2026-09-25T18:00:00Z", "triggerTime": "2026-09-25T18:00:30Z"}
    assert story(ada.client.hear(30_000))[-1] == ("canceled", "canceled")


# Refusals


def test_refusals_come_in_krakens_words(ada: Account) -> None:
    assert error(ada.limit("buy", "50000", "0.00001")) == "EOrder:Order minimum not met"
    assert error(ada.limit("buy", "50000", "5")) == "EOrder:Insufficient funds"
    assert error(ada.limit("buy", "50000", margin=True)) == "EOrder:Cannot open position"
    assert (
        error(ada.ask("amend_order", order_id="OAAAAA-AAAAA-AAAAAA", order_qty=1)) == "EOrder:Unknown order"
    )
    fields: dict[str, Any] = {"order_type": "limit", "side": "buy", "order_qty": 1, "limit_price": 1}
    assert error(ada.ask("add_order", symbol="XBT/USD", **fields)) == "EQuery:Unknown asset pair"
    assert error(ada.ask("add_order", symbol=BTC, **fields, price=1)) == (
        "Unsupported field: 'price' for the given msg type: add order"
    )
    assert error(ada.ask("batch_add", symbol=BTC, orders=[])) == "EGeneral:Invalid arguments"


def test_a_closed_pair_says_so(ada: Account) -> None:
    ada.world.exchange.set_status(BTC, MarketStatus.CANCEL_ONLY)
    assert error(ada.limit("buy", "50000")) == "EService:Market in cancel_only mode"


def test_validation_places_nothing(ada: Account) -> None:
    ada.listen()
    heard = ada.limit("buy", "50000", validate=True)
    assert "order_id" not in result(heard) and events(heard) == []


def test_a_name_is_unique_among_open_orders_only(ada: Account) -> None:
    ada.limit("buy", "50000", cl_ord_id="same")
    assert error(ada.limit("buy", "49000", cl_ord_id="same")).startswith("EGeneral:Invalid arguments")
    ada.ask("cancel_order", cl_ord_id=["same"])
    assert result(ada.limit("buy", "49000", cl_ord_id="same"))["cl_ord_id"] == "same"


def test_a_refused_order_is_answered_and_never_told(ada: Account) -> None:
    ada.listen()
    assert events(ada.limit("buy", "50000", "5")) == []


def test_a_client_whose_events_are_forgotten_is_dropped() -> None:
    world = World(kept=3)
    slow, quick = Account(world), Account(world)
    slow.listen()
    for _ in range(4):
        quick.limit("buy", "50000")
    slow.client.hear()
    assert slow.client.session.closed is not None and slow.client.session.closed.code == 1013


# Snapshots


def test_open_orders_are_in_the_snapshot_and_past_trades_when_asked_for(ada: Account, bob: Account) -> None:
    ada.limit("buy", "50000", "0.01", cl_ord_id="first")
    ada.limit("buy", "49000", "0.02", cl_ord_id="second")
    bob.market("sell", "0.004")
    heard = ada.listen(snap_trades=True)
    assert result(heard)["snap_orders"] and result(heard)["maxratecount"] == 180
    snapshot = of("executions", heard)[0]
    assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
    told = [(row["exec_type"], row["order_status"], row.get("cl_ord_id")) for row in snapshot["data"]]
    assert told == [
        ("new", "partially_filled", "first"),
        ("new", "new", "second"),
        ("trade", "partially_filled", "first"),
    ]


def test_an_empty_account_gets_an_empty_snapshot_or_none(ada: Account, bob: Account) -> None:
    assert of("executions", ada.listen())[0]["data"] == []
    assert of("executions", bob.listen(snap_orders=False)) == []


def test_the_sequence_of_a_subscription_has_no_gap(ada: Account, bob: Account) -> None:
    heard = ada.listen() + ada.listen("balances")
    heard += ada.limit("buy", "50000")
    bob.market("sell", "0.01")
    heard += ada.client.hear()
    for channel in ("executions", "balances"):
        numbers = [message["sequence"] for message in of(channel, heard)]
        assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > 2


def test_without_order_status_only_beginnings_and_ends_are_told(ada: Account) -> None:
    ada.listen(order_status=False)
    heard = ada.limit("buy", "50000") + ada.ask("cancel_all")
    assert [happened for happened, _ in story(heard)] == ["new", "canceled"]


def test_the_rate_counter_is_told_when_asked_for(ada: Account) -> None:
    ada.listen(ratecounter=True)
    assert {row["ratecounter"] for row in events(ada.limit("buy", "50000"))} == {1}


def test_two_connections_of_one_account_hear_the_same(ada: Account) -> None:
    other = Account(ada.world, 0)
    ada.listen()
    other.listen()
    assert events(ada.limit("buy", "50000")) == events(other.client.hear())


def test_no_account_hears_of_another(ada: Account, bob: Account) -> None:
    bob.listen()
    bob.listen("balances")
    ada.limit("buy", "50000")
    assert bob.client.hear() == []


# Balances


def test_balances_begin_with_all_and_go_on_with_each_change(ada: Account, bob: Account) -> None:
    snapshot = of("balances", ada.listen("balances"))[0]
    assert {row["asset"]: row["balance"] for row in snapshot["data"]} == {"BTC": 1, "SOL": 100, "USD": 10000}
    assert snapshot["data"][0]["wallets"][0]["type"] == "spot"
    ada.limit("buy", "50000", "0.01")
    bob.market("sell", "0.01")
    rows = [message["data"][0] for message in of("balances", ada.client.hear())]
    assert [(row["asset"], row["amount"], row["fee"]) for row in rows] == [
        ("BTC", Decimal("0.01"), 0),
        ("USD", -500, 2),
    ]
    assert rows[1]["balance"] == 9498 and rows[0]["ref_id"] == rows[1]["ref_id"]
    assert rows[0]["ledger_id"] != rows[1]["ledger_id"]


def test_a_deposit_is_told(ada: Account) -> None:
    ada.listen("balances")
    ada.world.core.deposit("ada", amount("5 SOL"), ada.world.now)
    row = of("balances", ada.client.hear())[0]["data"][0]
    assert (row["type"], row["asset"], row["amount"], row["balance"]) == ("deposit", "SOL", 5, 105)


def test_the_balance_of_every_update_is_the_one_before_and_the_change() -> None:
    world = World()
    world.wait(10_000)
    trader = Account(world)
    heard = trader.listen("balances")
    for turn in range(40):
        heard += trader.market("sell" if turn % 2 else "buy", "0.02")
        heard += trader.client.hear(1000)
    rows = [message["data"] for message in of("balances", heard)]
    balances = {row["asset"]: row["balance"] for row in rows[0]}
    assert len(rows) > 40
    for (row,) in rows[1:]:
        balances[row["asset"]] += row["amount"] - row["fee"]
        assert row["balance"] == balances[row["asset"]]
    ledger = world.exchange.ledger("ada")
    assert balances == {asset: ledger.total(asset).number for asset in ("BTC", "SOL", "USD")}


def test_a_large_order_eats_into_a_living_book_and_every_fill_is_told() -> None:
    world = World()
    world.wait(60_000)
    trader = Account(world)
    trader.listen()
    heard = trader.market("sell", "0.2")
    trades = [row for row in events(heard) if row["exec_type"] == "trade"]
    assert len(trades) > 1 and trades[-1]["cum_qty"] == sum(row["last_qty"] for row in trades)
    assert [row["last_price"] for row in trades] == sorted(
        (row["last_price"] for row in trades), reverse=True
    )


def test_a_key_without_the_permission_may_listen_but_not_trade(quiet: World) -> None:
    key, secret = made_up_key(2, 9)
    allowed = frozenset({Permission.WEBSOCKETS, Permission.QUERY_OPEN, Permission.QUERY_CLOSED})
    quiet.core.add_key(ApiKey(credentials(key, secret), "ada", allowed))
    quiet.keys.append(key)
    reader = Account(quiet, 2)
    assert result(reader.listen())["channel"] == "executions"
    assert error(reader.limit("buy", "50000")) == "EGeneral:Permission denied"


def test_sol_has_its_own_decimals(ada: Account) -> None:
    ada.listen()
    fields: dict[str, Any] = {
        "order_type": "limit",
        "side": "sell",
        "order_qty": Decimal("1.5"),
        "limit_price": 150,
    }
    row = events(ada.ask("add_order", symbol=SOL, **fields))[0]
    assert f"{row['limit_price']:f}" == "150.00" and f"{row['order_qty']:f}" == "1.50000000"


def test_an_order_of_another_account_is_unknown(ada: Account, bob: Account) -> None:
    order_id = result(ada.limit("buy", "50000"))["order_id"]
    assert error(bob.ask("cancel_order", order_id=[order_id])) == "EOrder:Unknown order"
