"""What an account hears of its orders, and how it may ask for them to be handled.

Laws: everything that happens to an order is told to its account, once, in the order in which it happened:
its life as reports, what else changes of it in the account's history only; what is not asked for is the
default of `PLAIN`.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lotwise.domain.orders import Accepted, Canceled, Expired, Fill, Order, OrderType, Rejected, Report
from lotwise.domain.values import Time

Key = tuple[str, str]
"""Account and client id: what names an open order."""

POST_ONLY_CROSSED = "Post only order"
"""Kraken accepts such an order, then cancels it with these words (observed 2026-07 to 2026-09)."""

ON_REQUEST = "User requested"
NOT_AT_ONCE = "Not filled at once"
SELF_TRADE = "Self trade prevention"
REPLACED = "Order replaced"
UNFUNDED = "Insufficient funds when triggered"


@dataclass(frozen=True, slots=True)
class Amended:
    """The open order now reads `order`."""

    client_id: str
    order: Order
    time: Time


@dataclass(frozen=True, slots=True)
class Triggered:
    """The last price has reached the order's trigger: from here on it is a market or limit order."""

    client_id: str
    time: Time


Event = Accepted | Rejected | Fill | Canceled | Expired | Amended | Triggered
"""What an account's history tells."""

Told = tuple[str, Report]
"""A report and the account that hears it."""


class SelfTrade(StrEnum):
    """What gives way when an order meets one of its own account: itself, the one that waits, or both."""

    CANCEL_NEWEST = "cancel_newest"
    CANCEL_OLDEST = "cancel_oldest"
    CANCEL_BOTH = "cancel_both"


@dataclass(frozen=True, slots=True)
class Closing:
    """An order on the other side that is placed for the quantity of each fill of the one it hangs on."""

    type: OrderType
    price: Decimal | None = None
    trigger: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Instructions:
    """How an order is to be handled, beside what it says itself."""

    self_trade: SelfTrade = SelfTrade.CANCEL_NEWEST
    closing: Closing | None = None


PLAIN = Instructions()


@dataclass(frozen=True, slots=True)
class Amendment:
    """Changes of an open order; None leaves as it is. `quantity` is the whole, filled or not;
    `post_only` refuses a price that would trade at once."""

    quantity: Decimal | None = None
    price: Decimal | None = None
    trigger: Decimal | None = None
    post_only: bool = False
