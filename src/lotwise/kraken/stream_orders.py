"""Kraken's WebSocket v2 words for orders: the requests of a client, and the REST calls that they are.

Law: a rule of an order has one owner, the REST words of AddOrder and its like; here stand only the other
names, the other units (prices with a type beside them, times as RFC 3339) and the types of the fields.
Source: Kraken's documentation of 2026-05-27; "number_float" and "Token(s) not found" were recorded in 2024.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from lotwise.domain.market import FeeAsset
from lotwise.domain.orders import Order, TimeInForce
from lotwise.domain.values import Time, plain
from lotwise.kraken.rest import time_from_rfc3339
from lotwise.kraken.stream import MANY, Request, is_integer, missing, mistyped, timestamp, unsupported

DEADLINE = (500, 60_000)
"""How far ahead, in milliseconds, a deadline may lie on WebSocket v2."""

DEADLINE_ELAPSED = "EService:Deadline elapsed"
INVALID = "EGeneral:Invalid arguments"

SELF_TRADE = {name: name.replace("_", "-") for name in ("cancel_newest", "cancel_oldest", "cancel_both")}
FEE_FLAGS = {"base": "fcib", "quote": "fciq"}
PRICE_TYPES = ("static", "pct", "quote")

_TRIGGERS = {"reference": str, "price": Decimal, "price_type": str}
_CONDITIONAL = {
    "order_type": str,
    "limit_price": Decimal,
    "limit_price_type": str,
    "trigger_price": Decimal,
    "trigger_price_type": str,
    "stop_price": Decimal,
}
_COMMON = {
    "order_qty": Decimal,
    "display_qty": Decimal,
    "limit_price": Decimal,
    "post_only": bool,
    "deadline": str,
    "symbol": str,
    "token": str,
}
FIELDS: dict[str, dict[str, Any]] = {
    "add_order": {
        **_COMMON,
        "order_type": str,
        "side": str,
        "limit_price_type": str,
        "triggers": _TRIGGERS,
        "conditional": _CONDITIONAL,
        "time_in_force": str,
        "effective_time": str,
        "expire_time": str,
        "margin": bool,
        "reduce_only": bool,
        "cl_ord_id": str,
        "order_userref": int,
        "sender_sub_id": str,
        "fee_preference": str,
        "no_mpp": bool,
        "stp_type": str,
        "cash_order_qty": Decimal,
        "validate": bool,
    },
    "amend_order": {
        **_COMMON,
        "order_id": str,
        "cl_ord_id": str,
        "limit_price_type": str,
        "trigger_price": Decimal,
        "trigger_price_type": str,
    },
    "edit_order": {
        **_COMMON,
        "order_id": str,
        "order_userref": int,
        "triggers": _TRIGGERS,
        "fee_preference": str,
        "no_mpp": bool,
        "reduce_only": bool,
        "validate": bool,
    },
    "cancel_order": {"order_id": [str], "cl_ord_id": [str], "order_userref": [int], "token": str},
    "cancel_all": {"token": str},
    "cancel_all_orders_after": {"timeout": int, "token": str},
}
"""What each method takes, and of what type it must be; an object has fields of its own."""

NOT_YET = frozenset({"batch_add", "batch_cancel"})
"""Methods of Kraken's that are answered with its error for invalid arguments."""

_KINDS = {str: "string", bool: "boolean", int: "integer", Decimal: "number_float"}


@dataclass(frozen=True, slots=True)
class Call:
    """One REST call: endpoint and text parameters; `named` is what the answer repeats of the request."""

    endpoint: str
    parameters: dict[str, str]
    named: Mapping[str, Any] = field(default_factory=dict)


def token_of(request: Request) -> str:
    """The session token of a private request; Refused without one."""
    token = request.params.get("token")
    if token is None:
        raise request.refused(missing("token"))
    if not isinstance(token, str):
        raise request.refused(mistyped("token", "string"))
    return token


def calls(request: Request, now: Time) -> list[Call]:
    """The REST calls that an order method is, in order; Refused when a field is missing or of a wrong kind.

    A deadline is settled here: the exchange takes the order at `now`.
    """
    if request.method in NOT_YET:
        raise request.refused(INVALID)
    params = _checked(request, FIELDS[request.method])
    _check_deadline(request, params, now)
    match request.method:
        case "add_order":
            return [_add(request, params)]
        case "amend_order":
            return [_amend(request, params)]
        case "edit_order":
            return [_edit(request, params)]
        case "cancel_order":
            return _cancel(request, params)
        case "cancel_all":
            return [Call("CancelAll", {})]
        case _:
            _require(request, params, "timeout")
            return [Call("CancelAllOrdersAfter", {"timeout": str(params["timeout"])})]


def result_of(call: Call, answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """What WebSocket v2 tells of the REST call's result."""
    match call.endpoint:
        case "AddOrder":
            ids = answer.get("txid", [])
            return {**({"order_id": ids[0]} if ids else {}), **call.named}
        case "AmendOrder":
            return {"amend_id": answer["amend_id"], **call.named}
        case "EditOrder":
            return {"order_id": answer["txid"], **call.named} if "txid" in answer else dict(call.named)
        case "CancelOrder":
            return call.named
        case "CancelAll":
            return {"count": answer["count"]}
        case _:
            return {name: answer[name] for name in ("currentTime", "triggerTime")}


def _add(request: Request, params: Mapping[str, Any]) -> Call:
    for name in ("order_type", "side", "symbol"):
        _require(request, params, name)
    in_quote = "cash_order_qty" in params
    _require(request, params, "cash_order_qty" if in_quote else "order_qty")
    limit = _price(request, params, "limit_price")
    trigger = _price(request, params.get("triggers", {}), "price")
    names = {name: params[name] for name in ("cl_ord_id", "order_userref") if name in params}
    parameters = {
        "pair": params["symbol"],
        "type": params["side"],
        "ordertype": params["order_type"],
        "volume": plain(params["cash_order_qty" if in_quote else "order_qty"]),
        **_prices(limit, trigger),
        "oflags": _flags(request, params, viqc=in_quote),
        "timeinforce": params.get("time_in_force", "").upper(),
        "expiretm": _seconds(request, params, "expire_time"),
        "starttm": _seconds(request, params, "effective_time"),
        "displayvol": plain(params["display_qty"]) if "display_qty" in params else "",
        "trigger": params.get("triggers", {}).get("reference", ""),
        "leverage": "2" if params.get("margin") else "",
        "reduce_only": "true" if params.get("reduce_only") else "",
        "stptype": _choice(request, params, "stp_type", SELF_TRADE),
        "validate": "true" if params.get("validate") else "",
        "userref": str(params.get("order_userref", "")),
        "cl_ord_id": params.get("cl_ord_id", ""),
        **_close(request, params.get("conditional", {})),
    }
    return Call("AddOrder", _given(parameters), names)


def _amend(request: Request, params: Mapping[str, Any]) -> Call:
    names = {name: params[name] for name in ("order_id", "cl_ord_id") if name in params}
    if not names:
        raise request.refused(missing("order_id"))
    parameters = {
        "txid": params.get("order_id", ""),
        "cl_ord_id": params.get("cl_ord_id", ""),
        "pair": params.get("symbol", ""),
        "order_qty": plain(params["order_qty"]) if "order_qty" in params else "",
        "display_qty": plain(params["display_qty"]) if "display_qty" in params else "",
        "limit_price": _price(request, params, "limit_price"),
        "trigger_price": _price(request, params, "trigger_price"),
        "post_only": "true" if params.get("post_only") else "",
    }
    return Call("AmendOrder", _given(parameters), names)


def _edit(request: Request, params: Mapping[str, Any]) -> Call:
    for name in ("order_id", "symbol"):
        _require(request, params, name)
    if params.get("reduce_only"):
        # REST's EditOrder has no word for it.
        raise request.refused(f"{INVALID}:reduce_only")
    trigger = _price(request, params.get("triggers", {}), "price")
    parameters = {
        "txid": params["order_id"],
        "pair": params["symbol"],
        "volume": plain(params["order_qty"]) if "order_qty" in params else "",
        "displayvol": plain(params["display_qty"]) if "display_qty" in params else "",
        **_prices(_price(request, params, "limit_price"), trigger),
        "oflags": _flags(request, params, viqc=False),
        "userref": str(params.get("order_userref", "")),
        "validate": "true" if params.get("validate") else "",
    }
    return Call("EditOrder", _given(parameters), {"original_order_id": params["order_id"]})


def _cancel(request: Request, params: Mapping[str, Any]) -> list[Call]:
    words = {"order_id": "txid", "cl_ord_id": "cl_ord_id", "order_userref": "txid"}
    named = [(name, value) for name in words for value in params.get(name, [])]
    if not named or len(named) > MANY:
        raise request.refused(missing("order_id") if not named else INVALID)
    return [Call("CancelOrder", {words[name]: str(value)}, {name: value}) for name, value in named]


def _checked(request: Request, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, each of its type and every number a Decimal."""
    return {name: _typed(request, name, value, fields.get(name)) for name, value in request.params.items()}


def _typed(request: Request, name: str, value: Any, kind: Any) -> Any:
    if type(value) is kind and kind is not int:
        return value
    if kind is None:
        raise request.refused(unsupported(name, request.kind))
    if isinstance(kind, dict):
        if not isinstance(value, dict):
            raise request.refused(mistyped(name, "object"))
        return {key: _typed(request, key, item, kind.get(key)) for key, item in value.items()}
    if isinstance(kind, list):
        if not isinstance(value, list):
            raise request.refused(mistyped(name, "array"))
        return [_typed(request, name, item, kind[0]) for item in value]
    if kind is Decimal and (is_integer(value) or isinstance(value, Decimal)):
        return Decimal(value)
    fits = is_integer(value) if kind is int else isinstance(value, kind)
    if not fits:
        raise request.refused(mistyped(name, _KINDS[kind]))
    return value


def _require(request: Request, params: Mapping[str, Any], name: str) -> None:
    if name not in params:
        raise request.refused(missing(name))


def _price(request: Request, params: Mapping[str, Any], name: str) -> str:
    """A price with its type as REST writes it: 29000.5, +5% or -150."""
    if name not in params:
        return ""
    value, kind = params[name], params.get(f"{name}_type", "static")
    if kind not in PRICE_TYPES:
        raise request.refused(f"{INVALID}:{name}_type")
    if kind == "static":
        return plain(value)
    sign = "-" if value < 0 else "+"
    return f"{sign}{plain(abs(value))}{'%' * (kind == 'pct')}"


def _prices(limit: str, trigger: str) -> dict[str, str]:
    """REST's price is the trigger where there is one; the limit is then price2."""
    return {"price": trigger, "price2": limit} if trigger else {"price": limit}


def _close(request: Request, conditional: Mapping[str, Any]) -> dict[str, str]:
    if not conditional:
        return {}
    stop = {"trigger_price": conditional["stop_price"]} if "stop_price" in conditional else {}
    trigger = _price(request, {**stop, **conditional}, "trigger_price")
    prices = _prices(_price(request, conditional, "limit_price"), trigger)
    return {
        "close[ordertype]": conditional.get("order_type", ""),
        **{f"close[{name}]": price for name, price in prices.items()},
    }


def _flags(request: Request, params: Mapping[str, Any], viqc: bool) -> str:
    fee = _choice(request, params, "fee_preference", FEE_FLAGS)
    flags = [
        "post" * params.get("post_only", False),
        fee,
        "viqc" * viqc,
        "nompp" * params.get("no_mpp", False),
    ]
    return ",".join(filter(None, flags))


def _choice(request: Request, params: Mapping[str, Any], name: str, words: Mapping[str, str]) -> str:
    if name not in params:
        return ""
    if params[name] not in words:
        raise request.refused(f"{INVALID}:{name}")
    return words[params[name]]


def _seconds(request: Request, params: Mapping[str, Any], name: str) -> str:
    if name not in params:
        return ""
    time = time_from_rfc3339(params[name])
    if time is None:
        raise request.refused(f"{INVALID}:{name}")
    return plain(Decimal(time).scaleb(-3))


def _check_deadline(request: Request, params: Mapping[str, Any], now: Time) -> None:
    if "deadline" not in params:
        return
    deadline = time_from_rfc3339(params["deadline"])
    if deadline is None or deadline > now + DEADLINE[1]:
        raise request.refused(f"{INVALID}:deadline")
    if deadline <= now:
        raise request.refused(DEADLINE_ELAPSED)
    if deadline < now + DEADLINE[0]:
        raise request.refused(f"{INVALID}:deadline")


def _given(parameters: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}


def add_order(order: Order, token: str, deadline: Time | None = None, req_id: int | None = None) -> Request:
    """The request that places a domain order under its own client id."""
    params: dict[str, Any] = {
        "order_type": order.type.value,
        "side": order.side.value,
        "order_qty": order.quantity,
        "symbol": order.symbol,
        "cl_ord_id": order.client_id,
        "token": token,
    }
    if order.price is not None:
        params["limit_price"] = order.price
    if order.trigger is not None:
        params["triggers"] = {"reference": "last", "price": order.trigger, "price_type": "static"}
    if order.time_in_force is not TimeInForce.GTC:
        params["time_in_force"] = order.time_in_force.value.lower()
    if order.expires is not None:
        params["expire_time"] = timestamp(order.expires)
    if order.post_only:
        params["post_only"] = True
    if order.fee_asset is not None:
        params["fee_preference"] = "base" if order.fee_asset is FeeAsset.BASE else "quote"
    if deadline is not None:
        params["deadline"] = timestamp(deadline, digits=3)
    return Request("add_order", params, req_id)


def amend_order(
    client_id: str,
    token: str,
    quantity: Decimal | None = None,
    price: Decimal | None = None,
    req_id: int | None = None,
) -> Request:
    """The request that changes an open order in place; None leaves as it is, the quantity is the whole."""
    changes = {"order_qty": quantity, "limit_price": price}
    changed = {name: value for name, value in changes.items() if value is not None}
    return Request("amend_order", {"cl_ord_id": client_id, **changed, "token": token}, req_id)


def cancel_order(client_ids: Iterable[str], token: str, req_id: int | None = None) -> Request:
    """The request that cancels orders by client id; each gets an answer of its own."""
    return Request("cancel_order", {"cl_ord_id": list(client_ids), "token": token}, req_id)
