"""All joining: settings and facts become rules, a plan, a venue, a feed, an engine and a journal.

The only place that knows what kind of run it is: a recorded feed on the simulated venue is a paper
run on the built-in market, or a backtest on candles.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from lotwise.app.rules import known_markets, rules_in_force, time_of
from lotwise.app.settings import Settings
from lotwise.app.strategies import load_strategy
from lotwise.domain.values import Amount, Time
from lotwise.engine.codec import CHECKPOINT, Unfoldable, decode, encode, fold, restore
from lotwise.engine.engine import Engine
from lotwise.engine.plan import Limits, Plan
from lotwise.engine.records import Deposited, Opened
from lotwise.engine.state import State, apply
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.prices import PriceProcess, synthetic_candles
from lotwise.kraken.reference import reference_price
from lotwise.store.journal import Journal
from lotwise.strategies.candles import TIMEFRAMES, Candles
from lotwise.venues.feeds import RecordedFeed
from lotwise.venues.simulated import SimulatedVenue

BUILT_IN_START = date(2025, 7, 29)
"""When the built-in market opens, at the reference prices of that day."""

BUILT_IN_DECIMALS = 5
"""Digits kept of a built-in price below its first."""

ROWS_AT_ONCE = 500
"""Rows of a run at full speed that share one commit."""


def plan_of(settings: Settings, run_id: str) -> Plan:
    """The settings in the engine's terms."""
    markets = known_markets(settings)
    bar, limits = Time(TIMEFRAMES[settings.timeframe]), settings.limits
    return Plan(
        run_id=run_id,
        quote=settings.stake_currency,
        policies={symbol: settings.policy(markets.floor(symbol)) for symbol in settings.pairs},
        markets=rules_in_force(settings),
        bar=bar,
        target=settings.target,
        stop=-settings.stoploss,
        max_open_trades=settings.max_open_trades,
        entry=settings.entry.style,
        entry_lifetime=Time(bar * settings.entry.lifetime_bars),
        min_confidence=float(settings.entry.min_confidence),
        min_edge=settings.entry.min_edge,
        spread=settings.paper.spread,
        slippage=settings.paper.slippage,
        max_hold=Time(bar * settings.max_hold_bars) if settings.max_hold_bars else None,
        limits=Limits(
            cooldown=Time(bar * limits.cooldown_bars),
            guard_losses=limits.guard_losses,
            guard_window=Time(bar * limits.guard_bars),
            daily_loss=limits.daily_loss or None,
            drawdown=limits.drawdown or None,
            spread=limits.spread or None,
        ),
    )


def built_in_market(settings: Settings) -> dict[str, Candles]:
    """Seeded synthetic candles for the settings' pairs that have a reference price to start from."""
    market = {}
    for number, symbol in enumerate(settings.pairs):
        known = reference_price(symbol.partition("/")[0], BUILT_IN_START)
        if known is None:
            continue
        start, _ = known
        step = Decimal(1).scaleb(start.adjusted() - BUILT_IN_DECIMALS)
        process = PriceProcess(symbol, start, step, settings.seed * 1000 + number)
        bars, opening = settings.paper.bars, time_of(BUILT_IN_START)
        market[symbol] = synthetic_candles(process, bars, settings.timeframe, opening)
    return market


@dataclass(frozen=True, slots=True)
class Source:
    """Where a run's candles come from, and what to call it."""

    label: str
    candles: Mapping[str, Candles]


KNOWN_BY = 24
"""So many first bars of a pair tell its candles from others; later ones may be added."""


def fingerprints(source: Source) -> dict[str, str]:
    """What the candles of each pair begin with, so that a journal does not go on under others."""
    names = ("dates", "open", "high", "low", "close")
    return {
        symbol: hashlib.sha256(
            b"".join(getattr(candles, name)[:KNOWN_BY].astype("<i8").tobytes() for name in names)
        ).hexdigest()[:16]
        for symbol, candles in sorted(source.candles.items())
    }


@dataclass(slots=True)
class Run:
    """Everything joined, ready for the loop. `fresh`: the journal was empty; `rows_at_once`: how many
    rows may wait for one commit (a run at full speed can be run again, so it need not hurry)."""

    engine: Engine
    venue: SimulatedVenue
    feed: RecordedFeed
    journal: Journal
    fresh: bool
    rows_at_once: int


class OtherRun(Exception):
    """The journal holds a run that was told something else: says what."""


def open_run(settings: Settings, source: Source, journal: Journal, speed: int | None) -> Run:
    """Join a run on a journal: begin it, or take it up where it stopped. Raises OtherRun, Problem."""
    loaded = load_strategy(settings.strategy)
    told = {**settings.fingerprint(), **loaded.told, "source": source.label, "candles": fingerprints(source)}
    run_id = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    fresh = journal.count == 0
    state = State() if fresh else load_state(journal)
    if not fresh:
        _same_run(journal, told)
    plan = plan_of(settings, run_id)
    feed = RecordedFeed(source.candles, loaded.strategy, speed)
    totals = state.totals
    exchange = Exchange(
        {}, settings.paper.slippage, settings.paper.spread, issued=totals.accepted + totals.fills
    )
    venue = SimulatedVenue(exchange, plan.markets)
    if fresh:
        wallet = Amount(settings.dry_run_wallet, settings.stake_currency)
        start = Time(int(feed.closes[0]) - plan.bar)
        for record in (Opened(run_id, "paper", told), Deposited(wallet, start)):
            apply(state, record)
            journal.append(*encode(record))
        journal.commit()
    venue.resume(state, feed.last(state.time))
    engine = Engine(plan, state, exchange.quotes())
    return Run(engine, venue, feed, journal, fresh, ROWS_AT_ONCE if speed is None else 1)


def load_state(journal: Journal) -> State:
    """The last checkpoint and the rows after it, folded. Raises Unfoldable."""
    last = journal.last(CHECKPOINT)
    state = restore(last.body) if last else State()
    for row in journal.rows(last.number + 1 if last else 0):
        fold(state, row.kind, row.body)
    return state


def _same_run(journal: Journal, told: Mapping[str, Any]) -> None:
    first = next(journal.rows())
    opened = decode(first.kind, first.body) if first.kind == Opened.__name__ else None
    if not isinstance(opened, Opened):
        raise Unfoldable("a journal begins with what its run was told")
    before = opened.settings
    differing = sorted(key for key in {*told, *before} if told.get(key) != before.get(key))
    if differing:
        changes = "; ".join(f"{key} was {before.get(key)}, is {told.get(key)}" for key in differing)
        raise OtherRun(f"{journal.path} holds another run: {changes}")
