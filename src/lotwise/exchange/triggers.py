"""Orders that wait unseen for the last price of their pair to reach a trigger.

Laws: a stop wakes against its owner (a sell when the price falls to the trigger, a buy when it rises to
it), a take-profit for him (the other way); of those reached, the first accepted wakes first.
"""

from bisect import bisect_left, insort
from decimal import Decimal

from lotwise.domain.orders import Order, OrderType
from lotwise.domain.values import EXACT, Side
from lotwise.exchange.events import Key


def wakes_rising(order: Order) -> bool:
    """Whether a rise of the price wakes the order (else a fall does)."""
    stop = order.type in (OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT)
    return stop is (order.side is Side.BUY)


def reached(order: Order, price: Decimal) -> bool:
    """Whether this price wakes the order."""
    assert order.trigger is not None
    return price >= order.trigger if wakes_rising(order) else price <= order.trigger


class Triggers:
    """The waiting triggers of one pair: two sorted lists, the next to be reached first."""

    def __init__(self) -> None:
        self._rising: list[tuple[Decimal, int, Key]] = []
        self._falling: list[tuple[Decimal, int, Key]] = []

    def add(self, order: Order, number: int, key: Key) -> None:
        """Wait for the order's trigger; `number` tells the order of acceptance."""
        waiting, entry = self._place(order, number, key)
        insort(waiting, entry)

    def remove(self, order: Order, number: int, key: Key) -> None:
        """Wait no longer."""
        waiting, entry = self._place(order, number, key)
        place = bisect_left(waiting, entry)
        assert waiting[place] == entry
        del waiting[place]

    def met(self, price: Decimal) -> list[Key]:
        """The orders that this price wakes, in order of acceptance; they wait no longer."""
        if not self._rising and not self._falling:
            return []
        found = _cut(self._rising, price) + _cut(self._falling, EXACT.minus(price))
        return [key for _, key in sorted(found)]

    def _place(
        self, order: Order, number: int, key: Key
    ) -> tuple[list[tuple[Decimal, int, Key]], tuple[Decimal, int, Key]]:
        assert order.trigger is not None
        if wakes_rising(order):
            return self._rising, (order.trigger, number, key)
        return self._falling, (EXACT.minus(order.trigger), number, key)


def _cut(waiting: list[tuple[Decimal, int, Key]], price: Decimal) -> list[tuple[int, Key]]:
    count = next((place for place, entry in enumerate(waiting) if entry[0] > price), len(waiting))
    found = [(number, key) for _, number, key in waiting[:count]]
    del waiting[:count]
    return found
