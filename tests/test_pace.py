"""The trading counter of a pair: entries leave room to cancels and sales, which wait where there is none."""

import asyncio

from lotwise.domain.orders import Rejected, RejectionKind, Status
from lotwise.domain.values import Time
from lotwise.engine.records import Cancel, Impossible, Submit
from lotwise.venues.kraken.pace import Pace
from tests.sandbox_client import NOW
from tests.test_live_orders import World, buy, status, world
from world.clock import VirtualLoop, run

PAIR, OTHER = "SOL/USDT", "ADA/USDT"


def test_entries_take_three_fifths_of_the_counter_and_the_next_pair_has_its_own() -> None:
    """Starter: at most 60, falling by one a second (Kraken's documentation, 2026-05-27)."""
    now = NOW
    pace = Pace(lambda: now)
    assert [pace.may_buy(PAIR, f"a-{n}") for n in range(40)] == [True] * 36 + [False] * 4
    assert pace.may_buy(OTHER, "b-1")
    now = Time(NOW + 1_000)
    assert [pace.may_buy(PAIR, f"c-{n}") for n in range(2)] == [True, False]


def test_sales_and_cancels_wait_for_room_below_four_fifths() -> None:
    loop = VirtualLoop(NOW)

    async def scenario() -> list[int]:
        pace, waited = Pace(loop.now), []
        for n in range(36):
            assert pace.may_buy(PAIR, f"a-{n}")
        for n in range(13):
            began = loop.now()
            await pace.sell(PAIR, f"s-{n}")
            waited.append(loop.now() - began)
        began = loop.now()
        await pace.cancel(PAIR, "s-12")  # eight while it is less than five seconds old, then six
        waited.append(loop.now() - began)
        return waited

    *sales, last, cancel = run(scenario(), loop)
    assert sales == [0] * 12 and last == 1_000 and cancel == 6_000


def test_the_cancel_of_an_old_order_costs_nothing() -> None:
    loop = VirtualLoop(NOW)

    async def scenario() -> None:
        pace = Pace(loop.now)
        await asyncio.sleep(301)
        for n in range(100):
            await pace.cancel(PAIR, f"before-{n}")

    run(scenario(), loop)
    assert loop.now() == NOW + 301_000


def test_an_entry_without_room_is_not_sent_and_a_cancel_still_goes() -> None:
    async def scenario(made: World) -> None:
        for n in range(50):
            told, *_ = await made.submit(buy(price="90", quantity="0.02", name=f"abc-{n}"))
            if isinstance(told, Rejected):
                break
        assert isinstance(told, Rejected) and told.rejection.kind is RejectionKind.RATE_LIMIT
        assert "not sent" in told.rejection.text and status(made, f"abc-{n}") is Status.REJECTED
        assert 36 <= n < 45
        assert len(made.theirs.core.exchange.open_orders("a")) == n
        await made.venue.carry_out(Cancel("abc-0", buy().purpose, made.loop.now()), lambda: None)

        assert "abc-0" not in [each.order.client_id for each in made.theirs.core.exchange.open_orders("a")]

    world(scenario)


def test_an_intent_that_was_sent_is_never_sent_again() -> None:
    async def scenario(made: World) -> None:
        await made.submit(buy())
        (told,) = await made.venue.carry_out(Submit(buy()), lambda: None)
        assert isinstance(told, Impossible) and told.why == "an intent is sent once"

    assert len(world(scenario).theirs.core.exchange.open_orders("a")) == 1
