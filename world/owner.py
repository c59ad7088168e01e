"""The run's owner, who now and then stops it and lets it go on, as `lotwise panic` does.

Laws: a word waits until a run is there to hear it; from when one is on disk nothing is entered until it is
lifted, in later lives too; when a receipt says that a word was carried out, it is so at
the exchange.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from lotwise.app.live import LiveRun
from lotwise.app.operator import LIFT, Operator
from lotwise.domain.values import Time
from lotwise.engine.codec import decode
from lotwise.engine.records import Extent, Restricted, Trading
from world.tape import Disk
from world.truth import Truth

THE_WORD = "23 the owner's word"

Violates = Callable[[str, Any], Exception]
"""Makes the error of a law that does not hold, from its name and the facts."""


class Owner:
    """Speaks to one life after the other. `said` counts the words."""

    def __init__(self, truth: Truth, disk: Disk, violates: Violates) -> None:
        self.said = 0
        self._truth = truth
        self._disk = disk
        self._read_rows = 0
        self._stopped = False
        self._violates = violates
        self._waiting: list[str] = []
        self._speaking: asyncio.Task[None] | None = None

    def wants(self, word: str) -> None:
        """A word to be said as soon as a run can hear it; the last one holds."""
        self._waiting = [word]

    def speak(self, run: LiveRun, clock: Callable[[], Time]) -> None:
        """Say what waits to be said. Raises what went wrong with the word before."""
        if self._speaking is not None and self._speaking.done():
            done, self._speaking = self._speaking, None
            if not done.cancelled():
                done.result()
        if self._waiting and self._speaking is None:
            word = self._waiting.pop()
            self.said += 1
            self._speaking = asyncio.create_task(self._say(word, Operator(run.engine, run.inbox, clock)))

    def hangs_up(self) -> None:
        """The run that listened is dead."""
        if self._speaking is not None:
            self._speaking.cancel()

    def stops_entries(self) -> bool:
        """Whether entries are stopped, by what is on disk: from there on every life knows."""
        for row in self._disk.rows[self._read_rows :]:
            if row.kind in ("Panic", "Restricted"):
                told = decode(row.kind, row.body)
                self._stopped = not (isinstance(told, Restricted) and told.trading is Trading.ACTIVE)
        self._read_rows = len(self._disk.rows)
        return self._stopped

    async def _say(self, word: str, operator: Operator) -> None:
        receipt = await operator.carry_out(word)
        self._truth.read()
        if receipt["done"] and word in (Extent.ORDERS, Extent.FLATTEN):
            waiting = [name for name, _ in self._truth.open_orders()]
            if waiting:
                raise self._violates(THE_WORD, f"{word} is done, and {waiting} wait")
        if receipt["done"] and word == LIFT and receipt["trading"] != Trading.ACTIVE.value:
            raise self._violates(THE_WORD, f"lifted, and trading is {receipt['trading']}")
