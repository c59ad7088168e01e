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
from lotwise.app.settings import load_settings
from lotwise.app.wire import Run, Source, open_run
from lotwise.domain.market import Market, MarketStatus
from lotwise.domain.orders import Canceled, Fill, Purpose
from lotwise.domain.values import Amount, Time
from lotwise.engine.records import (
    Decided,
    Deposited,
    Listed,
    MarketUpdate,
    Record,
    Skip,
    Stranded,
    Submit,
    Unexplained,
)
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


def live(
    path: Path, world: World, watch: Watch | None = None, skips: bool = True, **overrides: Any
) -> tuple[Run, list[Record]]:
    """The run of a world from its first candle to its last, on a journal at this path, and all its records;
    `watch` sees each moment when it is over."""
    records: list[Record] = []
    keys = {"dry_run_wallet": 10, "pairs": ",".join(world.candles), "paper__spread": 0} | overrides
    settings = settings_of(**{"paper__volume_share": 0} | keys)
    with Journal(path) as journal:
        joined = open_run(settings, Source("lived", world.candles), journal, None, skips=skips)
        least, window = float(settings.entry.min_confidence), settings.sizing.volatility_bars
        joined.feed = RecordedFeed(
            world.candles, Scripted(dict(world.wishes)), None, least, window if joined.engine.plan.risks.swing else None
        )
        calm = joined.engine.plan.markets

        def rules(symbol: str, time: Time) -> Market | UnknownMarket:
            market = calm(symbol, time)
            return world.rules(market, time) if isinstance(market, Market) else market

        joined.venue = world.venue(joined.venue.exchange, rules, world.happenings)

        def over(update: MarketUpdate, moment: list[Record]) -> None:
            records.extend(moment)
            if watch is not None:
                watch(joined, update, moment)

        asyncio.run(trade(joined, over))
    return joined, records


def at(bar: int) -> Time:
    """When so many bars have closed."""
    return Time(START + bar * HOUR)


def market_of(symbol: str, **changes: Any) -> Market:
    """A pair's rules of the day the candles begin, with some of them changed."""
    from lotwise.app.rules import rules_in_force

    market = rules_in_force(settings_of())(symbol, Time(START))
    assert isinstance(market, Market)
    return replace(market, **changes)


def told_of(symbol: str, bar: int, status: MarketStatus, **changes: Any) -> Listed:
    """The exchange tells a pair's status, and its rules, after so many bars."""
    return replace(listed(market_of(symbol, **changes), at(bar)), status=status)


def usdt(number: str, bar: int) -> Deposited:
    """Money that comes (or leaves) after so many bars."""
    return Deposited(Amount(D(number), "USDT"), at(bar))
