"""What the view of a run on live data tells a person, on a terminal and in a log."""

import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from lotwise.app.live import ACCOUNT, BOOKS, KEY, PRICES
from lotwise.app.live_screen import LiveScreen, Notices, OnExchange
from lotwise.app.screen import Screen
from lotwise.app.summary import left_behind, lines, summary
from lotwise.domain.market import MarketStatus, Quote
from lotwise.domain.orders import Status, TimedOut
from lotwise.domain.values import Amount, Time
from lotwise.engine.engine import Engine
from lotwise.engine.records import (
    Extent,
    Impossible,
    Marked,
    MarketUpdate,
    Panic,
    Restricted,
    Trading,
    Unexplained,
)
from lotwise.sandbox.clock import wall_time
from lotwise.sandbox.service import Sandbox, hosted
from tests.test_engine import CALM, SOL, bars, of
from tests.test_happenings import ADA, BOUGHT, World, at, live, told_of
from tests.test_live_stream import for_seconds, virtually

D = Decimal
MINUTE = 60_000
NOW = Time(at(3) + 5 * MINUTE)
HELD = World({SOL: bars(SOL, CALM, BOUGHT, CALM)}, {SOL: [1]})
WAITING = World({SOL: bars(SOL, CALM, CALM)}, {SOL: [0, 1]})
RESTS = {"stoploss_on_exchange": True, "target": "0.05"}


@pytest.fixture
def holding(tmp_path: Path) -> Engine:
    """It bought SOL at 100, with its stop at 97; prices are as the third bar closed."""
    return live(tmp_path / "j", HELD)[0].engine


class Told:
    """A view of an engine, and all that it writes; its time is moved by hand."""

    def __init__(
        self, engine: Engine, terminal: bool = False, width: int = 80, file: io.StringIO | None = None
    ) -> None:
        self.now, self.quotes, self.real = NOW, [Quote(SOL, NOW, D("101.25"), D("101.5"))], True
        self.troubles: dict[str, str] = {}
        self.file = io.StringIO() if file is None else file
        self.console = Console(
            file=self.file, force_terminal=terminal, width=width, height=40, color_system=None
        )
        self.notices = Notices(self.console, lambda: self.now)
        there = OnExchange(
            self.notices, lambda: self.quotes, self.real, Path("my runs/a.journal"), self.troubles
        )
        self.screen = LiveScreen(self.console, engine, ("lotwise, live: SOL/USDT", "real orders"), there)

    def connected(self) -> "Told":
        for subject in (PRICES, ACCOUNT, BOOKS):
            self.notices.standing(subject, None)
        return self

    def lines(self) -> list[str]:
        """The last picture, or all lines."""
        with self.screen:
            pass
        return [line.rstrip() for line in self.file.getvalue().rpartition("\x1b[?1049l")[2].splitlines()]

    def words(self) -> str:
        """The same as one line, however it was broken."""
        return " ".join(" ".join(self.lines()).split())


def picture(engine: Engine, width: int = 80) -> Told:
    return Told(engine, terminal=True, width=width)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("terminal", [True, False])
def test_at_a_glance_it_says_what_the_run_may_do_and_who_watches_what(
    holding: Engine, width: int, terminal: bool
) -> None:
    told = Told(holding, terminal, width).connected()
    words = told.words()
    for fact in (
        "lotwise, live: SOL/USDT",
        "ACTIVE: it may buy and sell",
        "connected since 03:05",
        "books agreed with the exchange's at 03:05:00 UTC",
        "03:05:00 UTC, next 1h bar closes 04:00; real orders",
        "equity 10.0950 USDT (+0.0950)", "free 0.4762 USDT",
        "HELD 0.095 SOL for 9.5237 USDT", "bid 101.25 now",
        "stop 97 watched by this run",
        "target 105 rests at the exchange",
    ):  # fmt: skip
        assert fact in words, words
    if terminal:
        assert max(map(len, told.lines())) <= width


def test_what_is_not_known_is_said_to_be_not_known(holding: Engine) -> None:
    holding.quotes = {}
    told = picture(holding)
    told.quotes = []
    words = told.words()
    for fact in (
        "BUYS NOTHING: there is no market data now",
        "the market data: not connected yet",
        "the account's stream: not connected yet",
        "no price of SOL/USDT yet: it counts as its price of 2025-",
        "; no price yet",
        "stop 97 IS NOT WATCHED: there is no market data now",
    ):
        assert fact in words, words
    assert "equity about " in words and "books agreed" not in words


def test_before_the_books_are_compared_it_says_that_nothing_is_bought(holding: Engine) -> None:
    holding.compared = lambda: False
    words = Told(holding, terminal=False).connected().words()
    assert "BUYS NOTHING: the books were not compared with the exchange's yet" in words
    assert "ACTIVE" not in words


def test_coins_that_never_had_a_price_count_as_what_they_cost(holding: Engine) -> None:
    state, free = holding.state, holding.state.ledger.total("USDT").number
    holding.quotes, state.marked = {}, None
    told = picture(holding)
    told.quotes = []
    words = told.words()
    assert "equity about 10.0000 USDT (+0.0000), free 0.4762 USDT" in words
    assert f"no price of {SOL} yet: it counts as its cost" in words
    result = summary(holding, Path("j"), finished=False)
    assert result["equity_end"] == free + state.holdings[SOL].position.cost == D(10)
    assert result["unpriced"] == {SOL: "its cost"}
    assert f"No price of {SOL} is known: its coins count as its cost" in lines(result)


def test_a_coin_whose_price_is_not_told_is_no_loss_of_the_day_and_no_drawdown(holding: Engine) -> None:
    state = holding.state
    assert state.marked is not None
    state.marked = replace(state.marked, prices={})  # as it was before the coins came
    state.traded_since_mark = True
    (mark,) = of(holding.handle(MarketUpdate(at(4), {}, {}, {})), Marked)
    assert mark.equity == D(10) and mark.prices == {}
    assert state.totals.max_drawdown_fraction < D("0.01")


def test_prices_of_now_come_before_those_of_the_last_bar(holding: Engine) -> None:
    told = picture(holding).connected()
    before = told.words()
    told = picture(holding).connected()
    told.quotes = []
    assert "equity 10.0950" in before
    assert "bid 100 at 03:00, no newer" in told.words() and "equity 9.9762 USDT" in told.words()


def test_a_lost_connection_says_since_when_and_that_the_stop_is_not_watched(holding: Engine) -> None:
    told = picture(holding).connected()
    told.notices.standing(PRICES, "silent for 10 s")
    told.now = Time(NOW + 3 * MINUTE)
    told.notices.standing(PRICES, "no connection within 15 s")
    words = told.words()
    assert "the market data: LOST since 03:05: no connection within 15 s" in words
    assert "BUYS NOTHING" in words and "ACTIVE" not in words and "equity about" in words
    assert "stop 97 IS NOT WATCHED: there is no market data now" in words
    told.notices.standing(PRICES, None)
    words = told.words()
    assert "connected since 03:08" in words and "stop 97 watched by this run" in words
    happened = words.partition("Latest decisions")[2]
    assert "03:08 the market data: well again 03:05 the market data: silent for 10 s" in happened
    assert "15 s" not in happened, "a trouble that goes on is told once"


def test_a_refused_key_is_one_standing_line_however_often_it_is_told(holding: Engine) -> None:
    told = picture(holding).connected()
    for _ in range(20):
        told.notices.standing(KEY, "EAPI:Invalid key")
        told.notices.standing(BOOKS, "EAPI:Invalid key")
        told.now = Time(told.now + 10_000)
    words = told.words()
    assert "THE KEY IS REFUSED since 03:05: nothing can be bought OR SOLD (EAPI:Invalid key)" in words
    assert "books NOT COMPARED since 03:05: EAPI:Invalid key" in words
    assert "stop 97 IS NOT WATCHED: the key is refused" in words and "ACTIVE" not in words
    assert words.count("the key: EAPI:Invalid key") == 1


@pytest.mark.parametrize(
    ("extent", "words", "stop"),
    [
        (
            Extent.ENTRIES,
            "MAY ONLY SELL: stops, targets and sales go on, nothing is bought",
            "watched by this run",
        ),
        (
            Extent.ORDERS,
            "HALTED: nothing is bought or sold, and no stop is watched",
            "IS NOT WATCHED: the run is halted",
        ),
    ],
)
def test_a_restricted_run_says_so_and_which_command_lifts_it(
    holding: Engine, extent: Extent, words: str, stop: str
) -> None:
    holding.handle(Panic(extent, NOW))
    told = picture(holding).connected().words()
    assert f"{words}. To lift it: lotwise panic lift --journal 'my runs/a.journal'" in told
    assert f"stop 97 {stop}" in told and "ACTIVE" not in told
    assert any(words in line and "lotwise panic lift" in line for line in left_behind(holding, real=True))
    holding.handle(Restricted(Trading.ACTIVE, "the owner lifted the restriction", NOW))
    assert "ACTIVE" in picture(holding).connected().words()


def test_books_that_disagree_stop_entries_in_words(holding: Engine) -> None:
    holding.handle(Unexplained(Amount(D(-5), "USDT"), "Kraken lacks 5 USDT without a reason", NOW))
    told = picture(holding).connected().words()
    assert "BUYS NOTHING: Kraken lacks 5 USDT without a reason; see `lotwise reconcile`" in told
    assert "ACTIVE" not in told


def test_a_stop_that_rests_at_the_exchange_is_said_to(tmp_path: Path) -> None:
    engine = live(tmp_path / "j", HELD, **RESTS)[0].engine
    words = picture(engine).connected().words()
    assert "stop 97 rests at the exchange target 105 watched by this run" in words
    blind = picture(engine).words()
    assert "stop 97 rests at the exchange target 105 IS NOT WATCHED" in blind


def test_a_stop_on_a_pair_that_takes_no_sales_says_why(holding: Engine) -> None:
    holding.handle(told_of(SOL, 3, MarketStatus.CANCEL_ONLY))
    words = picture(holding).connected().words()
    assert "stop 97 watched by this run, but nothing can be sold now: SOL/USDT is cancel_only" in words


def test_an_order_that_waits_is_told_with_its_price_and_its_end(tmp_path: Path) -> None:
    engine = live(tmp_path / "j", WAITING, entry__lifetime_bars=3)[0].engine
    (name,) = engine.state.orders
    words = picture(engine).connected().words()
    assert "holds no coins 1 order under way: buy 0.095 SOL at 100 USDT until 05:00 UTC" in words
    engine.state.orders[name] = replace(engine.state.orders[name], status=Status.UNKNOWN)
    assert "until 05:00 UTC: its fate is not known yet" in picture(engine).connected().words()


def test_all_of_a_burst_is_shown_though_nothing_happens_after_it(holding: Engine) -> None:
    told = picture(holding).connected()
    name = next(iter(holding.state.orders))
    with told.screen:
        for number in range(5):
            told.screen.hear([Impossible(f"burst {number}", "why", NOW), TimedOut(name, NOW)])
        last = told.file.getvalue().rpartition("lotwise, live")[2]
    for number in range(2, 5):
        assert f"IMPOSSIBLE: burst {number}: why" in last
    assert "the order to sell was not answered: its fate is looked up" in last


def test_a_note_is_in_the_picture_within_a_second_and_never_beside_it(holding: Engine) -> None:
    told = picture(holding).connected()

    async def noted() -> None:
        with told.screen:
            before = len(told.file.getvalue())
            told.notices.note("the owner cannot be heard")
            assert len(told.file.getvalue()) == before
            await for_seconds(1.5, told.screen.keep())
            assert "03:05  the owner cannot be heard" in told.file.getvalue()[before:]

    virtually(noted())


def test_a_log_has_each_happening_at_once_and_all_facts_when_one_is_news(holding: Engine) -> None:
    told = Told(holding)

    def said_after(seconds: int) -> list[str]:
        """What is said beside what was, when so many seconds have passed."""
        before, told.now = len(told.file.getvalue()), Time(told.now + 1000 * seconds)
        told.screen.hear([])
        return [line[18:].partition(" ")[0] for line in told.file.getvalue()[before:].splitlines()]

    told.notices.note("before the view")
    with told.screen:
        told.connected()
        assert said_after(1) == [], "a moment after the first facts"
        assert "ACTIVE:" in said_after(1)
        assert [said_after(60) for _ in range(9)] == [[]] * 9
        assert {"ACTIVE:", "connected", "equity", "HELD"} <= set(said_after(60)), "ten minutes are over"
        told.troubles[SOL] = "strategy mine raises KeyError"
        assert SOL in said_after(3), "no pair gives a signal"
        told.troubles[SOL] = "its history has a hole"
        assert said_after(3) == []
        told.notices.standing(PRICES, "silent for 10 s")
        assert "BUYS" in said_after(3)
        told.screen.hear([Impossible("this", "that", told.now)])
        assert "IMPOSSIBLE: this: that" in told.file.getvalue().splitlines()[-1]
    assert told.file.getvalue().startswith("2025-07-29 03:05  before the view\nlotwise, live: SOL/USDT")


@pytest.mark.parametrize("end", [OSError(28, "No space left on device"), SystemExit(1)])
@pytest.mark.parametrize("terminal", [True, False])
def test_that_nobody_can_read_it_any_more_ends_nothing(
    holding: Engine, terminal: bool, end: BaseException
) -> None:
    class Full(io.StringIO):
        full = False

        def write(self, text: str) -> int:
            if self.full:
                raise end  # the second as rich ends a program whose reader has left
            return super().write(text)

    told = Told(holding, terminal, file=Full())
    with told.screen:
        Full.full = True
        told.screen.hear([Impossible("this", "that", NOW)])
        told.notices.note("a note")


def test_at_the_end_it_says_what_rests_and_that_stops_are_not_watched(tmp_path: Path) -> None:
    engine = live(tmp_path / "j", HELD)[0].engine
    assert left_behind(engine, real=True) == [
        "1 order left at the exchange:",
        "  sell 0.095 SOL at 105 USDT",
        "SOL/USDT held: its stop at 97 IS NOT WATCHED until the run goes on",
    ]
    rests = live(tmp_path / "k", HELD, **RESTS)[0].engine
    assert left_behind(rests, real=True)[1:] == [
        "  sell 0.095 SOL once 97 USDT is traded",
        "SOL/USDT held: its stop at 97 rests at the exchange, and sells without the run",
    ]
    assert "IS NOT WATCHED" in left_behind(rests, real=False)[-1], "what is simulated stands still"
    waits = live(tmp_path / "l", WAITING, entry__lifetime_bars=3)[0].engine
    assert left_behind(waits, real=True) == [
        "1 order left at the exchange:",
        "  buy 0.095 SOL at 100 USDT until 05:00 UTC",
    ]
    assert summary(waits, Path("j"), finished=False)["orders_waiting"][0]["until"] == "2025-07-29T05:00:00Z"


def test_a_narrow_terminal_cuts_nothing_off_a_run_on_candles(holding: Engine) -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=60, height=40, color_system=None)
    with Screen(
        console, holding, ("lotwise, paper: made up", "an example"), np.array([at(1)], dtype=np.int64)
    ):
        pass
    words = " ".join(file.getvalue().split())
    for fact in ("equity 9.9762 USDT (-0.0238), free 0.4762 USDT", "HELD 0.095 SOL for 9.5237 USDT; bid 100"):
        assert fact in words
    assert "stop 97, target 105" in words and "..." not in words and "\N{HORIZONTAL ELLIPSIS}" not in words


def test_while_the_exchange_takes_no_purchases_the_run_is_not_called_active(tmp_path: Path) -> None:
    two = World({SOL: bars(SOL, CALM, CALM, CALM), ADA: bars(ADA, CALM, CALM, CALM)})
    engine = live(tmp_path / "j", two)[0].engine
    for symbol in (SOL, ADA):
        engine.handle(told_of(symbol, 3, MarketStatus.ONLINE))
    engine.handle(told_of(SOL, 3, MarketStatus.CANCEL_ONLY))
    words = picture(engine).connected().words()
    assert "ACTIVE: it may buy and sell but not buy SOL/USDT: the exchange says cancel_only" in words
    engine.handle(told_of(ADA, 3, MarketStatus.CANCEL_ONLY))
    words = picture(engine).connected().words()
    assert (
        "BUYS NOTHING: the exchange takes no purchases now (cancel_only)" in words and "ACTIVE" not in words
    )


def test_a_pair_that_gives_no_signal_is_named_with_the_reason(holding: Engine) -> None:
    told = picture(holding).connected()
    told.troubles[ADA] = "its history has a hole"
    assert "ADA/USDT gives no signal: its history has a hole" in told.words()


def test_a_sandbox_begins_at_the_time_at_which_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, slow = wall_time(), 100_000  # as if its world took so long to build
    times = iter((begun, begun + slow))
    monkeypatch.setattr("lotwise.sandbox.service.wall_time", lambda: Time(next(times)))
    with hosted(Sandbox(rate_limits=False)) as made:
        assert 0 <= made.do(lambda admin: admin.advance(0)) - begun - slow < slow
