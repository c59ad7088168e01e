"""What the operator of the sandbox may change about the exchange while it runs, as values.

Laws: a change is one value with all it needs, so that it can be written down and made again; it is checked
before anything is changed. Raises BadField where the exchange cannot do it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, Literal, assert_never

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from lotwise.domain.market import FeeSchedule, FeeTier, Market, MarketStatus
from lotwise.domain.values import Amount, BadField, NotExact, Time, amount, require
from lotwise.kraken.rest import SYSTEM_WORDS, Payload
from lotwise.ledger.postings import Overdrawn
from lotwise.sandbox.core import Core
from lotwise.sandbox.world import Tariff

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
MAX_LAG = 86_400


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class System:
    """The whole exchange: online, maintenance, cancel_only or post_only."""

    status: str
    change: Literal["system"] = "system"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Pair:
    """One pair: online, cancel_only, post_only, limit_only, reduce_only, or offline (delisted)."""

    pair: str
    status: MarketStatus
    change: Literal["pair"] = "pair"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Rules:
    """A pair's minimums and steps; what is left out stays as it is."""

    pair: str
    ordermin: Decimal | None = None
    costmin: Decimal | None = None
    tick_size: Decimal | None = None
    change: Literal["rules"] = "rules"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Fees:
    """Rates for everyone, in percent as Kraken shows them."""

    maker: Decimal
    taker: Decimal
    change: Literal["fees"] = "fees"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Lag:
    """By how many seconds ClosedOrders and TradesHistory lag behind what happened."""

    seconds: int
    change: Literal["lag"] = "lag"


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Money:
    """Money comes to an account, such as "100 USDT"; a negative amount leaves."""

    account: str
    amount: str
    change: Literal["money"] = "money"


Change = System | Pair | Rules | Fees | Lag | Money
_KINDS: dict[str, TypeAdapter[Any]] = {
    "system": TypeAdapter(System),
    "pair": TypeAdapter(Pair),
    "rules": TypeAdapter(Rules),
    "fees": TypeAdapter(Fees),
    "lag": TypeAdapter(Lag),
    "money": TypeAdapter(Money),
}
NAMES: tuple[str, ...] = tuple(_KINDS)


def change_of(plain: Mapping[str, Any]) -> Change:
    """The change that plain data describes; BadField names what is wrong with it."""
    kind = plain.get("change")
    if not isinstance(kind, str) or kind not in _KINDS:
        raise BadField("change", f"{kind!r} is not one of {' '.join(NAMES)}")
    change: Change = checked(_KINDS[kind], plain)
    return change


def plain_of(change: Change) -> Payload:
    """The change as plain data."""
    plain: Payload = _KINDS[change.change].dump_python(change, mode="json")
    return plain


def checked(adapter: TypeAdapter[Any], plain: Mapping[str, Any]) -> Any:
    """Plain data as the adapter's type, texts of numbers taken for numbers; BadField names what is wrong."""
    try:
        # JSON and TOML have floats, and they are no money: their text is.
        return adapter.validate_python({key: _exact(value) for key, value in plain.items()})
    except ValidationError as bad:
        error = bad.errors()[0]
        own = error.get("ctx", {}).get("error")
        if isinstance(own, BadField):
            raise own from None
        place = ".".join(str(part) for part in error["loc"]) or "entry"
        raise BadField(place, error["msg"]) from None


def _exact(value: Any) -> Any:
    return repr(value) if isinstance(value, float) else value


def check(core: Core, change: Change) -> None:
    """Raise BadField when the change can never be made."""
    match change:
        case System(status):
            require(status in SYSTEM_WORDS, "status", f"{status!r} is not one of {' '.join(SYSTEM_WORDS)}")
        case Pair(pair):
            _listed(core, pair)
        case Rules():
            _changed(core, change)
        case Fees(maker, taker):
            require(0 <= maker < 100 and 0 <= taker < 100, "fees", "must be percents from 0 to below 100")
        case Lag(seconds):
            require(0 <= seconds <= MAX_LAG, "seconds", f"must be from 0 to {MAX_LAG}")
        case Money(account, text):
            known = core.desk.verifications
            require(account in known, "account", f"{account!r} is not one of {' '.join(known)}")
            _amount(text)
        case _:
            assert_never(change)


def carry_out(core: Core, tariff: Tariff, change: Change, now: Time) -> None:
    """Make the change at a time."""
    check(core, change)
    core.advance(now)
    match change:
        case System(status):
            core.set_system_status(status)
        case Pair(pair, status):
            core.exchange.set_status(pair, status)
        case Rules():
            core.exchange.list_market(_changed(core, change))
        case Fees(maker, taker):
            rates = FeeTier(Decimal(0), maker.scaleb(-2), taker.scaleb(-2))
            tariff.schedule = core.desk.schedule = FeeSchedule(date.min, (rates,))
        case Lag(seconds):
            core.desk.history_lag = seconds * 1000
        case Money(account, text):
            try:
                core.deposit(account, _amount(text), now)
            except Overdrawn as no:
                raise BadField("amount", str(no)) from None
        case _:
            assert_never(change)


def _listed(core: Core, pair: str) -> Market:
    markets = core.exchange.markets()
    require(pair in markets, "pair", f"{pair!r} is not one of {' '.join(markets)}")
    return markets[pair]


def _changed(core: Core, rules: Rules) -> Market:
    market = _listed(core, rules.pair)
    return replace(
        market,
        min_quantity=market.min_quantity if rules.ordermin is None else rules.ordermin,
        min_notional=market.min_notional if rules.costmin is None else rules.costmin,
        tick_size=market.tick_size if rules.tick_size is None else rules.tick_size,
    )


def _amount(text: str) -> Amount:
    try:
        return amount(text)
    except NotExact as no:
        raise BadField("amount", str(no)) from None
