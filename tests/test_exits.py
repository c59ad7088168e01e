"""How a position is left: by its trail, by the strategy's word, when its time is over, in parts; and what
becomes of the parts that cannot be sold."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from lotwise.app.wire import Run
from lotwise.domain.market import Liquidity, Market, MarketStatus
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Expired,
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
from lotwise.domain.values import Side, Time
from lotwise.engine.ports import Brackets
from lotwise.engine.records import Cancel, Command, Decided, Event, MarketUpdate, Record, Stranded, Submit
from lotwise.store.journal import Journal
from lotwise.strategies.candles import Candles
from lotwise.venues.simulated import ACCOUNT, SimulatedVenue
from tests.test_engine import CALM, HOUR, SOL, bars, of
from tests.test_happenings import BOUGHT, FALL, World, at, born, live, settings_in, told_of, whole

D = Decimal
LOCKOUT = Rejection(RejectionKind.RATE_LIMIT, "EGeneral:Temporary lockout")
RISE = (10000, 10300, 10000, 10290)
TOUCH = (10000, 10600, 9990, 10400)
THIN = {"paper__volume_share": "0.1", "entry__lifetime_bars": 1}
BUSY = 1e6
"""A volume of which every order is a small part."""


def traded(candles: Candles, *volumes: float) -> Candles:
    """The candles with what each bar traded, in base; much in all others."""
    rest = [BUSY] * (len(candles) - len(volumes))
    return replace(candles, volume=np.array([*volumes, *rest], dtype=np.float64))


def sales(records: list[Record]) -> list[Order]:
    """The sales that were ordered beside those that wait at the target."""
    orders = [submit.order for submit in of(records, Submit)]
    return [order for order in orders if order.side is Side.SELL and order.purpose is not Purpose.TARGET]


# The trail


def test_a_trail_follows_the_highest_price_since_the_coins_came_and_sells_at_once(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, RISE, (10290, 10295, 10090, 10150)]
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}), trailing_stop="0.02")
    (sale,) = sales(records)
    assert (sale.purpose, sale.type) == (Purpose.TRAIL, OrderType.MARKET)
    sold = of(records, Fill)[1]
    assert sold.time == at(4) and sold.liquidity is Liquidity.TAKER
    assert sold.price == D("100.83"), "103 less 2 % is 100.94; less 0.1 % slippage, down"


def test_what_a_bar_does_after_its_own_high_is_not_known_so_it_does_not_trail_itself(tmp_path: Path) -> None:
    """100 in the bar that rises to 103 may have come before the rise."""
    _, records = live(
        tmp_path / "j", World({SOL: bars(SOL, CALM, BOUGHT, RISE)}, {SOL: [1]}), trailing_stop="0.02"
    )
    assert sales(records) == []


def test_the_high_of_the_bar_in_which_the_coins_came_does_not_count(tmp_path: Path) -> None:
    rows = [CALM, (10000, 10400, 9999, 10390), (10390, 10395, 10150, 10200)]
    trail = {"trailing_stop": "0.02", "target": "0.2"}
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}), **trail)
    assert sales(records) == [], "104 less 2 % would have been 101.92"
    rows = [CALM, BOUGHT, (10000, 10400, 9999, 10390), (10390, 10395, 10150, 10200)]
    _, records = live(tmp_path / "later", World({SOL: bars(SOL, *rows)}, {SOL: [1]}), **trail)
    assert [sale.purpose for sale in sales(records)] == [Purpose.TRAIL]


def test_a_trail_is_never_below_the_stop(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, CALM, (10000, 10005, 9700, 9750)]
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}), trailing_stop="0.05")
    assert [sale.purpose for sale in sales(records)] == [Purpose.STOP]
    assert of(records, Fill)[1].price == D("96.90"), "the stop of 97, less slippage"


def test_a_trail_does_not_come_down_with_the_price(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, RISE, *[(10290, 10295, 10200, 10210)] * 5, (10210, 10215, 10090, 10100)]
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}), trailing_stop="0.02")
    assert of(records, Fill)[1].price == D("100.83")


# The strategy's word, and time


def test_a_wish_to_sell_sells_what_is_held_at_once(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, CALM, CALM)}, {SOL: [1, 0, -0.1]})
    joined, records = live(tmp_path / "j", world)
    (sale,) = sales(records)
    assert (sale.purpose, sale.time) == (Purpose.SIGNAL, at(3))
    bought, sold = of(records, Fill)
    assert (sold.quantity, sold.price) == (bought.quantity, D("99.90"))
    assert joined.engine.state.holdings == {}


def test_a_wish_to_sell_what_is_not_held_is_no_wish(tmp_path: Path) -> None:
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *[CALM] * 4)}, {SOL: [-1, -1, -1]}))
    assert of(records, Decided) == of(records, Submit) == []


def test_a_wish_to_sell_ends_the_entry_that_is_still_under_way(tmp_path: Path) -> None:
    """0.05 of 0.095 have come."""
    candles = traded(bars(SOL, CALM, BOUGHT, CALM, CALM), BUSY, 0.5, 0)
    thin = {"paper__volume_share": "0.1"}
    _, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1, 0, -1]}), **thin)
    (sale,) = sales(records)
    assert [canceled.client_id for canceled in of(records, Canceled)] == ["world-1"]
    assert (sale.purpose, sale.quantity) == (Purpose.SIGNAL, D("0.05"))


def test_an_entry_that_has_not_brought_enough_to_be_sold_is_not_cancelled(tmp_path: Path) -> None:
    candles = traded(bars(SOL, CALM, BOUGHT, CALM, BOUGHT, CALM), BUSY, 0.1, 0, BUSY)
    thin = {"paper__volume_share": "0.1"}
    joined, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1, 0, -1]}), **thin)
    assert of(records, Canceled) == of(records, Stranded) == []
    assert sum(fill.quantity for fill in of(records, Fill)) == D("0.095")
    assert joined.engine.state.holdings[SOL].stuck is None


def test_the_time_of_a_position_runs_from_when_its_coins_came(tmp_path: Path) -> None:
    rows = [CALM, (10000, 10010, 10000, 10000), BOUGHT, *[CALM] * 5]
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}), max_hold_bars=3)
    (sale,) = sales(records)
    assert (sale.purpose, sale.time) == (Purpose.TIME, at(6))


# In parts


def test_what_the_target_left_is_sold_at_the_stop(tmp_path: Path) -> None:
    candles = traded(bars(SOL, CALM, BOUGHT, TOUCH, FALL), BUSY, BUSY, 0.5)
    joined, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1]}), **THIN)
    bought, some, rest = of(records, Fill)
    assert (some.price, some.quantity) == (105, D("0.05"))
    assert (rest.price, rest.quantity) == (D("95.90"), D("0.045"))
    assert bought.quantity == some.quantity + rest.quantity
    assert joined.engine.state.totals.trades == 1 and joined.engine.state.holdings == {}


def test_what_the_target_left_and_nobody_takes_alone_stays_at_the_target(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, TOUCH, FALL, FALL, (9600, 10600, 9600, 10500)]
    candles = traded(bars(SOL, *rows), BUSY, BUSY, 0.8)
    joined, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1]}), **THIN)
    (stranded,) = of(records, Stranded)
    assert (stranded.quantity, stranded.time) == (D("0.015"), at(4))
    assert stranded.why == "only the resting target is left: 0.015 SOL is below the minimum of 0.02"
    assert of(records, Canceled) == [] and sales(records) == []
    assert (of(records, Fill)[-1].price, of(records, Fill)[-1].quantity) == (105, D("0.015"))
    assert joined.engine.state.holdings == {}


def test_dust_is_stranded_and_goes_with_the_next_position_at_their_average_cost(tmp_path: Path) -> None:
    candles = traded(bars(SOL, CALM, BOUGHT, CALM, CALM, BOUGHT, CALM, TOUCH), BUSY, 0.15)
    joined, records = live(tmp_path / "j", World({SOL: candles}, {SOL: [1, 0, 0, 1]}), **THIN)
    (stranded,) = of(records, Stranded)
    assert (stranded.quantity, stranded.why) == (D("0.015"), "0.015 SOL is below the minimum of 0.02")
    dust, entry, sold = of(records, Fill)
    assert sold.quantity == dust.quantity + entry.quantity
    assert len([order for order in of(records, Submit) if order.order.side is Side.SELL]) == 1
    paid = sum((fill.cost.number + fill.fee.number for fill in (dust, entry)), D(0))
    assert joined.engine.state.totals.realised_pnl == sold.cost.number - sold.fee.number - paid
    assert joined.engine.state.totals.trades == 1
    assert joined.engine.state.ledger.total("SOL").number == 0


def from_second_day(**changes: Decimal) -> Callable[[Market, Time], Market]:
    return lambda market, time: replace(market, **changes) if time >= at(24) else market  # type: ignore[arg-type]


def test_what_is_less_than_a_lot_is_stranded_and_does_not_grow(tmp_path: Path) -> None:
    """The lot grows to 0.01 while 0.095 is held; then a second trade on the pair."""
    rows = [CALM, BOUGHT, *[CALM] * 23, FALL, FALL, (9600, 9610, 9590, 9600), (9600, 10800, 9600, 10700)]
    wishes = {SOL: [1.0, *[0.0] * 25, 1.0]}
    world = World({SOL: bars(SOL, *rows)}, wishes, rules=from_second_day(lot_step=D("0.01")))
    joined, records = live(tmp_path / "j", world)
    assert [stranded.quantity for stranded in of(records, Stranded)] == [D("0.005"), D("0.005")]
    assert [fill.quantity for fill in of(records, Fill) if fill.side is Side.SELL] == [D("0.09"), D("0.08")]
    assert of(records, Rejected) == [] and joined.engine.state.totals.trades == 2
    assert joined.engine.state.holdings[SOL].position.quantity == D("0.005")


def test_what_of_a_holding_is_no_whole_lot_does_not_count_as_sellable(tmp_path: Path) -> None:
    """Of 0.0285 held, 0.02 are whole lots, and the smallest order becomes 0.025."""
    rows = [CALM, BOUGHT, *[CALM] * 23, FALL, FALL]
    rules = from_second_day(lot_step=D("0.01"), min_quantity=D("0.025"))
    world = World({SOL: bars(SOL, *rows)}, {SOL: [1]}, rules=rules)
    _, records = live(tmp_path / "j", world, dry_run_wallet=3)
    assert of(records, Rejected) == []
    assert of(records, Canceled) == [], "the sale that rests is the only one left"
    assert len(of(records, Stranded)) == 1


def test_a_holding_above_the_largest_order_is_sold_in_parts(tmp_path: Path) -> None:
    """0.095 is held when the largest order becomes 0.06."""
    rows = [CALM, BOUGHT, *[CALM] * 23, FALL, FALL, FALL]
    world = World({SOL: bars(SOL, *rows)}, {SOL: [1]}, rules=from_second_day(max_quantity=D("0.06")))
    joined, records = live(tmp_path / "j", world)
    assert of(records, Rejected) == []
    assert [fill.quantity for fill in of(records, Fill) if fill.side is Side.SELL] == [D("0.06"), D("0.035")]
    assert joined.engine.state.holdings == {}


def test_dust_beside_a_resting_entry_stays_listed_when_rules_are_told(tmp_path: Path) -> None:
    """0.015 is stuck; the next entry waits in vain, and meanwhile the exchange tells its rules."""
    above = (10010, 10020, 10010, 10010)
    candles = traded(bars(SOL, CALM, BOUGHT, *[above] * 6), BUSY, 0.15)
    world = World({SOL: candles}, {SOL: [1, 0, 1, 0, 1]}, (told_of(SOL, 4, MarketStatus.ONLINE),))

    def watch(run: Run, update: MarketUpdate, _: list[Record]) -> None:
        if update.time >= at(3):
            assert run.engine.state.holdings[SOL].stuck, "dust is dust while an entry waits, and after it"

    thin = {"paper__volume_share": "0.1", "entry__lifetime_bars": 2}
    with Journal(tmp_path / "j") as journal:
        records = whole(born(world, settings_in(world, **thin), journal, skips=False), watch)
    assert len(of(records, Expired)) == 3
    assert [decided.reason for decided in of(records, Decided)] == [None, None, None]


# Sales that come to nothing


def test_a_sale_refused_for_its_tick_is_ordered_on_the_right_one_with_the_next_bar(tmp_path: Path) -> None:
    """The tick grows to 0.10 on the day of the purchase, of which nobody tells; the target is 105.03."""

    def coarser(market: Market, time: Time) -> Market:
        return replace(market, tick_size=D("0.10")) if time >= at(2) else market

    rows = [(10002, 10010, 9990, 10002), BOUGHT, *[CALM] * 3, TOUCH]
    joined, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}, rules=coarser))
    assert len(of(records, Rejected)) == 1
    targets = [s.order for s in of(records, Submit) if s.order.purpose is Purpose.TARGET]
    assert [(order.price, order.time) for order in targets] == [(D("105.03"), at(2)), (D("105.10"), at(3))]
    assert of(records, Fill)[-1].price == D("105.10") and joined.engine.state.holdings == {}


class Cleared(SimulatedVenue):
    """The exchange takes all orders off its books when five bars have closed."""

    async def events(self, update: MarketUpdate, brackets: Brackets) -> AsyncIterator[Event]:
        if update.time == at(5):
            for waiting in self.exchange.open_orders(ACCOUNT):
                for report in self.exchange.cancel(ACCOUNT, waiting.order.client_id, update.time, "cleared"):
                    yield report
        async for event in super().events(update, brackets):
            yield event


def test_a_position_whose_sale_was_cancelled_gets_another_with_the_next_bar(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 5, TOUCH)}, {SOL: [1]}, venue=Cleared)
    with Journal(tmp_path / "j") as journal:
        joined = born(world, settings_in(world), journal, skips=False)
        records = whole(joined)
    targets = [s.order for s in of(records, Submit) if s.order.purpose is Purpose.TARGET]
    assert [(order.time, order.price, order.quantity) for order in targets] == [
        (at(2), 105, D("0.095")),
        (at(5), 105, D("0.095")),
    ]
    assert of(records, Fill)[-1].price == 105 and joined.engine.state.holdings == {}


class Forgetful(SimulatedVenue):
    """The first two requests to cancel never arrive."""

    lost = 2

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if isinstance(command, Cancel) and self.lost:
            self.lost -= 1
            return []
        return await super().carry_out(command, durable)


@pytest.mark.parametrize("rests", [False, True], ids=["target rests", "stop rests"])
def test_a_sale_that_waits_for_a_cancel_that_was_lost_asks_again_each_bar(
    tmp_path: Path, rests: bool
) -> None:
    """Else the position has no exit: its stop is not watched while it is being left."""
    world = World({SOL: bars(SOL, CALM, BOUGHT, *[CALM] * 6)}, {SOL: [1]}, venue=Forgetful)
    with Journal(tmp_path / "j") as journal:
        keys = {"max_hold_bars": 2, "stoploss_on_exchange": rests}
        joined = born(world, settings_in(world, **keys), journal, skips=False)
        records = whole(joined)
    assert [cancel.time for cancel in of(records, Cancel)] == [at(4), at(5), at(6)]
    assert [sale.purpose for sale in sales(records) if sale.trigger is None] == [Purpose.TIME]
    assert joined.engine.state.holdings == {}


class LockedOut(SimulatedVenue):
    """For four bars every sale is refused for a reason that passes."""

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if isinstance(command, Submit) and command.order.side is Side.SELL and command.order.time < at(8):
            name, time = command.order.client_id, command.order.time
            return [Sent(name, time), Rejected(name, LOCKOUT, time)]
        return await super().carry_out(command, durable)


def test_a_sale_refused_for_a_reason_that_passes_is_tried_with_each_bar_until_it_is_taken(
    tmp_path: Path,
) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, CALM, *[FALL] * 6)}, {SOL: [1]}, venue=LockedOut)
    joined, records = live(tmp_path / "j", world)
    assert len(of(records, Rejected)) > 3 and of(records, Stranded) == []
    assert joined.engine.state.holdings == {} and sales(records)[-1].time == at(8)


class Deserted(SimulatedVenue):
    """Nobody buys until six bars have closed: what is to be sold at once comes back."""

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        if (
            isinstance(command, Submit)
            and command.order.type is OrderType.MARKET
            and command.order.time < at(6)
        ):
            name, time = command.order.client_id, command.order.time
            return [Sent(name, time), Accepted(name, f"O{1000 + time}", time), Canceled(name, "nobody", time)]
        return await super().carry_out(command, durable)


def test_a_sale_at_once_that_nobody_takes_is_ordered_again_with_each_bar(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, CALM, BOUGHT, CALM, *[FALL] * 4)}, {SOL: [1]}, venue=Deserted)
    joined, records = live(tmp_path / "j", world)
    assert [(sale.purpose, sale.time) for sale in sales(records)] == [
        (Purpose.STOP, at(4)),
        (Purpose.STOP, at(5)),
        (Purpose.STOP, at(6)),
    ]
    assert joined.engine.state.holdings == {} and of(records, Fill)[-1].time == at(6)


@pytest.mark.parametrize(
    ("purpose", "settings", "wish", "last"),
    [
        (Purpose.STOP, {}, 0.0, FALL),
        (Purpose.TIME, {"max_hold_bars": 2}, 0.0, CALM),
        (Purpose.SIGNAL, {}, -1.0, CALM),
        (Purpose.TRAIL, {"trailing_stop": "0.005"}, 0.0, (9960, 9970, 9940, 9950)),
    ],
)
def test_where_only_limit_orders_are_taken_a_sale_at_once_has_a_limit_and_does_not_wait(
    tmp_path: Path,
    purpose: Purpose,
    settings: dict[str, object],
    wish: float,
    last: tuple[int, int, int, int],
) -> None:
    rows = [CALM, BOUGHT, CALM, last]
    world = World(
        {SOL: bars(SOL, *rows)}, {SOL: [1, 0, 0, wish]}, (told_of(SOL, 3, MarketStatus.LIMIT_ONLY),)
    )
    joined, records = live(tmp_path / "j", world, **settings)
    (sale,) = sales(records)
    assert (sale.purpose, sale.type, sale.time_in_force) == (purpose, OrderType.LIMIT, TimeInForce.IOC)
    sold = of(records, Fill)[-1]
    assert sold.price >= sale.price and sold.time - at(4) in (0, -HOUR)
    assert joined.engine.state.holdings == {} and of(records, Rejected) == []
