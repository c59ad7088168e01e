"""Our books beside the exchange's: what is missing is told, what is foreign stays apart, what nothing
explains stops entries."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from lotwise.app.books import compared
from lotwise.domain.orders import Canceled, Fill, OrderType, Sent, Status
from lotwise.domain.values import Amount, Time, amount
from lotwise.engine.records import Compared, Deposited, Submit, Unexplained
from lotwise.kraken.rest_account import TradeInfo
from lotwise.kraken.rest_money import LedgerInfo
from lotwise.ledger.postings import deposit, post
from lotwise.venues.kraken.account import Account
from lotwise.venues.kraken.inbox import STRIKES, Bookkeeper, Inbox
from lotwise.venues.kraken.reconcile import Reconciler, Reconciliation, unexplained
from lotwise.venues.kraken.rest import NoAnswer, Refused
from tests.sandbox_client import NOW
from tests.test_live_orders import SOL, World, buy, falls, guard, status, world
from world.network import Rates

Scenario = Callable[[World, Reconciler], Coroutine[Any, Any, None]]


def reconciled(scenario: Scenario) -> World:
    async def with_reconciler(made: World) -> None:
        await scenario(made, Reconciler(made.venue, made.state, made.loop.now))

    return world(with_reconciler)


async def told(made: World, reconciler: Reconciler) -> list[Any]:
    """Compare until nothing new comes; all events, folded."""
    events: list[Any] = []
    for _ in range(6):
        found = await reconciler.compare()
        assert not found.differences, found
        if not found.events:
            break
        events += found.events
        made.fold(found.events)
    return events


def without_a_row(made: World, moved: str) -> None:
    """Money comes or leaves, and no row of the account's ledger tells it."""
    ledgers = made.theirs.core.exchange._floor.accounts.ledgers
    ledgers["a"] = post(ledgers["a"], deposit(amount(moved)))


def test_what_the_account_has_beyond_ours_is_foreign() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        (first,) = await told(made, reconciler)
        assert isinstance(first, Compared)
        assert {a: str(n) for a, n in first.agreed.foreign.items()} == {
            "SOL": "10.0000000000",
            "USDT": "900.00000000",
        }
        assert await told(made, reconciler) == [], "nothing new is nothing to write down"

    reconciled(scenario)


def test_a_missed_fill_is_told_and_the_books_agree_to_the_last_unit() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        await made.submit(buy(price="101"))
        events = await told(made, reconciler)
        assert [type(e) for e in events if isinstance(e, Fill)] == [Fill]
        assert made.state.unexplained is None

    made = reconciled(scenario)
    assert status(made) is Status.FILLED
    theirs = made.theirs.core.exchange.ledger("a")
    assert made.state.ledger.total("USDT").number + 900 == theirs.total("USDT").number


def test_hand_trades_and_deposits_are_foreign_and_no_halt() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        by_hand = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "price": "101", "volume": "1"}
        core, key = made.theirs.core, made.theirs.credentials.key
        assert isinstance(core.command(key, "AddOrder", by_hand, made.loop.now()), dict)
        made.theirs.core.deposit("a", amount("50 USDT"), made.loop.now())
        events = await told(made, reconciler)
        assert [type(event) for event in events] == [Compared]
        assert made.state.ledger.free("USDT") == amount("100 USDT")

    reconciled(scenario)


def test_a_withdrawal_of_our_money_is_told_as_money_that_left() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        made.theirs.core.deposit("a", amount("-950 USDT"), made.loop.now())
        events = await told(made, reconciler)
        assert [moved.amount.number for e in events for moved in e.left] == [-50]
        assert made.state.ledger.free("USDT").number == 50

    reconciled(scenario)


def test_a_coin_that_leaves_between_its_balance_and_its_row_is_not_missed_later() -> None:
    """Its row is counted in with a balance of its time: else it would be missed once the coin is ours too."""

    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)

        def leaves(endpoint: str, _: object) -> None:
            if endpoint == "Ledgers":
                made.network.sent = lambda endpoint, _: None
                made.theirs.core.deposit("a", amount("-5 SOL"), made.loop.now())

        made.network.sent = leaves
        found = await reconciler.compare()
        assert found.undecided and not found.events
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == 5
        await made.submit(buy(price="101"))
        await told(made, reconciler)
        assert made.state.reconciled.foreign["SOL"] == 5 and made.state.unexplained is None

    reconciled(scenario)


def test_a_coin_that_is_none_of_ours_may_come_and_go_without_a_row() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        without_a_row(made, "-3 SOL")
        made.theirs.core.deposit("a", amount("-1 SOL"), made.loop.now())
        assert (await reconciler.compare()).undecided
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == 6

    reconciled(scenario)


def test_what_is_unexplained_of_one_asset_hides_nothing_of_another() -> None:
    """Coins that a person took are booked though money is missing: else their sale would be refused."""

    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        await made.submit(buy(price="101"))
        await told(made, reconciler)
        made.fold([Deposited(amount("1 USDT"), made.loop.now())])
        made.theirs.core.deposit("a", amount("-10.04 SOL"), made.loop.now())
        found = await reconciler.compare()
        assert found.differences == {"USDT": -1}
        made.fold([*unexplained(found.differences, made.loop.now()), *found.events])
        assert (
            made.state.ledger.total("SOL").number
            == made.state.holdings[SOL].position.quantity
            == Decimal("0.06")
        )
        assert made.state.unexplained is not None, "nothing is entered yet"

        await made.submit(replace(buy(price="101"), client_id="abc-2", time=made.loop.now()))
        made.fold((await reconciler.compare()).events)
        found = await reconciler.compare()
        assert found.differences == {"USDT": -1} and not found.events
        made.fold([Deposited(amount("-1 USDT"), made.loop.now())])
        await told(made, reconciler)
        assert made.state.unexplained is None and made.state.reconciled is not None
        assert (made.state.reconciled.foreign["SOL"], made.state.reconciled.foreign["USDT"]) == (0, 900)
        assert made.state.ledger.total("SOL").number == Decimal("0.16")

    reconciled(scenario)


def test_a_sale_that_is_heard_of_while_the_books_are_read_leaves_nothing_foreign() -> None:
    """Its coins stood in the balance: they are no coins that we never had, whatever else is unexplained."""

    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        await made.submit(buy(price="101"))
        await told(made, reconciler)
        made.fold([Deposited(amount("1 USDT"), made.loop.now())])
        sale = replace(guard(made.state.ledger.total("SOL").number), type=OrderType.MARKET, trigger=None)
        made.fold([Submit(sale), Sent("abc-2", made.loop.now())])
        rows_of = made.venue.account.ledger

        async def sells(since: Time) -> list[LedgerInfo]:
            rows, core = await rows_of(since), made.theirs.core
            by_market = {"pair": "SOLUSDT", "type": "sell", "ordertype": "market", "volume": "0.1"}
            key = made.theirs.credentials.key
            assert isinstance(core.command(key, "AddOrder", by_market, made.loop.now()), dict)
            _, fill = core.exchange.history("a").fills[-1]
            made.fold([replace(fill, client_id="abc-2")])
            return rows

        made.venue.account.ledger = sells  # type: ignore[method-assign]
        found = await reconciler.compare()
        assert made.state.ledger.total("SOL").number == 0
        assert found.undecided and not found.events and not found.differences

    reconciled(scenario)


def test_the_trades_of_an_asset_that_is_unexplained_are_compared_once_it_is() -> None:
    """Their rows wait, for however long, and none is counted twice."""

    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        made.fold([Deposited(amount("1 USDT"), made.loop.now())])
        for number in range(1, 5):
            made.theirs.core.deposit("a", amount(f"{number} SOL"), made.loop.now())
            made.theirs.core.deposit("a", amount(f"{number} USDT"), made.loop.now())
            await made.submit(replace(buy(price="101"), client_id=f"abc-{number}", time=made.loop.now()))
            await made.settle(300)
            for _ in range(3):
                found = await reconciler.compare()
                made.fold(found.events)
            assert found.differences == {"USDT": -1} and not found.events
            assert status(made, f"abc-{number}") is Status.FILLED
        made.fold([Deposited(amount("-1 USDT"), made.loop.now())])
        await told(made, reconciler)
        assert made.state.reconciled is not None
        assert (made.state.reconciled.foreign["SOL"], made.state.reconciled.foreign["USDT"]) == (20, 910)

    reconciled(scenario)


def test_a_trade_of_an_order_whose_fate_is_unknown_is_not_taken_for_foreign() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        made.network.rates = Rates(answer_lost=1.0)
        await made.submit(buy(price="101"))
        made.network.rates = Rates()
        found = await reconciler.compare()
        assert found.undecided and not found.events
        await made.settle(30)
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["USDT"] == 900

    assert status(reconciled(scenario)) is Status.FILLED


@pytest.mark.parametrize("while_asking", ["BalanceEx", "Ledgers", "QueryTrades"])
def test_a_fate_that_is_learned_while_the_books_are_read_is_not_taken_for_foreign(while_asking: str) -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        made.network.rates = Rates(answer_lost=1.0)
        await made.submit(buy(price="101"))
        made.network.rates = Rates()
        (info,) = await made.venue.account.closed_orders(NOW)
        news = await made.venue.told(made.state.order("abc-1"), info)
        made.search.cancel()  # the news come when the test says

        def learns(endpoint: str, _: object) -> None:
            if endpoint == while_asking:
                made.fold(news if endpoint != "QueryTrades" else news[:1])

        made.network.sent = learns
        found = await reconciler.compare()
        assert not found.differences
        assert all(e.agreed.foreign["SOL"] == 10 for e in found.events if isinstance(e, Compared))
        made.network.sent = lambda endpoint, _: None
        made.fold(found.events)
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == 10

    reconciled(scenario)


def test_a_coin_that_we_never_had_is_not_ours_to_explain() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        without_a_row(made, "5 ADA")
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["ADA"] == 5

    reconciled(scenario)


@pytest.mark.parametrize("before", ["BalanceEx", "Ledgers"])
def test_money_that_comes_during_the_first_comparison_is_foreign_and_no_difference(before: str) -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        asked: list[str] = []

        def comes(endpoint: str, _: object) -> None:
            asked.append(endpoint)
            if asked[-1] == before and asked.count("BalanceEx") == 1:
                made.theirs.core.deposit("a", amount("50 USDT"), made.loop.now())
                made.network.sent = lambda endpoint, _: None

        made.network.sent = comes
        assert (await reconciler.compare()).undecided
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["USDT"] == 950

    reconciled(scenario)


STRANGE = "EQuery:Unknown trade"


class Late(Account):
    """Does not find trades by their ids yet: they are left out, or refused. `found`: from when on it does."""

    def __init__(self, made: World, refuses: str, found: int) -> None:
        super().__init__(made.rest)
        self._now, self._refuses, self._found = made.loop.now, refuses, made.loop.now() + found

    async def trades_named(self, txids: tuple[str, ...]) -> list[TradeInfo]:
        if self._now() >= self._found or not txids:
            return await super().trades_named(txids)
        if self._refuses:
            raise Refused((self._refuses,))
        return []


@pytest.mark.parametrize("refuses", ["", STRANGE])
def test_a_trade_that_is_not_told_yet_is_waited_for_before_it_is_taken_for_foreign(refuses: str) -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        await made.submit(buy(price="99"))
        made.venue.account = Late(made, refuses, found=60_000)

        def falls_after_a_look(endpoint: str, _: object) -> None:
            if endpoint == "BalanceEx":
                falls(made)

        made.network.sent = falls_after_a_look
        assert (await reconciler.compare()).undecided
        await asyncio.sleep(60)
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == 10

    assert status(reconciled(scenario)) is Status.FILLED


def test_books_that_could_not_be_compared_are_not_called_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        by_hand = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "price": "101", "volume": "1"}
        core, key = made.theirs.core, made.theirs.credentials.key
        assert isinstance(core.command(key, "AddOrder", by_hand, made.loop.now()), dict)

        async def none_yet(account: Account, txids: tuple[str, ...]) -> list[TradeInfo]:
            return []

        with monkeypatch.context() as late:
            late.setattr(Account, "trades_named", none_yet)
            books = await compared(made.state, made.rest, made.loop.now)
        assert not books.compared and not books.clean and not books.assets
        assert (await compared(made.state, made.rest, made.loop.now)).clean

    reconciled(scenario)


def test_a_trade_that_is_never_told_is_not_waited_for_for_ever() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        made.venue.account = Late(made, STRANGE, found=10**9)
        by_hand = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "price": "101", "volume": "1"}
        core, key = made.theirs.core, made.theirs.credentials.key
        assert isinstance(core.command(key, "AddOrder", by_hand, made.loop.now()), dict)
        assert (await reconciler.compare()).undecided
        await asyncio.sleep(120)
        await told(made, reconciler)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == 11

    reconciled(scenario)


def test_a_refusal_that_says_nothing_of_the_trade_makes_it_no_stranger() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        by_hand = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "price": "101", "volume": "1"}
        core, key = made.theirs.core, made.theirs.credentials.key
        assert isinstance(core.command(key, "AddOrder", by_hand, made.loop.now()), dict)
        made.venue.account = Late(made, "EGeneral:Temporary lockout", found=10**9)
        for _ in range(3):
            with pytest.raises(Refused):
                await reconciler.compare()
            await asyncio.sleep(120)

    reconciled(scenario)


def test_what_became_of_an_order_is_told_while_another_is_not_told_yet() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        core, key = made.theirs.core, made.theirs.credentials.key
        for name in ("abc-1", "abc-2"):
            await made.submit(buy(price="9", quantity="1", name=name))
        for name in ("abc-1", "abc-2"):
            assert isinstance(core.command(key, "CancelOrder", {"cl_ord_id": name}, made.loop.now()), dict)
            await asyncio.sleep(60)
        core.desk.history_lag = 90_000
        (first,) = (await reconciler.compare()).events
        assert isinstance(first, Canceled) and first.client_id == "abc-1"
        made.fold([first])
        with pytest.raises(NoAnswer):
            await reconciler.compare()

    reconciled(scenario)


def test_money_that_came_before_what_the_first_comparison_reads_is_not_new_later() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        for _ in range(2):
            await made.settle(60)
            made.theirs.core.deposit("a", amount("50 USDT"), made.loop.now())
        await made.settle(60)
        made.state.time = made.loop.now()
        for _ in range(2):
            await told(made, reconciler)
            assert made.state.reconciled is not None and made.state.reconciled.foreign["USDT"] == 1000

    reconciled(scenario)


def test_a_difference_that_nothing_explains_stops_entries() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        made.fold([Deposited(amount("1 USDT"), made.loop.now())])
        found = await reconciler.compare()
        assert {asset: str(number) for asset, number in found.differences.items()} == {"USDT": "-1.00000000"}
        (event,) = unexplained(found.differences, made.loop.now())
        assert isinstance(event, Unexplained) and "lacks 1 USDT" in event.why
        made.fold([event])
        assert made.state.unexplained
        made.theirs.core.deposit("a", amount("1 USDT"), made.loop.now())
        made.fold([Deposited(Amount(Decimal(-1), "USDT"), made.loop.now())])
        await told(made, reconciler)
        assert made.state.unexplained is None, "entries go on once the books agree"

    reconciled(scenario)


def test_a_comparison_asked_for_while_one_goes_on_follows_it_at_once() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        inbox, told_of = Inbox(), list[Refused | NoAnswer | None]()
        keeper = Bookkeeper(reconciler, inbox, made.loop.now, told_of.append)
        made.network.rates = Rates(latency=5.0)
        asked = Counter[str]()
        made.network.sent = lambda endpoint, _: asked.update([endpoint])
        keeping = asyncio.create_task(keeper.keep())
        await asyncio.sleep(1)
        keeper.ask()
        await asyncio.sleep(35)
        keeping.cancel()
        assert asked["OpenOrders"] == 2 and set(told_of) == {None}

    reconciled(scenario)


def test_cheap_calls_do_not_pass_a_dear_one_for_ever() -> None:
    """Balances cost one, a list of trades two; the counter falls by one in three seconds."""

    async def scenario(made: World, _: Reconciler) -> None:
        account, balances = made.venue.account, 0

        async def cheap() -> None:
            nonlocal balances
            while True:
                await account.balances()
                balances += 1

        hungry = [asyncio.create_task(cheap()) for _ in range(3)]
        await asyncio.sleep(60)
        before, began = balances, made.loop.now()
        async with asyncio.timeout(60):
            await account.trades(NOW)
        assert balances - before <= 3 and made.loop.now() - began < 20_000
        for task in hungry:
            task.cancel()

    reconciled(scenario)


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(120):
        if holds():
            return
        await asyncio.sleep(1)
    raise AssertionError("it never holds")


def test_a_comparison_that_says_nothing_does_not_begin_the_count_of_differences_anew() -> None:
    """Three are told; between them an order's fate is unknown for a while, and it has traded."""

    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        made.search.cancel()
        made.fold([Deposited(amount("1 USDT"), made.loop.now())])
        inbox, looks = Inbox(), list[bool]()
        compare = reconciler.compare

        class Watched(Reconciler):
            async def compare(self) -> Reconciliation:
                looks.append((found := await compare()).undecided)
                return found

        watched = Watched(made.venue, made.state, made.loop.now)
        keeping = asyncio.create_task(Bookkeeper(watched, inbox, made.loop.now, lambda _: None).keep())
        await until(lambda: looks == [False])
        made.network.rates = Rates(answer_lost=1.0)
        await made.submit(replace(buy(price="101"), time=made.loop.now()))
        made.network.rates = Rates()
        await until(lambda: looks[-1])
        (info,) = await made.venue.account.closed_orders(NOW)
        made.fold(await made.venue.told(made.state.order("abc-1"), info))
        (event,) = await anext(inbox.occasions())
        keeping.cancel()
        assert isinstance(event, Unexplained) and looks.count(False) == STRIKES and True in looks

    reconciled(scenario)
