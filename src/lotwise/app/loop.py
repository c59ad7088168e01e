"""The shell around the engine: events in, records to the journal, commands to the venue.

A moment reaches the journal as a whole when it is over; a venue whose orders outlive the process has
its intents on disk before it sends them. What ends the loop drops the moment under way, never a part
of one, and loses nothing before it.
"""

import asyncio
import signal
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lotwise.app.wire import Run
from lotwise.domain.values import Time
from lotwise.engine.codec import checkpoint, encode
from lotwise.engine.engine import Engine
from lotwise.engine.ports import Orders
from lotwise.engine.records import Awaited, Cancel, Event, MarketUpdate, Record, Submit
from lotwise.engine.state import State
from lotwise.store.journal import Journal
from lotwise.venues.feeds import Awaiting

CHECKPOINT_ROWS = 1_000
RECORDS_OF_A_MOMENT = 100_000
"""More records than this from one moment are a cycle, not a market."""

if TYPE_CHECKING:
    from lotwise.app.live import LiveRun

Watch = Callable[[MarketUpdate, list[Record]], None]
LiveWatch = Callable[[list[Event], list[Record]], None]


def run(joined: Run, watch: Watch) -> bool:
    """Run to the end of the feed, or until SIGINT or SIGTERM; whether the end was reached."""
    return until_stopped(trade(joined, watch))


def until_stopped(work: Coroutine[Any, Any, None]) -> bool:
    """Do the work to its end, or until SIGINT or SIGTERM; whether the end was reached."""

    async def stoppable() -> bool:
        task = asyncio.current_task()
        assert task is not None
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
        try:
            await work
        except asyncio.CancelledError:
            return False
        return True

    return asyncio.run(stoppable())


async def trade(joined: Run, watch: Watch) -> None:
    """Each moment of the feed, through the engine, into the journal."""
    engine, venue, journal = joined.engine, joined.venue, joined.journal
    try:
        async for update in joined.feed.moments(engine.state.time, awaiting(joined)):
            moment = Moment(journal)
            async for event in venue.events(update, engine.brackets):
                await answer(engine, venue, moment, event)
            moment.end(engine.state)
            if journal.waiting >= joined.rows_at_once:
                journal.commit()
            watch(update, moment.records)
        for record in engine.close():
            journal.append(*encode(record))
    finally:
        journal.commit()


async def follow(live: "LiveRun", watch: LiveWatch) -> None:
    """Each list of events from Kraken, through the engine, into the journal at once."""
    try:
        async for events in live.inbox.occasions(*(work() for work in live.background)):
            moment = Moment(live.journal)
            for event in events:
                async for shown in live.shown(event):
                    await answer(live.engine, live.venue, moment, shown)
            moment.end(live.engine.state)
            live.journal.commit()
            live.notice(moment.records)
            watch(events, moment.records)
    finally:
        live.journal.commit()


async def answer(engine: Engine, venue: Orders, moment: "Moment", event: Event) -> None:
    """One event and all that follows from it: the engine's records, and what the venue makes of them."""
    waiting: deque[Event] = deque([event])
    while waiting:
        for record in engine.handle(waiting.popleft()):
            moment.add(record)
            if isinstance(record, Submit | Cancel):
                waiting.extend(await venue.carry_out(record, moment.durable))


def awaiting(joined: Run) -> Awaiting | None:
    """What the engine and the world outside wait for; None: every bar is visited."""
    if not joined.skips:
        return None

    def awaited(now: Time) -> Awaited:
        waits, due = joined.engine.awaits(now), joined.venue.due()
        return waits if due is None else replace(waits, by=min(due, waits.by or due))

    return awaited


class Moment:
    """The records of one moment, handed to the journal when it is over, or when a venue asks."""

    def __init__(self, journal: Journal) -> None:
        self.records: list[Record] = []
        self._journal = journal
        self._start = journal.count
        self._handed = 0

    def add(self, record: Record) -> None:
        """Take in the next record."""
        assert len(self.records) < RECORDS_OF_A_MOMENT, f"a moment without end: {record}"
        self.records.append(record)

    def durable(self) -> None:
        """All records so far are on disk when this returns."""
        self._hand_over()
        self._journal.commit()

    def end(self, state: State) -> None:
        """The moment is whole; now and then the state it leads to is written down too."""
        self._hand_over()
        if self._journal.count // CHECKPOINT_ROWS > self._start // CHECKPOINT_ROWS:
            self._journal.append(*checkpoint(state))

    def _hand_over(self) -> None:
        for record in self.records[self._handed :]:
            self._journal.append(*encode(record))
        self._handed = len(self.records)
