"""A stop that rests at the exchange: it is always for what is held, and the run watches the target."""

from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from lotwise.app.wire import Run, exchange_of
from lotwise.domain.market import Liquidity
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Fill,
    Order,
    OrderType,
    Purpose,
    Rejected,
    Rejection,
    RejectionKind,
    Sent,
    TimeInForce,
)
from lotwise.engine.ports import Brackets
from lotwise.engine.records import Cancel, Command, Decided, Event, MarketUpdate, Record, Stranded, Submit
from lotwise.store.journal import Journal
from lotwise.venues.simulated import ACCOUNT, SimulatedVenue
from tests.test_engine import CALM, SOL, bars, of
from tests.test_exits import RISE, THIN, TOUCH, Forgetful, traded
from tests.test_happenings import BOUGHT, FALL, World, at, born, live, market_of, settings_in, whole

D = Decimal
PROTECTED = {"stoploss_on_exchange": True, "target": "0.05"}


def orders(records: list[Record], purpose: Purpose) -> list[Order]:
    return [submit.order for submit in of(records, Submit) if submit.order.purpose is purpose]


def test_the_stop_waits_at_the_exchange_for_all_that_was_bought(tmp_path: Path) -> None:
    joined, records = live(
        tmp_path / "j", World({SOL: bars(SOL, CALM, BOUGHT, CALM)}, {SOL: [1]}), **PROTECTED
    )
    (stop,) = orders(records, Purpose.PROTECTION)
    (bought,) = of(records, Fill)
    assert (stop.type, stop.trigger, stop.price) == (OrderType.STOP_LOSS, D(97), None)
    assert stop.quantity == bought.quantity and stop.time == bought.time
    assert orders(records, Purpose.TARGET) == []
    (waiting,) = joined.venue.exchange.open_orders(ACCOUNT)
    assert waiting.order.client_id == stop.client_id and waiting.sleeps


def test_a_fall_to_the_stop_is_sold_by_the_exchange_and_not_by_the_run(tmp_path: Path) -> None:
    joined, records = live(
        tmp_path / "j", World({SOL: bars(SOL, CALM, BOUGHT, FALL)}, {SOL: [1]}), **PROTECTED
    )
    assert orders(records, Purpose.STOP) == [] and of(records, Cancel) == []
    bought, sold = of(records, Fill)
    assert sold.client_id == orders(records, Purpose.PROTECTION)[0].client_id
    assert (sold.price, sold.liquidity) == (D("95.90"), Liquidity.TAKER), "opened at 96, less the slippage"
    assert joined.engine.state.holdings == {} and sold.quantity == bought.quantity


def test_a_bar_that_buys_and_falls_to_the_stop_sells_at_the_stop(tmp_path: Path) -> None:
    """As without the order at the exchange: the price came down to the stop after the purchase."""
    falls = (10000, 10010, 9690, 9800)
    prices = {}
    for name, keys in (("rests", PROTECTED), ("watched", {"target": "0.05"})):
        _, records = live(tmp_path / name, World({SOL: bars(SOL, CALM, falls)}, {SOL: [1]}), **keys)
        prices[name] = [fill.price for fill in of(records, Fill)]
    assert prices["rests"] == prices["watched"] == [D(100), D("96.90")]


def test_at_the_target_the_stop_is_taken_off_first_and_all_is_sold_at_once(tmp_path: Path) -> None:
    joined, records = live(
        tmp_path / "j", World({SOL: bars(SOL, CALM, BOUGHT, TOUCH)}, {SOL: [1]}), **PROTECTED
    )
    (stop,), (sale,) = orders(records, Purpose.PROTECTION), orders(records, Purpose.TAKE_PROFIT)
    (cancel,) = of(records, Cancel)
    assert cancel.client_id == stop.client_id
    place = records.index
    assert place(cancel) < place(next(r for r in records if isinstance(r, Canceled)))
    assert (sale.type, sale.price, sale.time_in_force) == (OrderType.LIMIT, D(105), TimeInForce.IOC)
    bought, sold = of(records, Fill)
    assert (sold.price, sold.liquidity, sold.quantity) == (D(105), Liquidity.TAKER, bought.quantity)
    assert joined.engine.state.holdings == {} and joined.engine.state.orders == {}


def test_the_bar_that_buys_does_not_sell_at_its_own_high(tmp_path: Path) -> None:
    both = (10000, 10600, 9999, 10000)
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, CALM, both)}, {SOL: [1]}), **PROTECTED)
    assert len(of(records, Fill)) == 1


def test_a_price_at_the_target_and_not_through_it_sells_nothing(tmp_path: Path) -> None:
    touches = (10000, 10500, 9990, 10400)
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, CALM, BOUGHT, touches)}, {SOL: [1]}), **PROTECTED)
    assert orders(records, Purpose.TAKE_PROFIT) == []


def test_a_bar_that_meets_stop_and_target_meets_the_stop(tmp_path: Path) -> None:
    wild = (10000, 10600, 9600, 10400)
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, CALM, BOUGHT, wild)}, {SOL: [1]}), **PROTECTED)
    assert [fill.price for fill in of(records, Fill)] == [D(100), D("96.90")]


def test_after_each_part_that_is_bought_the_stop_is_for_all_of_it(tmp_path: Path) -> None:
    """A tenth of each bar's volume: 0.03, then 0.03, then the rest."""
    candles = traded(bars(SOL, CALM, *[BOUGHT] * 4), 1e6, 0.3, 0.3, 1e6)
    keys = PROTECTED | THIN | {"entry__lifetime_bars": 9}
    joined, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1]}), **keys)
    bought = [fill.quantity for fill in of(records, Fill)]
    assert len(bought) == 3
    stops = [order.quantity for order in orders(records, Purpose.PROTECTION)]
    assert stops == [bought[0], sum(bought[:2]), sum(bought)]
    (waiting,) = joined.venue.exchange.open_orders(ACCOUNT)
    assert waiting.rest == joined.engine.state.holdings[SOL].position.quantity


def test_a_stop_that_could_not_be_replaced_in_time_is_replaced_at_the_next_bar(tmp_path: Path) -> None:
    candles = traded(bars(SOL, CALM, *[BOUGHT] * 6), 1e6, 0.3, 1e6)
    world = World({SOL: candles}, {SOL: [1]}, venue=Forgetful)
    joined, records = live(tmp_path / "j", world, **PROTECTED | THIN | {"entry__lifetime_bars": 9})
    assert len(of(records, Cancel)) == 3
    (waiting,) = joined.venue.exchange.open_orders(ACCOUNT)
    assert waiting.rest == joined.engine.state.holdings[SOL].position.quantity


def test_a_part_too_small_to_be_sold_has_no_stop_until_more_came_and_is_not_called_stuck(
    tmp_path: Path,
) -> None:
    candles = traded(bars(SOL, CALM, *[BOUGHT] * 3), 1e6, 0.1, 1e6)
    keys = PROTECTED | THIN | {"entry__lifetime_bars": 9}
    _, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1]}), **keys)
    first, second = of(records, Fill)
    assert first.quantity < market_of(SOL).min_quantity and of(records, Stranded) == []
    (stop,) = orders(records, Purpose.PROTECTION)
    assert stop.quantity == first.quantity + second.quantity


def test_when_the_stop_of_a_part_is_met_no_more_is_bought(tmp_path: Path) -> None:
    candles = traded(bars(SOL, CALM, BOUGHT, FALL, CALM, CALM), 1e6, 0.6, 0, 1e6)
    keys = PROTECTED | THIN | {"entry__lifetime_bars": 9}
    joined, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1]}), **keys)
    bought, sold = of(records, Fill)
    assert sold.quantity == bought.quantity
    (cancel,) = of(records, Cancel)
    assert cancel.client_id == bought.client_id and cancel.due is Purpose.STOP
    assert joined.engine.state.orders == {} and joined.engine.state.holdings == {}


def test_a_trail_above_the_stop_is_watched_by_the_run(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, RISE, (10290, 10295, 10090, 10150)]
    keys = PROTECTED | {"trailing_stop": "0.02", "target": "0.2"}
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}), **keys)
    (trail,) = orders(records, Purpose.TRAIL)
    (cancel,) = of(records, Cancel)
    assert cancel.client_id == orders(records, Purpose.PROTECTION)[0].client_id
    assert of(records, Fill)[1].price == D("100.83") and trail.time == at(4)


class Refusing(SimulatedVenue):
    """The exchange takes no stops until so many were refused."""

    left = 2

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if isinstance(command, Submit) and command.order.trigger is not None and self.left:
            self.left -= 1
            refused = Rejection(RejectionKind.INVALID, "not now")
            return [
                Sent(command.order.client_id, command.order.time),
                Rejected(command.order.client_id, refused, command.order.time),
            ]
        return await super().carry_out(command, durable)


class Closed(Refusing):
    left = 9


def unskipped(path: Path, world: World, **keys: Any) -> tuple[Run, list[Record]]:
    with Journal(path) as journal:
        joined = born(world, settings_in(world, **PROTECTED | keys), journal, skips=False)
        return joined, whole(joined)


def test_a_stop_that_is_refused_is_tried_thrice_and_the_run_watches_meanwhile(tmp_path: Path) -> None:
    calm = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 6)}, {SOL: [1]}, venue=Refusing)
    _, records = unskipped(tmp_path / "calm", calm)
    assert [order.time for order in orders(records, Purpose.PROTECTION)] == [at(2), at(3), at(4)]
    falls = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 6, FALL)}, {SOL: [1]}, venue=Closed)
    joined, records = unskipped(tmp_path / "falls", falls)
    assert len(orders(records, Purpose.PROTECTION)) == 3 and of(records, Stranded) == []
    (stop,) = orders(records, Purpose.STOP)
    assert stop.time == at(9) and joined.engine.state.holdings == {}


class Unwilling(SimulatedVenue):
    """Nobody buys at the target until five bars have closed."""

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if (
            isinstance(command, Submit)
            and command.order.purpose is Purpose.TAKE_PROFIT
            and command.order.time < at(5)
        ):
            name, time = command.order.client_id, command.order.time
            return [Sent(name, time), Accepted(name, "O0", time), Canceled(name, "nobody bought", time)]
        return await super().carry_out(command, durable)


def test_where_nobody_buys_at_the_target_the_stop_is_put_back_and_the_sale_tried_once_a_bar(
    tmp_path: Path,
) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[TOUCH] * 4)}, {SOL: [1]}, venue=Unwilling)
    joined, records = unskipped(tmp_path / "j", world)
    assert [order.time for order in orders(records, Purpose.TAKE_PROFIT)] == [at(3), at(4), at(5)]
    assert len(orders(records, Purpose.PROTECTION)) == 3
    assert joined.engine.state.holdings == {}


class Unsellable(SimulatedVenue):
    """No sale at the target is taken."""

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if isinstance(command, Submit) and command.order.purpose is Purpose.TAKE_PROFIT:
            name, time = command.order.client_id, command.order.time
            no = Rejection(RejectionKind.FUNDS, "EOrder:Insufficient funds")
            return [Sent(name, time), Rejected(name, no, time)]
        return await super().carry_out(command, durable)


def test_a_sale_at_the_target_that_is_refused_is_tried_thrice_and_the_stop_goes_on(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[TOUCH] * 6, FALL)}, {SOL: [1]}, venue=Unsellable)
    joined, records = unskipped(tmp_path / "j", world)
    assert [order.time for order in orders(records, Purpose.TAKE_PROFIT)] == [at(3), at(4), at(5)]
    assert of(records, Submit)[-1].order.purpose is Purpose.PROTECTION
    assert joined.engine.state.holdings == {}, "it was met"


class Cleared(SimulatedVenue):
    """Somebody takes the stop off the books when three bars have closed."""

    async def events(self, update: MarketUpdate, brackets: Brackets) -> AsyncIterator[Event]:
        if update.time == at(3):
            for waiting in self.exchange.open_orders(ACCOUNT):
                for report in self.exchange.cancel(ACCOUNT, waiting.order.client_id, update.time, "cleared"):
                    yield report
        async for event in super().events(update, brackets):
            yield event


def test_a_stop_that_somebody_takes_off_is_put_back_at_the_next_bar(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, CALM, CALM)}, {SOL: [1]}, venue=Cleared)
    joined, records = unskipped(tmp_path / "j", world)
    assert [order.time for order in orders(records, Purpose.PROTECTION)] == [at(2), at(3)]
    assert len(joined.venue.exchange.open_orders(ACCOUNT)) == 1


def test_an_edge_that_only_a_waiting_target_pays_is_refused(tmp_path: Path) -> None:
    """0.65 % pays a maker's fee twice and the edge asked for, not a maker's and a taker's."""
    keys = {"target": "0.0065"}
    world = World({SOL: bars(SOL, CALM, BOUGHT)}, {SOL: [1]})
    _, waiting = live(tmp_path / "waiting", world, **keys)
    _, at_once = live(tmp_path / "at_once", world, **keys, stoploss_on_exchange=True)
    assert [told.reason for told in of(waiting, Decided)] == [None]
    assert [told.reason for told in of(at_once, Decided)] == ["EDGE_BELOW_FEES"]


def test_a_run_that_goes_on_with_the_other_setting_changes_what_rests(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 9)}, {SOL: [1]})
    for first in (False, True):
        one, other = (Purpose.PROTECTION, Purpose.TARGET) if first else (Purpose.TARGET, Purpose.PROTECTION)
        short = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 4)}, {SOL: [1]})
        with Journal(tmp_path / f"{first}") as journal:
            run = born(short, settings_in(short, stoploss_on_exchange=first), journal)
            whole(run)
            state = run.engine.state
            assert [known.order.purpose for known in state.orders.values()] == [one]
            again = born(world, settings_in(world, stoploss_on_exchange=not first), journal, state=state)
            records = whole(again)
        assert [known.order.purpose for known in state.orders.values()] == [other]
        assert [cancel.due for cancel in of(records, Cancel)] == [other]


def test_an_order_that_rests_is_taken_up_before_any_candle_of_its_pair_is_known(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT)}, {SOL: [1]})
    joined, _ = unskipped(tmp_path / "j", world)
    state, settings = joined.engine.state, settings_in(world, **PROTECTED)
    venue = SimulatedVenue(exchange_of(settings, state), joined.venue.rules)
    venue.resume(state, {})
    assert [waiting.order.client_id for waiting in venue.exchange.open_orders(ACCOUNT)] == list(state.orders)
    assert state.orders
