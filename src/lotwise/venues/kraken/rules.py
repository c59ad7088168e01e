"""The rules and fees of the pairs, read again: once a day, and when an order was refused for its size.

Between these, the stream of instruments tells what changes (feed.py); this is for what it did not.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from lotwise.domain.orders import SIZE_REJECTIONS, Rejected
from lotwise.domain.values import Time
from lotwise.engine.records import Event, Listed, Record
from lotwise.venues.kraken.facts import pairs
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest

EVERY = 86_400.0
"""Seconds between two readings of the rules."""

AGAIN = 300.0
"""Seconds after a reading that failed."""


class RuleBook:
    """Reads the rules and puts what is new where the loop takes its events. `known`: what the run was told
    last, by symbol."""

    def __init__(
        self,
        rest: Rest,
        known: Mapping[str, Listed],
        clock: Callable[[], Time],
        put: Callable[[list[Event]], None],
    ) -> None:
        self._rest = rest
        self._known = known
        self._clock = clock
        self._put = put
        self._asked = asyncio.Event()

    def notice(self, records: Iterable[Record]) -> None:
        """An order that was refused for its size: the rules that it was made by are not the exchange's."""
        for record in records:
            if isinstance(record, Rejected) and record.rejection.kind in SIZE_REJECTIONS:
                self._asked.set()

    async def keep(self) -> None:
        """Go on for ever; a reading that fails is tried again."""
        wait = EVERY
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._asked.wait()
            self._asked.clear()
            try:
                told = await pairs(self._rest, tuple(self._known), self._clock())
            except (Refused, NoAnswer):
                wait = AGAIN
                continue
            wait = EVERY
            if new := list[Event](news(told, self._known)):
                self._put(new)


def news(told: Mapping[str, Listed], known: Mapping[str, Listed]) -> list[Listed]:
    """What was told of pairs that is not known yet, by symbol both."""
    return [one for symbol, one in told.items() if symbol not in known or known[symbol].terms != one.terms]
