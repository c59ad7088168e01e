"""Live market data over the sandbox: the moments, prices and rules that the engine is told."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, ClassVar
from urllib.parse import urlencode

import numpy as np
import pytest

from lotwise.domain.market import MarketStatus, Quote
from lotwise.domain.values import Time
from lotwise.engine.records import Bracket, Event, Listed, MarketUpdate
from lotwise.exchange.crowd import Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.paths import Walk
from lotwise.sandbox.wire import Request
from lotwise.strategies.candles import Candles, Floats
from lotwise.venues.feeds import RecordedFeed
from lotwise.venues.kraken.feed import LiveFeed, Outlet, Watched
from lotwise.venues.kraken.rest import NoAnswer, Refused
from tests.test_live_stream import Change, Sandbox, after, clock, cut, for_seconds, silence, virtually
from tests.test_sandbox_stream import BTC, MARKETS, PRICES, SOL, START, World

MINUTE = 60_000
FEES = Decimal("0.004"), Decimal("0.008")


AGE = 10
"""Minutes that a world has lived when a test begins."""


def world(trades: int | None = 720, seed: int = 7) -> World:
    """An exchange with a crowd that trades so many times an hour on each pair (None: no crowd)."""
    made = World(crowd=False, seed=seed)
    for number, (symbol, price) in enumerate(PRICES.items() if trades else ()):
        dice = Dice(seed + number)
        crowd = Crowd(CrowdSettings(trades=trades or 1), Walk(price, 0.8, dice, START), dice, START)
        made.exchange.live(symbol, crowd)
    made.wait(AGE * MINUTE)
    return made


@dataclass(frozen=True, slots=True)
class Slope:
    """Wishes to buy when the last `length` closes rose on the whole, to sell when they fell; the more,
    the surer."""

    length: int = 3
    name: ClassVar[str] = "slope"

    @property
    def warm_up(self) -> int:
        return self.length

    def confidence(self, candles: Candles) -> Floats:
        closes, sure = candles.closes(), np.zeros(len(candles))
        sure[self.length :] = closes[self.length :] / closes[: -self.length] - 1
        return np.clip(1000 * sure, -1, 1)


class SandboxRest:
    """Public calls to the sandbox's core. `troubles`: what the next calls raise; hold: from when until when
    none is answered."""

    def __init__(self, world: World, *troubles: Exception) -> None:
        self.world, self.troubles = world, list(troubles)
        self.calls: list[tuple[Time, str]] = []
        self.hold = Time(0), Time(0)

    async def public(self, endpoint: str, parameters: Mapping[str, str] | None = None) -> Any:
        asked = parameters or {}
        self.calls.append((clock(), asked.get("pair", endpoint)))
        if self.hold[0] <= clock() < self.hold[1]:
            raise NoAnswer("OHLC: ConnectTimeout")
        if self.troubles:
            raise self.troubles.pop(0)
        self.world.now = clock()
        request = Request("GET", f"/0/public/{endpoint}?{urlencode(asked)}")
        told = json.loads(self.world.core.handle(request, clock()).body, parse_float=Decimal)
        if told["error"]:
            raise Refused(tuple(told["error"]))
        return told["result"]


class Live:
    """A live feed over a sandbox, and what it told at which time."""

    def __init__(self, world: World, *faults: Change | None, symbols: tuple[str, ...] = (BTC, SOL)) -> None:
        self.world, self.sandbox, self.rest = world, Sandbox(world, *faults), SandboxRest(world)
        self.watched = Watched(symbols, "1m", Slope(), window=5)
        self.brackets: dict[str, Bracket] = {}
        self.known: dict[str, Listed] = {}
        self.told: list[tuple[Time, Event]] = []
        self.ends: list[str] = []
        self.feed: LiveFeed | None = None

    async def listen(self, seconds: float, *beside: Any) -> None:
        outlet = Outlet(self.put, lambda: self.brackets, lambda s: FEES, self.known, lost=self.ends.append)
        self.feed = LiveFeed(self.watched, self.rest, self.sandbox.line(), outlet)
        await for_seconds(seconds, self.feed.run(), *beside)

    def run(self, seconds: float, *beside: Any) -> None:
        """From the minute at which the world is on."""
        virtually(self.listen(seconds, *beside), AGE * 60.0)

    def put(self, events: list[Event]) -> None:
        self.told += [(clock(), event) for event in events]
        for event in events:
            if isinstance(event, Listed):
                self.known[event.listing.symbol] = event

    @property
    def updates(self) -> list[MarketUpdate]:
        return [event for _, event in self.told if isinstance(event, MarketUpdate)]

    @property
    def listings(self) -> list[Listed]:
        return [event for _, event in self.told if isinstance(event, Listed)]

    @property
    def quotes(self) -> list[Quote]:
        return [event for _, event in self.told if isinstance(event, Quote)]


def candles_of(world: World, symbol: str, until: Time) -> Candles:
    """The bars of a pair that the exchange's own tape has closed by a time."""
    bars = [bar for bar in world.exchange.tape(symbol).candles(1) if bar.time + MINUTE <= until]
    step = MARKETS[symbol].tick_size

    def steps(name: str) -> Any:
        return np.array([int(getattr(bar, name) / step) for bar in bars], dtype=np.int64)

    dates = np.array([bar.time for bar in bars], dtype=np.int64)
    volume = np.array([float(bar.volume) for bar in bars])
    prices = steps("open"), steps("high"), steps("low"), steps("close")
    return Candles(symbol, "1m", dates, *prices, step=step, volume=volume)


def recorded(live: Live, after: Time, until: Time) -> list[MarketUpdate]:
    """What a recorded feed tells of the same bars."""

    async def all_of(feed: RecordedFeed) -> list[MarketUpdate]:
        return [update async for update in feed.moments(after)]

    watched = live.watched
    candles = {symbol: candles_of(live.world, symbol, until) for symbol in watched.symbols}
    feed = RecordedFeed(candles, watched.strategy, least=watched.least, window=watched.window)
    return asyncio.run(all_of(feed))


def shown(update: MarketUpdate) -> tuple[object, ...]:
    return update.time, dict(update.candles), dict(update.signals), dict(update.swings)


def minute(number: float) -> Time:
    """So many minutes from the begin of a test on."""
    return Time(START + int((AGE + number) * MINUTE))


@pytest.fixture
def live() -> Live:
    return Live(world())


# Moments


@pytest.mark.parametrize("trades", [720, 100])
def test_live_bars_give_the_moments_of_a_recorded_feed(trades: int) -> None:
    live = Live(world(trades))
    live.run(15 * 60 + 30)
    expected = recorded(live, minute(0), minute(15))
    assert len(expected) >= 12 and any(update.signals for update in expected)
    assert [shown(update) for update in live.updates] == [shown(update) for update in expected]
    assert all(not update.passed for update in live.updates) and not live.ends


def test_the_same_world_tells_the_same_events_at_the_same_times() -> None:
    def story() -> list[tuple[Time, Event]]:
        live = Live(world(200), after(500, cut))
        live.run(8 * 60)
        return live.told

    assert story() == story()


def test_a_moment_is_told_once_all_pairs_have_gone_on_and_two_seconds_after_the_close_at_the_latest(
    live: Live,
) -> None:
    live.run(10 * 60)
    delays = [told - update.time for told, update in live.told if isinstance(update, MarketUpdate)]
    assert max(delays) == 2_000 and min(delays) < 2_000


def test_the_prices_of_a_moment_are_the_best_of_the_book_when_it_is_told(live: Live) -> None:
    live.run(5 * 60)
    for told, update in live.told:
        if isinstance(update, MarketUpdate):
            assert set(update.quotes) == {BTC, SOL}
            for quote in update.quotes.values():
                assert 0 < quote.bid < quote.ask and told - 30_000 <= quote.time <= told


def test_a_pair_without_a_trade_in_a_bar_has_no_candle() -> None:
    live = Live(world(60))
    live.run(20 * 60)
    assert {len(update.candles) for update in live.updates} == {1, 2}
    assert [update.time for update in live.updates] == [u.time for u in recorded(live, minute(0), minute(19))]


def test_no_pair_trades_then_nothing_is_told() -> None:
    live = Live(world(None))
    live.run(10 * 60)
    assert live.updates == [] and not live.ends


# Trouble on the line


def test_after_a_short_break_no_moment_is_missing() -> None:
    live = Live(world(), after(1_000, cut))
    live.run(12 * 60)
    assert live.ends == ["connection closed: 1006"]
    assert [shown(u) for u in live.updates] == [shown(u) for u in recorded(live, minute(0), minute(11))]


def test_moments_of_a_long_break_pass_and_are_told_as_passed_with_the_next() -> None:
    live = Live(world(), after(300, cut))
    live.sandbox.broken = minute(3), minute(7.75)
    live.run(12 * 60)
    times = [update.time for update in live.updates]
    lost = [Time(time) for time in range(minute(1), minute(12), MINUTE) if time not in times]
    assert len(lost) >= 3 and lost[-1] < minute(8)
    (back,) = [update for update in live.updates if update.passed]
    assert back.time == minute(8) == times[times.index(back.time)]
    for symbol, passed in back.passed.items():
        bars = candles_of(live.world, symbol, minute(12))
        away = [bars.candle(at) for at in range(len(bars)) if lost[0] <= bars.close_time(at) <= lost[-1]]
        assert (passed.candle, passed.closed) == (away[-1], lost[-1])
        assert passed.high == max(candle.high for candle in away) and passed.wishes == 0
    expected = {update.time: shown(update) for update in recorded(live, minute(0), minute(11))}
    assert all(shown(update) == expected[update.time] for update in live.updates)


def test_a_hole_in_the_history_is_filled_before_the_pair_gives_a_signal_again() -> None:
    live = Live(world(), after(300, cut))
    live.sandbox.broken = minute(3), minute(20)
    live.rest.hold = minute(18), minute(23.5)
    live.run(28 * 60)
    for update in live.updates:
        blind = minute(20) < update.time <= minute(23)
        assert not (blind and update.signals), "the snapshot of ten bars does not reach back"
    expected = {update.time: shown(update) for update in recorded(live, minute(0), minute(27))}
    later = [update for update in live.updates if update.time >= minute(25)]
    assert later and [shown(update) for update in later] == [expected[update.time] for update in later]
    assert any(update.signals for update in later)


def test_while_the_line_is_silent_nothing_is_told() -> None:
    live = Live(world(), after(300, silence), *[silence] * 30)
    live.run(10 * 60)
    assert len(live.ends) >= 5 and "silent" in live.ends[0]
    assert live.updates and max(told for told, _ in live.told) <= minute(5)


def test_a_pair_that_kraken_does_not_know_does_not_hold_up_the_others() -> None:
    live = Live(world(), symbols=(BTC, "MANA/USD"))
    live.run(5 * 60)
    assert [set(update.candles) for update in live.updates] == [{BTC}] * len(live.updates) != []
    assert any(update.signals for update in live.updates)
    delays = [told - update.time for told, update in live.told if isinstance(update, MarketUpdate)]
    assert min(delays) < 2_000
    assert live.feed is not None and live.feed.troubles["MANA/USD"].startswith("Currency pair not supported")
    assert len(live.rest.calls) <= 4


@pytest.mark.parametrize("trouble", [NoAnswer("OHLC: HTTP 502"), Refused(("EService:Busy",))])
def test_history_that_cannot_be_had_is_asked_for_again(trouble: Exception) -> None:
    live = Live(world(), symbols=(SOL, BTC))
    live.rest.troubles += [trouble, trouble]
    live.run(6 * 60)
    assert [pair for _, pair in live.rest.calls] == ["SOLUSD", "XBTUSD", "SOLUSD", "XBTUSD"]
    assert [shown(u) for u in live.updates] == [shown(u) for u in recorded(live, minute(0), minute(6))][:5]


@pytest.mark.parametrize(
    "answer", [None, [], {}, {"last": 1}, {"XXBTZUSD": 5, "last": 1}, {"XXBTZUSD": [[1, "x"]], "last": 1},
               {"XXBTZUSD": [[60, "5", "4", "3", "4", "4", "1", 1]], "last": 1}],
)  # fmt: skip
def test_history_without_krakens_form_is_none(answer: Any) -> None:
    live = Live(world(), symbols=(BTC,))

    class Wrong:
        async def public(self, endpoint: str, parameters: Mapping[str, str] | None = None) -> Any:
            return answer

    live.rest = Wrong()  # type: ignore[assignment]
    live.run(3 * 60)
    assert live.updates and not any(update.signals for update in live.updates)
    assert live.feed is not None and "history" in live.feed.troubles[BTC]


# Who may give a signal


def test_prices_that_are_not_fresh_are_none_and_give_no_signal() -> None:
    def no_ticker(text: str) -> str | None:
        return None if '"channel":"ticker","type":"update"' in text and '"SOL/USD"' in text else text

    live = Live(world(), no_ticker)
    live.run(5 * 60)
    for update in live.updates:
        assert set(update.candles) == {BTC, SOL}
        assert SOL not in update.quotes and SOL not in update.signals and BTC in update.quotes
    assert any(BTC in update.signals for update in live.updates)


def test_no_signal_while_the_exchange_is_not_open() -> None:
    live = Live(world())

    async def maintain() -> None:
        await asyncio.sleep(150)
        live.world.core.set_system_status("post_only")
        await asyncio.sleep(3600)

    live.run(5 * 60, maintain())
    early, late = ([u for u in live.updates if (u.time < minute(2.5)) == before] for before in (True, False))
    assert any(update.signals for update in early)
    assert late and not any(update.signals for update in late)


def test_no_signal_before_the_rules_are_told() -> None:
    live = Live(world(), lambda text: None if '"channel":"instrument","type"' in text else text)
    live.run(3 * 60)
    assert live.updates and not any(update.signals for update in live.updates)


def test_a_wish_to_buy_below_the_least_confidence_is_none() -> None:
    live = Live(world())
    live.watched = replace(live.watched, least=0.9)
    live.run(10 * 60)
    sure = [value for update in live.updates for value in update.signals.values()]
    assert sure and all(value < 0 or value >= 0.9 for value in sure)
    assert [shown(u) for u in live.updates] == [shown(u) for u in recorded(live, minute(0), minute(10))][:9]


def test_a_strategy_that_fails_gives_no_signal_and_says_why() -> None:
    class Broken(Slope):
        def confidence(self, candles: Candles) -> Floats:
            raise ArithmeticError("oh")

    live = Live(world())
    live.watched = replace(live.watched, strategy=Broken())
    live.run(3 * 60)
    assert live.updates and not any(update.signals for update in live.updates)
    assert live.feed is not None and "raises ArithmeticError: oh" in live.feed.troubles[BTC]


# Stops and targets


def below(stop: int) -> Bracket:
    return Bracket(Decimal(stop), None, Time(0))


def test_prices_are_told_when_a_bid_is_at_or_below_its_stop_and_not_else(live: Live) -> None:
    live.brackets = {BTC: below(120_000), SOL: below(1)}
    live.run(60)
    assert {quote.symbol for quote in live.quotes} == {BTC}
    times = [told for told, event in live.told if isinstance(event, Quote)]
    assert times == [quote.time for quote in live.quotes]
    bids = [quote.bid for quote in live.quotes]
    assert len(bids) > 3 and all(one != other for one, other in pairwise(bids)), "once for each bid"


def test_a_stop_that_is_raised_above_the_last_bid_is_told_in_a_quiet_market(live: Live) -> None:
    live = Live(world(None))
    live.world.exchange.show_depth(
        BTC, [(Decimal(59_000), Decimal(1))], [(Decimal(61_000), Decimal(1))], live.world.now
    )

    async def trail() -> None:
        await asyncio.sleep(90)
        live.brackets[BTC] = below(59_000)
        await asyncio.sleep(3600)

    live.run(180, trail())
    (quote,) = live.quotes
    assert quote.bid == 59_000 and minute(1.5) <= quote.time <= minute(1.5) + 1_300


def test_a_bid_that_comes_down_to_the_stop_again_is_told_again(live: Live) -> None:
    live = Live(world(None))
    far = [(Decimal(61_000), Decimal(1))]

    async def market() -> None:
        for bid in (59_000, 58_000, 59_000, 58_000):
            now = clock()
            live.world.exchange.show_depth(BTC, [(Decimal(bid), Decimal(1))], far, now)
            await asyncio.sleep(5)
        await asyncio.sleep(3600)

    live.brackets = {BTC: below(58_500)}
    live.run(60, market())
    assert [quote.bid for quote in live.quotes] == [58_000, 58_000]


def test_a_bid_that_comes_up_to_a_target_is_told_and_one_within_the_bracket_is_not(live: Live) -> None:
    live = Live(world(None))
    far = [(Decimal(70_000), Decimal(1))]

    async def market() -> None:
        for bid in (59_000, 60_999, 61_000, 60_000):
            live.world.exchange.show_depth(BTC, [(Decimal(bid), Decimal(1))], far, clock())
            await asyncio.sleep(5)
        await asyncio.sleep(3600)

    live.brackets = {BTC: Bracket(Decimal(58_500), Decimal(61_000), Time(0))}
    live.run(60, market())
    assert [quote.bid for quote in live.quotes] == [61_000]


# Rules


def test_rules_are_told_once_and_again_when_they_change(live: Live) -> None:
    async def change() -> None:
        await asyncio.sleep(60)
        live.world.exchange.list_market(replace(MARKETS[SOL], min_quantity=Decimal("0.02")))
        await asyncio.sleep(60)
        live.world.exchange.set_status(BTC, MarketStatus.CANCEL_ONLY)
        await asyncio.sleep(3600)

    live.run(180, change())
    first, second, third, fourth = live.listings
    assert {first.listing.symbol, second.listing.symbol} == {BTC, SOL}
    assert third.listing.min_quantity == Decimal("0.02") and (third.maker_fee, third.taker_fee) == FEES
    assert (fourth.listing.symbol, fourth.status) == (BTC, MarketStatus.CANCEL_ONLY)
    assert minute(1) <= third.time <= minute(1) + 300 and minute(2) <= fourth.time <= minute(2) + 300


def test_rules_that_are_known_are_not_told_again_after_a_break() -> None:
    live = Live(world(), after(100, cut), after(100, cut))
    live.run(180)
    assert len(live.ends) == 2 and len(live.listings) == 2


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('"qty_min":0.00005', '"qty_min":0'),
        ('"price_increment":0.1', '"price_increment":-1'),
        ('"qty_increment":0.00000001', '"qty_increment":"many"'),
        ('"status":"online"', '"status":7'),
    ],
)
def test_rules_that_no_market_can_have_are_not_told_and_stop_the_pairs_signals(good: str, bad: str) -> None:
    def spoil(text: str) -> str:
        told = json.loads(text, parse_float=Decimal)
        if told.get("channel") == "instrument" and "type" in told:
            assert good in text
            return text.replace(good, bad, 1)
        return text

    live = Live(world(), spoil)
    live.run(180)
    assert [listed.listing.symbol for listed in live.listings] == [SOL]
    assert live.updates and all(BTC not in update.signals for update in live.updates)
    assert any(SOL in update.signals for update in live.updates) and not live.ends


# What a run asks when it begins


def test_before_it_runs_a_feed_knows_the_last_bars_and_their_highs(live: Live) -> None:
    async def begin() -> LiveFeed:
        outlet = Outlet(live.put, dict, lambda s: FEES)
        feed = LiveFeed(live.watched, live.rest, live.sandbox.line(), outlet)
        await feed.load()
        return feed

    feed = virtually(begin(), AGE * 60.0)
    for symbol in (BTC, SOL):
        bars = candles_of(live.world, symbol, minute(0))
        assert feed.last(minute(0))[symbol] == bars.candle(len(bars) - 1)
        assert feed.last(Time(minute(0) - MINUTE))[symbol] == bars.candle(len(bars) - 2)
        late = [bars.candle(at).high for at in range(len(bars)) if bars.dates[at] >= minute(-4)]
        assert feed.high(symbol, minute(-4), minute(0)) == max(late)
    assert feed.high("MANA/USD", minute(-4), minute(0)) is feed.high(BTC, minute(5), minute(6)) is None
    assert [told - live.rest.calls[0][0] for told, _ in live.rest.calls] == [0, 1_000]


def test_a_run_that_is_taken_up_tells_what_has_passed_since() -> None:
    live = Live(world())

    async def begin() -> None:
        outlet = Outlet(live.put, dict, lambda s: FEES)
        feed = LiveFeed(live.watched, live.rest, live.sandbox.line(), outlet, after=minute(-5))
        await for_seconds(130, feed.run())

    virtually(begin(), AGE * 60.0)
    first = live.updates[0]
    bars = candles_of(live.world, BTC, minute(0))
    away = [bars.candle(at) for at in range(len(bars)) if minute(-5) <= bars.dates[at] < first.time - MINUTE]
    assert len(away) >= 4 and first.passed[BTC].high == max(candle.high for candle in away)
