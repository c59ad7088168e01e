"""What the engine is told and what it writes down.

Events come in; records come out, in order, and the state is their fold. Two records are also
commands for the venue: Submit and Cancel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from lotwise.domain.market import Candle, Liquidity, Listing, MarketStatus, Quote
from lotwise.domain.orders import Order, Purpose, Report
from lotwise.domain.values import Amount, Time
from lotwise.markets import Evidence


@dataclass(frozen=True, slots=True)
class Passed:
    """Bars of a pair that a recorded run did not visit, because nothing could happen in them: the last
    of them, their highest price, the wishes among them (each refused as the one before), and the
    prices when the last one closed."""

    candle: Candle
    closed: Time
    high: Decimal
    wishes: int
    last_wish: Time
    quote: Quote | None = None


@dataclass(frozen=True, slots=True)
class MarketUpdate:
    """One moment: the bars that closed at `time`, the strategy's confidence at each (below 0: a wish to
    sell), the prices now, and what passed unvisited since the last moment. swings: how much a pair
    moves in a typical day, as a fraction."""

    time: Time
    candles: Mapping[str, Candle]
    signals: Mapping[str, float]
    quotes: Mapping[str, Quote]
    passed: Mapping[str, Passed] = field(default_factory=dict)
    swings: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bracket:
    """The prices at which the run itself sells a holding, as what rests at the exchange does not: at a bid
    of `stop` or less, at a bid of `target` or more. A bar tells of the target only if it opened at
    `since` or later: what the market did within a bar before the coins came, nobody knows."""

    stop: Decimal | None
    target: Decimal | None
    since: Time

    def holds(self, bid: Decimal) -> bool:
        """Whether a bid lies within."""
        return (self.stop is None or bid > self.stop) and (self.target is None or bid < self.target)


@dataclass(frozen=True, slots=True)
class Awaited:
    """What could change the state. A bar without any of it is silent; one bar too many does no harm.

    soon: whatever comes next does. by: the first moment at or after it. falls and rises: a bar that
    reaches this price from above or below. trails: a bar that falls from the highest price of the
    silent bars before it by a fraction, give or take a tick: (fraction, tick). held: pairs whose wish
    to sell is heard. deaf: pairs whose wish to buy would be refused as the one before.
    """

    soon: bool = False
    by: Time | None = None
    falls: Mapping[str, Decimal] = field(default_factory=dict)
    rises: Mapping[str, Decimal] = field(default_factory=dict)
    trails: Mapping[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    held: frozenset[str] = frozenset()
    deaf: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Listed:
    """The exchange told a pair's rules and fees anew; they hold from here on. status: which new orders
    it takes there."""

    listing: Listing
    maker_fee: Decimal
    taker_fee: Decimal
    time: Time
    status: MarketStatus = MarketStatus.ONLINE

    @property
    def terms(self) -> tuple[Decimal | MarketStatus | None, ...]:
        """What matters for orders until something else is told: not when it was read."""
        listing = self.listing
        steps = (listing.tick_size, listing.lot_step, listing.min_quantity, listing.min_notional)
        return (*steps, listing.max_quantity, self.maker_fee, self.taker_fee, self.status)


@dataclass(frozen=True, slots=True)
class Deposited:
    """Money from outside (below zero: to outside)."""

    amount: Amount
    time: Time


@dataclass(frozen=True, slots=True)
class Lent:
    """The exchange took for a trade of ours so much more than is ours, out of what else the account has: it
    raised its fees after they were asked for. From then on that is ours."""

    amount: Amount
    trade_id: str
    time: Time


class Trading(StrEnum):
    """What a run may do: all, exits only, or nothing at all until a person says otherwise."""

    ACTIVE = "active"
    REDUCING = "reducing"
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Restricted:
    """From here on a run may do so much; why, in words for people."""

    trading: Trading
    why: str
    time: Time


@dataclass(frozen=True, slots=True)
class Reconciled:
    """The exchange's books and ours agree: what it has beyond ours by asset, and the rows of its ledger that
    were counted in; but for the assets apart, whose difference nothing explains yet."""

    foreign: dict[str, Decimal]
    seen: tuple[str, ...]
    time: Time
    apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Corrected:
    """The exchange's ledger has so much more of an asset (below zero: less) for a trade of ours than it told:
    balances have other decimals than trades, and a fee may be taken otherwise than told."""

    amount: Amount
    trade_id: str
    time: Time


@dataclass(frozen=True, slots=True)
class Compared:
    """The exchange's books and ours agree once this is booked: what left of ours, what was counted in, and
    what came of our trades beside what was told, what came before what went. All or nothing: a row of the
    exchange's ledger that was counted in is not looked at again."""

    left: tuple[Deposited, ...]
    agreed: Reconciled
    corrected: tuple[Corrected, ...] = ()

    @property
    def records(self) -> "tuple[Corrected | Deposited | Reconciled, ...]":
        """What is booked of it, in order."""
        return *self.corrected, *self.left, self.agreed


@dataclass(frozen=True, slots=True)
class Unexplained:
    """The exchange's books and ours differ: nothing is entered until that is explained."""

    amount: Amount
    why: str
    time: Time


class Extent(StrEnum):
    """How much a person wants stopped; each includes those before it."""

    ENTRIES = "entries"
    ORDERS = "orders"
    FLATTEN = "flatten"


@dataclass(frozen=True, slots=True)
class Panic:
    """The owner wants to stop: entries; our waiting orders too; or all that is held sold as well."""

    extent: Extent
    time: Time


@dataclass(frozen=True, slots=True)
class Rescue:
    """The owner asks to sell what is too small to be sold, at the cost of a top-up."""

    symbol: str
    time: Time


@dataclass(frozen=True, slots=True)
class Impossible:
    """Something that cannot be, if this program and the exchange are right: kept as evidence and not acted
    upon. From here on nothing is bought until the owner says otherwise."""

    what: str
    why: str
    time: Time


Notice = Unexplained | Restricted | Impossible
"""What is only to be written down and remembered."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Time has passed: what had to grow older before it may be replaced has."""

    time: Time


Event = (
    MarketUpdate | Passed | Quote | Report | Listed | Deposited | Compared | Notice | Panic | Rescue | Elapsed
)


class Skip(StrEnum):
    """Why a wish got no order, beside the reasons of the sizing rule."""

    STALE_DATA = "STALE_DATA"
    RULES_UNKNOWN = "RULES_UNKNOWN"
    RESTRICTED = "RESTRICTED"
    PAIR_OFFLINE = "PAIR_OFFLINE"
    UNRECONCILED = "UNRECONCILED"
    PAIR_BUSY = "PAIR_BUSY"
    MAX_OPEN_TRADES = "MAX_OPEN_TRADES"
    COOLDOWN = "COOLDOWN"
    STOPLOSS_GUARD = "STOPLOSS_GUARD"
    DAILY_LOSS = "DAILY_LOSS"
    DRAWDOWN = "DRAWDOWN"
    SPREAD = "SPREAD"
    VOLUME = "VOLUME"
    EDGE_BELOW_FEES = "EDGE_BELOW_FEES"
    CROWDED = "CROWDED"
    CHECK_FAILED = "CHECK_FAILED"


@dataclass(frozen=True, slots=True)
class Rung:
    """One check of the ladder: what it has, what it needs, and what would change a no."""

    check: str
    passed: bool
    have: str
    need: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Opened:
    """The first row: what the run was told, so that a journal explains itself."""

    run_id: str
    mode: str
    settings: dict[str, object]
    schema: int = 1


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to one wish: the ladder up to the first no, then the size or the reason. attempt: how
    often this wish was ordered before, in vain."""

    number: int
    time: Time
    symbol: str
    price: Decimal
    liquidity: Liquidity
    confidence: float
    free: Decimal
    rungs: tuple[Rung, ...]
    reason: str | None
    needed: Decimal | None = None
    quantity: Decimal | None = None
    notional: Decimal | None = None
    bound: str | None = None
    client_id: str | None = None
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Repeated:
    """Wishes of a pair that were refused for the same reason as the last decision on it: how many since
    the last such row, and when the last of them came."""

    symbol: str
    reason: str
    count: int
    last: Time
    time: Time


@dataclass(frozen=True, slots=True)
class Try:
    """An entry order's place in the life of a wish, and where its position will be left."""

    stop: Decimal
    target: Decimal
    confidence: float
    attempt: int


@dataclass(frozen=True, slots=True)
class Submit:
    """The intent to place an order; to the venue, the command to do so. decision and entry: which
    decision an entry comes of, and what its try is."""

    order: Order
    decision: int | None = None
    entry: Try | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """The intent to take an order off the book, because something else is due."""

    client_id: str
    due: Purpose
    time: Time


@dataclass(frozen=True, slots=True)
class Marked:
    """What all holdings were worth in the quote asset at these prices (at fills and day boundaries)."""

    time: Time
    equity: Decimal
    prices: dict[str, Decimal]


@dataclass(frozen=True, slots=True)
class Learned:
    """What our own orders taught about a pair's minimums by now; None: it was disproved."""

    symbol: str
    evidence: Evidence | None
    time: Time


@dataclass(frozen=True, slots=True)
class Stranded:
    """A holding that the rules in force do not let us sell: shown, valued, left alone until they change."""

    symbol: str
    quantity: Decimal
    why: str
    time: Time


@dataclass(frozen=True, slots=True)
class Freed:
    """What was stuck beside the sale that rests for it could be sold otherwise again."""

    symbol: str
    time: Time


Record = (
    Opened
    | Deposited
    | Lent
    | Corrected
    | Decided
    | Repeated
    | Submit
    | Cancel
    | Marked
    | Listed
    | Learned
    | Stranded
    | Freed
    | Restricted
    | Rescue
    | Panic
    | Reconciled
    | Unexplained
    | Impossible
    | Report
)
Command = Submit | Cancel
