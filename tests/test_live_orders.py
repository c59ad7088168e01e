"""Orders on Kraken: one send, and whatever happens on the way, the fate is proven, never guessed."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from decimal import Decimal
from random import Random
from typing import Any

import httpx
import pytest

from lotwise.domain.market import FeeAsset
from lotwise.domain.orders import (
    Order,
    OrderType,
    Purpose,
    Rejected,
    RejectionKind,
    Sent,
    Status,
    TimedOut,
    TimeInForce,
)
from lotwise.domain.values import Amount, Side, Time, amount
from lotwise.engine.fold import apply
from lotwise.engine.records import Cancel, Compared, Deposited, Event, Record, Submit, Try
from lotwise.engine.state import State
from lotwise.venues.kraken.account import fill_of
from lotwise.venues.kraken.rest import Rest
from lotwise.venues.kraken.venue import AT_ONCE, KrakenVenue
from tests.sandbox_client import NOW, Client, client, core
from world.clock import VirtualLoop, run
from world.network import Network, Rates

SOL = "SOL/USDT"


@dataclass
class World:
    """A venue on a sandbox, and the state that its reports are folded into."""

    loop: VirtualLoop
    theirs: Client
    network: Network
    state: State
    venue: KrakenVenue
    waiting: list[Event]
    search: "asyncio.Task[None]"
    rest: Rest

    def fold(self, events: Any) -> None:
        for event in events:
            for record in event.records if isinstance(event, Compared) else (event,):
                apply(self.state, record)

    async def settle(self, seconds: float) -> None:
        """Let time pass, and fold what comes."""
        for _ in range(int(seconds)):
            await asyncio.sleep(1)
            self.theirs.core.advance(self.loop.now())
            events, self.waiting[:] = list(self.waiting), []
            self.fold(events)

    async def submit(self, order: Order) -> list[Event]:
        record: Record = Submit(order, 1, Try(Decimal(1), Decimal(200), 1.0, 0))
        apply(self.state, record)
        told = list(await self.venue.carry_out(Submit(order), lambda: None))
        self.fold(told)
        return told


def world(scenario: Callable[[World], Coroutine[Any, Any, None]], rates: Rates = Rates()) -> World:  # noqa: B008
    loop = VirtualLoop(NOW)
    theirs = client(core())
    network = Network(theirs.core, loop.now, Random(1), rates)
    state, waiting = State(), list[Event]()
    apply(state, Deposited(amount("100 USDT"), NOW))
    made: list[World] = []

    async def main() -> None:
        async with httpx.AsyncClient(transport=network, base_url="http://sandbox") as http:
            rest = Rest(http, loop.now, theirs.credentials)
            venue = KrakenVenue(rest, loop.now, state, waiting.extend)
            search = asyncio.create_task(venue.search())
            made.append(World(loop, theirs, network, state, venue, waiting, search, rest))
            await scenario(made[0])
            search.cancel()

    run(main(), loop)
    return made[0]


class Half(Random):
    """Dice that always show the middle."""

    def random(self) -> float:
        return 0.5


def buy(price: str = "99", quantity: str = "0.1", name: str = "abc-1") -> Order:
    return Order(
        client_id=name,
        symbol=SOL,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=Decimal(quantity),
        price=Decimal(price),
        reserve=Amount(Decimal(price) * Decimal(quantity) * Decimal("1.01"), "USDT"),
        purpose=Purpose.ENTRY,
        time=NOW,
        time_in_force=TimeInForce.GTC,
        fee_asset=FeeAsset.QUOTE,
    )


def status(made: World, name: str = "abc-1") -> Status:
    return made.state.order(name).status


def of(made: World, name: str = "abc-1") -> str:
    """Kraken's id of an order."""
    return made.state.order(name).venue_id or ""


def theirs(made: World) -> list[str]:
    """Every order that ever reached the exchange, by our name for it."""
    exchange = made.theirs.core.exchange
    waiting = [
        made.theirs.core.order(made.theirs.credentials.key, o.order.client_id)
        for o in exchange.open_orders("a")
    ]
    ended = [
        made.theirs.core.order(made.theirs.credentials.key, o.order.order.client_id)
        for o in exchange.history("a").closed
    ]
    return [str(info.cl_ord_id) for info in [*waiting, *ended] if info is not None]


def test_an_order_that_is_taken_rests_there_under_our_name() -> None:
    async def scenario(made: World) -> None:
        told = await made.submit(buy())
        assert [type(event).__name__ for event in told] == ["Sent", "Accepted"]

    made = world(scenario)
    assert status(made) is Status.OPEN and theirs(made) == ["abc-1"]


def test_only_an_error_that_proves_it_rejects() -> None:
    async def scenario(made: World) -> None:
        (_, no) = await made.submit(buy(quantity="0.001"))
        assert isinstance(no, Rejected) and no.rejection.kind is RejectionKind.MIN_QUANTITY
        assert no.rejection.text == "EGeneral:Invalid arguments:volume minimum not met"

    assert status(world(scenario)) is Status.REJECTED


@pytest.mark.parametrize(
    "at_once",
    [{"type": OrderType.MARKET, "price": None}, *({"time_in_force": word} for word in AT_ONCE)],
    ids=["market", *AT_ONCE],
)
def test_what_is_over_at_once_is_looked_up_should_no_stream_tell(at_once: dict[str, Any]) -> None:
    async def scenario(made: World) -> None:
        await made.submit(replace(buy(price="101"), **at_once))
        assert status(made) is Status.OPEN
        await made.settle(5)

    made = world(scenario)
    assert status(made) is Status.FILLED and len(made.state.order("abc-1").fills) == 1


def test_what_a_stream_told_meanwhile_is_not_asked_for() -> None:
    async def scenario(made: World) -> None:
        asked: list[str] = []
        await made.submit(replace(buy(price="101"), time_in_force=TimeInForce.IOC))
        made.fold(await made.venue.told(made.state.order("abc-1"), await made.venue.account.order(of(made))))
        made.network.sent = lambda endpoint, _: asked.append(endpoint)
        await made.settle(60)
        assert asked == []

    world(scenario)


def test_an_order_whose_time_is_over_is_looked_up_should_no_stream_tell() -> None:
    async def scenario(made: World) -> None:
        asked: list[str] = []
        await made.submit(
            replace(buy(), time_in_force=TimeInForce.GTD, expires=Time(made.loop.now() + 30_000))
        )
        made.network.sent = lambda endpoint, _: asked.append(endpoint)
        await made.settle(30)
        assert status(made) is Status.OPEN and asked == []
        await made.settle(15)
        assert status(made) is Status.EXPIRED and asked == ["QueryOrders"]
        await made.settle(60)
        assert asked == ["QueryOrders"]

    world(scenario)


def test_a_fill_that_is_told_before_its_order_ends_no_search() -> None:
    """A part of an order that takes is told by the stream; the lists, which know its name, are late."""

    async def scenario(made: World) -> None:
        made.theirs.core.exchange.show_depth(
            SOL, [(Decimal(99), Decimal(9))], [(Decimal(101), Decimal("0.06"))], made.loop.now()
        )
        made.network.rates = Rates(answer_lost=1.0)
        await made.submit(replace(buy(price="101"), time_in_force=TimeInForce.IOC))
        made.network.rates = Rates()
        (trade,) = await made.venue.account.trades(NOW)
        made.fold([fill_of(trade, "abc-1")])
        made.theirs.core.desk.history_lag = 25_000
        assert status(made) is Status.PARTIALLY_FILLED and not of(made)
        await made.settle(15)
        assert status(made) is Status.PARTIALLY_FILLED and not of(made)
        await made.settle(30)
        assert status(made) is Status.CANCELED and of(made)

    world(scenario)


def test_an_order_of_which_only_a_fill_was_told_is_looked_up_after_a_start() -> None:
    async def scenario(made: World) -> None:
        apply(made.state, Submit(buy("101", "0.2"), 1, Try(Decimal(1), Decimal(200), 1.0, 0)))
        made.theirs.placed("buy 0.1 SOLUSDT limit 101", cl_ord_id="abc-1")
        (trade,) = await made.venue.account.trades(Time(NOW - 1000))
        made.fold([Sent("abc-1", NOW), TimedOut("abc-1", NOW), fill_of(trade, "abc-1")])
        assert made.venue.resume() == [] and not of(made)
        await made.settle(10)
        assert of(made)

    world(scenario)


@pytest.mark.parametrize("trouble", ["answer_lost", "server_error", "garbage"])
def test_an_order_whose_answer_is_lost_is_found_and_adopted_never_sent_again(trouble: str) -> None:
    async def scenario(made: World) -> None:
        made.network.rates = Rates(**{trouble: 1.0})
        told = await made.submit(buy())
        assert isinstance(told[-1], TimedOut) and status(made) is Status.UNKNOWN
        made.network.rates = Rates()
        await made.settle(20)

    made = world(scenario)
    assert status(made) is Status.OPEN and theirs(made) == ["abc-1"]


def test_an_order_that_never_arrived_is_dead_only_after_two_complete_look_ups_apart() -> None:
    async def scenario(made: World) -> None:
        made.network.rates = Rates(request_lost=1.0)
        await made.submit(buy())
        made.network.rates = Rates()
        await made.settle(30)
        assert status(made) is Status.UNKNOWN, "one look-up proves nothing: lists may lag"
        await made.settle(40)

    made = world(scenario)
    assert status(made) is Status.DEAD and theirs(made) == []
    assert made.state.ledger.free("USDT") == amount("100 USDT")


def test_failed_look_ups_prove_nothing_however_many() -> None:
    async def scenario(made: World) -> None:
        made.network.rates = Rates(request_lost=1.0)
        await made.submit(buy())
        made.network.rates = Rates(server_error=1.0)
        await made.settle(600)
        assert status(made) is Status.UNKNOWN and made.state.ledger.free("USDT").number < 100

    world(scenario)


def test_an_order_that_arrives_after_its_deadline_is_not_taken() -> None:
    async def scenario(made: World) -> None:
        made.network.rates, made.network.random = Rates(late=1.0), Half()
        await made.submit(buy())
        made.network.rates = Rates()
        await made.settle(120)

    made = world(scenario)
    assert (status(made), theirs(made)) == (Status.DEAD, []), "it came 15 s late"


def test_a_fill_that_was_missed_is_booked_from_the_trades_with_its_fee() -> None:
    async def scenario(made: World) -> None:
        made.network.rates = Rates(answer_lost=1.0)
        await made.submit(buy(price="101"))
        made.network.rates = Rates()
        await made.settle(20)

    made = world(scenario)
    known = made.state.order("abc-1")
    assert known.status is Status.FILLED and sum(fill.quantity for fill in known.fills) == Decimal("0.1")
    exchange = made.theirs.core.exchange.ledger("a")
    assert made.state.ledger.total("USDT").number - 100 == exchange.total("USDT").number - 1000
    assert made.state.ledger.total("SOL").number == exchange.total("SOL").number - 10


@pytest.mark.parametrize("trouble", ["", "answer_lost", "request_lost"])
def test_a_cancel_is_confirmed_by_the_order_itself_and_asked_again_where_it_rests_still(trouble: str) -> None:
    async def scenario(made: World) -> None:
        await made.submit(buy())
        made.network.rates = Rates(**({trouble: 1.0} if trouble else {}))
        cancel = Cancel("abc-1", Purpose.STOP, made.loop.now())
        made.fold([cancel])
        made.fold(await made.venue.carry_out(cancel, lambda: None))
        made.network.rates = Rates()
        await made.settle(30)

    made = world(scenario)
    assert status(made) is Status.CANCELED


def test_a_cancel_that_died_with_the_program_is_asked_for_at_the_next_start() -> None:
    async def scenario(made: World) -> None:
        await made.submit(buy())
        made.fold([Cancel("abc-1", Purpose.STOP, made.loop.now())])
        assert made.venue.resume() == []
        await made.settle(30)

    assert status(world(scenario)) is Status.CANCELED


def test_an_order_that_is_forgotten_does_not_end_the_search_for_others() -> None:
    async def scenario(made: World) -> None:
        made.network.rates = Rates(request_lost=1.0)
        await made.submit(buy())
        await made.submit(replace(buy(name="abc-2"), time=made.loop.now()))
        made.network.rates = Rates()
        del made.state.orders["abc-1"]
        await made.settle(120)

    assert status(world(scenario), "abc-2") is Status.DEAD


def test_a_start_treats_what_may_have_been_sent_as_unknown() -> None:
    async def scenario(made: World) -> None:
        for name in ("abc-1", "abc-2"):
            apply(made.state, Submit(buy(name=name), 1, Try(Decimal(1), Decimal(200), 1.0, 0)))
        made.theirs.placed("buy 0.1 SOLUSDT limit 99", cl_ord_id="abc-2")
        made.fold(made.venue.resume())
        assert status(made, "abc-1") is status(made, "abc-2") is Status.UNKNOWN
        await made.settle(90)

    made = world(scenario)
    assert (status(made, "abc-1"), status(made, "abc-2")) == (Status.DEAD, Status.OPEN)


# A stop that rests at the exchange


def guard(quantity: Decimal, name: str = "abc-2") -> Order:
    """The sale of a bought quantity at 97 or below."""
    return Order(
        client_id=name,
        symbol=SOL,
        side=Side.SELL,
        type=OrderType.STOP_LOSS,
        quantity=quantity,
        price=None,
        reserve=Amount(quantity, "SOL"),
        purpose=Purpose.PROTECTION,
        time=NOW,
        fee_asset=FeeAsset.QUOTE,
        trigger=Decimal(97),
    )


async def bought_some(made: World) -> None:
    """0.1 SOL; the fill is learned by a look-up."""
    made.network.rates = Rates(answer_lost=1.0)
    await made.submit(buy(price="101"))
    made.network.rates = Rates()
    await made.settle(20)


def falls(made: World) -> None:
    """The market falls to 96.9, and somebody trades there."""
    made.theirs.core.exchange.show_depth(
        SOL, [(Decimal("96.9"), Decimal(9))], [(Decimal("97.1"), Decimal(9))], made.loop.now()
    )
    made.theirs.core.exchange.deposit("b", amount("5 SOL"))
    sale = replace(guard(Decimal(1), "b-1"), type=OrderType.MARKET, trigger=None)
    made.theirs.core.exchange.accept("b", sale, made.loop.now())


def test_a_resting_stop_sells_while_nobody_watches_and_the_fill_is_learned_afterwards() -> None:
    async def scenario(made: World) -> None:
        await bought_some(made)
        order = guard(made.state.order("abc-1").filled)
        made.fold([Submit(order)])
        made.fold(await made.venue.carry_out(Submit(order), lambda: None))
        assert status(made, "abc-2") is Status.OPEN
        made.search.cancel()  # the program is gone
        falls(made)
        await made.settle(60)
        assert status(made, "abc-2") is Status.OPEN, "nobody has told yet"
        (info,) = [i for i in await made.venue.account.closed_orders(NOW) if i.cl_ord_id == "abc-2"]
        made.fold(await made.venue.told(made.state.order("abc-2"), info))

    made = world(scenario)
    assert status(made, "abc-2") is Status.FILLED and made.state.holdings == {}
    exchange = made.theirs.core.exchange.ledger("a")
    assert made.state.ledger.total("USDT").number - 100 == exchange.total("USDT").number - 1000
    (sold,) = made.state.order("abc-2").fills
    assert sold.price == Decimal("96.9")


def test_a_cancel_that_comes_after_the_stop_was_met_learns_of_the_sale() -> None:
    """The other outcome of that race: nothing is left to be sold."""

    async def scenario(made: World) -> None:
        await bought_some(made)
        order = guard(made.state.order("abc-1").filled)
        made.fold([Submit(order)])
        made.fold(await made.venue.carry_out(Submit(order), lambda: None))
        falls(made)
        made.fold(
            await made.venue.carry_out(Cancel("abc-2", Purpose.TAKE_PROFIT, made.loop.now()), lambda: None)
        )

    made = world(scenario)
    assert status(made, "abc-2") is Status.FILLED and made.state.holdings == {}
    assert theirs(made).count("abc-2") == 1


def test_many_orders_of_unknown_fate_are_looked_for_together() -> None:
    """One look at the account's lists serves them all: Kraken counts calls, and exits wait behind them."""
    asked: list[str] = []

    async def scenario(made: World) -> None:
        made.network.rates = Rates(request_lost=1.0)
        for number in range(6):
            await made.submit(replace(buy(name=f"abc-{number}"), time=made.loop.now()))
        made.network.rates = Rates()
        made.network.sent = lambda endpoint, _: asked.append(endpoint)
        await made.settle(240)

    made = world(scenario)
    assert {status(made, f"abc-{number}") for number in range(6)} == {Status.DEAD}
    assert asked.count("OpenOrders") == asked.count("ClosedOrders") < 20
