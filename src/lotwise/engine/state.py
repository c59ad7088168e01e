"""The state of a run: all that it is. `fold.apply` alone changes it."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from lotwise.domain.orders import OrderState, Purpose
from lotwise.domain.values import EPOCH, Time
from lotwise.engine.records import Listed, Marked, Reconciled, Trading, Try
from lotwise.ledger.positions import Position
from lotwise.ledger.postings import Ledger
from lotwise.markets import Evidence

RESTING = (Purpose.TARGET, Purpose.PROTECTION)
"""What the sale of a holding is for that waits at the exchange."""

WAITING = (Purpose.ENTRY, *RESTING)
"""What orders that wait at the exchange are for; all others are to trade at once."""


@dataclass(slots=True)
class Holding:
    """A position and the prices at which it will be left.

    opened and filled: when coins first and last came; leaving: the exit under way; stuck: why it
    cannot be left now; refusals: how often the exchange refused its sale; refused: when that last
    happened, or when nobody bought; unguarded, untaken: how often a stop that was to rest, or a sale at the
    target, was refused; missed: when the latter last failed; selling: whether a part of it was sold.
    """

    position: Position
    stop: Decimal
    target: Decimal
    opened: Time
    filled: Time
    leaving: Purpose | None = None
    stuck: str | None = None
    refusals: int = 0
    refused: Time | None = None
    unguarded: int = 0
    untaken: int = 0
    missed: Time | None = None
    selling: bool = False


@dataclass(frozen=True, slots=True)
class Unfilled:
    """A wish whose order ended without what it was for: how sure it is, and the attempts so far."""

    confidence: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Episode:
    """A refusal of a pair's wishes that goes on, for a day at most: its reason, and the last wish that is
    written down."""

    reason: str
    last: Time


@dataclass(slots=True)
class Totals:
    """What a run has done so far. Money in quote units of the run's asset."""

    orders: int = 0
    accepted: int = 0
    fills: int = 0
    trades: int = 0
    wins: int = 0
    size_rejections: int = 0
    skips: Counter[str] = field(default_factory=Counter)
    fees_paid: Decimal = Decimal(0)
    realised_pnl: Decimal = Decimal(0)
    deposits: Decimal = Decimal(0)
    peak_equity: Decimal = Decimal(0)
    max_drawdown_fraction: Decimal = Decimal(0)


@dataclass(slots=True)
class State:
    """All that a run is: money, orders, holdings, what it knows of the rules, and its running totals.

    cancels: what open orders were asked off the book for; entries: the tries of the entry orders still
    known; losses: when round trips on a pair last ended in one; day_equity: what all was worth at the first
    mark of the day; unexplained: what is missing at the exchange, if anything.
    """

    run_id: str = ""
    stake: str | None = None
    time: Time = EPOCH
    ledger: Ledger = field(default_factory=Ledger)
    orders: dict[str, OrderState] = field(default_factory=dict)
    ended: dict[str, OrderState] = field(default_factory=dict)
    cancels: dict[str, Purpose] = field(default_factory=dict)
    entries: dict[str, Try] = field(default_factory=dict)
    unfilled: dict[str, Unfilled] = field(default_factory=dict)
    episodes: dict[str, Episode] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    listed: dict[str, Listed] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    losses: dict[str, tuple[Time, ...]] = field(default_factory=dict)
    day_equity: Decimal | None = None
    decisions: int = 0
    marked: Marked | None = None
    traded_since_mark: bool = False
    unexplained: str | None = None
    reconciled: Reconciled | None = None
    trading: Trading = Trading.ACTIVE
    flattening: bool = False
    totals: Totals = field(default_factory=Totals)

    def orders_on(self, symbol: str) -> list[OrderState]:
        """The orders of a pair that have not ended."""
        return [state for state in self.orders.values() if state.order.symbol == symbol]

    def find(self, client_id: str) -> OrderState | None:
        """An order by name; None when it is none of ours, or ended so long ago that it is forgotten."""
        return self.orders.get(client_id) or self.ended.get(client_id)

    def order(self, client_id: str) -> OrderState:
        """An order by name, ended or not; KeyError when it is none of ours."""
        return self.orders[client_id] if client_id in self.orders else self.ended[client_id]
