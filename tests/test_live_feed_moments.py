"""Bars that are told in any order, more than once, late or changed: what becomes of them."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.values import EPOCH, Time
from lotwise.engine.records import Event, MarketUpdate
from lotwise.kraken.stream import Malformed, Message, timestamp
from lotwise.kraken.stream_market import Bar
from lotwise.strategies.candles import Candles
from lotwise.venues.feeds import RecordedFeed
from lotwise.venues.kraken.feed import LiveFeed, Outlet, Watched
from lotwise.venues.kraken.feed_history import History
from lotwise.venues.kraken.feed_moments import Gathering, Moment, Waits
from lotwise.venues.kraken.feed_window import Window
from lotwise.venues.kraken.socket import Socket, SocketClosed
from lotwise.venues.kraken.stream import Line
from tests.test_live_feed import FEES, Slope, shown
from tests.test_live_stream import virtually
from tests.test_sandbox_stream import BTC, SOL

BAR, GATHER, LATE = 60_000, 2_000, 30_000
NOON = Time(1_790_424_000_000)
PAST = 6
"""Bars of history."""

WAITS = Waits(BAR, GATHER, LATE)
STEP = Decimal("0.01")


def opening(number: int) -> Time:
    return Time(NOON + number * BAR)


def bar(symbol: str, number: int, prices: str = "10 10 10 10", trades: int = 1) -> Bar:
    """A bar of so many cents."""
    opened, high, low, close = (Decimal(price) * STEP for price in prices.split())
    begin, volume = opening(number), Decimal(trades) / 4
    return Bar(symbol, 1, begin, opened, high, low, close, volume, close, trades)


@st.composite
def tellings(draw: st.DrawFn, symbol: str, number: int) -> list[Bar]:
    """What is told of a bar while it grows, nothing when there is no trade."""
    told: list[Bar] = []
    for trades in range(1, draw(st.integers(0, 3)) + 1):
        price = Decimal(draw(st.integers(900, 1_100))) * STEP
        before = told[-1] if told else bar(symbol, number, "1 1 1 1")
        opened = before.open if told else price
        high, low = (max(before.high, price), min(before.low, price)) if told else (price, price)
        volume = Decimal(trades) / 4
        grown = replace(before, open=opened, high=high, low=low, close=price, volume=volume, trades=trades)
        told.append(grown)
    return told


@st.composite
def stories(draw: st.DrawFn, bars: int = 6) -> list[tuple[int, Bar]]:
    """(when, bar), in order of time: all tellings of two pairs' bars, each within its interval; with
    repetitions of what was told before."""
    told: list[tuple[int, Bar]] = []
    for symbol in (BTC, SOL):
        for number in range(-PAST, bars):
            grown = draw(tellings(symbol, number))
            times = sorted(draw(st.lists(st.integers(0, BAR - 1), min_size=len(grown), max_size=len(grown))))
            told += [(opening(number) + time, one) for time, one in zip(times, grown, strict=True)]
    told.sort(key=lambda one: one[0])
    repeated = draw(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10)), max_size=8))
    for place, back in repeated:
        at = place % (len(told) + 1)
        if at > 0 and back < at:
            told.insert(at, (told[at - 1][0], told[at - 1 - back][1]))
    return told


def finals(story: list[tuple[int, Bar]]) -> dict[str, dict[Time, Bar]]:
    """The last word on each bar of each pair."""
    known: dict[str, dict[Time, Bar]] = {BTC: {}, SOL: {}}
    for _, one in story:
        before = known[one.symbol].get(one.begin)
        if before is None or one.trades >= before.trades:
            known[one.symbol][one.begin] = one
    return known


def candles(symbol: str, bars: Mapping[Time, Bar]) -> Candles:
    rows = [bars[date] for date in sorted(bars)]

    def steps(name: str) -> Any:
        return np.array([int(getattr(row, name) / STEP) for row in rows], dtype=np.int64)

    dates = np.array([row.begin for row in rows], dtype=np.int64)
    volume = np.array([float(row.volume) for row in rows])
    prices = steps("open"), steps("high"), steps("low"), steps("close")
    return Candles(symbol, "1m", dates, *prices, step=STEP, volume=volume)


def recorded(known: Mapping[str, Mapping[Time, Bar]], watched: Watched, after: Time) -> list[MarketUpdate]:
    async def all_of(feed: RecordedFeed) -> list[MarketUpdate]:
        return [update async for update in feed.moments(after)]

    of = {symbol: candles(symbol, bars) for symbol, bars in known.items()}
    return asyncio.run(all_of(RecordedFeed(of, watched.strategy, least=watched.least, window=watched.window)))


class Drive:
    """A feed that is told messages by hand."""

    def __init__(self, watched: Watched, history: list[Bar]) -> None:
        self.now = NOON
        self.told: list[Event] = []
        self.history = history
        outlet = Outlet(self.told.extend, dict, lambda symbol: FEES)
        self.feed = LiveFeed(watched, self, Line("", self.nowhere, lambda: self.now), outlet)
        self.feed.hear(message("status", {"system": "online"}))
        self.feed.hear({"channel": "instrument", "data": {"pairs": [rules(s) for s in watched.symbols]}})
        self.feed.connected()
        virtually(self.feed.load())

    async def public(self, endpoint: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The history: its newest row is there, whether anything traded or not."""
        symbol = {"XBTUSD": BTC, "SOLUSD": SOL}[(parameters or {})["pair"]]
        rows = [ohlc(one) for one in self.history if one.symbol == symbol]
        return {"X": [*rows, [NOON // 1000, "1", "1", "1", "1", "0", "0", 0]], "last": 0}

    async def nowhere(self, url: str) -> Socket:
        raise SocketClosed("nowhere")

    def pass_time(self, until: int) -> None:
        """Go to a time; on the way the feed looks when each bar's time is over."""
        first = (self.now - GATHER) // BAR * BAR + BAR + GATHER
        for time in range(first, until + 1, BAR):
            self.now = Time(time)
            self.feed.look()
        self.now = Time(until)

    def hear(self, one: Bar) -> None:
        prices = {"bid": Decimal(9), "ask": Decimal(11)}
        for symbol in (BTC, SOL):
            self.feed.hear(message("ticker", {"symbol": symbol, **prices}))
        self.feed.hear(message("ohlc", row(one)))


def message(channel: str, *data: Message) -> Message:
    return {"channel": channel, "type": "update", "data": list(data)}


def row(one: Bar) -> Message:
    names = ("symbol", "open", "high", "low", "close", "trades", "volume", "vwap")
    begin = {"interval_begin": timestamp(one.begin, digits=9), "interval": one.minutes}
    return {name: getattr(one, name) for name in names} | begin


def ohlc(one: Bar) -> list[Any]:
    prices = (one.open, one.high, one.low, one.close, one.vwap, one.volume)
    return [one.begin // 1000, *map(str, prices), one.trades]


def rules(symbol: str) -> Message:
    names = ("price_increment", "qty_increment", "qty_min", "cost_min")
    return {"symbol": symbol, "status": "online", "cost_precision": 5} | dict.fromkeys(names, Decimal("0.01"))


@settings(max_examples=60, deadline=None)
@given(stories(), st.sampled_from([None, 2]), st.sampled_from([0.0, 0.5]))
def test_whatever_is_told_in_time_gives_the_moments_of_a_recorded_feed(
    story: list[tuple[int, Bar]], window: int | None, least: float
) -> None:
    watched = Watched((BTC, SOL), "1m", Slope(2), least, window, stale_seconds=1e6)
    past = finals([one for one in story if one[0] < NOON])
    drive = Drive(watched, [one for bars in past.values() for _, one in sorted(bars.items())])
    for time, one in story:
        if time >= NOON:
            drive.pass_time(time)
            drive.hear(one)
    drive.pass_time(opening(10))
    updates = [event for event in drive.told if isinstance(event, MarketUpdate)]
    known = finals(story)
    expected = recorded(known, watched, NOON) if any(known.values()) else []
    assert [shown(update) for update in updates] == [shown(update) for update in expected]


@settings(max_examples=120, deadline=None)
@given(stories(), st.lists(st.integers(0, 4 * BAR), min_size=40, max_size=40))
def test_whatever_is_told_late_each_moment_comes_once_in_order_and_no_high_is_lost(
    story: list[tuple[int, Bar]], delays: list[int]
) -> None:
    late = sorted(
        ((time + delays[place % 40] * (place % 3 == 0), one) for place, (time, one) in enumerate(story)),
        key=lambda one: one[0],
    )
    windows = {symbol: Window(symbol, "1m", 50) for symbol in (BTC, SOL)}
    gathering = Gathering(windows, WAITS, opening(-PAST))
    gathering.connected(opening(-PAST))
    moments: list[Moment] = []
    highs: dict[str, list[Decimal]] = {BTC: [], SOL: []}

    def look(now: int) -> None:
        while (moment := gathering.due(Time(now))) is not None:
            moments.append(moment)
            for symbol in moment.symbols:
                highs[symbol].append(windows[symbol].candle(moment.date).high)
            for symbol, passed in moment.passed.items():
                highs[symbol].append(passed.high)

    for time, one in [*late, *((opening(20), bar(s, 20, "1 1 1 1")) for s in (BTC, SOL))]:
        look(time)
        gathering.hear(one)
    look(opening(21) + GATHER)
    dates = [moment.date for moment in moments]
    assert dates == sorted(set(dates)) and all(moment.symbols for moment in moments)
    for symbol, bars in finals(story).items():
        assert windows[symbol].dates(EPOCH, opening(19)) == sorted(bars)
        for date, one in bars.items():
            assert windows[symbol].candle(date).close == one.close
        if bars:
            assert max(highs[symbol]) == max(one.high for one in bars.values())


# One by one


class Table:
    """Two pairs that are gathered from noon on."""

    def __init__(self) -> None:
        self.windows = {symbol: Window(symbol, "1m", 10) for symbol in (BTC, SOL)}
        self.gathering = Gathering(self.windows, WAITS, NOON)
        self.gathering.connected(NOON)

    def hear(self, *bars: Bar) -> None:
        for one in bars:
            self.gathering.hear(one)

    def due(self, number: int, after: int = 0) -> tuple[int, int] | None:
        """(which moment, how many pairs) is due so long after a bar's opening; None: none."""
        moment = self.gathering.due(Time(opening(number) + after))
        return None if moment is None else ((moment.date - NOON) // BAR, len(moment.symbols))


@pytest.fixture
def table() -> Table:
    return Table()


def test_a_moment_is_due_once_each_pair_has_gone_on(table: Table) -> None:
    table.hear(bar(BTC, 0), bar(SOL, 0), bar(BTC, 1))
    assert table.due(1, 500) is None
    table.hear(bar(SOL, 1))
    assert table.due(1, 500) == (0, 2) and table.due(1, 500) is None


def test_a_moment_does_not_wait_longer_than_it_may(table: Table) -> None:
    table.hear(bar(BTC, 0), bar(BTC, 1))
    assert table.due(1, GATHER - 1) is None
    assert table.due(1, GATHER) == (0, 1)


def test_a_moment_that_comes_too_late_has_passed(table: Table) -> None:
    table.hear(bar(BTC, 0, "10 14 9 10"), bar(SOL, 0))
    assert table.due(1, LATE + 1) is None
    table.hear(bar(BTC, 1), bar(BTC, 2), bar(SOL, 2))
    moment = table.gathering.due(opening(2))
    assert moment is not None and moment.symbols == (BTC,)
    assert {symbol: (p.closed, p.high) for symbol, p in moment.passed.items()} == {
        BTC: (opening(1), Decimal("0.14")),
        SOL: (opening(1), Decimal("0.10")),
    }


def test_a_bar_that_is_changed_after_its_moment_is_told_as_passed(table: Table) -> None:
    table.hear(bar(BTC, 0), bar(SOL, 0))
    assert table.due(1, GATHER) == (0, 2)
    table.hear(bar(BTC, 0, "10 12 10 11", trades=2), bar(BTC, 1), bar(SOL, 1))
    moment = table.gathering.due(Time(opening(2) + GATHER))
    assert moment is not None and set(moment.passed) == {BTC}
    assert moment.passed[BTC].candle.close == Decimal("0.11")
    table.hear(bar(BTC, 2))
    third = table.gathering.due(Time(opening(3) + GATHER))
    assert third is not None and third.passed == {}


def test_a_bar_that_is_told_again_as_it_was_is_nothing(table: Table) -> None:
    table.hear(bar(BTC, 0), bar(SOL, 0))
    assert table.due(1, GATHER) == (0, 2)
    table.hear(bar(BTC, 0), bar(SOL, 0))
    assert table.due(1, GATHER + 1) is None
    table.hear(bar(BTC, 1))
    moment = table.gathering.due(Time(opening(2) + GATHER))
    assert moment is not None and moment.passed == {}


def test_while_the_connection_is_lost_no_moment_is_due(table: Table) -> None:
    table.hear(bar(BTC, 0), bar(SOL, 0))
    table.gathering.lost()
    assert table.due(1, GATHER) is None


def test_after_a_break_a_pair_that_was_not_told_anew_is_not_taken_for_complete(table: Table) -> None:
    table.hear(bar(BTC, 0), bar(SOL, 0))
    table.gathering.lost()
    table.gathering.connected(Time(opening(1) + 3_000))
    table.hear(bar(BTC, 0, "10 11 10 11", trades=2))
    assert table.due(1, 3_000 + GATHER - 1) is None, "snapshots may still come"
    assert table.due(1, 3_000 + GATHER) == (0, 1)
    table.hear(bar(BTC, 1), bar(SOL, 0, trades=5))
    moment = table.gathering.due(Time(opening(2) + GATHER))
    assert moment is not None and set(moment.passed) == {SOL}


def test_nobody_waits_for_a_pair_that_is_ignored(table: Table) -> None:
    table.gathering.ignore(SOL)
    table.hear(bar(BTC, 0), bar(BTC, 1))
    assert table.due(1, 0) == (0, 1)


def test_moments_before_the_begin_are_none(table: Table) -> None:
    table.hear(bar(BTC, -1), bar(SOL, -1), bar(BTC, 0), bar(SOL, 0))
    assert table.due(0, GATHER) is None


def test_of_two_tellings_the_one_with_more_trades_holds() -> None:
    window = Window(BTC, "1m", 10)
    assert window.put(bar(BTC, 0, "10 12 10 12", trades=3))
    assert not window.put(bar(BTC, 0, "10 11 10 11", trades=2))
    assert not window.put(bar(BTC, 0, "10 12 10 12", trades=3))
    assert window.put(bar(BTC, 0, "10 13 10 13", trades=3))
    assert not window.put(bar(BTC, 1, trades=0))
    assert window.candle(opening(0)).close == Decimal("0.13") and window.newest == opening(0)


def test_a_price_with_more_decimals_leaves_the_others_as_they_were() -> None:
    window = Window(BTC, "1m", 10)
    window.put(bar(BTC, 0, "10 12 9 11"))
    before = window.candle(opening(0))
    window.put(bar(BTC, 1, "10.0001 12 9 11.5"))
    assert window.candle(opening(0)) == before
    assert window.candle(opening(1)).open == Decimal("0.100001")
    assert window.candles(opening(1)).candle(0) == before


def test_no_more_bars_are_kept_than_half_as_many_again() -> None:
    window = Window(BTC, "1m", 10)
    for number in range(100):
        window.put(bar(BTC, number))
        assert len(window.dates(EPOCH, opening(100))) <= 15
    assert len(window.candles(opening(99))) == 10
    assert not window.put(bar(BTC, 0)) or opening(0) in window


@pytest.mark.parametrize(
    "wrong",
    [
        {"high": Decimal("0.09")},
        {"low": Decimal("0.11")},
        {"low": Decimal(0)},
        {"volume": Decimal(-1)},
        {"trades": -1},
        {"begin": Time(NOON + 1)},
        {"close": Decimal("0.1000000000000000001")},
        {"high": Decimal(10) ** 20},
    ],
)
def test_what_is_no_bar_is_not_taken(wrong: dict[str, Any]) -> None:
    window = Window(BTC, "1m", 10)
    with pytest.raises(Malformed, match="BTC/USD has"):
        window.put(replace(bar(BTC, 0), **wrong))
    assert window.newest is None


def test_a_history_that_ends_before_the_connection_begins_is_asked_for_again() -> None:
    answers = [[bar(BTC, -5)], [], [bar(BTC, -5), bar(BTC, -3)]]
    taken: list[Bar] = []

    class Lagging:
        async def public(self, endpoint: str, parameters: Mapping[str, str] | None = None) -> Any:
            return {"XXBTZUSD": [ohlc(one) for one in answers.pop(0)], "last": 0}

    history = History((BTC,), BAR, Lagging(), taken.append)
    history.hears(bar(BTC, -3), opening(-9))
    assert history.hole(BTC) == "has a hole"
    for still in ("has a hole", "has a hole", ""):
        virtually(history.load())
        assert history.hole(BTC) == still
    assert [one.begin for one in taken] == [opening(-5), opening(-5), opening(-3)]


def test_a_bar_far_ahead_of_our_clock_is_not_believed() -> None:
    drive = Drive(Watched((BTC, SOL), "1m", Slope()), [])
    drive.hear(bar(BTC, 0))
    with pytest.raises(Malformed, match="begins 3600 s ahead of our clock"):
        drive.hear(bar(BTC, 60))


@pytest.mark.parametrize(
    "prices", [{"bid": 11, "ask": 9}, {"bid": 9, "ask": 9}, {"bid": 0, "ask": 9}, {"bid": None}]
)
def test_prices_that_cross_or_are_none_are_no_prices(prices: Message) -> None:
    drive = Drive(Watched((BTC, SOL), "1m", Slope(), stale_seconds=90), [])
    drive.hear(bar(BTC, 0))
    drive.feed.hear(message("ticker", {"symbol": BTC, **prices}))
    drive.pass_time(opening(1) + GATHER)
    (update,) = [event for event in drive.told if isinstance(event, MarketUpdate)]
    assert set(update.candles) == {BTC} and set(update.quotes) == {SOL}
    assert drive.feed.troubles[BTC] == "its prices are not fresh"


def test_pairs_bars_and_channels_that_nobody_asked_for_are_passed_over() -> None:
    drive = Drive(Watched((BTC,), "1m", Slope()), [])
    drive.feed.hear(message("ohlc", row(bar(SOL, 0)), {**row(bar(BTC, 0)), "interval": 5}))
    drive.feed.hear(message("ticker", {"symbol": SOL, "bid": 1, "ask": 2}))
    drive.feed.hear({"channel": "instrument", "data": {"pairs": [rules(SOL)]}})
    drive.feed.hear({"channel": "heartbeat"})
    drive.feed.hear({"channel": ["odd"]})
    drive.pass_time(opening(3))
    assert [event for event in drive.told if isinstance(event, MarketUpdate)] == []


@pytest.mark.parametrize(
    "odd",
    [
        {"channel": "ohlc"},
        {"channel": "ohlc", "data": {}},
        {"channel": "ohlc", "data": [5]},
        {"channel": "ohlc", "data": [{"symbol": BTC}]},
        {"channel": "ticker", "data": [{"bid": 5}]},
        {"channel": "instrument", "data": []},
        {"channel": "instrument", "data": [1]},
        {"channel": "instrument", "data": {"pairs": [{}]}},
        {"channel": "status", "data": [{}]},
    ],
)
def test_a_message_without_krakens_form_ends_the_connection(odd: Message) -> None:
    drive = Drive(Watched((BTC,), "1m", Slope()), [])
    with pytest.raises(Malformed):
        drive.feed.hear(odd)
