"""Wishes, promises and what became of them. No exchange's words here."""

from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.market import Liquidity
from lotwise.domain.values import Time


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A wish to buy without a size: the limit price, and how sure the strategy is (0 to 1)."""

    symbol: str
    price: Decimal
    liquidity: Liquidity = Liquidity.MAKER
    time: Time = Time(0)
    confidence: float = 1.0
