"""The shell around the engine: events in, records to the journal, commands to the venue.

A moment is committed as a whole at its end; a venue whose orders outlive the process has its intents
committed before it sends them. An error drops the moment, never a part of one.
"""

import asyncio
import signal
from collections import deque
from collections.abc import Callable

from lotwise.app.wire import Run
from lotwise.engine.codec import checkpoint, encode
from lotwise.engine.records import Cancel, Event, MarketUpdate, Record, Submit

CHECKPOINT_ROWS = 1_000
EVENTS_OF_A_MOMENT = 100_000
"""More events than this from one moment are a cycle, not a market."""

Watch = Callable[[MarketUpdate, list[Record]], None]


def run(joined: Run, watch: Watch) -> bool:
    """Run to the end of the feed, or until SIGINT or SIGTERM; whether the end was reached."""

    async def until_stopped() -> bool:
        task = asyncio.current_task()
        assert task is not None
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, task.cancel)
        try:
            await trade(joined, watch)
        except asyncio.CancelledError:
            return False
        return True

    return asyncio.run(until_stopped())


async def trade(joined: Run, watch: Watch) -> None:
    """Each moment of the feed, through the engine, into the journal."""
    engine, venue, journal = joined.engine, joined.venue, joined.journal
    async for update in joined.feed.moments(engine.state.time):
        records: list[Record] = []
        before = journal.count
        async for first in venue.events(update, engine.stops):
            waiting: deque[Event] = deque([first])
            while waiting:
                assert len(records) < EVENTS_OF_A_MOMENT, f"a moment without end at {update.time}"
                for record in engine.handle(waiting.popleft()):
                    journal.append(*encode(record))
                    records.append(record)
                    if isinstance(record, Submit | Cancel):
                        waiting.extend(await venue.carry_out(record, journal.commit))
        if journal.count // CHECKPOINT_ROWS > before // CHECKPOINT_ROWS:
            journal.append(*checkpoint(engine.state))
        journal.commit()
        watch(update, records)
