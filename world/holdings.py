"""The invariants of what is held: an exit waits for all of it, or it is being sold, and in the end it is.

They hold once nothing has happened for so long that every bar's close, look-up and comparison has had its
turn; what the run shows to be stuck is a person's affair.
"""

from collections.abc import Iterator
from typing import Any

from lotwise.app.live import LiveRun
from lotwise.domain.market import Market
from lotwise.domain.orders import Purpose
from lotwise.domain.values import Side, Time
from lotwise.engine.exits import salable
from lotwise.engine.records import Trading
from lotwise.engine.sight import EXIT_TRIES
from lotwise.engine.state import Holding
from lotwise.venues.kraken.venue import UNDECIDED
from world.truth import ZERO, Truth

SETTLED_AFTER = 100_000
"""Milliseconds without trouble, a word of the owner or an order's failure after which exits are in order: a
bar closes, its orders are made, their fate is looked up."""

STILL_AFTER = 40_000
"""Milliseconds after the last news of our orders, or the last cancel asked for: a beat until it is told, and
what follows from it, with the pauses that Kraken's counter asks for."""

Problem = tuple[str, Any]
"""The invariant that does not hold, and the facts."""


def unsettled(run: LiveRun, truth: Truth, now: Time) -> Iterator[Problem]:
    """19 and 24 at a moment of quiet."""
    state = run.engine.state
    if state.trading is Trading.HALTED:
        return
    for symbol, holding in state.holdings.items():
        waiting = [o for _, o in truth.open_orders() if o.order.symbol == symbol]
        facts = (symbol, holding, [(o.order.type, o.order.side, o.rest) for o in waiting])
        if holding.stuck is not None:
            continue
        if holding.leaving is not None or state.flattening:
            if waiting:
                yield "24 what is due leaves", facts
        elif not _excused(run, symbol, holding, now):
            resting = sum((o.rest for o in waiting if o.order.side is Side.SELL), ZERO)
            market = run.engine.rules(symbol, now)
            assert isinstance(market, Market), market
            if resting != salable(holding.position.quantity, market):
                yield "19 exit fits", facts


def _excused(run: LiveRun, symbol: str, holding: Holding, now: Time) -> bool:
    """Whether nothing needs to wait for a holding now: sales were refused too often, the pair takes none, an
    order's fate is still looked up, or an entry that goes on stands in the way of a sale at the target."""
    engine, orders = run.engine, run.engine.state.orders_on(symbol)
    rests = engine.plan.resting
    open_entry = any(known.order.purpose is Purpose.ENTRY for known in orders)
    undecided = any(known.status in UNDECIDED for known in orders)
    takes = engine.status(symbol).takes(Side.SELL, rests is Purpose.TARGET, post_only=False)
    refused = holding.refusals >= EXIT_TRIES
    small = engine.unsellable(symbol, rests, now) is not None
    return refused or not takes or small or undecided or (open_entry and rests is Purpose.TARGET)


def kept(run: LiveRun, since: Time | None) -> Iterator[Problem]:
    """24 in the end: what has been held since a time or before is sold (None: all)."""
    for symbol, holding in run.engine.state.holdings.items():
        if holding.stuck is None and (since is None or holding.opened < since):
            yield "24 what is due leaves", f"{symbol}: {holding}"
