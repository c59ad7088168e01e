"""Kraken's REST words for what an account did: its orders and trades (its money: rest_money.py).

Pure, and used by both sides of the wire: what writes a payload stands beside what reads it. Money is text
on the wire and Decimal here. Shapes: Kraken's documentation of 2026-05-27 and real answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from lotwise.domain.market import Liquidity
from lotwise.domain.orders import OrderType
from lotwise.domain.values import Side, Time, exact
from lotwise.kraken.names import pair_names, symbol_from_kraken, symbol_or_name
from lotwise.kraken.rest import Digits, Payload, fixed, seconds, time_of
from lotwise.kraken.rest_orders import FLAGS, Close, Price, price_of

ZERO = Decimal(0)
NO_PRICE = "0"
MARGIN_DIGITS = 5

OPEN, CLOSED, CANCELED, EXPIRED = "open", "closed", "canceled", "expired"
"""Kraken's words for an order's status; closed is filled, canceled and expired may be filled in part."""


@dataclass(frozen=True, slots=True)
class OrderInfo:
    """An order as OpenOrders, ClosedOrders and QueryOrders tell it.

    price and price2 are as in AddOrder; volume is in base; average is cost / executed; refid is the
    order whose conditional close this one is; triggered: its stop or take-profit price was reached.
    """

    txid: str
    symbol: str
    side: Side
    type: OrderType
    volume: Decimal
    opened: Time
    status: str = OPEN
    price: Price | None = None
    price2: Price | None = None
    executed: Decimal = ZERO
    cost: Decimal = ZERO
    fee: Decimal = ZERO
    average: Decimal = ZERO
    expires: Time | None = None
    closed: Time | None = None
    reason: str | None = None
    flags: frozenset[str] = frozenset()
    userref: int | None = None
    cl_ord_id: str | None = None
    refid: str | None = None
    triggered: bool = False
    close: Close | None = None
    trades: tuple[str, ...] = ()


def shown(price: Price | None, digits: Digits) -> str:
    """A price of an order as text: with the pair's decimals, "0" when there is none."""
    if price is None:
        return NO_PRICE
    return fixed(price, digits.price) if isinstance(price, Decimal) else str(price)


def prices_in_words(kind: OrderType, price: Price | None, price2: Price | None, digits: Digits) -> str:
    """Such as "limit 27500.0", "market" or "stop loss 22000.0 -> limit 21000.0"."""
    word = kind.value.removesuffix("-limit").replace("-", " ")
    first = "" if price is None else f" {shown(price, digits)}"
    return word + first + ("" if price2 is None else f" -> limit {shown(price2, digits)}")


class Announced(NamedTuple):
    """An order as it is described where it is placed; price and price2 as in AddOrder."""

    symbol: str
    side: Side
    type: OrderType
    volume: Decimal
    price: Price | None
    price2: Price | None
    close: Close | None


def order_in_words(info: OrderInfo | Announced, digits: Digits) -> str:
    """Such as "buy 1.25000000 XBTUSD @ limit 27500.0"."""
    prices = prices_in_words(info.type, info.price, info.price2, digits)
    altname = pair_names(info.symbol).altname
    return f"{info.side.value} {fixed(info.volume, digits.lot)} {altname} @ {prices}"


def close_in_words(close: Close | None, digits: Digits) -> str:
    """Such as "close position @ stop loss 22000.0 -> limit 21000.0"; "" without one."""
    if close is None:
        return ""
    return f"close position @ {prices_in_words(close.type, close.price, close.price2, digits)}"


def description(info: OrderInfo | Announced, digits: Digits) -> Payload:
    """`descr` of the answer to AddOrder: the close only where there is one."""
    close = close_in_words(info.close, digits)
    return {"order": order_in_words(info, digits), **({"close": close} if close else {})}


def order_payload(info: OrderInfo, digits: Digits, trades: bool = False) -> Payload:
    """One order; `trades` adds the ids of its trades where it has any."""
    trigger = info.price if info.type.has_trigger and isinstance(info.price, Decimal) else ZERO
    limit = info.price2 if info.triggered and isinstance(info.price2, Decimal) else ZERO
    touched = "touched" if info.type.value.startswith("take-profit") else "stopped"
    named = {} if info.cl_ord_id is None else {"cl_ord_id": info.cl_ord_id}
    ended = {} if info.closed is None else {"closetm": seconds(info.closed), "reason": info.reason}
    return {
        "refid": info.refid,
        "userref": info.userref if named or info.userref else 0,
        **named,
        "status": info.status,
        **ended,
        "opentm": seconds(info.opened),
        "starttm": 0,
        "expiretm": 0 if info.expires is None else seconds(info.expires),
        "descr": {
            "pair": pair_names(info.symbol).altname,
            "type": info.side.value,
            "ordertype": info.type.value,
            "price": shown(info.price, digits),
            "price2": shown(info.price2, digits),
            "leverage": "none",
            "order": order_in_words(info, digits),
            "close": close_in_words(info.close, digits),
        },
        "vol": fixed(info.volume, digits.lot),
        "vol_exec": fixed(info.executed, digits.lot),
        "cost": fixed(info.cost, digits.cost),
        "fee": fixed(info.fee, digits.cost),
        "price": fixed(info.average, digits.wire),
        "stopprice": fixed(trigger, digits.wire),
        "limitprice": fixed(limit, digits.wire),
        "misc": touched if info.triggered else "",
        "oflags": ",".join(sorted(info.flags)),
        **({"trigger": "last"} if info.type.has_trigger else {}),
        **({"trades": list(info.trades)} if trades and info.trades else {}),
    }


def order_info(txid: str, payload: Mapping[str, Any]) -> OrderInfo:
    """What one order's payload says; its conditional close is told in words only and not read."""
    descr = payload["descr"]
    kind = OrderType(descr["ordertype"])
    price, price2 = (_price_read(descr[name]) for name in ("price", "price2"))
    closed, expires = payload.get("closetm"), payload.get("expiretm")
    userref, name = payload.get("userref"), payload.get("cl_ord_id")
    return OrderInfo(
        txid,
        symbol_from_kraken(descr["pair"]),
        Side(descr["type"]),
        kind,
        exact(payload["vol"]),
        time_of(payload["opentm"]),
        payload["status"],
        price,
        price2,
        exact(payload["vol_exec"]),
        exact(payload["cost"]),
        exact(payload["fee"]),
        exact(payload["price"]),
        time_of(expires) if expires else None,
        None if closed is None else time_of(closed),
        payload.get("reason"),
        frozenset(payload["oflags"].split(",")) & FLAGS,
        int(userref) if userref else None,
        name,
        None if payload.get("refid") in (None, "None") else payload["refid"],
        bool({"stopped", "touched"} & set(payload["misc"].split(","))),
        None,
        tuple(payload.get("trades", ())),
    )


@dataclass(frozen=True, slots=True)
class OrderFate:
    """What an order's row says of what became of it, whatever kind of order it is: an account may also have
    a person's, of kinds and pairs that are none of ours."""

    txid: str
    cl_ord_id: str | None
    symbol: str
    side: Side
    volume: Decimal
    opened: Time
    status: str
    executed: Decimal
    closed: Time | None
    reason: str | None
    trades: tuple[str, ...]


def order_fate(txid: str, payload: Mapping[str, Any]) -> OrderFate:
    """What one order's payload says of it."""
    descr, closed = payload["descr"], payload.get("closetm")
    return OrderFate(
        txid,
        payload.get("cl_ord_id"),
        symbol_or_name(descr["pair"]),
        Side(descr["type"]),
        exact(payload["vol"]),
        time_of(payload["opentm"]),
        payload["status"],
        exact(payload["vol_exec"]),
        None if closed is None else time_of(closed),
        payload.get("reason"),
        tuple(payload.get("trades", ())),
    )


def _price_read(text: str) -> Price | None:
    price = price_of(text)
    return None if price == ZERO else price


@dataclass(frozen=True, slots=True)
class TradeInfo:
    """A trade as TradesHistory and QueryTrades tell it; number counts the pair's trades; type: None where
    Kraken's word is none of ours."""

    txid: str
    order_txid: str
    symbol: str
    time: Time
    side: Side
    type: OrderType | None
    price: Decimal
    cost: Decimal
    fee: Decimal
    volume: Decimal
    number: int
    liquidity: Liquidity
    ledgers: tuple[str, ...] = ()


NO_POSITION = "TKH2SE-M7IF5-CFI7LT"
"""`postxid` of every spot trade (real answers of 2020 and 2023 show this id, which belongs to nobody)."""


_TRADED_AS = {kind: kind.value for kind in OrderType} | {
    OrderType.STOP_LOSS: "stop market",
    OrderType.STOP_LOSS_LIMIT: "stop limit",
    OrderType.TAKE_PROFIT: "touched market",
    OrderType.TAKE_PROFIT_LIMIT: "touched limit",
}
"""What the trades of an order are called: those of a triggered one otherwise than the order (Kraken support,
"How to interpret Trades history fields", for the export; clients' recorded rows have "stop limit")."""
_TRADED_BY = {word: kind for kind, word in _TRADED_AS.items()} | {kind.value: kind for kind in OrderType}


def trade_payload(trade: TradeInfo, digits: Digits, ledgers: bool = False) -> Payload:
    """One trade of the account."""
    assert trade.type is not None
    return {
        "ordertxid": trade.order_txid,
        "postxid": NO_POSITION,
        "pair": pair_names(trade.symbol).rest_key,
        "time": seconds(trade.time),
        "type": trade.side.value,
        "ordertype": _TRADED_AS[trade.type],
        "price": fixed(trade.price, digits.wire),
        "cost": fixed(trade.cost, digits.cost),
        "fee": fixed(trade.fee, digits.cost),
        "vol": fixed(trade.volume, digits.lot),
        "margin": fixed(ZERO, MARGIN_DIGITS),
        "misc": "",
        "trade_id": trade.number,
        "maker": trade.liquidity is Liquidity.MAKER,
        **({"ledgers": list(trade.ledgers)} if ledgers else {}),
    }


def trade_info(txid: str, payload: Mapping[str, Any]) -> TradeInfo:
    """What one trade's payload says."""
    price, cost, fee, volume = (exact(payload[name]) for name in ("price", "cost", "fee", "vol"))
    return TradeInfo(
        txid,
        payload["ordertxid"],
        symbol_or_name(payload["pair"]),
        time_of(payload["time"]),
        Side(payload["type"]),
        _TRADED_BY.get(payload["ordertype"]),
        price,
        cost,
        fee,
        volume,
        int(payload["trade_id"]),
        Liquidity.MAKER if payload["maker"] else Liquidity.TAKER,
        tuple(payload.get("ledgers", ())),
    )
