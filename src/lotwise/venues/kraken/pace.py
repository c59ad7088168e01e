"""How often one pair may be traded on: Kraken's counter, which its clients must keep for themselves.

Laws: the counter is never carried above four fifths of Kraken's maximum; what buys leaves a quarter of
that to cancels and sales, which wait for room where there is none.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from lotwise.domain.values import EXACT, Time
from lotwise.kraken.limits import TRADING, Allowance, Counter, Verification, charge, trading_cost

LOWEST = TRADING[Verification.STARTER]

USED = Decimal("0.8")
"""Of a maximum; the rest is for a person's own orders."""

ENTRIES = Decimal("0.6")
"""Of a maximum: so high may what buys carry it."""

OLD = 300_000
"""Milliseconds after which an order's age makes no difference any more."""

LOOK = 0.5
"""Seconds between two looks whether there is room."""


class Pace:
    """Counts what is sent on each pair. What was placed before this process is as old as the process."""

    def __init__(self, clock: Callable[[], Time], allowance: Allowance = LOWEST) -> None:
        self._clock = clock
        self._allowance = allowance
        self._counters: dict[str, Counter] = {}
        self._placed: dict[str, Time] = {}
        self._born = clock()

    def may_buy(self, symbol: str, client_id: str) -> bool:
        """Count an entry, if there is room for it."""
        return self._charge(symbol, self._part(ENTRIES), "add", client_id)

    async def sell(self, symbol: str, client_id: str) -> None:
        """Count a sale, once there is room for it."""
        while not self._charge(symbol, self._part(USED), "add", client_id):
            await asyncio.sleep(LOOK)

    async def cancel(self, symbol: str, client_id: str) -> None:
        """Count a cancel, once there is room for it; the younger the order, the more it costs."""
        while not self._charge(symbol, self._part(USED), "cancel", client_id):
            await asyncio.sleep(LOOK)

    def _charge(self, symbol: str, allowance: Allowance, action: str, client_id: str) -> bool:
        now = self._clock()
        if action == "add":
            while self._placed and now - next(iter(self._placed.values())) >= OLD:
                del self._placed[next(iter(self._placed))]
            self._placed[client_id] = now
        age = max(0, now - self._placed.get(client_id, self._born))
        before = self._counters.get(symbol, Counter())
        counter = charge(before, allowance, trading_cost(action, age), now)
        if counter is None:
            return False
        self._counters[symbol] = counter
        return True

    def _part(self, part: Decimal) -> Allowance:
        return replace(self._allowance, maximum=EXACT.multiply(self._allowance.maximum, part))
