"""Wishes, promises and what became of them. No exchange's words here.

The life of an order is one table, `NEXT`. Filled quantity comes from fills, never from a status.
"""

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import reduce

from lotwise.domain.market import FeeAsset, Liquidity
from lotwise.domain.values import EPOCH, EXACT, Amount, Side, Time


@dataclass(frozen=True, slots=True)
class Opportunity:
    """A wish to buy without a size: the limit price, and how sure the strategy is (0 to 1)."""

    symbol: str
    price: Decimal
    liquidity: Liquidity = Liquidity.MAKER
    time: Time = EPOCH
    confidence: float = 1.0


class OrderType(StrEnum):
    """The last four wait unseen until the market reaches `Order.trigger`: a stop against its owner (a
    sell at or below it), a take-profit for him; then they are a market or limit order."""

    LIMIT = "limit"
    MARKET = "market"
    STOP_LOSS = "stop-loss"
    TAKE_PROFIT = "take-profit"
    STOP_LOSS_LIMIT = "stop-loss-limit"
    TAKE_PROFIT_LIMIT = "take-profit-limit"

    @property
    def has_limit(self) -> bool:
        """Whether it comes to the book with a limit price."""
        return self in (OrderType.LIMIT, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT)

    @property
    def has_trigger(self) -> bool:
        """Whether it waits for a price before it comes to the book."""
        return self not in (OrderType.LIMIT, OrderType.MARKET)


class TimeInForce(StrEnum):
    """How long an order waits: until cancelled, not at all, all or nothing, until `expires`."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    GTD = "GTD"


class Purpose(StrEnum):
    """Why we placed an order. TARGET and PROTECTION wait at the exchange for the target and for the stop;
    TAKE_PROFIT and STOP are the sales at once when the run itself sees one of them reached."""

    ENTRY = "entry"
    TARGET = "target"
    PROTECTION = "protection"
    TAKE_PROFIT = "take_profit"
    STOP = "stop"
    TRAIL = "trail"
    TIME = "time"
    SIGNAL = "signal"
    TOP_UP = "top_up"
    RESCUE = "rescue"
    PANIC = "panic"


@dataclass(frozen=True, slots=True)
class Order:
    """A promise with a name: `client_id` is ours and unique; quantity in base, price in quote.

    price is the limit (None for market orders); trigger is the price that wakes a stop or take-profit;
    expires holds for GTD only; reserve is what the order may cost at most (quote for a buy, fee
    included; base for a sell). fee_asset: in which asset to take the fee; None leaves it to the
    account's default on that market.
    """

    client_id: str
    symbol: str
    side: Side
    type: OrderType
    quantity: Decimal
    price: Decimal | None
    reserve: Amount
    purpose: Purpose
    time: Time
    time_in_force: TimeInForce = TimeInForce.GTC
    expires: Time | None = None
    post_only: bool = False
    fee_asset: FeeAsset | None = None
    trigger: Decimal | None = None


class RejectionKind(StrEnum):
    """Why an exchange refused an order; only the first four are refusals for its size."""

    MIN_QUANTITY = "min_quantity"
    MAX_QUANTITY = "max_quantity"
    MIN_NOTIONAL = "min_notional"
    LOT_STEP = "lot_step"
    TICK = "tick"
    PRICE = "price"
    FUNDS = "funds"
    POST_ONLY = "post_only"
    UNKNOWN_PAIR = "unknown_pair"
    PAIR_OFFLINE = "pair_offline"
    ORDERS_LIMIT = "orders_limit"
    RATE_LIMIT = "rate_limit"
    DEADLINE = "deadline"
    PERMISSION = "permission"
    INVALID = "invalid"
    UNRECOGNISED = "unrecognised"


SIZE_REJECTIONS = frozenset(
    {
        RejectionKind.MIN_QUANTITY,
        RejectionKind.MAX_QUANTITY,
        RejectionKind.MIN_NOTIONAL,
        RejectionKind.LOT_STEP,
    }
)

PASSING_REJECTIONS = frozenset(
    {
        RejectionKind.PAIR_OFFLINE,
        RejectionKind.RATE_LIMIT,
        RejectionKind.DEADLINE,
        RejectionKind.PERMISSION,
    }
)
"""What says nothing of the order: the same one may be taken later."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """An exchange's no: the kind, and the exchange's own text, kept as it came."""

    kind: RejectionKind
    text: str


@dataclass(frozen=True, slots=True)
class Fill:
    """What happened: one trade of one order. `trade_id` is the exchange's and unique.

    cost is price x quantity as booked, in quote (rounded up for a buy, down for a sell); the fee is
    booked beside it, in its own asset.
    """

    trade_id: str
    client_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    cost: Amount
    fee: Amount
    liquidity: Liquidity
    time: Time


@dataclass(frozen=True, slots=True)
class Sent:
    """The order has left (or may have): from here on its fate must be learned."""

    client_id: str
    time: Time


@dataclass(frozen=True, slots=True)
class Accepted:
    """The exchange holds the order under its own `venue_id`."""

    client_id: str
    venue_id: str
    time: Time


@dataclass(frozen=True, slots=True)
class Rejected:
    """The exchange proved that it did not take the order."""

    client_id: str
    rejection: Rejection
    time: Time


@dataclass(frozen=True, slots=True)
class Canceled:
    """The rest of the order is off the book; `why` in the exchange's words."""

    client_id: str
    why: str
    time: Time


@dataclass(frozen=True, slots=True)
class Expired:
    """The order's time is over; the rest is off the book."""

    client_id: str
    time: Time


@dataclass(frozen=True, slots=True)
class TimedOut:
    """No answer: the order's fate is unknown until evidence comes."""

    client_id: str
    time: Time


@dataclass(frozen=True, slots=True)
class ProvenAbsent:
    """Complete look-ups after the deadline found the order nowhere."""

    client_id: str
    time: Time


Report = Sent | Accepted | Rejected | Fill | Canceled | Expired | TimedOut | ProvenAbsent


class Status(StrEnum):
    INTENDED = "intended"
    SENT = "sent"
    OPEN = "open"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    DEAD = "dead"


ENDED = frozenset({Status.FILLED, Status.CANCELED, Status.EXPIRED, Status.REJECTED, Status.DEAD})
"""States in which an order rests nowhere and reserves nothing."""

_S = Status
NEXT: dict[Status, dict[type[Report], Status]] = {
    _S.INTENDED: {Sent: _S.SENT, Accepted: _S.OPEN, Rejected: _S.REJECTED, TimedOut: _S.UNKNOWN,
                  Fill: _S.PARTIALLY_FILLED},
    _S.SENT: {Accepted: _S.OPEN, Rejected: _S.REJECTED, TimedOut: _S.UNKNOWN,
              Canceled: _S.CANCELED, Expired: _S.EXPIRED, Fill: _S.PARTIALLY_FILLED},
    _S.OPEN: {Accepted: _S.OPEN, Canceled: _S.CANCELED, Expired: _S.EXPIRED, Fill: _S.PARTIALLY_FILLED,
              ProvenAbsent: _S.OPEN},
    _S.PARTIALLY_FILLED: {Accepted: _S.PARTIALLY_FILLED, Canceled: _S.CANCELED, Expired: _S.EXPIRED,
                          TimedOut: _S.PARTIALLY_FILLED, Fill: _S.PARTIALLY_FILLED,
                          ProvenAbsent: _S.PARTIALLY_FILLED},
    _S.UNKNOWN: {Accepted: _S.OPEN, Rejected: _S.REJECTED, Canceled: _S.CANCELED, Expired: _S.EXPIRED,
                 Fill: _S.PARTIALLY_FILLED, ProvenAbsent: _S.DEAD, TimedOut: _S.UNKNOWN},
    # A late fill is money all the same: it is booked in every state, and revives the dead.
    # What is told twice, or late, changes nothing; absence proves nothing of an order that was found.
    _S.FILLED: {Accepted: _S.FILLED, Canceled: _S.FILLED, Expired: _S.FILLED, TimedOut: _S.FILLED,
                ProvenAbsent: _S.FILLED},
    _S.CANCELED: {Fill: _S.CANCELED, Accepted: _S.CANCELED, Canceled: _S.CANCELED, Expired: _S.CANCELED,
                  ProvenAbsent: _S.CANCELED},
    _S.EXPIRED: {Fill: _S.EXPIRED, Accepted: _S.EXPIRED, Expired: _S.EXPIRED, Canceled: _S.EXPIRED,
                 ProvenAbsent: _S.EXPIRED},
    _S.REJECTED: {Fill: _S.PARTIALLY_FILLED, Accepted: _S.OPEN, ProvenAbsent: _S.REJECTED},
    _S.DEAD: {Accepted: _S.OPEN, Fill: _S.PARTIALLY_FILLED, Canceled: _S.CANCELED, Expired: _S.EXPIRED,
              ProvenAbsent: _S.DEAD},
}  # fmt: skip


class ImpossibleReport(Exception):
    """A report that the life of an order has no place for: a bug, or a lie; never swallowed."""


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order and what its reports so far say of it."""

    order: Order
    status: Status = Status.INTENDED
    venue_id: str | None = None
    fills: tuple[Fill, ...] = ()

    @property
    def filled(self) -> Decimal:
        """The quantity filled so far, in base."""
        return reduce(EXACT.add, (fill.quantity for fill in self.fills), Decimal(0))

    @property
    def rest(self) -> Decimal:
        """The quantity not yet filled."""
        return EXACT.subtract(self.order.quantity, self.filled)


def after(state: OrderState, report: Report) -> OrderState:
    """The state after one report; the same state (it, not a copy) when it tells nothing that is not known.

    Raises ImpossibleReport when the table has no such step or a fill exceeds the order.
    """
    if isinstance(report, Fill) and report.trade_id in {fill.trade_id for fill in state.fills}:
        return state
    status = NEXT[state.status].get(type(report))
    if status is None:
        raise ImpossibleReport(
            f"{type(report).__name__} for order {report.client_id}, which is {state.status}"
        )
    if isinstance(report, Accepted):
        told = replace(state, status=status, venue_id=report.venue_id)
        return state if told == state else told
    if not isinstance(report, Fill):
        return state if status is state.status else replace(state, status=status)
    filled = EXACT.add(state.filled, report.quantity)
    if filled > state.order.quantity:
        raise ImpossibleReport(f"{filled} filled of {state.order.quantity} ordered: {report.client_id}")
    if filled == state.order.quantity:
        status = Status.FILLED
    return replace(state, status=status, fills=(*state.fills, report))
