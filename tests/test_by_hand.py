"""What a person does to our orders at the exchange, and what comes late: our books follow, or say that they
cannot, and the run goes on."""

import asyncio
from decimal import Decimal
from pathlib import Path

from lotwise.domain.orders import Accepted, Canceled, Fill, OrderType, ProvenAbsent, Purpose, Status
from lotwise.domain.values import Amount, amount
from lotwise.engine.fold import impossible
from lotwise.engine.records import Cancel, Compared, Corrected, Deposited, Reconciled, Submit, Unexplained
from lotwise.venues.kraken.inbox import Bookkeeper, Inbox
from lotwise.venues.kraken.reconcile import Reconciler
from tests.sandbox_client import NOW
from tests.test_engine import SOL
from tests.test_happenings import at
from tests.test_live_orders import World, buy, falls, status
from tests.test_protection_odd import held, resting
from tests.test_reconcile import reconciled, told
from world.network import Rates

D = Decimal


def amends(made: World, quantity: str) -> None:
    """A person changes how much our resting order is for."""
    core, key = made.theirs.core, made.theirs.credentials.key
    asked = {"cl_ord_id": "abc-1", "order_qty": quantity}
    assert isinstance(core.command(key, "AmendOrder", asked, made.loop.now()), dict)


async def rests(made: World, reconciler: Reconciler) -> None:
    await told(made, reconciler)
    await made.submit(buy(price="99", quantity="0.1"))
    assert status(made) is Status.OPEN


def test_an_order_that_a_person_made_smaller_ends_when_that_is_filled() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await rests(made, reconciler)
        amends(made, "0.06")
        falls(made)
        await told(made, reconciler)
        known = made.state.order("abc-1")
        assert (known.status, known.filled) == (Status.CANCELED, D("0.06"))
        assert made.state.ledger.total("SOL").number == D("0.06")

    reconciled(scenario)


def test_an_order_that_a_person_made_larger_is_told_once_and_the_books_agree_again() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await rests(made, reconciler)
        amends(made, "0.3")
        falls(made)
        lies, agreed = 0, False
        for _ in range(6):
            found = await reconciler.compare()
            lies += sum(isinstance(e, Fill) and impossible(made.state, e) is not None for e in found.events)
            made.fold(e for e in found.events if not isinstance(e, Fill) or not impossible(made.state, e))
            agreed = agreed or any(isinstance(event, Compared) for event in found.events)
        assert lies == 1 and agreed and made.state.orders == {}

    reconciled(scenario)


async def given_up(made: World, reconciler: Reconciler, price: str) -> None:
    """An order arrived and is proven absent here: the lists were later than we assume."""
    await told(made, reconciler)
    made.search.cancel()
    made.network.rates = Rates(answer_lost=1.0)
    await made.submit(buy(price=price))
    made.network.rates = Rates()
    made.fold([ProvenAbsent("abc-1", made.loop.now())])


def test_an_order_that_shows_up_after_it_was_proven_absent_is_ours_again() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await given_up(made, reconciler, "101")
        await told(made, reconciler)
        assert status(made) is Status.FILLED
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == 10

    reconciled(scenario)


def test_a_resting_order_that_was_proven_absent_is_found_among_the_open_ones() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await given_up(made, reconciler, "90")
        found = await reconciler.compare()
        assert [type(event) for event in found.events] == [Accepted]

    reconciled(scenario)


def test_the_same_difference_a_second_time_stops_entries_again() -> None:
    async def scenario(made: World, reconciler: Reconciler) -> None:
        await told(made, reconciler)
        inbox, seen = Inbox(), list[object]()
        keeping = asyncio.create_task(Bookkeeper(reconciler, inbox, made.loop.now, lambda _: None).keep())

        async def answers() -> None:
            async for events in inbox.occasions():
                made.fold(events)
                seen.extend(events)

        answering = asyncio.create_task(answers())
        for change in ("1 USDT", "-1 USDT", "1 USDT"):
            made.fold([Deposited(amount(change), made.loop.now())])
            await asyncio.sleep(150)
        keeping.cancel()
        answering.cancel()
        assert sum(isinstance(event, Unexplained) for event in seen) == 2 and made.state.unexplained

    reconciled(scenario)


def test_a_look_in_a_hurry_does_not_wait_behind_the_others() -> None:
    """An exit waits for the end of the order that it replaces; look-ups and comparisons go on beside it."""

    async def scenario(made: World, reconciler: Reconciler) -> None:
        await rests(made, reconciler)

        async def busy() -> None:
            while True:
                await made.venue.account.trades(NOW)

        others = [asyncio.create_task(busy()) for _ in range(3)]
        await asyncio.sleep(60)
        began = made.loop.now()
        await made.venue.carry_out(Cancel("abc-1", Purpose.STOP, made.loop.now()), lambda: None)
        assert made.loop.now() - began < 1_000
        for task in others:
            task.cancel()

    reconciled(scenario)


def test_coins_that_left_while_an_order_held_them_are_booked_when_it_no_longer_does(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    state = kraken.engine.state
    (stop,) = resting(kraken)
    gone = Deposited(Amount(-stop.order.quantity / 2, "SOL"), at(2))
    told = Compared((Deposited(amount("-0.01 USDT"), at(2)), gone), Reconciled({}, ("L1", "L2"), at(2)))
    before = state.ledger
    kraken.tell(told)
    (said,) = kraken.log
    assert isinstance(said, Unexplained) and "was free here" in said.why
    assert state.ledger == before and state.reconciled is None, "nothing is counted in that was not booked"
    kraken.tell(Canceled(stop.order.client_id, "User requested", at(2)))
    kraken.log.clear()
    kraken.tell(told)
    assert kraken.log[:3] == [*told.left, told.agreed]
    assert state.ledger.total("SOL").number == stop.order.quantity / 2
    assert state.unexplained is None and state.reconciled == told.agreed


def test_a_stop_that_was_refused_for_coins_that_are_not_there_is_placed_when_that_is_known(
    tmp_path: Path,
) -> None:
    kraken = held(tmp_path)
    state = kraken.engine.state
    (stop,) = resting(kraken)
    kraken.tell(Canceled(stop.order.client_id, "User requested", at(2)))
    holding = state.holdings[SOL]
    holding.stuck, holding.refusals, holding.unguarded = "EOrder:Insufficient funds", 3, 3
    unit = Amount(D("-0.00000001"), "SOL")
    kraken.log.clear()
    kraken.tell(Compared((), Reconciled({}, (), at(3)), (Corrected(unit, "T1", at(3)),)))
    assert [type(record) for record in kraken.log[:2]] == [Corrected, Reconciled]
    assert [record.order.type for record in kraken.log if isinstance(record, Submit)] == [OrderType.STOP_LOSS]
    assert holding.refusals == holding.unguarded == 0, "what was refused was another quantity"
