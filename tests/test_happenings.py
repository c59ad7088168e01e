"""What comes from outside during a run: money that comes or leaves, and pairs that close and open again."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from lotwise.app.loop import trade
from lotwise.app.rules import rules_in_force
from lotwise.app.settings import Settings, load_settings
from lotwise.app.wire import Run, exchange_of, flows, plan_of
from lotwise.domain.market import FeeAsset, Market, MarketStatus
from lotwise.domain.orders import Canceled, Fill, Purpose
from lotwise.domain.values import Amount, Time
from lotwise.engine.engine import Engine
from lotwise.engine.records import (
    Decided,
    Deposited,
    Listed,
    MarketUpdate,
    Opened,
    Record,
    Skip,
    Stranded,
    Submit,
    Unexplained,
)
from lotwise.engine.state import State, apply
from lotwise.markets import UnknownMarket
from lotwise.store.journal import Journal, read
from lotwise.strategies.candles import Candles
from lotwise.venues.feeds import RecordedFeed
from lotwise.venues.simulated import ACCOUNT, SimulatedVenue, listed
from tests.runs import settings_of
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


def live(path: Path, world: World, watch: Watch | None = None, **overrides: Any) -> tuple[Run, list[Record]]:
    """The run of a world from its first candle to its last, on a journal at this path, and all its records;
    `watch` sees each moment when it is over."""
    with Journal(path) as journal:
        joined = born(world, settings_in(world, **overrides), journal)
        return joined, whole(joined, watch)


def settings_in(world: World, **overrides: Any) -> Settings:
    """The smallest preset on the pairs of a world, at the bid and filled whole unless told otherwise."""
    keys = {"dry_run_wallet": 10, "paper__spread": 0, "paper__volume_share": 0}
    return settings_of(**keys | {"pairs": ",".join(world.candles)} | overrides)


def born(world: World, settings: Settings, journal: Journal, skips: bool = True) -> Run:
    """A run of a world that has not begun."""
    plan, state = plan_of(settings, "world"), State()
    apply(state, Opened("world", "paper", {}))
    apply(state, Deposited(Amount(settings.dry_run_wallet, "USDT"), Time(START)))
    window = plan.risks.window if plan.risks.swing is not None else None
    feed = RecordedFeed(
        world.candles, Scripted(dict(world.wishes)), None, float(settings.entry.min_confidence), window
    )

    def rules(symbol: str, time: Time) -> Market | UnknownMarket:
        calm = plan.markets(symbol, time)
        return world.rules(calm, time) if isinstance(calm, Market) else calm

    venue = world.venue(exchange_of(settings, state), rules, world.happenings or flows(settings))
    venue.resume(state, {})
    return Run(Engine(plan, state, {}), venue, feed, journal, True, 500, skips)


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


def spread_out(market: Market, random: Random) -> Market:
    """The rules with one of them changed."""
    factor = D(random.choice(["0.5", "1", "1.5", "2", "4", "8"]))
    match random.choice(["ordermin", "ordermin", "costmin", "tick", "lot", "fees", "most"]):
        case "ordermin":
            return replace(market, min_quantity=market.min_quantity * factor)
        case "costmin":
            return replace(market, min_notional=D("0.5") * factor)
        case "tick":
            return replace(market, tick_size=market.tick_size * random.choice([1, 5, 10]))
        case "lot":
            return replace(market, lot_step=D(1).scaleb(market.min_quantity.adjusted() - random.randint(0, 3)))
        case "fees":
            return replace(market, maker_fee=D("0.0025") * factor / 2, taker_fee=D("0.004") * factor / 2)
        case _:
            return replace(market, max_quantity=market.min_quantity * random.choice([1, 3, 40]))


class Shifting:
    """Rules that change at set times, each change on those before it or on the first; the same for one seed."""

    def __init__(self, random: Random, symbols: list[str], times: list[Time], fee_asset: FeeAsset) -> None:
        firsts = {symbol: market_of(symbol, fee_asset=fee_asset) for symbol in symbols}
        self.steps = {symbol: [(Time(0), market)] for symbol, market in firsts.items()}
        for time in times:
            steps = self.steps[random.choice(symbols)]
            steps.append((time, spread_out(steps[random.choice([0, -1])][1], random)))

    def __call__(self, calm: Market, time: Time) -> Market:
        return self.at(calm.symbol, time)

    def at(self, symbol: str, time: Time) -> Market:
        return next(market for since, market in reversed(self.steps[symbol]) if since <= time)


def walk(random: Random, symbol: str, timeframe: str, many: int) -> Candles:
    """A wild walk of so many bars, of which some are missing; each trades about what a small order is."""
    bar, (price, step) = {"15m": HOUR // 4, "1h": HOUR, "4h": 4 * HOUR}[timeframe], STARTS[symbol]
    rows, dates, volumes = [], [], []
    for number in range(many):
        points = [price]
        for _ in range(4):
            points.append(max(1, points[-1] + random.randint(-price // 60 - 1, price // 60 + 1)))
        if random.random() < 0.03:
            points[1:] = [max(1, point * random.choice([70, 90, 110, 130]) // 100) for point in points[1:]]
        if random.random() < 0.95 or not rows:
            rows.append((price, max(points), min(points), points[-1]))
            dates.append(START + bar * number)
            volumes.append(random.choice([0.0, 1.0, 30.0, 1e4]) * random.random() / (price * float(step)))
        price = points[-1]
    first, high, low, last = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    times = np.array(dates, dtype=np.int64)
    return Candles(symbol, timeframe, times, first, high, low, last, step, np.array(volumes))


STARTS = {SOL: (18000, D("0.01")), ADA: (780000, D("0.000001")), "DOGE/USDT": (22300, D("0.00001"))}


def wishes_drawn(random: Random, many: int) -> list[float]:
    often = random.choice([0.1, 0.5])
    return [random.choice([1.0, 0.7, 0.4, -0.5]) if random.random() < often else 0.0 for _ in range(many)]


def world_drawn(random: Random, many: int = 60) -> tuple[World, Settings]:
    """A world in which much happens, and settings to live in it."""
    pick, timeframe = random.choice, random.choice(["15m", "1h", "4h", "4h"])
    symbols = random.sample(sorted(STARTS), random.randint(1, 3))
    candles = {symbol: walk(random, symbol, timeframe, many) for symbol in symbols}
    bar = candles[symbols[0]].bar
    times = [Time(START + bar * number) for number in range(1, many)]
    fee_asset = pick(list(FeeAsset))
    rules = Shifting(random, symbols, sorted(random.sample(times, pick([0, 3, 12]))), fee_asset)
    happenings: list[Deposited | Listed] = []
    for time in sorted(random.sample(times, pick([0, 2, 8]))):
        symbol = pick(symbols)
        if random.random() < 0.4:
            happenings.append(Deposited(Amount(D(pick(["10", "2.5", "-0.00001", "-1", "-4"])), "USDT"), time))
        else:
            status = pick([MarketStatus.ONLINE, MarketStatus.ONLINE, *MarketStatus])
            happenings.append(replace(listed(rules.at(symbol, time), time), status=status))
    settings = {
        "timeframe": timeframe,
        "dry_run_wallet": pick(["2.6", "5", "12", "60"]),
        "max_open_trades": pick([1, 2, 4]),
        "stoploss": pick(["-0.01", "-0.03", "-0.2"]),
        "target": pick(["0.012", "0.03", "0.1"]),
        "trailing_stop": pick([0, 0, "0.02"]),
        "max_hold_bars": pick([0, 0, 7]),
        "sizing__max_order_size_usdt": pick([3, 10, 30]),
        "sizing__tier_min_costs__TIER_1": pick(["0", "2.5"]),
        "sizing__tier_min_costs__MEME": pick(["0", "2.5"]),
        "sizing__fee_asset": fee_asset,
        "entry__style": pick(["maker", "maker", "taker", "maker_then_taker"]),
        "entry__lifetime_bars": pick([1, 3]),
        "entry__replaces": pick([0, 2]),
        "limits__drawdown": pick([0, "0.2"]),
        "limits__cooldown_bars": pick([0, 5]),
        "paper__volume_share": pick([0, "0.3", "0.01"]),
    }
    wishes = {symbol: wishes_drawn(random, many) for symbol in symbols}
    world = World(candles, wishes, tuple(happenings), rules)
    return world, settings_in(world, **settings)
