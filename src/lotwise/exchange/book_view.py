"""A pair's book as the public sees it: prices and quantities by level.

Law: it shows, it never changes anything; who waits is nobody's business.
"""

from decimal import Decimal
from typing import NamedTuple

from lotwise.domain.values import EXACT, Side, Time, steps_down
from lotwise.exchange.book import opposite
from lotwise.exchange.book_matcher import BookMatcher


class Level(NamedTuple):
    """What waits at a price, and when that last changed."""

    price: Decimal
    quantity: Decimal
    time: Time


class Change(NamedTuple):
    """A level now holds so much (0: it is gone)."""

    sequence: int
    side: Side
    price: Decimal
    quantity: Decimal
    time: Time


class BookView:
    """A look at a book; it stays true as the book goes on."""

    def __init__(self, matcher: BookMatcher) -> None:
        self._matcher = matcher

    @property
    def sequence(self) -> int:
        """The number of the last change."""
        return self._matcher.book.sequence

    def depth(self, side: Side, count: int) -> list[Level]:
        """The best levels of a side, best first."""
        show = self._matcher
        return [
            Level(show.price(price), show.quantity(lots), time)
            for price, lots, time in show.book.depth(side, count)
        ]

    def changes(self, since: int) -> list[Change] | None:
        """The changes after a sequence number, oldest first; None when they are no longer kept (or the
        steps of the book have changed), and the whole book must be read again."""
        changes = self._matcher.book.changes(since)
        if changes is None:
            return None
        price, quantity = self._matcher.price, self._matcher.quantity
        return [
            Change(change.sequence, change.side, price(change.price), quantity(change.lots), change.time)
            for change in changes
        ]

    def spreads(self, since: Time) -> list[tuple[Time, Decimal, Decimal]]:
        """The last best prices (time, bid, ask), from a time on, oldest first."""
        show = self._matcher
        return [
            (time, show.price(bid), show.price(ask)) for time, bid, ask in show.book.spreads if time >= since
        ]

    def reach(self, side: Side, cost: Decimal) -> Decimal:
        """How much of the base an order of this side trades for so much quote."""
        show, got = self._matcher, Decimal(0)
        for resting in show.book.queue(opposite(side)):
            price = show.price(resting.price)
            value = EXACT.multiply(price, show.quantity(resting.lots))
            if value > cost:
                lots = steps_down(cost, EXACT.multiply(price, show.lot))
                return EXACT.add(got, show.quantity(lots))
            got, cost = EXACT.add(got, show.quantity(resting.lots)), EXACT.subtract(cost, value)
        return got
