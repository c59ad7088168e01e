"""What an account hears on WebSocket v2: executions of its orders, and changes of its balances.

Laws: an event says what Kraken says of it and no more; what was filled is the sum of the trades, never a
status. A trade event says partially_filled even when it completes the order: exec_type filled follows.
Shapes: Kraken's documentation of 2026-05-27 and messages recorded 2024-05 to 2024-10.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import reduce
from typing import Any

from lotwise.domain.market import FeeAsset, Liquidity, Market, split_symbol
from lotwise.domain.orders import Accepted, Canceled, Expired, Fill, Order, OrderType
from lotwise.domain.values import EXACT, Amount, Side, Time, steps_down
from lotwise.kraken.stream import Message, timestamp
from lotwise.kraken.stream_fields import moment, number, rows, text, word
from lotwise.kraken.stream_market import printer_of

DOLLARS = frozenset({"USD", "USDT", "USDC"})
"""Quotes whose fees are told as dollars one to one."""


class ExecType(StrEnum):
    """What happened to an order."""

    PENDING_NEW = "pending_new"
    NEW = "new"
    TRADE = "trade"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    AMENDED = "amended"
    RESTATED = "restated"
    ICEBERG_REFILL = "iceberg_refill"
    STATUS = "status"


ALWAYS_TOLD = frozenset({ExecType.NEW, ExecType.TRADE, ExecType.FILLED, ExecType.CANCELED, ExecType.EXPIRED})
"""What a subscription with order_status false still hears."""


class OrderStatus(StrEnum):
    """How an order stands."""

    PENDING_NEW = "pending_new"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Execution:
    """A fill under Kraken's names: `exec_id` in the account's history, `number` among the public trades."""

    fill: Fill
    exec_id: str
    number: int


@dataclass(frozen=True, slots=True)
class Known:
    """An order as its account knows it: what was ordered under which names, and what became of it so far.

    `terms`: the rules and fees it was accepted under. `contingent`: type, limit and trigger of the order
    that each fill brings on; `parent`: the order whose fill brought this one on.
    """

    order: Order
    terms: Market
    order_id: str
    accepted: Time
    executions: tuple[Execution, ...] = ()
    cl_ord_id: str | None = None
    userref: int = 0
    contingent: tuple[OrderType, Decimal | None, Decimal | None] | None = None
    parent: str | None = None
    triggered: bool = False
    amended: bool = False

    @property
    def filled(self) -> Decimal:
        """The quantity filled so far."""
        return _sum(execution.fill.quantity for execution in self.executions)

    def before(self, exec_id: str) -> tuple[Execution, ...]:
        """Its executions up to this one, which is the last of them."""
        place = [execution.exec_id for execution in self.executions].index(exec_id)
        return self.executions[: place + 1]


def order_row(known: Known, happened: ExecType, time: Time) -> Message:
    """The whole order: how it is told when it comes in, and in a snapshot."""
    order, printer = known.order, printer_of(known.terms)
    row: Message = {
        "order_id": known.order_id,
        **_names(known),
        "symbol": order.symbol,
        "order_qty": printer.quantity(order.quantity),
        **_sums(known, known.executions),
        "time_in_force": order.time_in_force.value,
        "exec_type": happened.value,
        "side": order.side.value,
        "order_type": order.type.value,
        "order_status": _standing(known, happened).value,
        "fee_ccy_pref": "fcib" if known.terms.fee_asset is FeeAsset.BASE else "fciq",
        "timestamp": timestamp(time),
    }
    if order.price is not None:
        row |= {"limit_price_type": "static", "limit_price": printer.price(order.price)}
    if order.trigger is not None:
        row |= {"triggers": _triggers(known), "stop_price": printer.price(order.trigger)}
    if order.post_only:
        row["post_only"] = True
    if order.expires is not None:
        row["expire_time"] = timestamp(order.expires)
    if known.contingent is not None:
        row["contingent"] = _contingent(known)
    if known.parent is not None:
        row["ord_ref_id"] = known.parent
    return row


def change_row(known: Known, happened: ExecType, time: Time, reason: str | None = None) -> Message:
    """An order that went live, ended, was amended or triggered: what changed, and nothing else."""
    row: Message = {
        "timestamp": timestamp(time),
        "order_status": _standing(known, happened).value,
        "exec_type": happened.value,
        **_names(known),
        "order_id": known.order_id,
    }
    if happened in (ExecType.FILLED, ExecType.CANCELED, ExecType.EXPIRED):
        row |= _sums(known, known.executions)
    if happened is ExecType.AMENDED:
        row |= _amended(known)
    if happened is ExecType.STATUS:
        row["triggers"] = _triggers(known)
    if reason is not None:
        row |= (
            {"cancel_reason": reason, "reason": reason}
            if happened is ExecType.CANCELED
            else {"reason": reason}
        )
    return row


def trade_row(known: Known, execution: Execution) -> Message:
    """One fill as it happens: the order counts as partially filled even if this completes it."""
    sums = _sums(known, known.before(execution.exec_id))
    return {**_trade(known, execution), **sums, "order_status": OrderStatus.PARTIALLY_FILLED.value}


def past_trade_row(known: Known, execution: Execution) -> Message:
    """One fill in a snapshot, with the order's status of today."""
    return {**_trade(known, execution), "order_status": _standing(known, ExecType.TRADE).value}


def _trade(known: Known, execution: Execution) -> Message:
    fill, printer = execution.fill, printer_of(known.terms)
    return {
        "order_id": known.order_id,
        **_names(known),
        "exec_id": execution.exec_id,
        "exec_type": ExecType.TRADE.value,
        "trade_id": execution.number,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "last_qty": printer.quantity(fill.quantity),
        "last_price": printer.price(fill.price),
        "liquidity_ind": "m" if fill.liquidity is Liquidity.MAKER else "t",
        "cost": fill.cost.number,
        "order_type": known.order.type.value,
        "timestamp": timestamp(fill.time),
        "fees": [{"asset": fill.fee.asset, "qty": fill.fee.number}],
    }


def _names(known: Known) -> Message:
    names: Message = {"order_userref": known.userref}
    return names if known.cl_ord_id is None else {**names, "cl_ord_id": known.cl_ord_id}


def _sums(known: Known, executions: Sequence[Execution]) -> Message:
    printer = printer_of(known.terms)
    quantity = _sum(execution.fill.quantity for execution in executions)
    cost = _sum(execution.fill.cost.number for execution in executions)
    average = _quotient_down(cost, quantity, printer.price_unit) if quantity else Decimal(0)
    sums: Message = {
        "cum_qty": printer.quantity(quantity),
        "cum_cost": cost.quantize(known.terms.quote_unit, context=EXACT),
        "avg_price": average,
    }
    if known.terms.quote in DOLLARS:
        fees = (execution.fill.fee for execution in executions)
        sums["fee_usd_equiv"] = _sum(fee.number for fee in fees if fee.asset == known.terms.quote)
    return sums


def _standing(known: Known, happened: ExecType) -> OrderStatus:
    match happened:
        case ExecType.PENDING_NEW | ExecType.FILLED | ExecType.CANCELED | ExecType.EXPIRED:
            return OrderStatus(happened.value)
    if not known.filled:
        return OrderStatus.NEW
    return OrderStatus.FILLED if known.filled == known.order.quantity else OrderStatus.PARTIALLY_FILLED


def _amended(known: Known) -> Message:
    printer, order = printer_of(known.terms), known.order
    row: Message = {"amended": True, "order_qty": printer.quantity(order.quantity)}
    row["cum_qty"] = _sums(known, known.executions)["cum_qty"]
    if order.price is not None:
        row |= {"limit_price": printer.price(order.price), "limit_price_type": "static"}
    return row


def _triggers(known: Known) -> Message:
    assert known.order.trigger is not None, "only an order with a trigger is told with one"
    price = printer_of(known.terms).price(known.order.trigger)
    status = "triggered" if known.triggered else "untriggered"
    return {
        "reference": "last",
        "price": price,
        "price_type": "static",
        "actual_price": price,
        "status": status,
    }


def _contingent(known: Known) -> Message:
    assert known.contingent is not None, "only an order with a close is told with one"
    kind, limit, trigger = known.contingent
    printer = printer_of(known.terms)
    row: Message = {"order_type": kind.value}
    for name, price in (("limit_price", limit), ("trigger_price", trigger)):
        if price is not None:
            row |= {name: printer.price(price), f"{name}_type": "static"}
    return row


def report_of(row: Mapping[str, Any]) -> Accepted | Fill | Canceled | Expired | None:
    """What a row of the executions channel reports of an order; None when it adds nothing to the others.

    The client id is cl_ord_id; of an order without one it is Kraken's order_id.
    """
    happened = word(row, "exec_type", ExecType)
    order_id, time = text(row, "order_id"), moment(row, "timestamp")
    client_id = text(row, "cl_ord_id") if "cl_ord_id" in row else order_id
    match happened:
        case ExecType.NEW:
            return Accepted(client_id, order_id, time)
        case ExecType.TRADE:
            return _fill(row, client_id, time)
        case ExecType.CANCELED:
            return Canceled(client_id, text(row, "reason") if "reason" in row else "", time)
        case ExecType.EXPIRED:
            return Expired(client_id, time)
        case _:
            return None


def _fill(row: Mapping[str, Any], client_id: str, time: Time) -> Fill:
    symbol = text(row, "symbol")
    assets = split_symbol(symbol)
    fees = [Amount(number(told, "qty"), text(told, "asset")) for told in rows(row, "fees")]
    paid = [fee for fee in fees if fee.asset in assets]  # fee credits are no money
    fee = paid[0] if paid else Amount(Decimal(0), assets[1])
    return Fill(
        text(row, "exec_id"),
        client_id,
        symbol,
        word(row, "side", Side),
        number(row, "last_price"),
        number(row, "last_qty"),
        Amount(number(row, "cost"), assets[1]),
        fee,
        Liquidity.MAKER if text(row, "liquidity_ind") == "m" else Liquidity.TAKER,
        time,
    )


def _quotient_down(top: Decimal, bottom: Decimal, step: Decimal) -> Decimal:
    """top / bottom cut to a step: the step fits so often into the quotient as bottom x step into top."""
    return EXACT.multiply(step, Decimal(steps_down(top, EXACT.multiply(bottom, step))))


def _sum(numbers: Iterable[Decimal]) -> Decimal:
    return reduce(EXACT.add, numbers, Decimal(0))
