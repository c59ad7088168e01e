"""The fold: `apply` is the only place where a state changes.

The same records in the same order give the same state, in a run, after a crash, and in a replay.
"""

from dataclasses import replace
from decimal import Decimal
from typing import assert_never

from lotwise.domain.orders import (
    ENDED,
    PASSING_REJECTIONS,
    SIZE_REJECTIONS,
    Accepted,
    Canceled,
    Expired,
    Fill,
    ImpossibleReport,
    OrderState,
    ProvenAbsent,
    Purpose,
    Rejected,
    Report,
    Sent,
    Status,
    TimedOut,
    after,
)
from lotwise.domain.values import EXACT, Side, Time, ratio_up, round_up, steps_up
from lotwise.engine.records import (
    Cancel,
    Corrected,
    Decided,
    Deposited,
    Extent,
    Freed,
    Impossible,
    Learned,
    Lent,
    Listed,
    Marked,
    Opened,
    Panic,
    Reconciled,
    Record,
    Repeated,
    Rescue,
    Restricted,
    Stranded,
    Submit,
    Trading,
    Unexplained,
)
from lotwise.engine.state import RESTING, WAITING, Episode, Holding, State, Unfilled
from lotwise.ledger.positions import COST_UNIT, Position, after_fill, after_withdrawal
from lotwise.ledger.postings import (
    Ledger,
    Overdrawn,
    Unbalanced,
    correction,
    deposit,
    post,
    release,
    reserve,
    settlement,
    top_up,
)

DAY = 86_400_000
LOSSES_KEPT = 32  # more of a pair than any guard counts

MOST_LENT = Decimal("0.01")
"""Of what all that is held cost: a rise of the fees comes to less (the dearest of Kraken's is 0.80 %)."""

ENDED_KEPT = 256
"""Ended orders stay known for late reports; the oldest leave."""


def apply(state: State, record: Record) -> None:
    """Fold one record into the state. Raises ImpossibleReport, Overdrawn."""
    _take_in(state, record)
    if not isinstance(record, Opened):
        state.time = record.order.time if isinstance(record, Submit) else record.time


def _take_in(state: State, record: Record) -> None:
    match record:
        case Opened():
            state.run_id = record.run_id
        case Deposited():
            _deposit(state, record)
        case Lent():
            _lend(state, record)
        case Corrected():
            _correct(state, record)
        case Decided():
            _decide(state, record)
        case Repeated():
            state.totals.skips[record.reason] += record.count
            state.episodes[record.symbol] = Episode(record.reason, record.last)
        case Submit():
            _submit(state, record)
        case Cancel():
            holding = state.holdings.get(state.order(record.client_id).order.symbol)
            if record.client_id in state.orders:
                state.cancels[record.client_id] = record.due
            if holding is not None:
                holding.leaving = None if record.due in RESTING else record.due
        case Marked():
            _mark(state, record)
        case Listed():
            state.listed[record.listing.symbol] = record
            state.evidence.pop(record.listing.symbol, None)
            _free_under(state, record)
        case Learned():
            if record.evidence is None:
                state.evidence.pop(record.symbol, None)
            else:
                state.evidence[record.symbol] = record.evidence
        case Stranded():
            holding = state.holdings[record.symbol]
            holding.stuck = record.why
            if holding.selling and not state.orders_on(record.symbol):
                _finish(state, holding, record.time)
        case Freed():
            state.holdings[record.symbol].stuck = None
        case Restricted():
            state.trading, state.flattening = record.trading, False
            _sell_no_more(state)
        case Panic():
            # With its orders cancelled a holding would get them anew at the next bar, but for HALTED.
            state.trading = Trading.HALTED if record.extent is Extent.ORDERS else Trading.REDUCING
            state.flattening = record.extent is Extent.FLATTEN
        case Rescue():
            pass  # what comes of it follows
        case Unexplained():
            state.unexplained = record.why
        case Impossible():
            if state.trading is Trading.ACTIVE:
                state.trading = Trading.REDUCING
        case Reconciled():
            state.reconciled = record
            if not record.apart:
                state.unexplained = None
        case Sent() | Accepted() | Rejected() | Fill() | Canceled() | Expired() | TimedOut() | ProvenAbsent():
            _report(state, record)
        case _:
            assert_never(record)


def _sell_no_more(state: State) -> None:
    """What was to be sold by the owner's word, and is not being sold, goes on as before it."""
    for symbol, holding in state.holdings.items():
        if holding.leaving is Purpose.PANIC and not state.orders_on(symbol):
            holding.leaving = None


def _deposit(state: State, record: Deposited) -> None:
    """Money from outside: no gain and no loss. Coins that leave take their share of the cost along."""
    amount, first = record.amount, state.stake is None
    state.ledger = post(state.ledger, deposit(amount))
    if state.stake is None:
        state.stake = amount.asset
    if amount.asset == state.stake:
        state.totals.deposits = EXACT.add(state.totals.deposits, amount.number)
        if not first and state.marked is not None:
            worth = state.marked.equity
            state.totals.peak_equity = _in_proportion(state.totals.peak_equity, worth, amount.number)
            if state.day_equity is not None:
                state.day_equity = _in_proportion(state.day_equity, worth, amount.number)
        return
    _recount(state, amount.asset, Decimal(0))


def _lend(state: State, record: Lent) -> None:
    """Money that the account had becomes ours: it is foreign no more."""
    asset, number = record.amount.asset, record.amount.number
    _deposit(state, Deposited(record.amount, record.time))
    if state.reconciled is not None:
        less = EXACT.subtract(state.reconciled.foreign[asset], number)
        state.reconciled = replace(state.reconciled, foreign={**state.reconciled.foreign, asset: less})


def _correct(state: State, record: Corrected) -> None:
    """A trade was booked otherwise than told: no deposit, and no gain by itself."""
    state.ledger = post(state.ledger, correction(record.amount))
    _recount(state, record.amount.asset, max(record.amount.number, Decimal(0)))


def _recount(state: State, asset: str, more: Decimal) -> None:
    """A holding when so many coins came without a price, or some left, or both: it is never more than what is
    ours. What came costs nothing."""
    symbol = f"{asset}/{state.stake}"
    holding = state.holdings.get(symbol)
    if holding is None:
        return
    position, ours = holding.position, state.ledger.total(asset).number
    _try_anew(holding)  # what was refused was another quantity
    holding.refused = None
    left = min(EXACT.add(position.quantity, more), ours)
    if left < position.quantity:
        holding.position = after_withdrawal(position, left)
    else:
        holding.position = replace(position, quantity=left)
    if not left:
        del state.holdings[symbol]


def _in_proportion(height: Decimal, worth: Decimal, moved: Decimal) -> Decimal:
    """A height of the equity after money moved, such that the fall from it is the fraction that it was."""
    after_it = EXACT.add(worth, moved)
    if worth <= 0 or after_it <= 0:
        return max(Decimal(0), EXACT.add(height, moved))
    units = steps_up(EXACT.multiply(height, after_it), EXACT.multiply(worth, COST_UNIT))
    return EXACT.multiply(Decimal(units), COST_UNIT)


def _decide(state: State, record: Decided) -> None:
    state.decisions = record.number
    state.unfilled.pop(record.symbol, None)
    if record.reason is None:
        state.episodes.pop(record.symbol, None)
    else:
        state.totals.skips[record.reason] += 1
        state.episodes[record.symbol] = Episode(record.reason, record.time)


def _submit(state: State, record: Submit) -> None:
    order = record.order
    state.ledger = post(state.ledger, reserve(order))
    state.orders[order.client_id] = OrderState(order)
    if record.entry is not None:
        state.entries[order.client_id] = record.entry
    if order.side is Side.SELL:
        holding = state.holdings[order.symbol]
        holding.stuck = None
        state.unfilled.pop(order.symbol, None)
        if order.purpose not in RESTING:
            holding.leaving = order.purpose
    state.totals.orders += 1


def _free_under(state: State, told: Listed) -> None:
    """New rules give a holding new tries, unless they are the answer to its own refusal; one whose
    sale rests may be stopped again."""
    holding = state.holdings.get(told.listing.symbol)
    if holding is None or holding.refused == told.time:
        return
    _try_anew(holding)
    if any(known.order.side is Side.SELL for known in state.orders_on(told.listing.symbol)):
        holding.stuck = None


def _try_anew(holding: Holding) -> None:
    holding.refusals = holding.unguarded = holding.untaken = 0


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


def _report(state: State, report: Report) -> None:
    known = state.order(report.client_id)
    reported = after(known, report)
    if reported is known:
        return
    if isinstance(report, Fill):
        state.ledger = _settled(state.ledger, report)
        _book(state, report)
    elif isinstance(report, Accepted):
        state.totals.accepted += 1
    elif isinstance(report, Rejected):
        state.totals.size_rejections += report.rejection.kind in SIZE_REJECTIONS
        if known.order.side is Side.SELL:
            holding = state.holdings[known.order.symbol]
            _refuse(holding, known.order.purpose, report)
    if reported.status in ENDED:
        _end(state, reported, report.time)
    else:
        state.ended.pop(report.client_id, None)
        state.orders[report.client_id] = reported


def impossible(state: State, report: Report) -> str | None:
    """Why a report cannot be true of the orders and the money that we have; None: it can."""
    try:
        known = state.order(report.client_id)
        if after(known, report) is not known and isinstance(report, Fill):
            more = lent(state, report)
            _settled(post(state.ledger, deposit(more.amount)) if more else state.ledger, report)
            _joined(state, report)
    except (ImpossibleReport, Overdrawn, Unbalanced) as no:
        return str(no)
    return None


def lent(state: State, report: Report) -> Lent | None:
    """What a trade that is to be booked takes beyond all that is ours, where higher fees explain it and the
    account had as much beside; None: nothing."""
    if not isinstance(report, Fill) or report.side is Side.SELL or report.fee.asset != report.cost.asset:
        return None
    asset, costs = report.cost.asset, [held.position.cost for held in state.holdings.values()]
    missing = report.cost + report.fee - state.ledger.total(asset)
    most = EXACT.multiply(sum(costs, report.cost.number), MOST_LENT)
    if state.reconciled is not None:
        most = min(most, state.reconciled.foreign.get(asset, Decimal(0)))
    return Lent(missing, report.trade_id, report.time) if 0 < missing.number <= most else None


def _settled(ledger: Ledger, fill: Fill) -> Ledger:
    return post(post(ledger, top_up(ledger, fill)), settlement(fill))


def _joined(state: State, fill: Fill) -> None:
    """A purchase begins a holding by what its entry is, or joins one; a sale is of one."""
    begins = fill.side is Side.BUY and fill.client_id in state.entries
    if not begins and fill.symbol not in state.holdings:
        raise ImpossibleReport(f"{fill} is of no entry, and nothing is held that it could belong to")


def _refuse(holding: Holding, purpose: Purpose, no: Rejected) -> None:
    """A sale was refused: without one that waits, or one at the target, the run goes on to watch. What passes
    by itself is no reason to give up: the next bar tries again."""
    if no.rejection.kind in PASSING_REJECTIONS:
        holding.refused = no.time
        return
    match purpose:
        case Purpose.TAKE_PROFIT:
            holding.missed, holding.untaken = no.time, holding.untaken + 1
        case Purpose.PROTECTION:
            holding.refused, holding.unguarded = no.time, holding.unguarded + 1
        case _:
            holding.refused, holding.refusals = no.time, holding.refusals + 1
            holding.stuck = no.rejection.text


def _end(state: State, ended: OrderState, time: Time) -> None:
    """An order is over: what it still holds is free, and what it leaves undone is remembered."""
    order, client_id = ended.order, ended.order.client_id
    state.ledger = post(state.ledger, release(state.ledger, order))
    state.orders.pop(client_id, None)
    state.cancels.pop(client_id, None)
    holding, entry = state.holdings.get(order.symbol), state.entries.get(client_id)
    given_up = ended.status in (Status.CANCELED, Status.EXPIRED)
    if given_up and entry is not None and (holding is None or holding.leaving is None):
        state.unfilled[order.symbol] = Unfilled(entry.confidence, entry.attempt + 1)
    elif holding is not None and order.purpose is Purpose.TAKE_PROFIT:
        holding.leaving, holding.missed = None, time  # sold, or the price is gone again: back to the stop
    elif given_up and holding is not None and order.purpose not in WAITING:
        holding.refused = time  # nobody bought: not again at this moment
    state.ended[client_id] = ended
    while len(state.ended) > ENDED_KEPT:
        oldest = next(iter(state.ended))
        del state.ended[oldest]
        state.entries.pop(oldest, None)


def _book(state: State, fill: Fill) -> None:
    """A fill's part in holdings and totals."""
    totals, symbol = state.totals, fill.symbol
    totals.fills += 1
    state.traded_since_mark = True
    fee = fill.fee.number
    if fill.fee.asset != fill.cost.asset:
        fee = round_up(EXACT.multiply(fee, fill.price), COST_UNIT)
    totals.fees_paid = EXACT.add(totals.fees_paid, fee)
    holding = _bought(state, fill) if fill.side is Side.BUY else state.holdings[symbol]
    before = holding.position
    holding.position = after_fill(before, fill)
    if fill.side is Side.SELL:
        holding.selling = True
        earned = EXACT.subtract(holding.position.realised_pnl, before.realised_pnl)
        totals.realised_pnl = EXACT.add(totals.realised_pnl, earned)
    if not holding.position.quantity:
        _finish(state, holding, fill.time)
        del state.holdings[symbol]


def _bought(state: State, fill: Fill) -> Holding:
    """The holding that a purchase joins. A new entry on what was stuck takes it along."""
    _joined(state, fill)
    entry, holding = state.entries.get(fill.client_id), state.holdings.get(fill.symbol)
    if holding is None:
        assert entry is not None
        holding = Holding(Position(fill.symbol), entry.stop, entry.target, fill.time, fill.time)
        state.holdings[fill.symbol] = holding
    elif entry is not None and holding.stuck is not None:
        holding.stop, holding.target, holding.opened = entry.stop, entry.target, fill.time
        holding.stuck = holding.leaving = holding.refused = None
        _try_anew(holding)
    holding.filled = fill.time
    return holding


def _finish(state: State, holding: Holding, time: Time) -> None:
    """A round trip is over: all is sold, or what is left of it cannot be."""
    earned, symbol = holding.position.realised_pnl, holding.position.symbol
    state.totals.trades += 1
    state.totals.wins += earned > 0
    if earned < 0:
        state.losses[symbol] = (*state.losses.get(symbol, ()), time)[-LOSSES_KEPT:]
    holding.position = replace(holding.position, realised_pnl=Decimal(0))
    holding.selling = False
