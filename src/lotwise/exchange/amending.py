"""Changing an order that is open.

Laws: what an order must be at the door it must be after every change; a change that is refused changes
nothing; less of an order keeps its place in the queue, more of it or another price is a new place.
"""

from dataclasses import replace

from lotwise.domain.orders import Order, Rejection, RejectionKind
from lotwise.exchange import rules
from lotwise.exchange.booking import OpenOrder, hold
from lotwise.exchange.events import REPLACED, Amended, Amendment, Instructions, Key
from lotwise.exchange.floor import Floor
from lotwise.ledger import postings
from lotwise.ledger.postings import FREE, Entry


def amend(floor: Floor, key: Key, amendment: Amendment) -> Rejection | None:
    """Change an open order as told, or say why not."""
    waiting = floor.open[key]
    order = _amended(waiting, amendment)
    refused = _refusal(floor, key, order, amendment)
    if refused is not None:
        return refused
    order = replace(order, reserve=hold(order, waiting.terms, before=waiting.trades))
    more = order.reserve - waiting.order.reserve
    floor.accounts.post(key[0], Entry(postings.move(more, FREE, postings.held(key[1]))))
    floor.open[key] = replace(waiting, order=order)
    floor.accounts.tell(key[0], Amended(key[1], order, floor.now))
    if waiting.sleeps:
        _sleep_on(floor, key, waiting)
    else:
        _queue_again(floor, key, waiting)
    return None


def replace_order(floor: Floor, key: Key, order: Order, instructions: Instructions) -> Rejection | None:
    """Put another order in the place of an open one, which is cancelled; or say why not, and leave it."""
    weighed = floor.weigh(key[0], order, instructions, replacing=key)
    if isinstance(weighed, Rejection):
        return weighed
    floor.cancel(key, REPLACED)
    floor.place(key[0], order, instructions)
    return None


def _amended(waiting: OpenOrder, amendment: Amendment) -> Order:
    order = waiting.order
    return replace(
        order,
        quantity=order.quantity if amendment.quantity is None else amendment.quantity,
        price=order.price if amendment.price is None else amendment.price,
        trigger=order.trigger if amendment.trigger is None else amendment.trigger,
    )


def _refusal(floor: Floor, key: Key, order: Order, amendment: Amendment) -> Rejection | None:
    waiting, pair = floor.open[key], floor.pairs[order.symbol]
    if amendment.trigger is not None and waiting.triggered:
        return Rejection(RejectionKind.INVALID, "the order's trigger was reached already")
    broken = rules.broken_rule(pair.request(order))
    if broken is not None:
        return broken
    if order.quantity <= waiting.filled:
        return rules.below_filled(order.quantity, waiting.filled)
    more = hold(order, waiting.terms, before=waiting.trades) - waiting.order.reserve
    short = rules.short_of_funds(more, floor.accounts.ledger(key[0]).free(more.asset))
    if more.number > 0 and short is not None:
        return short
    if order.price is not None and order.price != waiting.order.price:
        quiet = order.post_only or amendment.post_only
        if quiet and floor.meet(key[0], replace(waiting, order=order)).crosses:
            return rules.would_cross(order.price)
    return None


def _sleep_on(floor: Floor, key: Key, before: OpenOrder) -> None:
    pair = floor.pairs[before.order.symbol]
    pair.triggers.remove(before.order, before.number, key)
    floor.sleep(key)


def _queue_again(floor: Floor, key: Key, before: OpenOrder) -> None:
    waiting = floor.open[key]
    matcher = floor.pairs[before.order.symbol].matcher
    if waiting.order.price != before.order.price:
        matcher.leave(before, floor.now)
        floor.arrive(key, floor.meet(key[0], waiting))
    elif waiting.order.quantity < before.order.quantity:
        matcher.shrink(waiting, floor.now)
    elif waiting.order.quantity > before.order.quantity:
        matcher.leave(before, floor.now)
        matcher.rest(key, waiting, floor.now)
