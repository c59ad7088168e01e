"""What the engine is told and what it writes down.

Events come in; records come out, in order, and the state is their fold. Two records are also
commands for the venue: Submit and Cancel.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lotwise.domain.market import Candle, Liquidity, Listing, Quote
from lotwise.domain.orders import Order, Purpose, Report
from lotwise.domain.values import Amount, Time
from lotwise.markets import Evidence


@dataclass(frozen=True, slots=True)
class MarketUpdate:
    """One moment: the bars that closed at `time`, the strategy's confidence at each, the prices now."""

    time: Time
    candles: Mapping[str, Candle]
    signals: Mapping[str, float]
    quotes: Mapping[str, Quote]


@dataclass(frozen=True, slots=True)
class Listed:
    """The exchange told a pair's rules and fees anew; they hold from here on."""

    listing: Listing
    maker_fee: Decimal
    taker_fee: Decimal
    time: Time


Event = MarketUpdate | Quote | Report | Listed


class Skip(StrEnum):
    """Why a wish got no order, beside the reasons of the sizing rule."""

    STALE_DATA = "STALE_DATA"
    RULES_UNKNOWN = "RULES_UNKNOWN"
    PAIR_BUSY = "PAIR_BUSY"
    MAX_OPEN_TRADES = "MAX_OPEN_TRADES"
    COOLDOWN = "COOLDOWN"
    STOPLOSS_GUARD = "STOPLOSS_GUARD"
    DAILY_LOSS = "DAILY_LOSS"
    DRAWDOWN = "DRAWDOWN"
    SPREAD = "SPREAD"
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
class Deposited:
    """Money from outside (below zero: to outside)."""

    amount: Amount
    time: Time


@dataclass(frozen=True, slots=True)
class Decided:
    """The answer to one wish: the ladder up to the first no, then the size or the reason."""

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


@dataclass(frozen=True, slots=True)
class Submit:
    """The intent to place an order; to the venue, the command to do so. stop and target: the
    prices at which an entry will be left."""

    order: Order
    decision: int | None = None
    stop: Decimal | None = None
    target: Decimal | None = None


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


Record = Opened | Deposited | Decided | Submit | Cancel | Marked | Listed | Learned | Stranded | Report
Command = Submit | Cancel
