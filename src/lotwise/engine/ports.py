"""What the engine's shell needs from the world: one feed in, one venue out."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Protocol

from lotwise.domain.values import Time
from lotwise.engine.records import Bracket, Command, Event, MarketUpdate

Brackets = Callable[[], Mapping[str, Bracket]]
"""The prices that the engine waits for at this instant, by pair."""


class Feed(Protocol):
    """Moments of the market, in order."""

    def moments(self, after: Time) -> AsyncIterator[MarketUpdate]:
        """The moments later than a time."""
        ...


class Orders(Protocol):
    """Keeps promises."""

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        """Do it and report. Where orders outlive this process, `durable` is called before the first byte
        leaves: then the intent is on disk."""
        ...


class Venue(Orders, Protocol):
    """Shows also what happened in a moment of recorded candles."""

    def events(self, update: MarketUpdate, brackets: Brackets) -> AsyncIterator[Event]:
        """All that the engine must see of one moment, in order, the update itself last. What the
        engine answered to one event has been carried out before the next is drawn."""
        ...
