"""An account's own stream: our orders on the sandbox, told as the engine's events."""

import asyncio
from decimal import Decimal

import pytest

from lotwise.domain.orders import Accepted, Canceled, Fill
from lotwise.domain.values import Amount, Time, amount
from lotwise.engine.records import Event
from lotwise.kraken.stream import Message
from lotwise.kraken.stream_balances import BalanceChange
from lotwise.venues.kraken.rest import NoAnswer, Refused
from lotwise.venues.kraken.stream import PRIVATE_URL
from lotwise.venues.kraken.stream_private import AccountOutlet, PrivateStream
from tests.test_live_stream import (
    Change,
    Sandbox,
    after,
    clock,
    cut,
    for_seconds,
    silence,
    virtually,
    without,
)
from tests.test_sandbox_stream import BTC, World

OURS, THEIRS = "run1-1", "hand-1"
KNOWN = "AHOJQ8-1E72C-8M2VQH"
"""Kraken's id of an order of ours."""


def ours(client_id: object, order_id: object) -> str | None:
    if isinstance(client_id, str):
        return client_id if client_id.startswith("run1-") else None
    return OURS if order_id == KNOWN else None


class Owner:
    """An account that listens, and a second one that trades with it."""

    def __init__(self, *faults: Change | None) -> None:
        self.world = World(crowd=False)
        far = (Decimal(40_000), Decimal(1)), (Decimal(70_000), Decimal(1))
        self.world.exchange.show_depth(BTC, far[:1], far[1:], self.world.now)
        self.sandbox = Sandbox(self.world, *faults)
        self.tokens = 0
        self.told: list[Event] = []
        self.moves: list[BalanceChange] = []
        self.ends: list[str] = []
        self.begins: list[Time] = []
        outlet = AccountOutlet(
            self.told.extend,
            ours,
            self.moves.append,
            lambda: self.begins.append(clock()),
            self.ends.append,
        )
        self.stream = PrivateStream(self.sandbox.line(PRIVATE_URL), self.token, outlet)

    async def token(self) -> str:
        self.tokens += 1
        self.world.now = clock()
        return self.world.token()

    def order(self, name: str, side: str, price: str, quantity: str, account: int = 0, **more: str) -> None:
        self.world.now = clock()
        asked = {"pair": "XBTUSD", "type": side, "ordertype": "limit", "price": price, "volume": quantity}
        key = self.world.keys[account]
        answer = self.world.core.command(key, "AddOrder", {**asked, "cl_ord_id": name, **more}, clock())
        assert isinstance(answer, dict), answer

    def cancel(self, name: str) -> None:
        answer = self.world.core.command(self.world.keys[0], "CancelOrder", {"cl_ord_id": name}, clock())
        assert isinstance(answer, dict), answer

    def story(self) -> list[str]:
        return [type(event).__name__ for event in self.told]

    async def listen(self, seconds: float) -> None:
        await for_seconds(seconds, self.stream.run())


@pytest.fixture
def owner() -> Owner:
    return Owner()


def test_the_life_of_our_order_is_told_with_each_fill(owner: Owner) -> None:
    async def trade() -> None:
        await asyncio.sleep(1)
        owner.order(OURS, "buy", "50000", "0.01")
        owner.order(THEIRS, "sell", "50000", "0.004", account=1)
        await asyncio.sleep(1)
        owner.cancel(OURS)
        await asyncio.sleep(60)

    virtually(for_seconds(10, owner.stream.run(), trade()))
    accepted, fill, canceled = owner.told
    assert isinstance(accepted, Accepted) and isinstance(fill, Fill) and isinstance(canceled, Canceled)
    assert {event.client_id for event in (accepted, fill, canceled)} == {OURS}
    assert (fill.symbol, fill.price, fill.quantity) == (BTC, Decimal(50_000), Decimal("0.004"))
    assert fill.cost == Amount(Decimal(200), "USD") and fill.fee == Amount(Decimal("0.8"), "USD")
    assert canceled.why == "User requested" and not owner.ends


def test_orders_that_are_not_ours_are_counted_and_not_told(owner: Owner) -> None:
    async def trade() -> None:
        await asyncio.sleep(1)
        owner.order(THEIRS, "buy", "50000", "0.01")
        owner.order("x", "sell", "50000", "0.01", account=1)
        await asyncio.sleep(60)

    virtually(for_seconds(5, owner.stream.run(), trade()))
    assert owner.told == [] and owner.stream.foreign == 4  # pending_new, new, trade, filled


def test_what_happened_while_nobody_listened_is_in_the_next_snapshot() -> None:
    owner = Owner(after(7, cut))

    async def trade() -> None:
        await asyncio.sleep(0.5)
        owner.order(OURS, "buy", "50000", "0.01")
        while not owner.ends:
            await asyncio.sleep(0.1)
        owner.order(THEIRS, "sell", "50000", "0.004", account=1)
        await asyncio.sleep(60)

    virtually(for_seconds(20, owner.stream.run(), trade()))
    assert owner.ends == ["connection closed: 1006"] and len(owner.begins) == 2
    assert owner.story() == ["Accepted", "Accepted", "Fill"]
    assert owner.told[0] == owner.told[1]


def test_a_missing_number_ends_the_connection_and_the_fill_comes_with_the_next() -> None:
    owner = Owner(without('"exec_type":"trade"'))

    async def trade() -> None:
        await asyncio.sleep(1)
        owner.order(OURS, "buy", "50000", "0.01")
        owner.order(THEIRS, "sell", "50000", "0.01", account=1)
        await asyncio.sleep(60)

    virtually(for_seconds(30, owner.stream.run(), trade()))
    assert owner.ends == ["executions have a gap: 5 came after 3"]
    assert owner.story() == ["Accepted", "Fill"] and len(owner.begins) == 2


def test_a_gap_in_the_balances_ends_the_connection() -> None:
    owner = Owner(without('"ledger_id"'))

    async def deposit() -> None:
        for _ in range(2):
            await asyncio.sleep(1)
            owner.world.core.deposit("ada", amount("5 USD"), clock())
        await asyncio.sleep(60)

    virtually(for_seconds(20, owner.stream.run(), deposit()))
    assert owner.ends == ["balances have a gap: 3 came after 1"] and owner.moves == []


def test_a_message_told_twice_ends_the_connection() -> None:
    said: list[str] = []

    def twice(text: str) -> str:
        said.append(text)
        return said[-2] if '"exec_type":"new"' in text else text

    owner = Owner(twice)

    async def trade() -> None:
        await asyncio.sleep(1)
        owner.order(OURS, "buy", "50000", "0.01")
        await asyncio.sleep(60)

    virtually(for_seconds(20, owner.stream.run(), trade()))
    assert owner.ends == ["executions have a gap: 2 came after 2"]
    assert owner.story() == ["Accepted"]


def test_a_stream_without_its_first_snapshot_is_not_trusted() -> None:
    owner = Owner(without('"channel":"executions","type":"snapshot"'))

    async def trade() -> None:
        await asyncio.sleep(1)
        owner.order(OURS, "buy", "50000", "0.01")
        await asyncio.sleep(60)

    virtually(for_seconds(20, owner.stream.run(), trade()))
    assert owner.ends == ["executions do not begin with a snapshot"] and owner.story() == ["Accepted"]


def test_a_row_that_cannot_be_read_is_not_passed_over() -> None:
    owner = Owner(lambda text: text.replace('"cost":', '"price":'))

    async def trade() -> None:
        await asyncio.sleep(1)
        owner.order(OURS, "buy", "50000", "0.01")
        owner.order(THEIRS, "sell", "50000", "0.01", account=1)
        await asyncio.sleep(60)

    virtually(for_seconds(20, owner.stream.run(), trade()))
    assert owner.ends == ["cost None is no whole number"] and owner.story() == ["Accepted", "Fill"]


def test_money_from_outside_is_told_as_a_row_of_the_ledger(owner: Owner) -> None:
    async def deposit() -> None:
        await asyncio.sleep(1)
        owner.world.core.deposit("ada", amount("5 USD"), clock())
        await asyncio.sleep(60)

    virtually(for_seconds(5, owner.stream.run(), deposit()))
    (move,) = owner.moves
    assert (move.kind, move.asset, move.amount) == ("deposit", "USD", Decimal(5)) and owner.told == []


def test_each_connection_takes_a_fresh_token(owner: Owner) -> None:
    owner = Owner(after(5, silence), after(5, silence))
    virtually(owner.listen(60))
    assert owner.tokens == len(owner.begins) == 3


@pytest.mark.parametrize(
    "trouble", [NoAnswer("GetWebSocketsToken: HTTP 502"), Refused(("EAPI:Rate limit exceeded",))]
)
def test_without_a_token_the_next_attempt_asks_for_another(owner: Owner, trouble: Exception) -> None:
    async def token() -> str:
        owner.tokens += 1
        if owner.tokens == 1:
            raise trouble
        return owner.world.token()

    outlet = AccountOutlet(owner.told.extend, ours, lost=owner.ends.append)
    stream = PrivateStream(owner.sandbox.line(PRIVATE_URL), token, outlet)
    virtually(for_seconds(20, stream.run()))
    assert owner.ends == [f"no token: {trouble}"] and len(owner.sandbox.times) == 1


def test_a_waiting_stop_in_a_snapshot_is_an_order_that_is_held(owner: Owner) -> None:
    told = {
        "order_id": KNOWN, "cl_ord_id": OURS, "symbol": BTC, "order_qty": Decimal("0.01"),
        "exec_type": "pending_new", "order_status": "pending_new", "side": "sell",
        "order_type": "stop-loss", "timestamp": "2024-05-18T12:01:56.165888Z",
    }  # fmt: skip

    owner.stream.hear(message("snapshot", 120, told))
    owner.stream.hear(message("update", 121, told))
    assert owner.told == [Accepted(OURS, KNOWN, Time(1_716_033_716_165))]


def message(kind: str, number: int, *rows: Message) -> Message:
    return {"channel": "executions", "type": kind, "sequence": number, "data": list(rows)}


def traded(order_id: str, *fees: tuple[str, str]) -> Message:
    return {
        "order_id": order_id, "exec_id": "TX", "exec_type": "trade", "order_status": "filled", "symbol": BTC,
        "side": "buy", "last_price": Decimal(50_000), "last_qty": Decimal("0.004"), "cost": Decimal(200),
        "liquidity_ind": "t", "timestamp": "2024-05-18T12:01:56.165888Z",
        "fees": [{"asset": asset, "qty": Decimal(number)} for asset, number in fees],
    }  # fmt: skip


def test_a_trade_that_has_only_krakens_id_of_our_order_is_told(owner: Owner) -> None:
    fee = ("USD", "1.6")
    rows = traded("OSTRANGE", fee), traded(KNOWN, fee)
    owner.stream.hear(message("snapshot", 1, *rows))
    (fill,) = owner.told
    assert isinstance(fill, Fill) and fill.client_id == OURS and fill.fee == amount("1.6 USD")
    assert owner.stream.foreign == 1


@pytest.mark.parametrize(
    ("fees", "booked"),
    [
        ([("BTC", "0.00003")], "0.00003 BTC"),
        ([("KFEE", "160"), ("USD", "0.4")], "0.4 USD"),
        ([("KFEE", "160")], "0 USD"),
    ],
)
def test_a_fee_is_booked_in_the_asset_that_was_taken_and_fee_credits_are_no_money(
    owner: Owner, fees: list[tuple[str, str]], booked: str
) -> None:
    owner.stream.hear(message("snapshot", 1, traded(KNOWN, *fees)))
    (fill,) = owner.told
    assert isinstance(fill, Fill) and fill.fee == amount(booked)
