"""How often Kraken lets one ask: the REST counter of a key and the trading counter of a pair.

Laws: a counter rises by what a request costs and falls with time; a request that would carry it above
its maximum is refused and costs nothing. Exact: rates are decimals, time is handed in. Source: Kraken's
documentation of 2026-05-27.
"""

from bisect import bisect_right
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lotwise.domain.values import EPOCH, EXACT, Time

ZERO = Decimal(0)


class Verification(StrEnum):
    """The level of an account, which sets its limits."""

    STARTER = "starter"
    INTERMEDIATE = "intermediate"
    PRO = "pro"


@dataclass(frozen=True, slots=True)
class Allowance:
    """How high a counter may rise, and how much it falls in a second."""

    maximum: Decimal
    decay_per_second: Decimal


_LEVELS = tuple(Verification)
REST = {
    level: Allowance(Decimal(most), Decimal(decay))
    for level, most, decay in zip(_LEVELS, (15, 20, 20), ("0.33", "0.5", "1"), strict=True)
}
"""The counter of all private REST calls of a key, but not those that place, change or cancel orders."""

TRADING = {
    level: Allowance(Decimal(most), Decimal(decay))
    for level, most, decay in zip(_LEVELS, (60, 125, 180), ("1", "2.34", "3.75"), strict=True)
}
"""The counter of an account on one pair, shared by REST and WebSocket."""

MAX_OPEN_ORDERS = dict(zip(_LEVELS, (60, 80, 225), strict=True))
"""How many orders of an account may be open on one pair."""

TOKEN_LIFETIME = Time(900_000)
"""Milliseconds in which a WebSocket token must be used to connect."""

_AGES = (5, 10, 15, 45, 90, 300)
_BY_AGE = {"amend": (3, 2, 1, 0, 0, 0, 0), "edit": (6, 5, 4, 2, 1, 0, 0), "cancel": (8, 6, 5, 4, 2, 1, 0)}
_FIXED = {"add": 1, "amend": 1, "edit": 1, "cancel": 0}


@dataclass(frozen=True, slots=True)
class Counter:
    """Where a counter stood at a time."""

    level: Decimal = ZERO
    time: Time = EPOCH


def level_at(counter: Counter, allowance: Allowance, now: Time) -> Decimal:
    """What is left of the counter; a clock that goes back takes nothing off."""
    elapsed = Decimal(max(now - counter.time, 0))
    fallen = EXACT.scaleb(EXACT.multiply(allowance.decay_per_second, elapsed), -3)
    return max(ZERO, EXACT.subtract(counter.level, fallen))


def charge(counter: Counter, allowance: Allowance, cost: int, now: Time) -> Counter | None:
    """The counter after a request of this cost, or None: it would pass the maximum."""
    level = EXACT.add(level_at(counter, allowance, now), Decimal(cost))
    return Counter(level, max(now, counter.time)) if level <= allowance.maximum or not cost else None


def trading_cost(action: str, age: int) -> int:
    """What an action ("add", "amend", "edit" or "cancel") costs; the younger the order it touches (its
    age in milliseconds), the more."""
    penalties = _BY_AGE.get(action)
    return _FIXED[action] + (penalties[bisect_right(_AGES, age // 1000)] if penalties else 0)
