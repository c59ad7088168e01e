"""What comes from outside during a run: money that comes or leaves, and pairs that close and open again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lotwise.app.configuration import load_settings
from lotwise.app.loop import trade
from lotwise.app.rules import rules_in_force
from lotwise.app.settings import Settings
from lotwise.app.wire import Run, engine_of, exchange_of, flows, plan_of
from lotwise.domain.market import Market, MarketStatus
from lotwise.domain.orders import Canceled, Fill, Purpose, Rejected
from lotwise.domain.values import Amount, Time
from lotwise.engine.fold import apply
from lotwise.engine.ports import Brackets
from lotwise.engine.records import (
    Decided,
    Deposited,
    Event,
    Listed,
    MarketUpdate,
    Opened,
    Record,
    Restricted,
    Skip,
    Stranded,
    Submit,
    Trading,
    Unexplained,
)
from lotwise.engine.state import State
from lotwise.markets import UnknownMarket
from lotwise.store.journal import Journal
from lotwise.strategies.candles import Candles
from lotwise.venues.feeds import RecordedFeed
from lotwise.venues.simulated import ACCOUNT, SimulatedVenue, listed
from tests.runs import built_in, run_through, settings_of
from tests.test_engine import CALM, HOUR, SOL, START, Scripted, bars, of

D = Decimal
ADA = "ADA/USDT"
BOUGHT = (10000, 10010, 9999, 10000)
FALL = (9600, 9700, 9500, 9600)
SMALL = (50, 51, 49, 50)
CALM_RULES = rules_in_force(settings_of())

Watch = Callable[[Run, MarketUpdate, list[Record]], None]


def unchanged(market: Market, _: Time) -> Market:
    return market


@dataclass(frozen=True)
class World:
    """What a run meets: candles and wishes by pair, what happens besides, in order, and what the exchange
    makes of its rules at a time."""

    candles: Mapping[str, Candles]
    wishes: Mapping[str, list[float]] = field(default_factory=dict)
    happenings: tuple[Deposited | Listed, ...] = ()
    rules: Callable[[Market, Time], Market] = unchanged
    venue: type[SimulatedVenue] = SimulatedVenue


def live(path: Path, world: World, **overrides: Any) -> tuple[Run, list[Record]]:
    """The run of a world from its first candle to its last, on a journal at a path, and all its records."""
    with Journal(path) as journal:
        joined = born(world, settings_in(world, **overrides), journal)
        return joined, whole(joined)


def settings_in(world: World, **overrides: Any) -> Settings:
    """The smallest preset on the pairs of a world, at the bid and filled whole unless told otherwise."""
    keys = {"dry_run_wallet": 10, "paper__spread": 0, "paper__volume_share": 0}
    return settings_of(**keys | {"pairs": ",".join(world.candles)} | overrides)


def begun(settings: Settings) -> State:
    """The state of a run that has its balance and nothing else."""
    state = State()
    apply(state, Opened("world", "paper", {}))
    apply(state, Deposited(Amount(settings.dry_run_wallet, "USDT"), Time(START)))
    return state


def born(
    world: World, settings: Settings, journal: Journal, skips: bool = True, state: State | None = None
) -> Run:
    """A run of a world that has not begun, or that goes on from a state."""
    plan, state = plan_of(settings, "world"), begun(settings) if state is None else state
    window = plan.risks.window if plan.risks.swing is not None else None
    feed = RecordedFeed(
        world.candles, Scripted(dict(world.wishes)), None, float(settings.entry.min_confidence), window
    )

    def rules(symbol: str, time: Time) -> Market | UnknownMarket:
        calm = plan.markets(symbol, time)
        return world.rules(calm, time) if isinstance(calm, Market) else calm

    venue = world.venue(exchange_of(settings, state), rules, world.happenings or flows(settings))
    venue.resume(state, feed.last(state.time))
    return Run(engine_of(plan, state, venue, feed), venue, feed, journal, True, 500, skips)


def whole(joined: Run, watch: Watch | None = None) -> list[Record]:
    """Run to the end of the candles: all records."""
    records: list[Record] = []

    def over(update: MarketUpdate, moment: list[Record]) -> None:
        records.extend(moment)
        if watch is not None:
            watch(joined, update, moment)

    asyncio.run(trade(joined, over))
    return records


def at(bar: int) -> Time:
    """When so many bars have closed."""
    return Time(START + bar * HOUR)


def market_of(symbol: str, **changes: Any) -> Market:
    """A pair's rules of the day the candles begin, with some of them changed."""
    market = CALM_RULES(symbol, Time(START))
    assert isinstance(market, Market)
    return replace(market, **changes)


def told_of(symbol: str, bar: int, status: MarketStatus, **changes: Any) -> Listed:
    """The exchange tells a pair's status, and its rules, after so many bars."""
    return replace(listed(market_of(symbol, **changes), at(bar)), status=status)


def usdt(number: str, bar: int) -> Deposited:
    """Money that comes (or leaves) after so many bars."""
    return Deposited(Amount(D(number), "USDT"), at(bar))


FLAT = [CALM] * 6


def test_a_deposit_can_be_spent_from_then_on(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, *FLAT)}, {SOL: [1, 1, 1]}, (usdt("0.6", 3),))
    joined, records = live(tmp_path / "j", world, dry_run_wallet="2.4")
    before, after = of(records, Decided)
    assert (before.reason, after.reason, after.time) == ("BELOW_FLOOR", None, at(3))
    assert joined.engine.state.totals.deposits == 3


def test_the_deposits_of_the_settings_come_on_their_days(tmp_path: Path) -> None:
    flows_told = [{"on": "2025-08-02", "amount": "5"}, {"on": "2025-07-31", "amount": "-0.5"}]
    keys = {"paper.deposits": flows_told, "paper.bars": 240, "dry_run_wallet": "10"}
    settings = load_settings(None, "micro", keys)
    moved: list[Deposited] = []
    with Journal(tmp_path / "j") as journal:
        joined = run_through(
            settings, built_in(settings), journal, lambda run, update, told: moved.extend(of(told, Deposited))
        )
    assert [(str(flow.amount), flow.time) for flow in moved] == [("-0.5 USDT", at(48)), ("5 USDT", at(96))]
    assert joined.engine.state.totals.deposits == D("14.5")
    assert joined.engine.state.ledger.total("USDT") == joined.venue.exchange.ledger(ACCOUNT).total("USDT")


def test_what_is_withdrawn_is_gone_from_both_books_and_is_no_loss(tmp_path: Path) -> None:
    world = World({SOL: bars(SOL, *FLAT)}, {}, (usdt("-4", 2),))
    joined, records = live(tmp_path / "j", world)
    state = joined.engine.state
    assert state.ledger.total("USDT") == joined.venue.exchange.ledger(ACCOUNT).total("USDT")
    assert (state.ledger.total("USDT").number, state.totals.max_drawdown_fraction) == (6, 0)
    assert of(records, Unexplained) == []


def test_more_than_is_free_cannot_have_left_so_entries_stop_and_exits_go_on(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, CALM, CALM, FALL, FALL]
    world = World(
        {SOL: bars(SOL, *rows), ADA: bars(ADA, *[SMALL] * 6)}, {SOL: [1], ADA: [0, 0, 0, 1]}, (usdt("-5", 3),)
    )
    joined, records = live(tmp_path / "j", world, max_open_trades=2)
    (unexplained,) = of(records, Unexplained)
    assert unexplained.why == "5 USDT left, but only 0.47625 USDT was free here"
    entry, refused = of(records, Decided)
    assert (entry.reason, refused.symbol, refused.reason) == (None, ADA, Skip.UNRECONCILED)
    assert refused.rungs[-1].have == unexplained.why
    assert [submit.order.purpose for submit in of(records, Submit)][-1] is Purpose.STOP
    assert not joined.engine.state.holdings
    assert joined.engine.state.ledger.total("USDT") == joined.venue.exchange.ledger(ACCOUNT).total("USDT")


@pytest.mark.parametrize("flow", ["5", "-5"])
def test_money_that_comes_or_leaves_is_neither_gain_nor_loss_to_the_limits(tmp_path: Path, flow: str) -> None:
    world = World({SOL: bars(SOL, *FLAT)}, {SOL: [0, 0, 0, 0, 0, 1]}, (usdt(flow, 3),))
    limits = {"limits__daily_loss": "0.01", "limits__drawdown": "0.01"}
    joined, records = live(tmp_path / "j", world, **limits)
    (decided,) = of(records, Decided)
    assert decided.reason is None
    falls = [rung.have for rung in decided.rungs if rung.check in ("loss of the day", "drawdown")]
    assert falls == ["0", "0"] and joined.engine.state.totals.max_drawdown_fraction == 0


@pytest.mark.parametrize("limit", ["limits__daily_loss", "limits__drawdown"])
def test_a_deposit_does_not_make_a_loss_undone(tmp_path: Path, limit: str) -> None:
    """0.36 of 10 is lost; with 10 more the fall is 3.6 % still."""
    rows = [CALM, (10000, 10010, 9600, 9650), *[(9650, 9660, 9640, 9650)] * 4]
    world = World({SOL: bars(SOL, *rows)}, {SOL: [1, 0, 0, 1]}, (usdt("10", 3),))
    _, records = live(tmp_path / "j", world, **{limit: "0.03"})
    assert of(records, Decided)[1].reason == limit.removeprefix("limits__").upper()
    _, records = live(tmp_path / "above", world, **{limit: "0.04"})
    assert of(records, Decided)[1].reason is None


def test_coins_that_leave_take_their_share_of_the_cost_along(tmp_path: Path) -> None:
    """A quarter of an entry, too small to be sold: a third of it leaves, then the rest."""
    leaving = [Deposited(Amount(D(number), "SOL"), at(bar)) for number, bar in (("-0.004", 5), ("-0.008", 6))]
    candles = {
        SOL: replace(bars(SOL, *[CALM, BOUGHT, *[CALM] * 5]), volume=np.array([1, 0.12, 1, 1, 1, 1, 1]))
    }
    held: dict[Time, tuple[Decimal, Decimal]] = {}

    def watch(run: Run, update: MarketUpdate, _: list[Record]) -> None:
        holding = run.engine.state.holdings.get(SOL)
        held[update.time] = (holding.position.quantity, holding.position.cost) if holding else (D(0), D(0))

    thin = {"paper__volume_share": "0.1", "entry__lifetime_bars": 1}
    world = World(candles, {SOL: [1]}, tuple(leaving))
    with Journal(tmp_path / "j") as journal:
        joined = born(world, settings_in(world, **thin), journal, skips=False)
        records = whole(joined, watch)
    assert of(records, Stranded)[0].quantity == held[at(4)][0] == D("0.012")
    assert held[at(4)][1] == D("1.203")
    assert held[at(5)] == (D("0.008"), D("0.802"))
    assert held[at(6)] == (0, 0)
    assert joined.engine.state.totals.realised_pnl == 0 and joined.engine.state.totals.trades == 0


CLOSED = [MarketStatus.CANCEL_ONLY, MarketStatus.OFFLINE, MarketStatus.POST_ONLY]


@pytest.mark.parametrize("status", CLOSED)
def test_a_position_on_a_pair_that_closes_is_stranded_and_sold_when_it_opens(
    tmp_path: Path, status: MarketStatus
) -> None:
    rows = [CALM, BOUGHT, CALM, FALL, FALL, FALL, FALL]
    happenings = (told_of(SOL, 3, status), told_of(SOL, 6, MarketStatus.ONLINE))
    world = World({SOL: bars(SOL, *rows)}, {SOL: [1]}, happenings)
    joined, records = live(tmp_path / "j", world)
    (stranded,) = of(records, Stranded)
    assert (stranded.time, stranded.quantity) == (at(4), D("0.095"))
    assert f"{SOL} is {status}" in stranded.why
    bought, sold = of(records, Fill)
    assert sold.time == at(6) and sold.quantity == bought.quantity
    assert of(records, Submit)[-1].order.purpose is Purpose.STOP
    assert joined.engine.state.holdings == {}


def test_while_a_pair_is_closed_the_others_go_on_in_its_slot(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, CALM, FALL, *[FALL] * 4]
    small = [SMALL] * 5 + [(50, 50, 49, 50), (50, 60, 49, 55), SMALL]
    world = World(
        {SOL: bars(SOL, *rows), ADA: bars(ADA, *small)},
        {SOL: [1], ADA: [0, 0, 0, 0, 1]},
        (told_of(SOL, 3, MarketStatus.OFFLINE),),
    )
    joined, records = live(tmp_path / "j", world, sizing__max_order_size_usdt=4)
    assert [(decided.symbol, decided.reason) for decided in of(records, Decided)] == [
        (SOL, None),
        (ADA, None),
    ]
    assert [fill.symbol for fill in of(records, Fill)] == [SOL, ADA, ADA]
    assert joined.engine.state.holdings[SOL].stuck is not None
    assert joined.engine.state.totals.trades == 1


def test_a_target_that_rests_on_a_closed_pair_is_left_there(tmp_path: Path) -> None:
    happenings = (told_of(SOL, 3, MarketStatus.CANCEL_ONLY), told_of(SOL, 5, MarketStatus.ONLINE))
    rows = [CALM, BOUGHT, CALM, CALM, CALM, (10000, 10600, 9990, 10500)]
    _, records = live(tmp_path / "j", World({SOL: bars(SOL, *rows)}, {SOL: [1]}, happenings))
    assert of(records, Stranded) == of(records, Canceled) == []
    assert of(records, Fill)[1].price == 105


@pytest.mark.parametrize("style", ["maker", "taker"])
@pytest.mark.parametrize("status", list(MarketStatus))
def test_entries_are_ordered_only_where_the_pair_takes_them(
    tmp_path: Path, status: MarketStatus, style: str
) -> None:
    world = World({SOL: bars(SOL, *FLAT)}, {SOL: [0, 1]}, (told_of(SOL, 2, status),))
    _, records = live(tmp_path / "j", world, entry__style=style)
    takes = {MarketStatus.ONLINE, MarketStatus.LIMIT_ONLY} | (
        {MarketStatus.POST_ONLY} if style == "maker" else set()
    )
    assert of(records, Decided)[0].reason == (None if status in takes else Skip.PAIR_OFFLINE)
    assert of(records, Rejected) == []


def test_a_status_told_before_the_first_bar_of_a_pair_holds_from_then_on(tmp_path: Path) -> None:
    world = World(
        {SOL: bars(SOL, *FLAT)},
        {SOL: [1, 0, 0, 1]},
        (told_of(SOL, 1, MarketStatus.CANCEL_ONLY), told_of(SOL, 3, MarketStatus.ONLINE)),
    )
    _, records = live(tmp_path / "j", world)
    assert [decided.reason for decided in of(records, Decided)] == [Skip.PAIR_OFFLINE, None]


def test_a_change_of_rules_does_not_open_a_closed_pair(tmp_path: Path) -> None:
    """Closed on the first day; on the second the minimum doubles."""

    def doubled(market: Market, time: Time) -> Market:
        return replace(market, min_quantity=market.min_quantity * 2) if time >= at(24) else market

    wishes = {SOL: [0.0] * 29 + [1.0]}
    world = World(
        {SOL: bars(SOL, *[CALM] * 32)}, wishes, (told_of(SOL, 20, MarketStatus.CANCEL_ONLY),), doubled
    )
    _, records = live(tmp_path / "j", world)
    assert of(records, Listed)[-1].listing.min_quantity == D("0.04")
    assert [decided.reason for decided in of(records, Decided)] == [Skip.PAIR_OFFLINE]
    assert of(records, Rejected) == []


def test_rules_told_with_a_status_are_not_told_again_the_next_day(tmp_path: Path) -> None:
    """They changed on the first day; a run that was stopped knows from its journal that they were told."""

    def doubled(market: Market, time: Time) -> Market:
        return replace(market, min_quantity=market.min_quantity * 2) if time >= at(2) else market

    told = told_of(SOL, 3, MarketStatus.ONLINE, min_quantity=D("0.04"))
    world = World({SOL: bars(SOL, *[CALM] * 30)}, {SOL: [0.0] * 26 + [1.0]}, (told,), doubled)
    _, records = live(tmp_path / "j", world)
    assert of(records, Listed) == [told]


class Halting(SimulatedVenue):
    """After three bars the owner halts the run; after five it may sell, after seven all."""

    async def events(self, update: MarketUpdate, brackets: Brackets) -> AsyncIterator[Event]:
        steps = {at(3): Trading.HALTED, at(5): Trading.REDUCING, at(7): Trading.ACTIVE}
        if update.time in steps:
            yield Restricted(steps[update.time], "as the owner says", update.time)
        async for event in super().events(update, brackets):
            yield event


def test_a_halted_run_does_nothing_and_a_reducing_one_only_sells(tmp_path: Path) -> None:
    rows = [CALM, BOUGHT, CALM, *[FALL] * 5]
    wishes = {SOL: [1.0], ADA: [0, 0, 0, 1.0, 0, 1.0, 0, 1.0]}
    world = World({SOL: bars(SOL, *rows), ADA: bars(ADA, *[SMALL] * 8)}, wishes, venue=Halting)
    with Journal(tmp_path / "j") as journal:
        settings = settings_in(world, max_open_trades=2, sizing__max_order_size_usdt=4)
        records = whole(born(world, settings, journal, skips=False))
    orders = [submit.order for submit in of(records, Submit)]
    assert [(order.purpose, order.symbol, order.time) for order in orders] == [
        (Purpose.ENTRY, SOL, at(1)),
        (Purpose.TARGET, SOL, at(2)),
        (Purpose.STOP, SOL, at(5)),
        (Purpose.ENTRY, ADA, at(8)),
    ]
    assert {d.reason for d in of(records, Decided)} == {None, Skip.RESTRICTED}
