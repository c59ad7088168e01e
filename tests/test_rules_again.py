"""Rules that the stream did not tell: read once a day, and after a refusal for an order's size."""

import asyncio
from dataclasses import replace
from decimal import Decimal

from lotwise.domain.orders import Rejected, Rejection, RejectionKind
from lotwise.engine.records import Event, Listed, Record
from lotwise.venues.kraken.facts import pairs
from lotwise.venues.kraken.rules import RuleBook
from tests.sandbox_client import NOW
from tests.test_live_orders import SOL, World, world
from world.network import Rates

REFUSED = Rejected("abc-1", Rejection(RejectionKind.MIN_QUANTITY, "volume minimum not met"), NOW)
TOO_DEAR = Rejected("abc-1", Rejection(RejectionKind.FUNDS, "EOrder:Insufficient funds"), NOW)


async def known(made: World) -> dict[str, Listed]:
    return await pairs(made.rest, (SOL,), made.loop.now())


def raise_minimum(made: World) -> None:
    exchange = made.theirs.core.exchange
    exchange.list_market(replace(exchange.markets()[SOL], min_quantity=Decimal(3)))


async def told_after(made: World, seconds: float, *records: Record) -> list[Event]:
    """What the book of rules tells within so many seconds in which the minimum has risen."""
    told, rules = list[Event](), await known(made)

    def put(events: list[Event]) -> None:
        told.extend(events)
        rules.update({event.listing.symbol: event for event in events if isinstance(event, Listed)})

    book = RuleBook(made.rest, rules, made.loop.now, put)
    keeping = asyncio.create_task(book.keep())
    raise_minimum(made)
    book.notice(records)
    await asyncio.sleep(seconds)
    keeping.cancel()
    return told


def test_a_refusal_for_its_size_has_the_rules_read_again_at_once() -> None:
    async def scenario(made: World) -> None:
        (new,) = await told_after(made, 5, REFUSED)
        assert isinstance(new, Listed) and new.listing.min_quantity == 3

    world(scenario)


def test_other_refusals_do_not() -> None:
    async def scenario(made: World) -> None:
        assert await told_after(made, 5, TOO_DEAR) == []

    world(scenario)


def test_once_a_day_they_are_read_and_told_only_if_they_are_new() -> None:
    async def scenario(made: World) -> None:
        (new,) = await told_after(made, 3 * 86_400 + 60)
        assert isinstance(new, Listed) and 86_400_000 <= new.time - NOW < 86_460_000

    world(scenario)


def test_a_reading_that_fails_is_tried_again() -> None:
    async def scenario(made: World) -> None:
        told: list[Event] = []
        book = RuleBook(made.rest, await known(made), made.loop.now, told.extend)
        keeping = asyncio.create_task(book.keep())
        raise_minimum(made)
        made.network.rates = Rates(server_error=1.0)
        book.notice([REFUSED])
        await asyncio.sleep(60)
        assert told == []
        made.network.rates = Rates()
        await asyncio.sleep(300)
        keeping.cancel()
        assert len(told) == 1

    world(scenario)
