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
from lotwise.app.terminal import Problem
from lotwise.domain.market import Candle
from lotwise.domain.values import Amount, Time
from lotwise.engine.codec import CHECKPOINT, Unfoldable, decode, encode, fold, restore
from lotwise.engine.engine import Engine
from lotwise.engine.fold import apply
from lotwise.engine.plan import Limits, Plan, Risks
from lotwise.engine.records import Deposited, Marked, Opened
from lotwise.engine.state import State
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules
from lotwise.exchange.prices import PriceProcess, synthetic_candles
from lotwise.kraken.reference import reference_price
from lotwise.store.journal import Journal
from lotwise.strategies.candles import TIMEFRAMES, Candles
from lotwise.venues.feeds import RecordedFeed
from lotwise.venues.simulated import SimulatedVenue

PAPER, LIVE = "paper on live data", "live"
"""What runs on Kraken are called in their journals."""

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
        style=settings.entry.style,
        replaces=settings.entry.replaces,
        entry_lifetime=Time(bar * settings.entry.lifetime_bars),
        min_edge=settings.entry.min_edge,
        spread=settings.paper.spread,
        slippage=settings.paper.slippage,
        max_hold=Time(bar * settings.max_hold_bars) if settings.max_hold_bars else None,
        trailing=settings.trailing_stop or None,
        stop_rests=settings.stoploss_on_exchange,
        limits=Limits(
            cooldown=Time(bar * limits.cooldown_bars),
            guard_losses=limits.guard_losses,
            guard_window=Time(bar * limits.guard_bars),
            daily_loss=limits.daily_loss or None,
            drawdown=limits.drawdown or None,
            spread=limits.spread or None,
            volume=limits.volume or None,
        ),
        risks=Risks(
            loss=settings.sizing.risk_per_trade or None,
            swing=settings.sizing.volatility_target or None,
            window=settings.sizing.volatility_bars,
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
    rows may wait for one commit (a run at full speed can be run again, so it need not hurry); `skips`:
    whether bars in which nothing can happen are passed over."""

    engine: Engine
    venue: SimulatedVenue
    feed: RecordedFeed
    journal: Journal
    fresh: bool
    rows_at_once: int
    skips: bool


class OtherRun(Exception):
    """The journal holds a run that was told something else: says what."""


def open_run(
    settings: Settings, source: Source, journal: Journal, speed: int | None, skips: bool = True
) -> Run:
    """Join a run on a journal: begin it, or take it up where it stopped. Raises OtherRun, Problem."""
    loaded = load_strategy(settings.strategy)
    told = {**settings.fingerprint(), **loaded.told, "source": source.label, "candles": fingerprints(source)}
    run_id = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    fresh = journal.count == 0
    state = State() if fresh else load_state(journal)
    if not fresh:
        _same_run(journal, told)
    plan = plan_of(settings, run_id)
    window = plan.risks.window if plan.risks.swing is not None else None
    least = float(settings.entry.min_confidence)
    feed = RecordedFeed(source.candles, loaded.strategy, speed, least, window)
    if fresh and len(feed.troubles) == len(source.candles):
        raise Problem("\n  ".join(["nothing would be traded, for no pair gets a wish:", *feed.troubles]))
    exchange = exchange_of(settings, state)
    venue = SimulatedVenue(exchange, plan.markets, flows(settings))
    if fresh:
        wallet = Amount(settings.dry_run_wallet, settings.stake_currency)
        start = Time(int(feed.closes[0]) - plan.bar)
        for record in (Opened(run_id, "paper", told), Deposited(wallet, start)):
            apply(state, record)
            journal.append(*encode(record))
        journal.commit()
    venue.resume(state, feed.last(state.time))
    return Run(
        engine_of(plan, state, venue, feed),
        venue,
        feed,
        journal,
        fresh,
        rows_at_once=ROWS_AT_ONCE if speed is None else 1,
        skips=skips and speed is None,
    )


def exchange_of(settings: Settings, state: State) -> Exchange:
    """The simulated exchange of these settings, as far as the state has used up its numbers."""
    paper, issued = settings.paper, state.totals.accepted + state.totals.fills
    house = HouseRules(volume_share=paper.volume_share or None)
    return Exchange({}, paper.slippage, paper.spread, issued=issued, house=house)


def flows(settings: Settings) -> list[Deposited]:
    """The deposits and withdrawals of a paper run, in order of time."""
    asset = settings.stake_currency
    told = [Deposited(Amount(flow.amount, asset), time_of(flow.on)) for flow in settings.paper.deposits]
    return sorted(told, key=lambda flow: flow.time)


def engine_of(plan: Plan, state: State, venue: SimulatedVenue, feed: RecordedFeed) -> Engine:
    """The engine as it stood at the state's time: prices, highs and counts come from the feed."""
    now = state.time
    found = {symbol: feed.high(symbol, h.opened, now) for symbol, h in state.holdings.items()}
    highs = {symbol: high for symbol, high in found.items() if high is not None}
    repeats = {symbol: feed.wishes(symbol, e.last, now) for symbol, e in state.episodes.items()}
    return Engine(plan, state, venue.exchange.quotes(), highs, repeats)


@dataclass(frozen=True, slots=True)
class Desk:
    """A run taken up without its candles: its engine and venue at the prices of its last mark."""

    engine: Engine
    venue: SimulatedVenue
    priced: Time


def open_desk(journal: Journal) -> Desk:
    """Take up a paper run where its journal stopped. Raises Unfoldable."""
    told, state = opened(journal).settings, load_state(journal)
    known = {name: value for name, value in told.items() if name in Settings.model_fields}
    settings = Settings.model_validate(known)
    plan, exchange = plan_of(settings, state.run_id), exchange_of(settings, state)
    engine = Engine(plan, state, {})
    venue = SimulatedVenue(exchange, engine.rules)  # the last that the exchange told, too
    mark = state.marked or Marked(state.time, Decimal(0), {})
    nothing = Decimal(0)
    still = {s: Candle(s, mark.time, bid, bid, bid, bid, nothing) for s, bid in mark.prices.items()}
    venue.resume(state, still)
    engine.quotes = exchange.quotes()
    return Desk(engine, venue, mark.time)


def load_state(journal: Journal) -> State:
    """The last checkpoint and the rows after it, folded. Raises Unfoldable."""
    last = journal.last(CHECKPOINT)
    state = restore(last.body) if last else State()
    for row in journal.rows(last.number + 1 if last else 0):
        fold(state, row.kind, row.body)
    return state


def opened(journal: Journal) -> Opened:
    """What the run of a journal was told. Raises Unfoldable."""
    first = next(journal.rows(), None)
    told = decode(first.kind, first.body) if first and first.kind == Opened.__name__ else None
    if not isinstance(told, Opened):
        raise Unfoldable("a journal begins with what its run was told")
    return told


def _same_run(journal: Journal, told: Mapping[str, Any]) -> None:
    if changes := differing(opened(journal).settings, told):
        raise OtherRun(f"{journal.path} holds another run: {changes}")


def differing(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What a run was told otherwise than it is now, in words; "" when nothing is."""
    old, new = _flat(before), _flat(now)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
    return "; ".join(f"{name} was {_word(old.get(name))}, is {_word(new.get(name))}" for name in names)


def _flat(told: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat = dict[str, Any]()
    for name, value in told.items():
        flat |= _flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {f"{above}{name}": value}
    return flat


def _word(value: Any) -> str:
    return (
        " ".join(map(str, value)) if isinstance(value, list) else "not set" if value is None else str(value)
    )
