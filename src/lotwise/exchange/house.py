"""How one exchange is run: what does not depend on the pair.

Laws: these are given at birth and never change; what is a function here is given again when a saved
exchange goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache

from lotwise.domain.market import FeeSchedule, FeeTier, Market
from lotwise.domain.values import EXACT, require, require_exact

Fees = Callable[[str, Market, Mapping[str, Decimal]], Market]
"""The market with an account's own fees, by the account and its 30-day trade costs per quote asset."""

Decimals = Callable[[str], int]
"""Of an asset's balance."""


class Matching(StrEnum):
    """What is known of a market: candles only, or every order in its book."""

    CANDLE = "candle"
    BOOK = "book"


@dataclass(frozen=True, slots=True)
class HouseRules:
    """volume_share: the part of a candle's volume that waiting orders of one pair may take together (None:
    they fill whole); max_open_orders: per account and pair (None: no limit); fees: see Fees (None: those
    of the market); decimals: with how many of them an asset's balance is kept (None: trades are booked to the
    last digit); kept: rows of each kind that an account's history keeps. Raises BadField."""

    matching: Matching = Matching.CANDLE
    volume_share: Decimal | None = None
    max_open_orders: int | None = None
    fees: Fees | None = None
    decimals: Decimals | None = None
    kept: int = 10_000

    def __post_init__(self) -> None:
        require_exact(self.volume_share, "volume_share")
        share = self.volume_share
        require(share is None or 0 < share <= 1, "volume_share", "must be above 0 and at most 1, or null")
        most = self.max_open_orders
        require(most is None or most > 0, "max_open_orders", "must be above 0 or null")
        require(self.kept > 0, "kept", "must be above 0")


CANDLES = HouseRules()
"""Candles are all that is known, and nothing is limited."""


def ladder(schedule: FeeSchedule, dollars: frozenset[str]) -> Fees:
    """Fees by the tier of an account's volume; costs in the quote assets of `dollars` count one for
    one, others not at all."""

    def fees(account: str, market: Market, volume: Mapping[str, Decimal]) -> Market:
        traded = Decimal(0)
        for asset, cost in volume.items():
            if asset in dollars:
                traded = EXACT.add(traded, cost)
        return _with_rates(market, schedule.tier(traded))

    return fees


@lru_cache(maxsize=1024)
def _with_rates(market: Market, tier: FeeTier) -> Market:
    return replace(market, maker_fee=tier.maker_fee, taker_fee=tier.taker_fee)
