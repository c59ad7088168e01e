"""State is the fold of the records: `apply` is the only place where anything changes.

The same records in the same order give the same state, in a run, after a crash, and in a replay.
"""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import assert_never

from lotwise.domain.orders import (
    ENDED,
    SIZE_REJECTIONS,
    Accepted,
    Canceled,
    Expired,
    Fill,
    OrderState,
    ProvenAbsent,
    Purpose,
    Rejected,
    Report,
    Sent,
    TimedOut,
    after,
)
from lotwise.domain.values import EPOCH, EXACT, Side, Time, ratio_up, round_up
from lotwise.engine.records import (
    Cancel,
    Decided,
    Deposited,
    Learned,
    Listed,
    Marked,
    Opened,
    Record,
    Stranded,
    Submit,
)
from lotwise.ledger.positions import COST_UNIT, Position, after_fill
from lotwise.ledger.postings import Ledger, deposit, post, release, reserve, settlement, top_up
from lotwise.markets import Evidence

DAY = 86_400_000
LOSSES_KEPT = 32
"""More losses of a pair than any guard counts."""

ENDED_KEPT = 64
"""Ended orders stay known for late reports; the oldest leave."""


@dataclass(slots=True)
class Holding:
    """A position and the prices at which it will be left.

    opened and filled: when coins first and last came; leaving: the exit under way; stuck: why it
    cannot be left now; refusals and refused: how often, and when last, the exchange refused its sale.
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

    losses: when round trips on a pair last ended in one; day_equity: what all was worth at the first
    mark of the day.
    """

    run_id: str = ""
    time: Time = EPOCH
    ledger: Ledger = field(default_factory=Ledger)
    orders: dict[str, OrderState] = field(default_factory=dict)
    ended: dict[str, OrderState] = field(default_factory=dict)
    exits: dict[str, tuple[Decimal, Decimal]] = field(default_factory=dict)
    holdings: dict[str, Holding] = field(default_factory=dict)
    listed: dict[str, Listed] = field(default_factory=dict)
    evidence: dict[str, Evidence] = field(default_factory=dict)
    losses: dict[str, tuple[Time, ...]] = field(default_factory=dict)
    day_equity: Decimal | None = None
    decisions: int = 0
    marked: Marked | None = None
    traded_since_mark: bool = False
    totals: Totals = field(default_factory=Totals)

    def orders_on(self, symbol: str) -> list[OrderState]:
        """The orders of a pair that have not ended."""
        return [state for state in self.orders.values() if state.order.symbol == symbol]

    def order(self, client_id: str) -> OrderState:
        """An order by name, ended or not; KeyError when it is none of ours."""
        return self.orders[client_id] if client_id in self.orders else self.ended[client_id]


def apply(state: State, record: Record) -> None:
    """Fold one record into the state."""
    match record:
        case Opened():
            state.run_id = record.run_id
        case Deposited():
            state.ledger = post(state.ledger, deposit(record.amount))
            state.totals.deposits = EXACT.add(state.totals.deposits, record.amount.number)
            state.time = record.time
        case Decided():
            state.decisions = record.number
            state.time = record.time
            if record.reason is not None:
                state.totals.skips[record.reason] += 1
        case Submit():
            order = record.order
            state.ledger = post(state.ledger, reserve(order))
            state.orders[order.client_id] = OrderState(order)
            if record.stop is not None and record.target is not None:
                state.exits[order.client_id] = (record.stop, record.target)
            if order.side is Side.SELL:
                state.holdings[order.symbol].stuck = None
                if order.purpose is not Purpose.TARGET:
                    state.holdings[order.symbol].leaving = order.purpose
            state.totals.orders += 1
            state.time = order.time
        case Cancel():
            state.holdings[state.order(record.client_id).order.symbol].leaving = record.due
            state.time = record.time
        case Marked():
            _mark(state, record)
        case Listed():
            state.listed[record.listing.symbol] = record
            state.evidence.pop(record.listing.symbol, None)
            _free_under(state, record)
            state.time = record.time
        case Learned():
            if record.evidence is None:
                state.evidence.pop(record.symbol, None)
            else:
                state.evidence[record.symbol] = record.evidence
            state.time = record.time
        case Stranded():
            state.holdings[record.symbol].stuck = record.why
            state.time = record.time
        case Sent() | Accepted() | Rejected() | Fill() | Canceled() | Expired() | TimedOut() | ProvenAbsent():
            _report(state, record)
        case _:
            assert_never(record)


def _free_under(state: State, told: Listed) -> None:
    """New rules give a holding new tries, unless they are the answer to its own refusal; one whose
    sale rests may be stopped again."""
    holding = state.holdings.get(told.listing.symbol)
    if holding is None or holding.refused == told.time:
        return
    holding.refusals = 0
    if state.orders_on(told.listing.symbol):
        holding.stuck = None


def _mark(state: State, mark: Marked) -> None:
    totals = state.totals
    totals.peak_equity = max(totals.peak_equity, mark.equity)
    if totals.peak_equity > 0:
        fall = ratio_up(EXACT.subtract(totals.peak_equity, mark.equity), totals.peak_equity)
        totals.max_drawdown_fraction = max(totals.max_drawdown_fraction, fall)
    if state.marked is None or mark.time // DAY > state.marked.time // DAY:
        state.day_equity = mark.equity
    state.marked = mark
    state.traded_since_mark = False
    state.time = mark.time


def _report(state: State, report: Report) -> None:
    known = state.order(report.client_id)
    reported = after(known, report)
    state.time = report.time
    if reported is known:
        return
    if isinstance(report, Fill):
        state.ledger = post(post(state.ledger, top_up(state.ledger, report)), settlement(report))
        _book(state, report, reported)
    elif isinstance(report, Accepted):
        state.totals.accepted += 1
    elif isinstance(report, Rejected):
        state.totals.size_rejections += report.rejection.kind in SIZE_REJECTIONS
        if known.order.side is Side.SELL:
            holding = state.holdings[known.order.symbol]
            holding.stuck, holding.refusals = report.rejection.text, holding.refusals + 1
            holding.refused = report.time
    client_id = report.client_id
    if reported.status in ENDED:
        state.ledger = post(state.ledger, release(state.ledger, known.order))
        state.orders.pop(client_id, None)
        state.ended[client_id] = reported
        while len(state.ended) > ENDED_KEPT:
            oldest = next(iter(state.ended))
            del state.ended[oldest]
            state.exits.pop(oldest, None)
    else:
        state.ended.pop(client_id, None)
        state.orders[client_id] = reported


def _book(state: State, fill: Fill, reported: OrderState) -> None:
    """A fill's part in holdings and totals."""
    totals, symbol = state.totals, fill.symbol
    totals.fills += 1
    state.traded_since_mark = True
    fee = fill.fee.number
    if fill.fee.asset != fill.cost.asset:
        fee = round_up(EXACT.multiply(fee, fill.price), COST_UNIT)
    totals.fees_paid = EXACT.add(totals.fees_paid, fee)
    holding = state.holdings.get(symbol)
    if holding is None:
        stop, target = state.exits[fill.client_id]
        holding = Holding(Position(symbol), stop, target, opened=fill.time, filled=fill.time)
        state.holdings[symbol] = holding
    holding.position = after_fill(holding.position, fill)
    if fill.side is Side.BUY:
        holding.filled = fill.time
    if not holding.position.quantity:
        totals.trades += 1
        totals.wins += holding.position.realised_pnl > 0
        totals.realised_pnl = EXACT.add(totals.realised_pnl, holding.position.realised_pnl)
        if holding.position.realised_pnl < 0:
            state.losses[symbol] = (*state.losses.get(symbol, ()), fill.time)[-LOSSES_KEPT:]
        del state.holdings[symbol]
