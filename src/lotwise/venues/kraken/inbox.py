"""Everything that comes from Kraken, in one queue of events; and the comparison of books that goes on behind
it, without which nothing is entered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

from lotwise.domain.values import Time
from lotwise.engine.records import Event
from lotwise.venues.kraken.reconcile import Reconciler, unexplained
from lotwise.venues.kraken.rest import NoAnswer, Refused

MOST = 10_000
"""Lists of events that may wait. More mean that the program does not keep up: it stops rather than lag."""

EVERY = 40.0
"""Seconds from the beginning of a comparison to that of the next when all agrees: it takes up to 20 s where
calls must wait for their turn, and what no stream told is to be known within a minute."""

SOON = 1.0
"""Seconds until the next comparison after one that told something new."""

AGAIN = 10.0
"""Seconds until the next comparison after a failed or doubtful one."""

LATER = 25.0
"""Seconds until the next comparison after one that can say nothing before an order's fate is known: the calls
are left to those who look for it."""

STRIKES = 3
"""A difference that so many comparisons in a row find is none of timing."""


class Overrun(Exception):
    """Events come faster than they can be answered."""


class Inbox:
    """A bounded queue of lists of events."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[list[Event]] = asyncio.Queue(MOST)

    def put(self, events: list[Event]) -> None:
        """Add events that belong together. Raises Overrun."""
        try:
            self._queue.put_nowait(events)
        except asyncio.QueueFull:
            raise Overrun(f"{MOST} lists of events wait to be answered") from None

    async def answered(self) -> None:
        """Wait until all that was put so far has been answered."""
        await self._queue.join()

    async def occasions(self, *background: Coroutine[Any, Any, None]) -> AsyncIterator[list[Event]]:
        """The lists in order, while the background work runs; its end or error ends it. What the
        caller has not finished with when it asks for the next is counted as answered only then."""
        tasks = [asyncio.create_task(work) for work in background]
        try:
            while True:
                get = asyncio.create_task(self._queue.get())
                try:
                    await asyncio.wait([get, *tasks], return_when=asyncio.FIRST_COMPLETED)
                    ended = [task for task in tasks if task.done()]
                    if ended:
                        await asyncio.gather(*ended)
                        return
                    events = await get
                finally:
                    get.cancel()
                yield events
                self._queue.task_done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class Bookkeeper:
    """Compares the books at the start, every 40 s, and when asked to.

    `told` hears of each comparison: None when the books agree, else why they could not be compared."""

    def __init__(
        self,
        reconciler: Reconciler,
        inbox: Inbox,
        clock: Callable[[], Time],
        told: Callable[[Refused | NoAnswer | None], None],
    ) -> None:
        self._settled = False
        self._reconciler = reconciler
        self._inbox = inbox
        self._clock = clock
        self._told = told
        self._asked = asyncio.Event()

    def is_settled(self) -> bool:
        """Whether the books agreed once, or are known not to."""
        return self._settled

    def ask(self) -> None:
        """Compare now: a connection was lost and is there again."""
        self._asked.set()

    async def keep(self) -> None:
        """Go on for ever."""
        strikes, told = 0, None
        while True:
            await self._inbox.answered()
            began = asyncio.get_running_loop().time()
            self._asked.clear()  # what is asked while it compares is asked of the next
            try:
                found = await self._reconciler.compare()
            except (Refused, NoAnswer) as trouble:
                self._told(trouble)
                await self._wait(AGAIN)
                continue
            if not found.undecided:  # else it says nothing of the money
                strikes = strikes + 1 if found.differences else 0
                told = told if strikes else None
            if strikes >= STRIKES and found.differences and found.differences != told:
                told = found.differences
                self._inbox.put(unexplained(told, self._clock()))
                await self._inbox.answered()
                self._settled = True
            if found.events:
                self._inbox.put(found.events)
            elif not found.differences and not found.undecided:
                self._settled = True
                self._told(None)
            rest = max(SOON, began + EVERY - asyncio.get_running_loop().time())
            doubtful = LATER if found.undecided else AGAIN if found.differences else rest
            await self._wait(SOON if found.events else doubtful)

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._asked.wait()
