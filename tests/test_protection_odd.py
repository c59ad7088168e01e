"""A stop that rests at the exchange, in bad company: refusals, many parts, lost cancels, late fills, rules
that change."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lotwise.app.operator import Operator
from lotwise.domain.market import Candle, Liquidity, MarketStatus, Quote
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Expired,
    Fill,
    OrderState,
    ProvenAbsent,
    Purpose,
    Rejected,
    Rejection,
    RejectionKind,
    Sent,
    TimedOut,
)
from lotwise.domain.values import Amount, Side, Time
from lotwise.engine.engine import Engine
from lotwise.engine.fold import apply
from lotwise.engine.ports import Brackets
from lotwise.engine.records import (
    Cancel,
    Command,
    Decided,
    Elapsed,
    Event,
    Extent,
    Freed,
    Listed,
    MarketUpdate,
    Panic,
    Record,
    Restricted,
    Skip,
    Stranded,
    Submit,
    Trading,
)
from lotwise.kraken.limits import TRADING, Counter, Verification, charge, trading_cost
from lotwise.store.journal import Journal
from lotwise.venues.kraken.inbox import Inbox
from lotwise.venues.simulated import ACCOUNT, SimulatedVenue
from tests.test_engine import CALM, SOL, bars, of
from tests.test_exits import THIN, TOUCH, traded
from tests.test_happenings import BOUGHT, FALL, World, at, born, live, settings_in, told_of, whole
from tests.test_protection import PROTECTED, Closed, orders, unskipped
from world.clock import VirtualLoop, run

D = Decimal
HOUR = 3_600_000
LIMITED = Rejection(RejectionKind.RATE_LIMIT, "EOrder:Rate limit exceeded")


class Kraken:
    """What an engine hears from an exchange that counts as Kraken does (Starter), and has nobody who buys at
    the target: such a sale ends as told."""

    def __init__(self, engine: Engine, ended: type[Canceled] | type[Expired] = Canceled) -> None:
        self.engine, self.ended = engine, ended
        self.log: list[Record] = []
        self.refused = 0
        self._counter = Counter()
        self._born: dict[str, Time] = dict.fromkeys(engine.state.orders, engine.state.time)

    def tell(self, *events: Event) -> None:
        waiting = deque(events)
        while waiting:
            for record in self.engine.handle(waiting.popleft()):
                self.log.append(record)
                now = self.engine.state.time
                if isinstance(record, Submit):
                    waiting += self._placed(record, now)
                elif isinstance(record, Cancel):
                    age = now - self._born.get(record.client_id, 0)
                    self._charge(trading_cost("cancel", age), now)
                    waiting.append(Canceled(record.client_id, "User requested", now))

    def _placed(self, record: Submit, now: Time) -> list[Event]:
        name = record.order.client_id
        if not self._charge(1, now):
            self.refused += 1
            return [Sent(name, now), Rejected(name, LIMITED, now)]
        self._born[name] = now
        told: list[Event] = [Sent(name, now), Accepted(name, f"O{len(self._born)}", now)]
        if record.order.purpose is Purpose.TAKE_PROFIT:
            told.append(Expired(name, now) if self.ended is Expired else Canceled(name, "nobody", now))
        return told

    def _charge(self, cost: int, now: Time) -> bool:
        charged = charge(self._counter, TRADING[Verification.STARTER], cost, now)
        self._counter = charged or self._counter
        return charged is not None


def held(path: Path, **keys: Any) -> Kraken:
    """An engine that has bought, and whose stop rests."""
    joined, _ = unskipped(path / "j", World({SOL: bars(SOL, CALM, BOUGHT)}, {SOL: [1]}), **keys)
    return Kraken(joined.engine)


def bar(time: int, price: int = 100) -> MarketUpdate:
    one = Decimal(price)
    candle = Candle(SOL, Time(time - HOUR), one, one, one, one, Decimal(1000))
    return MarketUpdate(Time(time), {SOL: candle}, {}, {SOL: Quote(SOL, Time(time), one, one + D("0.1"))})


def resting(kraken: Kraken) -> list[OrderState]:
    known = kraken.engine.state.orders.values()
    return [one for one in known if one.order.purpose is Purpose.PROTECTION]


# Lost on the way


class Deaf(Kraken):
    """No sale arrives there."""

    def _placed(self, record: Submit, now: Time) -> list[Event]:
        name = record.order.client_id
        return [Sent(name, now), TimedOut(name, now)]


@pytest.mark.parametrize("signal", [0.0, -1.0])
def test_a_sale_that_is_proven_absent_is_ordered_anew_at_once(tmp_path: Path, signal: float) -> None:
    """The next bar may be long in coming, and the market deaf."""
    kraken = Deaf(held(tmp_path).engine)
    (stop,) = resting(kraken)
    kraken.tell(Canceled(stop.order.client_id, "User requested", at(2)))
    kraken.tell(replace(bar(at(3)), signals={SOL: signal}))
    (lost,) = kraken.engine.state.orders.values()
    kraken.log.clear()
    kraken.tell(ProvenAbsent(lost.order.client_id, Time(at(3) + 40_000)))
    (anew,) = of(kraken.log, Submit)
    assert anew.order.client_id != lost.order.client_id
    assert (anew.order.purpose, anew.order.quantity) == (lost.order.purpose, lost.order.quantity)


def test_before_the_books_are_compared_nothing_is_entered_and_what_is_held_is_sold(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    kraken.engine.compared = lambda: False
    (stop,) = resting(kraken)
    kraken.tell(Canceled(stop.order.client_id, "User requested", at(2)))
    wished = replace(bar(at(3)), signals={SOL: 1.0})
    kraken.tell(wished)
    assert [order.purpose for order in orders(kraken.log, Purpose.PROTECTION)] == [Purpose.PROTECTION]
    kraken.tell(replace(bar(at(4)), signals={SOL: -1.0}))
    (sale,) = orders(kraken.log, Purpose.SIGNAL)
    price, fee = D(100), Amount(D(0), "USDT")
    cost = Amount(price * sale.quantity, "USDT")
    sold = Fill("T9", sale.client_id, SOL, Side.SELL, price, sale.quantity, cost, fee, Liquidity.TAKER, at(4))
    kraken.tell(sold)
    kraken.tell(replace(bar(at(5)), signals={SOL: 1.0}))
    assert of(kraken.log, Decided)[-1].reason is Skip.UNRECONCILED
    kraken.engine.compared = lambda: True
    kraken.tell(replace(bar(at(6)), signals={SOL: 1.0}))
    assert of(kraken.log, Decided)[-1].reason is None


# Refusals


def test_after_three_refused_stops_the_target_is_still_sold(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 6, TOUCH)}, {SOL: [1]}, venue=Closed)
    joined, records = unskipped(tmp_path / "j", world)
    assert len(orders(records, Purpose.PROTECTION)) == 3
    assert len(orders(records, Purpose.TAKE_PROFIT)) == 1 and joined.engine.state.holdings == {}


def test_a_refused_stop_does_not_hold_up_the_sale_at_the_target(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, TOUCH)}, {SOL: [1]}, venue=Closed)
    _, records = unskipped(tmp_path / "j", world)
    assert len(orders(records, Purpose.TAKE_PROFIT)) == 1


class Limited(SimulatedVenue):
    """So many stops and sales at the stop are refused for a reason that passes."""

    stops, sales = 3, 1

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if isinstance(command, Submit):
            order, refused = command.order, False
            if order.trigger is not None and self.stops:
                self.stops, refused = self.stops - 1, True
            elif order.purpose is Purpose.STOP and self.sales:
                self.sales, refused = self.sales - 1, True
            if refused:
                name = order.client_id
                return [Sent(name, order.time), Rejected(name, LIMITED, order.time)]
        return await super().carry_out(command, durable)


def test_refused_stops_leave_the_sale_at_the_stop_its_own_tries(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 6, *[FALL] * 4)}, {SOL: [1]}, venue=Limited)
    joined, _ = unskipped(tmp_path / "j", world)
    assert joined.engine.state.holdings == {}


@pytest.mark.parametrize("ended", [Canceled, Expired])
def test_a_sale_at_the_target_that_came_to_nothing_is_not_tried_with_each_price(
    tmp_path: Path, ended: type[Canceled] | type[Expired]
) -> None:
    kraken = held(tmp_path)
    kraken.ended, now = ended, kraken.engine.state.time
    for step in range(20):
        bid = D("105") + D("0.01") * (step % 2)
        kraken.tell(Quote(SOL, Time(now + 1000 * step), bid, D("105.05")))
    assert len(orders(kraken.log, Purpose.TAKE_PROFIT)) == 1 and len(resting(kraken)) == 1


def test_a_refused_stop_teaches_by_its_own_price(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    (stop,) = resting(kraken)
    no = Rejection(RejectionKind.MIN_NOTIONAL, "EOrder:Cost minimum not met")
    kraken.tell(Canceled(stop.order.client_id, "by hand", kraken.engine.state.time))
    now = Time(kraken.engine.state.time + HOUR)
    (submit,) = [r for r in kraken.engine.handle(bar(now)) if isinstance(r, Submit)]
    kraken.engine.handle(Sent(submit.order.client_id, now))
    kraken.engine.handle(Rejected(submit.order.client_id, no, now))
    least, asked = kraken.engine.state.evidence[SOL].min_notional, D(97) * submit.order.quantity
    assert least is not None and asked < least < asked + D("0.001")


# Many parts


@pytest.mark.parametrize(("parts", "apart"), [(20, 100), (20, 2_000)])
def test_an_entry_in_many_parts_ends_with_a_stop_for_all_of_it_and_no_refusal(
    tmp_path: Path, parts: int, apart: int
) -> None:
    world = World({SOL: bars(SOL, CALM, (10010, 10020, 10010, 10010))}, {SOL: [1]})
    keys = {"dry_run_wallet": 100, "sizing__max_order_size_usdt": 100, "entry__lifetime_bars": 9}
    joined, _ = unskipped(tmp_path / "j", world, **keys)
    kraken = Kraken(joined.engine)
    (entry,) = [known.order for known in joined.engine.state.orders.values()]
    part = (entry.quantity / parts).quantize(D("0.00000001"))
    for number in range(parts):
        size = part if number < parts - 1 else entry.quantity - part * (parts - 1)
        paid, fee = Amount(size * 100, "USDT"), Amount(D("0.001"), "USDT")
        time = Time(joined.engine.state.time + apart)
        fill = (f"T{number}", entry.client_id, SOL, Side.BUY, D(100), size, paid, fee, Liquidity.MAKER, time)
        kraken.tell(Fill(*fill))
    (stop,) = resting(kraken)
    assert stop.rest == entry.quantity and kraken.refused == 0


def test_a_stop_too_young_to_be_replaced_is_replaced_when_it_is_old_enough(tmp_path: Path) -> None:
    """Kraken charges cancels of orders younger than 15 s most."""
    world = World({SOL: bars(SOL, CALM, (10010, 10020, 10010, 10010))}, {SOL: [1]})
    joined, _ = unskipped(tmp_path / "j", world, entry__lifetime_bars=9)
    kraken = Kraken(joined.engine)
    (entry,) = [known.order for known in joined.engine.state.orders.values()]
    begun, part = joined.engine.state.time, D("0.03")
    for number in (1, 2):
        time, paid, fee = Time(begun + number), Amount(part * 100, "USDT"), Amount(D("0.001"), "USDT")
        fill = (f"T{number}", entry.client_id, SOL, Side.BUY, D(100), part, paid, fee, Liquidity.MAKER, time)
        kraken.tell(Fill(*fill))
    for seconds, guarded in ((5, part), (14, part), (16, part * 2)):
        kraken.tell(Elapsed(Time(begun + 1_000 * seconds)))
        (stop,) = resting(kraken)
        assert stop.rest == guarded
    assert kraken.engine.outgrown(Time(begun + 60_000)) == []


def test_while_a_stop_is_for_less_than_is_held_the_run_watches_too(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    holding = kraken.engine.state.holdings[SOL]
    assert kraken.engine.brackets()[SOL].stop is None
    (stop,) = resting(kraken)
    sold = Fill("late", stop.order.client_id, SOL, Side.SELL, D(97), D("0.04"), Amount(D("3.88"), "USDT"),
                Amount(D("0.01"), "USDT"), Liquidity.TAKER, kraken.engine.state.time)  # fmt: skip
    kraken.tell(Canceled(stop.order.client_id, "by hand", kraken.engine.state.time))
    kraken.tell(bar(kraken.engine.state.time + HOUR))
    kraken.tell(sold)
    assert kraken.engine.brackets()[SOL].stop == holding.stop, "the stop is for more than is held"
    for hours in (1, 2):
        kraken.tell(bar(kraken.engine.state.time + hours * HOUR))
    (stop,) = resting(kraken)
    assert stop.rest == holding.position.quantity


def test_of_two_stops_that_rest_one_is_taken_off(tmp_path: Path) -> None:
    """The first was proven absent, and lives."""
    kraken = held(tmp_path)
    (first,) = resting(kraken)
    kraken.tell(Canceled(first.order.client_id, "by hand", kraken.engine.state.time))
    kraken.tell(bar(kraken.engine.state.time + HOUR))
    assert len(resting(kraken)) == 1
    state = kraken.engine.state
    state.ended.pop(first.order.client_id)
    state.orders[first.order.client_id] = first
    kraken.tell(bar(state.time + HOUR))
    assert len(resting(kraken)) == 1 and len(of(kraken.log, Cancel)) == 1


# Rules that change


class Cleared(SimulatedVenue):
    """Somebody takes all orders off the books when four bars have closed."""

    async def events(self, update: MarketUpdate, brackets: Brackets) -> AsyncIterator[Event]:
        if update.time == at(4):
            for waiting in self.exchange.open_orders(ACCOUNT):
                for report in self.exchange.cancel(ACCOUNT, waiting.order.client_id, update.time, "cleared"):
                    yield report
        async for event in super().events(update, brackets):
            yield event


class LostOnce(SimulatedVenue):
    """The first request to cancel never arrives."""

    lost = True

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if isinstance(command, Cancel) and self.lost:
            self.lost = False
            return []
        return await super().carry_out(command, durable)


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        (MarketStatus.CANCEL_ONLY, {}),
        (MarketStatus.LIMIT_ONLY, {}),
        (MarketStatus.ONLINE, {"min_quantity": D("0.2")}),
    ],
    ids=["cancel only", "limit only", "minimum raised"],
)
def test_a_stop_that_is_too_small_stays_while_no_other_may_take_its_place(
    tmp_path: Path, status: MarketStatus, changes: dict[str, Any]
) -> None:
    quiet = (10010, 10020, 10010, 10010)
    candles = traded(bars(SOL, CALM, BOUGHT, *[quiet] * 2, BOUGHT, *[CALM] * 3), 1e6, 0.3, 0.3)
    world = World({SOL: candles}, {SOL: [1]}, (told_of(SOL, 3, status, **changes),))
    joined, _ = live(tmp_path / "j", world, **PROTECTED | THIN | {"entry__lifetime_bars": 9})
    assert any(waiting.order.trigger for waiting in joined.venue.exchange.open_orders(ACCOUNT))


def test_what_can_be_sold_at_the_target_and_not_at_the_stop_is_sold_at_the_target(tmp_path: Path) -> None:
    candles, dearer = bars(SOL, CALM, BOUGHT, CALM, CALM, TOUCH, TOUCH), {"min_notional": D("9.4")}
    for rests in (False, True):
        told = told_of(SOL, 3, MarketStatus.ONLINE, **dearer)
        world = World({SOL: candles}, {SOL: [1]}, (told,), venue=Cleared)
        _, records = unskipped(tmp_path / f"{rests}", world, stoploss_on_exchange=rests)
        assert [fill.price for fill in of(records, Fill)] == [100, 105]


def test_a_stop_that_rests_beside_what_cannot_be_sold_now_is_seen_by_a_run_that_skips(tmp_path: Path) -> None:
    rows, fills = [CALM, BOUGHT, *[CALM] * 6, FALL, *[CALM] * 4], []
    raised = told_of(SOL, 3, MarketStatus.ONLINE, min_quantity=D("0.2"))
    for skips in (True, False):
        world = World({SOL: bars(SOL, *rows)}, {SOL: [1]}, (raised,))
        with Journal(tmp_path / f"{skips}") as journal:
            settings = settings_in(world, **PROTECTED, max_hold_bars=3)
            fills.append([(f.price, f.time) for f in of(whole(born(world, settings, journal, skips)), Fill)])
    assert fills[0] == fills[1] and len(fills[0]) == 2


def test_what_became_too_small_for_any_sale_but_the_stop_that_rests_is_told_to_be_stuck(
    tmp_path: Path,
) -> None:
    raised = told_of(SOL, 3, MarketStatus.ONLINE, min_quantity=D("0.2"))
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 4)}, {SOL: [1]}, (raised,))
    joined, records = unskipped(tmp_path / "j", world, max_hold_bars=2)
    (stranded,) = of(records, Stranded)
    assert stranded.why == "only the resting stop is left: 0.095 SOL is below the minimum of 0.2"
    assert [waiting.order.trigger for waiting in joined.venue.exchange.open_orders(ACCOUNT)] == [97]


@pytest.mark.parametrize(
    ("written", "sold_for"),
    [
        (Cancel("entry", Purpose.SIGNAL, at(3)), Purpose.SIGNAL),
        (Panic(Extent.FLATTEN, at(3)), Purpose.PANIC),
        (Panic(Extent.ORDERS, at(3)), None),
    ],
    ids=["exit", "flatten", "cancel all"],
)
def test_a_start_goes_on_with_what_an_end_in_the_middle_of_many_cancels_left_undone(
    tmp_path: Path, written: Record, sold_for: Purpose | None
) -> None:
    """The first row of several was written down, the cancel of the resting stop was not."""
    kraken = held(tmp_path)
    entry = next(name for name, known in kraken.engine.state.ended.items())
    apply(kraken.engine.state, replace(written, client_id=entry) if isinstance(written, Cancel) else written)
    (stop,) = resting(kraken)
    kraken.tell(bar(at(4)))
    assert [cancel.client_id for cancel in of(kraken.log, Cancel)] == [stop.order.client_id]
    sold = [submit.order.purpose for submit in of(kraken.log, Submit)]
    assert sold == ([] if sold_for is None else [sold_for])


def raised(time: int, least: str) -> Listed:
    return replace(told_of(SOL, 3, MarketStatus.ONLINE, min_quantity=D(least)), time=Time(time))


def test_a_sale_that_could_not_be_placed_again_is_not_taken_off_to_sell_all(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    (stop,) = resting(kraken)
    kraken.tell(raised(at(3), "0.2"))
    kraken.log.clear()
    kraken.tell(Panic(Extent.FLATTEN, at(3)))
    assert of(kraken.log, Cancel) == [] and resting(kraken) == [stop]
    assert (kraken.engine.state.holdings[SOL].stuck or "").startswith("only the resting stop is left")
    kraken.tell(raised(at(4), "0.02"), bar(at(4)))
    assert orders(kraken.log, Purpose.PANIC) != [], "it is sold when that is allowed again"


def test_what_could_not_be_sold_when_all_was_to_be_is_kept_once_that_is_lifted(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    (stop,) = resting(kraken)
    engine = kraken.engine
    for event in (
        Panic(Extent.FLATTEN, at(3)),
        raised(at(3), "0.2"),
        Canceled(stop.order.client_id, "User requested", at(3)),
    ):
        engine.handle(event)
    assert engine.state.holdings[SOL].stuck and engine.state.orders == {}
    engine.handle(Restricted(Trading.ACTIVE, "the owner lifted the restriction", at(3)))
    kraken.tell(raised(at(4), "0.02"), bar(at(4)))
    assert [submit.order.purpose for submit in of(kraken.log, Submit)] == [Purpose.PROTECTION]


def test_what_was_too_cheap_beside_its_resting_stop_is_left_once_its_price_allows_it(tmp_path: Path) -> None:
    """0.095 SOL: at 97.5 worth less than the new minimum of 9.3, at 100 more."""
    low, rows = (9800, 9810, 9740, 9750), [CALM, BOUGHT, CALM]
    world = World(
        {SOL: bars(SOL, *rows, *[low] * 4, *[CALM] * 3)},
        {SOL: [1]},
        (told_of(SOL, 3, MarketStatus.ONLINE, min_notional=D("9.3")),),
    )
    runs = []
    for skips in (True, False):
        with Journal(tmp_path / f"{skips}") as journal:
            runs.append(whole(born(world, settings_in(world, **PROTECTED, max_hold_bars=3), journal, skips)))
    assert runs[0] == runs[1]
    (stranded,), (freed,) = of(runs[0], Stranded), of(runs[0], Freed)
    assert "only the resting stop is left: 9.2625 USDT is below the minimum" in stranded.why
    assert freed.time == at(8)
    (sale,) = orders(runs[0], Purpose.TIME)
    assert sale.time == at(9) and of(runs[0], Fill)[-1].price > 99 and of(runs[0], Rejected) == []


def test_a_target_off_the_tick_is_not_sold_below_itself(tmp_path: Path) -> None:
    kraken = held(tmp_path, target="0.0503")
    kraken.tell(told_of(SOL, 3, MarketStatus.ONLINE, tick_size=D("0.1")))
    for hour in range(4):
        kraken.tell(Quote(SOL, Time(kraken.engine.state.time + HOUR * hour), D("105.05"), D("105.1")))
    assert orders(kraken.log, Purpose.TAKE_PROFIT) == []


# Cancels


def test_a_stop_is_cancelled_once_when_the_last_part_comes(tmp_path: Path) -> None:
    candles = traded(bars(SOL, CALM, *[BOUGHT] * 4), 1e6, 0.3, 1e6)
    world = World({SOL: candles}, {SOL: [1]})
    _, records = live(tmp_path / "j", world, **PROTECTED | THIN | {"entry__lifetime_bars": 9})
    assert len(of(records, Cancel)) == 1


def test_an_entry_whose_cancel_is_lost_is_asked_off_the_book_though_nothing_is_held(tmp_path: Path) -> None:
    """Its stop sold all that there was."""
    candles = traded(bars(SOL, CALM, BOUGHT, FALL, CALM, CALM), 1e6, 0.6, 0, 0)
    world = World({SOL: candles}, {SOL: [1]}, venue=LostOnce)
    joined, records = unskipped(tmp_path / "j", world, **THIN | {"entry__lifetime_bars": 9})
    assert len(of(records, Cancel)) == 2
    assert joined.venue.exchange.open_orders(ACCOUNT) == () and joined.engine.state.cancels == {}


def test_the_owners_later_word_holds(tmp_path: Path) -> None:
    """Flatten is not done when he says lift: it is not asked for again."""
    engine = held(tmp_path).engine
    loop = VirtualLoop(engine.state.time)

    async def main() -> None:
        inbox = Inbox()
        operator = Operator(engine, inbox, loop.now)

        async def serve() -> None:
            async for events in inbox.occasions():
                for event in events:
                    engine.handle(event)  # and no cancel is ever answered

        task = asyncio.create_task(serve())
        first = asyncio.create_task(operator.carry_out("flatten"))
        await asyncio.sleep(1)
        assert (await operator.carry_out("lift"))["done"]
        await asyncio.sleep(30)
        assert not (await first)["done"]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(main(), loop)
    assert engine.state.trading is Trading.ACTIVE and not engine.state.flattening
