"""Paper on live data: simulated orders at the prices of now. Kraken is made up here, and so is its time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from lotwise.app.live import LiveRun, Ports, open_live
from lotwise.app.loop import follow
from lotwise.app.settings import Settings
from lotwise.domain.market import Quote
from lotwise.domain.orders import Fill
from lotwise.domain.values import Side
from lotwise.engine.records import Event, Extent, MarketUpdate, Panic, Record, Trading
from lotwise.engine.state import State
from lotwise.store.journal import Journal
from tests.runs import settings_of
from tests.test_live_feed import AGE, SandboxRest, world
from tests.test_live_stream import Sandbox, clock, for_seconds, virtually
from tests.test_sandbox_stream import BTC, SOL

D = Decimal
SETTINGS = {
    "timeframe": "1m",
    "pairs": f"{BTC},{SOL}",
    "strategy": "world.wishes:Often",
    "entry__style": "taker",
    "stoploss": "-0.001",
    "target": "0.05",
    "paper__slippage": 0,
}
"""Without slippage a sale is at the bid, and an entry at the ask."""


Owner = Callable[[LiveRun], Coroutine[Any, Any, None]]


class PublicRest(SandboxRest):
    """Without a key."""

    has_key = False


@dataclass
class Paper:
    """A run on paper. `heard`: the events that were answered together, the records that came of them, and
    the prices of that time."""

    path: Path
    heard: list[tuple[list[Event], list[Record], dict[str, Quote]]] = field(default_factory=list)

    def live(self, minutes: int, *owner: Owner, **keys: Any) -> State:
        """So many minutes of it; `owner`: who acts beside it."""
        settings = settings_of("usd", **SETTINGS | keys)
        return virtually(self._live(60.0 * minutes, settings, *owner), AGE * 60.0)

    async def _live(self, seconds: float, settings: Settings, *owner: Owner) -> State:
        made = world()
        rest: Any = PublicRest(made)
        ports = Ports(rest, Sandbox(made).line(), None, clock)
        with Journal(self.path) as journal:
            run = await open_live(settings, journal, ports, None)

            def watch(events: list[Event], records: list[Record]) -> None:
                self.heard.append((events, records, {q.symbol: q for q in run.feed.quotes()}))

            await for_seconds(seconds, follow(run, watch), *(act(run) for act in owner))
        return run.engine.state

    def fills(self, of: type[Event], side: Side) -> Iterator[tuple[Fill, Event, Quote]]:
        """The trades that came of events of a kind: each with its event, and the prices of that time."""
        for events, records, prices in self.heard:
            for event in events:
                for record in records:
                    if isinstance(event, of) and isinstance(record, Fill) and record.side is side:
                        yield record, event, prices[record.symbol]


def test_a_stop_is_sold_at_the_bid_that_met_it_and_not_at_the_last_close(tmp_path: Path) -> None:
    paper = Paper(tmp_path / "j")
    paper.live(20)
    sold = list(paper.fills(Quote, Side.SELL))
    assert len(sold) >= 5
    for fill, met, _ in sold:
        assert isinstance(met, Quote) and (fill.symbol, fill.price) == (met.symbol, met.bid)


def test_an_entry_is_bought_at_the_ask_of_now(tmp_path: Path) -> None:
    paper = Paper(tmp_path / "j")
    paper.live(20)
    bought = list(paper.fills(MarketUpdate, Side.BUY))
    assert len(bought) >= 5
    for fill, update, _ in bought:
        assert isinstance(update, MarketUpdate)
        assert fill.price == update.quotes[fill.symbol].ask


def test_what_panic_sells_it_sells_at_the_bid_of_now(tmp_path: Path) -> None:
    async def owner(run: LiveRun) -> None:
        while not run.engine.state.holdings:
            await asyncio.sleep(1)
        await asyncio.sleep(20)  # within a bar
        run.inbox.put([Panic(Extent.FLATTEN, clock())])
        await asyncio.Event().wait()

    paper = Paper(tmp_path / "j")
    state = paper.live(5, owner, stoploss="-0.05")
    sold = list(paper.fills(Panic, Side.SELL))
    assert sold and all(fill.price == now.bid for fill, _, now in sold)
    assert state.trading is Trading.REDUCING and state.holdings == {}


def test_a_pair_on_which_something_is_held_is_watched_though_it_left_the_settings(tmp_path: Path) -> None:
    paper = Paper(tmp_path / "j")
    held = set(paper.live(4, stoploss="-0.02").holdings)
    assert held == {BTC, SOL}
    before = sum(1 for _ in paper.fills(MarketUpdate, Side.BUY))
    state = Paper(tmp_path / "j").live(8, pairs=SOL, stoploss="-0.02", max_hold_bars=2)
    assert BTC not in state.holdings, "its time was over, and it was sold"
    again = Paper(tmp_path / "j")
    again.live(4, pairs=SOL, stoploss="-0.02", max_hold_bars=2)
    assert before and BTC not in {fill.symbol for fill, _, _ in again.fills(MarketUpdate, Side.BUY)}
