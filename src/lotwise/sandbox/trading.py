"""The private endpoints that act: placing, changing and cancelling orders.

Law: the order of the checks is the same for all: the form of the arguments, the pair or the order, what
the action costs on its pair, the deadline, then the exchange's own rules, funds last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from lotwise.domain.market import Market
from lotwise.domain.orders import Accepted, Order, OrderType, Rejected, Rejection, Report
from lotwise.domain.values import EXACT, Time
from lotwise.exchange.booking import OpenOrder
from lotwise.exchange.events import PLAIN, Amendment, Closing, Instructions, SelfTrade
from lotwise.kraken import limits
from lotwise.kraken.limits import trading_cost
from lotwise.kraken.rest import Payload, fixed, rfc3339
from lotwise.kraken.rest_account import Announced, description, order_in_words, shown
from lotwise.kraken.rest_orders import (
    Close,
    NewOrder,
    Priced,
    deadline_of,
    domain_order,
    new_order,
    optional_price,
    positive,
    priced,
    resolve,
    rises,
    userref_of,
)
from lotwise.sandbox.calls import Call, invalid
from lotwise.sandbox.desk import ORDERS_LIMIT, UNKNOWN_ORDER, Tag
from lotwise.sandbox.wire import INVALID_ARGUMENTS, Refused

NOT_UNIQUE = "EGeneral:Invalid arguments:cl_ord_id not unique"
"""Seen in an account on 2026-09-10."""

DEADLINE_ELAPSED = "EService:Deadline elapsed"
INVALID_ORDER = "EOrder:Invalid order"
MAX_TIMEOUT = 86_400
EDITABLE = ("pair", "volume", "price", "price2", "oflags", "userref", "deadline", "validate")
_SELF_TRADE = {
    "cancel-newest": SelfTrade.CANCEL_NEWEST,
    "cancel-oldest": SelfTrade.CANCEL_OLDEST,
    "cancel-both": SelfTrade.CANCEL_BOTH,
}


def add_order(call: Call) -> Payload:
    """AddOrder."""
    new = new_order(call.parameters, call.now)
    desk, account, symbol = call.desk, call.account, call.desk.symbol(new.pair)
    market = desk.market(symbol)
    if not new.validate:
        desk.charge(account, symbol, trading_cost("add", 0), call.now)
    _in_time(new.deadline, call.now)
    wanted = priced(new, market, desk.last(symbol))
    if new.cl_ord_id is not None and desk.open_named(account, new.cl_ord_id) is not None:
        raise Refused(NOT_UNIQUE)
    wrong = desk.off_tick(symbol, (wanted.close_limit, wanted.close_trigger))
    if wrong is not None:
        raise Refused(wrong)
    told = description(_announced(wanted, market), desk.digits(symbol))
    instructions = Instructions(_SELF_TRADE[new.self_trade], _closing(wanted))
    quantity = _quantity(call, new, market)
    if new.validate:
        order = domain_order(wanted, market, "", quantity, call.now)
        _refuse(call, desk.exchange.check(account, order, instructions), order)
        return {"descr": told}
    _room(call, symbol)
    client_id = desk.remember(account, Tag(new.cl_ord_id, new.userref, new.flags))
    order = domain_order(wanted, market, client_id, quantity, call.now)
    reports = desk.exchange.accept(account, order, call.now, instructions)
    if isinstance(reports[0], Rejected):
        desk.forget(account, client_id)
        raise Refused(desk.words(reports[0].rejection, order))
    return {"descr": told, "txid": [_txid(call, reports)]}


def amend_order(call: Call) -> Payload:
    """AmendOrder: a quantity at or below what is filled cancels the rest."""
    waiting = _named(call, "txid")
    order, symbol, desk = waiting.order, waiting.order.symbol, call.desk
    amendment = _amendment(call, waiting)
    deadline = deadline_of(call.parameters, call.now)
    desk.charge(call.account, symbol, trading_cost("amend", call.now - waiting.accepted), call.now)
    _in_time(deadline, call.now)
    if amendment.quantity is not None and amendment.quantity <= waiting.filled:
        desk.exchange.cancel(call.account, order.client_id, call.now)
    else:
        changed = desk.exchange.amend(call.account, order.client_id, amendment, call.now)
        if isinstance(changed, Rejection):
            _refuse(call, changed, _changed(order, amendment))
    return {"amend_id": desk.next_amend_id()}


def edit_order(call: Call) -> Payload:
    """EditOrder: another order in the place of one, which is cancelled."""
    desk, account = call.desk, call.account
    symbol, waiting = desk.symbol(call.text("pair")), _named(call, "txid")
    order, tag = waiting.order, desk.tag(call.account, waiting.order.client_id)
    if order.symbol != symbol:
        raise invalid("pair")
    if waiting.triggered or waiting.instructions.closing is not None or tag.cl_ord_id is not None:
        raise Refused(INVALID_ORDER)
    new = _edited(call, waiting)
    desk.charge(account, symbol, trading_cost("edit", call.now - waiting.accepted), call.now)
    _in_time(new.deadline, call.now)
    market = desk.market(symbol)
    wanted = priced(new, market, desk.last(symbol))
    quantity = EXACT.subtract(new.volume, waiting.filled)
    if quantity <= 0:
        raise Refused(INVALID_ORDER)
    digits = desk.digits(symbol)
    told = {
        "status": "ok",
        "volume": fixed(new.volume, digits.lot),
        "price": shown(wanted.trigger or wanted.limit, digits),
        "price2": shown(wanted.limit if wanted.trigger else None, digits),
        "descr": {"order": order_in_words(_announced(wanted, market), digits)},
    }
    if new.validate:
        return told
    client_id = desk.remember(account, Tag(None, new.userref, new.flags))
    placed = domain_order(wanted, market, client_id, quantity, call.now)
    instructions = replace(PLAIN, self_trade=waiting.instructions.self_trade)
    changed = desk.exchange.replace(account, order.client_id, placed, call.now, instructions)
    if isinstance(changed, Rejection):
        desk.forget(account, client_id)
        raise Refused(desk.words(changed, placed))
    old, txid = desk.txid(waiting.venue_id), _txid(call, changed)
    return {**told, "txid": txid, "originaltxid": old, "orders_cancelled": 1}


def cancel_order(call: Call) -> Payload:
    """CancelOrder: one order by txid or cl_ord_id, or all of a userref."""
    if _is_userref(call.text("txid")):
        orders = _of_userref(call, "txid")
    elif not call.text("txid") and not call.text("cl_ord_id"):
        orders = _of_userref(call, "userref")
    else:
        orders = [_named(call, "txid")]
    if not orders:
        raise Refused(UNKNOWN_ORDER)
    for waiting in orders:
        cost = trading_cost("cancel", call.now - waiting.accepted)
        call.desk.charge(call.account, waiting.order.symbol, cost, call.now)
        call.desk.exchange.cancel(call.account, waiting.order.client_id, call.now)
    return {"count": len(orders)}


def cancel_all(call: Call) -> Payload:
    """CancelAll."""
    return {"count": call.desk.cancel_all(call.account, call.now)}


def cancel_all_orders_after(call: Call) -> Payload:
    """CancelAllOrdersAfter: (re)starts the account's timer; 0 stops it."""
    timeout = call.whole("timeout", 0, 0, MAX_TIMEOUT)
    call.desk.timers.pop(call.account, None)
    due = Time(call.now + timeout * 1000)
    if timeout:
        call.desk.timers[call.account] = due
    second = Time(call.now - call.now % 1000)
    trigger = rfc3339(Time(due - due % 1000)) if timeout else "0"
    return {"currentTime": rfc3339(second), "triggerTime": trigger}


def _in_time(deadline: Time | None, now: Time) -> None:
    if deadline is not None and deadline < now:
        raise Refused(DEADLINE_ELAPSED)


def _room(call: Call, symbol: str) -> None:
    """Refused when the account has as many orders open on the pair as it may."""
    count = call.desk.exchange.count_open(call.account, symbol)
    if count >= limits.MAX_OPEN_ORDERS[call.desk.verification(call.account)]:
        raise Refused(ORDERS_LIMIT)


def _refuse(call: Call, rejection: Rejection | None, order: Order) -> None:
    if rejection is not None:
        raise Refused(call.desk.words(rejection, order))


def _quantity(call: Call, new: NewOrder, market: Market) -> Decimal:
    """The order's volume in base."""
    if "viqc" not in new.flags:
        return new.volume
    return call.desk.exchange.affordable(market.symbol, new.side, new.volume)


def _closing(wanted: Priced) -> Closing | None:
    close = wanted.new.close
    return None if close is None else Closing(close.type, wanted.close_limit, wanted.close_trigger)


def _announced(wanted: Priced, market: Market) -> Announced:
    """The order as it is described in the answer, with its prices worked out."""
    new, close = wanted.new, wanted.new.close
    price, price2 = (wanted.trigger, wanted.limit) if new.type.has_trigger else (wanted.limit, None)
    if close is not None:
        prices = (wanted.close_trigger, wanted.close_limit)
        close = Close(close.type, *(prices if close.type.has_trigger else (wanted.close_limit, None)))
    return Announced(market.symbol, new.side, new.type, new.volume, price, price2, close)


def _txid(call: Call, reports: Sequence[Report]) -> str:
    """The txid of the order that was just taken: what hangs on it is accepted after it."""
    accepted = next(report for report in reports if isinstance(report, Accepted))
    return call.desk.txid(accepted.venue_id)


def _named(call: Call, name: str) -> OpenOrder:
    """The open order that the call names by its txid (or, for an edit, userref) or cl_ord_id."""
    txid, cl_ord_id = call.text(name), call.text("cl_ord_id")
    if bool(txid) == bool(cl_ord_id):
        raise Refused(INVALID_ARGUMENTS)
    if cl_ord_id:
        waiting = call.desk.open_named(call.account, cl_ord_id)
    elif _is_userref(txid):
        orders = _of_userref(call, name)
        if len(orders) > 1:
            raise Refused(INVALID_ORDER)
        waiting = orders[0] if orders else None
    else:
        waiting = call.desk.open_by_txid(call.account, txid)
    if waiting is None:
        raise Refused(UNKNOWN_ORDER)
    return waiting


def _is_userref(text: str) -> bool:
    """Whether what stands for a txid is a number: then it means the userref."""
    return text.removeprefix("-").isdecimal()


def _of_userref(call: Call, name: str) -> list[OpenOrder]:
    userref = userref_of({"userref": call.text(name)})
    if userref is None:
        raise Refused(INVALID_ARGUMENTS)
    return call.desk.open_by_userref(call.account, userref)


def _amendment(call: Call, waiting: OpenOrder) -> Amendment:
    """What is to change; relative prices are taken from the last trade, a limit behind a trigger from
    that."""
    order, parameters, market = waiting.order, call.parameters, call.desk.market(waiting.order.symbol)
    last, post_only = call.desk.last(order.symbol), call.flag("post_only")
    trigger, price = (optional_price(parameters, name) for name in ("trigger_price", "limit_price"))
    if trigger is not None and not order.type.has_trigger:
        raise invalid("trigger_price")
    if price is not None and not order.type.has_limit:
        raise invalid("limit_price")
    quantity = positive(parameters, "order_qty") if call.text("order_qty") else None
    if price is None and trigger is None and quantity is None:
        raise Refused(INVALID_ARGUMENTS)
    woken = resolve(trigger, last, rises(order.side, order.type), market)
    reference = (woken or order.trigger) if order.type.has_trigger else last
    limit = resolve(price, reference, rises(order.side, OrderType.LIMIT), market)
    if (price is None) != (limit is None) or (trigger is None) != (woken is None):
        raise invalid("limit_price")
    return Amendment(quantity, limit, woken, post_only)


def _changed(order: Order, amendment: Amendment) -> Order:
    price, trigger = amendment.price or order.price, amendment.trigger or order.trigger
    return replace(order, price=price, trigger=trigger)


def _edited(call: Call, waiting: OpenOrder) -> NewOrder:
    """The order that takes the place of another: what the edit does not say stays as it was."""
    order = waiting.order
    first, second = (order.trigger, order.price) if order.type.has_trigger else (order.price, None)
    kept = {
        "type": order.side.value,
        "ordertype": order.type.value,
        "volume": f"{order.quantity:f}",
        "timeinforce": order.time_in_force.value,
        "expiretm": "" if order.expires is None else f"{Decimal(order.expires).scaleb(-3):f}",
        "price": "" if first is None else f"{first:f}",
        "price2": "" if second is None else f"{second:f}",
        "oflags": ",".join(sorted(call.desk.info(call.account, waiting).flags)),
    }
    given = {name: call.text(name) for name in EDITABLE if call.text(name)}
    return new_order({**kept, **given}, call.now)


HANDLERS: Mapping[str, Callable[[Call], Payload]] = {
    "AddOrder": add_order,
    "AmendOrder": amend_order,
    "EditOrder": edit_order,
    "CancelOrder": cancel_order,
    "CancelAll": cancel_all,
    "CancelAllOrdersAfter": cancel_all_orders_after,
}
