"""Kraken's REST words for orders: the parameters of AddOrder, and how an order is told afterwards.

Pure, and used by both sides of the wire. A parameter that cannot be raises BadField with Kraken's name
of it, so that the exchange can name it and a client can see it. Source: Kraken's documentation of
2026-05-27.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, TypeVar

from lotwise.domain.market import FeeAsset, Market
from lotwise.domain.orders import Order, OrderType, Purpose, TimeInForce
from lotwise.domain.values import (
    EXACT,
    Amount,
    BadField,
    NotExact,
    Side,
    Time,
    exact,
    plain,
    require,
)
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import rfc3339, time_from_rfc3339, time_of

KINDS = {kind.value: kind for kind in OrderType}
SIDES = {side.value: side for side in Side}
FORCES = {force.value: force for force in TimeInForce}
CLOSABLE = {word: kind for word, kind in KINDS.items() if kind is not OrderType.MARKET}
NO_FLAGS: frozenset[str] = frozenset()
FLAGS = frozenset({"post", "fciq", "fcib", "viqc", "nompp"})
SELF_TRADE = {word: word for word in ("cancel-newest", "cancel-oldest", "cancel-both")}
NEWEST = "cancel-newest"
T = TypeVar("T")
MAX_NAME = 18
UUID_LENGTHS = (32, 36)
MONTH = 31 * 86_400_000
DEADLINE = (2_000, 60_000)
"""How far ahead, in milliseconds, a REST deadline may lie."""
ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Offset:
    """A price relative to the last trade (of `price`) or to the trigger (of `price2`): "+" above it, "-"
    below, "#" whichever the order's side and type make sense of; in quote, or percent of it."""

    sign: str
    amount: Decimal
    percent: bool

    def __str__(self) -> str:
        return f"{self.sign}{plain(self.amount)}{'%' * self.percent}"


Price = Decimal | Offset


@dataclass(frozen=True, slots=True)
class Close:
    """A conditional close: an order on the other side for what the first one fills."""

    type: OrderType
    price: Price | None
    price2: Price | None


class NewOrder(NamedTuple):
    """What the parameters of AddOrder ask for; `volume` is in quote when the flag viqc is set."""

    pair: str
    side: Side
    type: OrderType
    volume: Decimal
    price: Price | None = None
    price2: Price | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    expires: Time | None = None
    flags: frozenset[str] = frozenset()
    userref: int | None = None
    cl_ord_id: str | None = None
    self_trade: str = NEWEST
    deadline: Time | None = None
    validate: bool = False
    close: Close | None = None

    @property
    def fee_asset(self) -> FeeAsset:
        """In what to take the fee: quote unless base is asked for. (The documentation names base as the
        default of a sell; real orders of both sides, 2024 to 2026, say fciq.)"""
        return FeeAsset.BASE if "fcib" in self.flags else FeeAsset.QUOTE


def new_order(parameters: Mapping[str, str], now: Time) -> NewOrder:
    """The order that these parameters of AddOrder ask for at a time; BadField names the first wrong one."""
    require(bool(parameters.get("pair")), "pair", "is missing")
    kind = _choice(parameters, "ordertype", KINDS)
    side = _choice(parameters, "type", SIDES)
    words = parameters.get("oflags", "")
    flags = frozenset(filter(None, words.split(","))) if words else NO_FLAGS
    require(flags <= FLAGS and not flags >= {"fciq", "fcib"}, "oflags", "are not flags of Kraken's")
    quote_volume = "viqc" in flags
    require(
        not quote_volume or (kind, side) == (OrderType.MARKET, Side.BUY), "oflags", "viqc: market buys only"
    )
    require("post" not in flags or kind is OrderType.LIMIT, "oflags", "post: limit orders only")
    price, price2 = prices_of(kind, parameters.get("price"), parameters.get("price2"), "price")
    force, expires = _lifetime(parameters, kind, now)
    require("post" not in flags or force in (TimeInForce.GTC, TimeInForce.GTD), "oflags", "post orders wait")
    return NewOrder(
        parameters["pair"],
        side,
        kind,
        positive(parameters, "volume"),
        price,
        price2,
        force,
        expires,
        flags,
        userref_of(parameters),
        _client_name(parameters),
        _choice(parameters, "stptype", SELF_TRADE, NEWEST),
        deadline_of(parameters, now),
        flag(parameters, "validate"),
        _close(parameters),
    )


def prices_of(kind: OrderType, first: str | None, second: str | None, name: str) -> tuple[Price | None, ...]:
    """(price, price2) of an order of this kind; `name` is the first one's in an error. A price that the
    kind has no use for must be absent or zero."""
    two = kind.has_trigger and kind.has_limit
    return (
        _price_where(kind is not OrderType.MARKET, first, name),
        _price_where(two, second, name.replace("price", "price2")),
    )


def _price_where(needed: bool, text: str | None, name: str) -> Price | None:
    price = price_of(text, name) if text else None
    if needed:
        require(price is not None and price != ZERO, name, "is missing")
        return price
    require(price is None or price == ZERO, name, "has no place in such an order")
    return None


def price_of(text: str, name: str = "price") -> Price:
    """A price as given: "27500", or relative to the market: "+5%", "-150", "#1.5%"."""
    if text[:1] in ("+", "-", "#"):
        digits = text[1:].removesuffix("%")
        return Offset(text[0], _decimal(digits, name), text.endswith("%"))
    return _decimal(text, name)


def optional_price(parameters: Mapping[str, str], name: str) -> Price | None:
    """A price parameter above zero where it is absolute; None when it is absent."""
    text = parameters.get(name, "")
    price = price_of(text, name) if text else None
    require(price != ZERO, name, "must be above 0")
    return price


def resolve(price: Price | None, reference: Decimal | None, up: bool, market: Market) -> Decimal | None:
    """The price in quote: itself, or relative to a reference, and then cut down to the tick (Kraken's
    notice of 2017-09: truncated). `up`: what "#" means. None: no price, or no reference yet."""
    if not isinstance(price, Offset):
        return price
    if reference is None:
        return None
    by = EXACT.scaleb(EXACT.multiply(reference, price.amount), -2) if price.percent else price.amount
    rises = up if price.sign == "#" else price.sign == "+"
    return market.price_down(EXACT.add(reference, by) if rises else EXACT.subtract(reference, by))


def rises(side: Side, kind: OrderType) -> bool:
    """Whether "#" puts such an order's price above the last one: a stop lies against its owner, all
    others for him."""
    against = kind in (OrderType.STOP_LOSS, OrderType.STOP_LOSS_LIMIT)
    return (side is Side.BUY) is against


class Priced(NamedTuple):
    """A new order with its prices in quote: limit and trigger, and those of its close."""

    new: NewOrder
    limit: Decimal | None
    trigger: Decimal | None
    close_limit: Decimal | None = None
    close_trigger: Decimal | None = None


def priced(new: NewOrder, market: Market, last: Decimal | None) -> Priced:
    """The order with relative prices worked out from the last trade's price. BadField: there is none."""
    limit, trigger = _limit_and_trigger((new.type, new.price, new.price2), new.side, market, last)
    if new.close is None:
        return Priced(new, limit, trigger)
    side = Side.SELL if new.side is Side.BUY else Side.BUY
    shape = (new.close.type, new.close.price, new.close.price2)
    return Priced(new, limit, trigger, *_limit_and_trigger(shape, side, market, last))


def _limit_and_trigger(
    shape: tuple[OrderType, Price | None, Price | None], side: Side, market: Market, last: Decimal | None
) -> tuple[Decimal | None, Decimal | None]:
    kind, price, price2 = shape
    first = resolve(price, last, rises(side, kind), market)
    require(price is None or first is not None, "price", "there is no last price to relate it to")
    if not kind.has_trigger:
        return first, None
    return resolve(price2, first, side is Side.BUY, market), first


def domain_order(order: Priced, market: Market, client_id: str, quantity: Decimal, now: Time) -> Order:
    """The order in domain terms; the exchange reckons its own hold, so that the reserve is 0."""
    new = order.new
    return Order(
        client_id,
        market.symbol,
        new.side,
        new.type,
        quantity,
        order.limit,
        Amount(ZERO, market.quote if new.side is Side.BUY else market.base),
        Purpose.ENTRY,
        now,
        new.time_in_force,
        new.expires,
        "post" in new.flags,
        new.fee_asset,
        order.trigger,
    )


def order_parameters(order: Order, deadline: Time | None = None) -> dict[str, str]:
    """The parameters of AddOrder for a domain order. A GTD order ends at the whole second before."""
    first, second = (order.trigger, order.price) if order.type.has_trigger else (order.price, None)
    flags = [word for word, on in (("post", order.post_only), *_fee_flags(order.fee_asset)) if on]
    optional = {
        "price": None if first is None else plain(first),
        "price2": None if second is None else plain(second),
        "oflags": ",".join(flags),
        "timeinforce": "" if order.time_in_force is TimeInForce.GTC else order.time_in_force.value,
        "expiretm": None if order.expires is None else str(order.expires // 1000),
        "deadline": None if deadline is None else rfc3339(deadline),
    }
    return {
        "pair": pair_names(order.symbol).altname,
        "type": order.side.value,
        "ordertype": order.type.value,
        "volume": plain(order.quantity),
        "cl_ord_id": order.client_id,
        **{name: value for name, value in optional.items() if value},
    }


def _fee_flags(asset: FeeAsset | None) -> tuple[tuple[str, bool], ...]:
    return ("fciq", asset is FeeAsset.QUOTE), ("fcib", asset is FeeAsset.BASE)


def flag(parameters: Mapping[str, str], name: str) -> bool:
    """A boolean parameter: true or false, 1 or 0, in any case; absent is false."""
    word = parameters.get(name, "").lower()
    if word not in ("", "true", "false", "1", "0"):
        raise BadField(name, f"{word!r} is neither true nor false")
    return word in ("true", "1")


def positive(parameters: Mapping[str, str], name: str) -> Decimal:
    """A decimal parameter above zero."""
    number = _decimal(parameters.get(name, ""), name)
    require(number > 0, name, "must be above 0")
    return number


def nonnegative(parameters: Mapping[str, str], name: str) -> Decimal:
    """A decimal parameter of at least zero, and below 10^12, as any time and quantity on the wire is."""
    number = _decimal(parameters.get(name, ""), name)
    require(number < 10**12, name, "is too large")
    return number


def userref_of(parameters: Mapping[str, str]) -> int | None:
    """The signed 32-bit number that a client may give to several orders."""
    text = parameters.get("userref", "")
    if not text:
        return None
    number = whole(text, "userref")
    require(-(2**31) <= number < 2**31, "userref", "must fit in 32 bits")
    return number


def whole(text: str, name: str) -> int:
    """A whole number of at most 20 characters."""
    sign = text[:1] == "-"
    require(text.isascii() and text[sign:].isdigit() and len(text) <= 20, name, "must be a whole number")
    return int(text)


def deadline_of(parameters: Mapping[str, str], now: Time) -> Time | None:
    """The time after which the order must not be taken: 2 to 60 seconds ahead. One that is past already
    is no wrong argument: it has elapsed."""
    text = parameters.get("deadline", "")
    if not text:
        return None
    deadline = time_from_rfc3339(text)
    require(deadline is not None, "deadline", "is no RFC 3339 time")
    assert deadline is not None
    require(
        deadline <= now or DEADLINE[0] <= deadline - now <= DEADLINE[1], "deadline", "not 2 to 60 s ahead"
    )
    return deadline


def _client_name(parameters: Mapping[str, str]) -> str | None:
    name = parameters.get("cl_ord_id", "")
    if not name:
        return None
    require(not parameters.get("userref"), "cl_ord_id", "excludes userref")
    hexadecimal = name.replace("-", "")
    uuid = len(name) in UUID_LENGTHS and len(hexadecimal) == UUID_LENGTHS[0]
    uuid = uuid and all(letter in "0123456789abcdefABCDEF" for letter in hexadecimal)
    short = len(name) <= MAX_NAME and name.isascii() and name.isprintable()
    require(uuid or short, "cl_ord_id", "is neither a UUID nor at most 18 ASCII characters")
    return name


def _lifetime(parameters: Mapping[str, str], kind: OrderType, now: Time) -> tuple[TimeInForce, Time | None]:
    force = _choice(parameters, "timeinforce", FORCES, TimeInForce.GTC.value)
    expires = moment_of(parameters.get("expiretm", ""), "expiretm", now)
    require((expires is not None) == (force is TimeInForce.GTD), "expiretm", "goes with GTD, and GTD with it")
    require(expires is None or now < expires <= now + MONTH, "expiretm", "not within a month from now")
    at_once = force in (TimeInForce.IOC, TimeInForce.FOK)
    require(not at_once or kind in (OrderType.LIMIT, OrderType.MARKET), "timeinforce", "not for this type")
    if kind is OrderType.MARKET:
        require(force is not TimeInForce.GTD, "timeinforce", "a market order does not wait")
    return force, expires


def moment_of(text: str, name: str, now: Time) -> Time | None:
    """A time as Kraken takes it: "0" or nothing for none, "+5" seconds from now, else Unix seconds."""
    if text in ("", "0"):
        return None
    ahead = _decimal(text.removeprefix("+"), name)
    require(ahead < 10**11, name, "is no time")
    return Time(now + time_of(ahead)) if text.startswith("+") else time_of(ahead)


def _close(parameters: Mapping[str, str]) -> Close | None:
    given = {name for name in parameters if name.startswith("close[") and parameters[name]}
    if not given:
        return None
    kind = _choice(parameters, "close[ordertype]", CLOSABLE)
    first, second = parameters.get("close[price]"), parameters.get("close[price2]")
    return Close(kind, *prices_of(kind, first, second, "close[price]"))


def _choice(
    parameters: Mapping[str, str], name: str, choices: Mapping[str, T], default: str | None = None
) -> T:
    word = parameters.get(name) or default
    if word is None or word not in choices:
        raise BadField(name, f"{word!r} is not one of {' '.join(choices)}")
    return choices[word]


def _decimal(text: str, name: str) -> Decimal:
    if not text or text.strip("0123456789."):
        raise BadField(name, f"{text!r} is no plain number")
    try:
        return exact(text)
    except NotExact as bad:
        raise BadField(name, str(bad)) from None
