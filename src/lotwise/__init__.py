"""lotwise: crypto spot trading for small accounts."""

from lotwise.domain.market import FeeAsset, Liquidity, Market
from lotwise.domain.orders import Opportunity
from lotwise.domain.sizing import Bound, Policy, Reason, Refused, Sized, size_order
from lotwise.domain.values import Amount, Side, amount, exact

__all__ = [
    "Amount", "Bound", "FeeAsset", "Liquidity", "Market", "Opportunity", "Policy", "Reason", "Refused",
    "Side", "Sized", "amount", "exact", "size_order",
]  # fmt: skip
