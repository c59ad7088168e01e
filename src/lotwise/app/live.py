"""A run on Kraken joined: live data with the simulated venue (paper), or with real orders (live)."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import Any

from lotwise.app.settings import Settings
from lotwise.app.strategies import load_strategy
from lotwise.app.wire import LIVE, PAPER, OtherRun, exchange_of, load_state, opened, plan_of
from lotwise.domain.market import FeeAsset, Market, Quote, market_of
from lotwise.domain.orders import RejectionKind
from lotwise.domain.values import Amount, Time
from lotwise.engine.codec import encode
from lotwise.engine.engine import Engine
from lotwise.engine.fold import apply
from lotwise.engine.plan import Plan
from lotwise.engine.records import Deposited, Elapsed, Event, Listed, MarketUpdate, Opened, Panic, Record
from lotwise.engine.state import State
from lotwise.kraken.errors import rejection_of
from lotwise.markets import Unknown, UnknownMarket
from lotwise.store.journal import Journal
from lotwise.venues.kraken.facts import pairs, token
from lotwise.venues.kraken.feed import LiveFeed, Outlet, Watched
from lotwise.venues.kraken.inbox import Bookkeeper, Inbox
from lotwise.venues.kraken.reconcile import Reconciler
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.rules import RuleBook, news
from lotwise.venues.kraken.stream import Line
from lotwise.venues.kraken.stream_private import AccountOutlet, PrivateStream
from lotwise.venues.kraken.venue import KrakenVenue
from lotwise.venues.simulated import SimulatedVenue

HEADROOM = Decimal("1.1")
"""How far above the exchange's minimums an exit must be when orders are real and nobody said otherwise."""

PRICES, ACCOUNT, BOOKS, KEY = "prices", "account", "books", "key"
"""What a person is told the standing of."""

STOPS_SECONDS = 5.0
"""Between two looks whether a stop at the exchange is to be replaced."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world outside: REST with or without a key, the two streams, the clock, and who is told what."""

    rest: Rest
    public: Line
    private: Line | None
    clock: Callable[[], Time]
    account: str = ""
    """A name of the account that tells nothing of it; "" on paper."""
    standing: Callable[[str, str | None], None] = lambda subject, trouble: None
    """Told how a subject (PRICES, ...) stands from now on, by its trouble; None: all is well."""


class NoPairs(Exception):
    """None of the pairs can be traded: says why."""


@dataclass(slots=True)
class LiveRun:
    """Everything joined, ready for the loop."""

    engine: Engine
    venue: KrakenVenue | SimulatedVenue
    journal: Journal
    inbox: Inbox
    feed: LiveFeed
    symbols: tuple[str, ...]
    background: list[Callable[[], Coroutine[Any, Any, None]]] = field(default_factory=list)
    notice: Callable[[list[Record]], None] = lambda records: None

    async def shown(self, event: Event) -> AsyncIterator[Event]:
        """What the engine is to see of an event: on the simulated venue a moment is played out there, and
        prices are shown there first; sales in a hurry see the prices of now; a report of an order that is
        not ours is nothing."""
        venue, state = self.venue, self.engine.state
        if isinstance(event, Panic):
            for quote in self.feed.quotes():
                async for one in self.shown(quote):
                    yield one
        if isinstance(venue, SimulatedVenue) and isinstance(event, Quote):
            venue.show(event)
        if isinstance(venue, SimulatedVenue) and isinstance(event, MarketUpdate):
            async for one in venue.events(event, self.engine.brackets):
                yield one
            return
        if isinstance(event, MarketUpdate):
            for passed in event.passed.values():
                yield passed
        client_id = getattr(event, "client_id", None)
        if client_id is None or client_id in state.orders or client_id in state.ended:
            yield event


def live_settings(settings: Settings) -> Settings:
    """The settings with real orders: fees in quote, and exits with headroom unless told otherwise."""
    told = settings.sizing.model_fields_set
    changes: dict[str, Any] = {"fee_asset": FeeAsset.QUOTE}
    if "exit_headroom" not in told:
        changes["exit_headroom"] = HEADROOM
    return settings.model_copy(update={"sizing": settings.sizing.model_copy(update=changes)})


def rules_of(
    listings: Mapping[str, Listed], fee_asset: FeeAsset
) -> Callable[[str, Time], Market | UnknownMarket]:
    """The rules as Kraken told them at the start; what it tells later reaches the engine as events."""

    markets = {
        symbol: market_of(told.listing, told.maker_fee, told.taker_fee, fee_asset)
        for symbol, told in listings.items()
    }

    def rules(symbol: str, time: Time) -> Market | UnknownMarket:
        if symbol not in markets:
            return UnknownMarket(symbol, Unknown.NO_SUCH_PAIR, None, f"Kraken does not list {symbol}")
        return markets[symbol]

    return rules


async def open_live(settings: Settings, journal: Journal, ports: Ports, allotment: Decimal | None) -> LiveRun:
    """Join a run: begin it with an allotment (None: paper, with the paper balance), or take it up where its
    journal stopped. Raises Refused, NoAnswer, NoPairs, OtherRun, Unfoldable."""
    paper = ports.private is None
    settings = settings if paper else live_settings(settings)
    mode = PAPER if paper else LIVE
    beginning = {"mode": mode, "account": ports.account, "stake_currency": settings.stake_currency}
    if journal.count:
        _same_books(journal, beginning)
    state = load_state(journal) if journal.count else State()
    listings = await pairs(ports.rest, _watched(settings, state), ports.clock())
    if not listings:
        raise NoPairs(f"Kraken lists none of {', '.join(settings.pairs)} for this account")
    if not journal.count:
        _begin(settings, journal, state, (ports.clock(), beginning), allotment)
    plan = _plan(settings, state.run_id, listings)
    inbox, engine = Inbox(), Engine(plan, state, {})
    for told in news(listings, state.listed):
        inbox.put([told])
    loaded = load_strategy(settings.strategy)
    window = plan.risks.window if plan.risks.swing is not None else None
    watched = Watched(
        tuple(listings), settings.timeframe, loaded.strategy, float(settings.entry.min_confidence), window
    )
    keeper, venue = _venue(settings, ports, engine, inbox)
    outlet = Outlet(
        inbox.put,
        engine.brackets,
        partial(_fees, engine, listings),
        state.listed,
        partial(_connected, ports, PRICES, keeper),
        partial(ports.standing, PRICES),
    )
    feed = LiveFeed(watched, ports.rest, ports.public, outlet, after=state.time)
    book = RuleBook(ports.rest, state.listed, ports.clock, inbox.put)
    run = LiveRun(engine, venue, journal, inbox, feed, watched.symbols, notice=book.notice)
    await feed.load()
    _take_up(run)
    run.background = [feed.run, book.keep]
    if isinstance(venue, KrakenVenue):
        inbox.put(venue.resume())
        assert keeper is not None and ports.private is not None
        outlet_of_account = AccountOutlet(
            inbox.put,
            partial(_ours, state),
            connected=partial(_connected, ports, ACCOUNT, keeper),
            lost=partial(ports.standing, ACCOUNT),
        )
        private = PrivateStream(ports.private, partial(token, ports.rest), outlet_of_account)
        run.background += [venue.search, keeper.keep, private.run, partial(_watch_stops, run, ports.clock)]
    return run


def _watched(settings: Settings, state: State) -> tuple[str, ...]:
    """The pairs of the settings, and those on which something is still held or under way: these are sold as
    ever, and nothing is bought there."""
    under_way = (known.order.symbol for known in state.orders.values())
    return tuple(dict.fromkeys((*settings.pairs, *state.holdings, *under_way)))


def _same_books(journal: Journal, beginning: Mapping[str, str]) -> None:
    """Other settings may go on with the same books; another account, currency or kind of run may not."""
    told, mode = opened(journal), beginning["mode"]
    if told.mode != mode:
        raise OtherRun(f"{journal.path} is of a run in mode {told.mode}, and this one is {mode}")
    before = {**told.settings, "mode": mode}
    differing = [name for name in beginning if str(before.get(name, "")) != beginning[name]]
    if differing:
        changes = "; ".join(f"{name} was {before.get(name)!r}, is {beginning[name]!r}" for name in differing)
        raise OtherRun(f"{journal.path} holds the books of another run: {changes}")


def _begin(
    settings: Settings,
    journal: Journal,
    state: State,
    at: tuple[Time, Mapping[str, str]],
    allotment: Decimal | None,
) -> None:
    now, beginning = at
    mode = beginning["mode"]
    told = {**settings.fingerprint(), **beginning, "begun": now}
    run_id = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:8]
    money = settings.dry_run_wallet if allotment is None else allotment
    first: list[Record] = [Opened(run_id, mode, told), Deposited(Amount(money, settings.stake_currency), now)]
    for record in first:
        apply(state, record)
        journal.append(*encode(record))
    journal.commit()


def _plan(settings: Settings, run_id: str, listings: Mapping[str, Listed]) -> Plan:
    return replace(plan_of(settings, run_id), markets=rules_of(listings, settings.sizing.fee_asset))


def _venue(
    settings: Settings, ports: Ports, engine: Engine, inbox: Inbox
) -> tuple[Bookkeeper | None, KrakenVenue | SimulatedVenue]:
    if ports.private is None:
        return None, SimulatedVenue(exchange_of(settings, engine.state), engine.rules)
    venue = KrakenVenue(ports.rest, ports.clock, engine.state, inbox.put)
    reconciler = Reconciler(venue, engine.state, ports.clock)
    keeper = Bookkeeper(reconciler, inbox, ports.clock, partial(_compared, ports))
    engine.compared = keeper.is_settled
    return keeper, venue


def _connected(ports: Ports, subject: str, keeper: Bookkeeper | None) -> None:
    """A stream is there again: what it did not tell meanwhile, a comparison does."""
    ports.standing(subject, None)
    if keeper is not None:
        keeper.ask()


def _compared(ports: Ports, trouble: Refused | NoAnswer | None) -> None:
    """How the books stand, and the key: Kraken says whether it may ask."""
    ports.standing(BOOKS, None if trouble is None else str(trouble))
    words = trouble.texts if isinstance(trouble, Refused) else ()
    refused = [text for text in words if rejection_of(text).kind is RejectionKind.PERMISSION]
    if refused or trouble is None:
        ports.standing(KEY, refused[0] if refused else None)


def _take_up(run: LiveRun) -> None:
    """Prices and highs as they are known now; the simulated venue gets its account back."""
    engine, now = run.engine, run.engine.state.time
    if isinstance(run.venue, SimulatedVenue):
        run.venue.resume(engine.state, run.feed.last(now))
        engine.quotes = run.venue.exchange.quotes()
    for symbol, holding in engine.state.holdings.items():
        high = run.feed.high(symbol, holding.opened, now)
        if high is not None:
            engine.saw(symbol, holding.opened, high)


async def _watch_stops(run: LiveRun, clock: Callable[[], Time]) -> None:
    """A stop that was too young to be replaced when more was bought is replaced when it is old enough, not
    only with the next bar."""
    while True:
        await asyncio.sleep(STOPS_SECONDS)
        if run.engine.outgrown(clock()):
            run.inbox.put([Elapsed(clock())])
            await run.inbox.answered()


def _ours(state: State, client_id: object, venue_id: object) -> str | None:
    if isinstance(client_id, str):
        return client_id if state.find(client_id) else None
    waiting = (name for name, known in state.orders.items() if known.venue_id == venue_id is not None)
    return next(waiting, None)


def _fees(engine: Engine, listings: Mapping[str, Listed], symbol: str) -> tuple[Decimal, Decimal]:
    told = engine.state.listed.get(symbol) or listings[symbol]
    return told.maker_fee, told.taker_fee
