"""The rules of one pair at one time, as the exchange means them, and what the market shows of prices.

Laws: a Market is valid at birth; rules and rates are exact; a rule has a date and a source.
"""

from dataclasses import dataclass, field, fields
from datetime import date
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple

from lotwise.domain.values import (
    EXACT,
    Side,
    Time,
    is_multiple,
    ratio_up,
    require,
    require_exact,
    steps_down,
    steps_up,
)

PPM = 10**6


class FeeAsset(StrEnum):
    """In which of the pair's two assets the exchange takes its fee."""

    QUOTE = "quote"
    BASE = "base"


class Liquidity(StrEnum):
    """Whether an order waits in the book (maker) or takes from it (taker)."""

    MAKER = "maker"
    TAKER = "taker"


class MarketStatus(StrEnum):
    """Which new orders a pair takes: all; limit orders only; post-only ones; sells only; none. Cancelling
    is always allowed. (Kraken's words for a pair's status, documentation of 2026-05-27; "offline" is ours
    for a pair that is gone.)"""

    ONLINE = "online"
    LIMIT_ONLY = "limit_only"
    POST_ONLY = "post_only"
    REDUCE_ONLY = "reduce_only"
    CANCEL_ONLY = "cancel_only"
    OFFLINE = "offline"

    def takes(self, side: Side, limit: bool, post_only: bool) -> bool:
        """Whether a pair of this status takes such a new order."""
        match self:
            case MarketStatus.ONLINE:
                return True
            case MarketStatus.LIMIT_ONLY:
                return limit
            case MarketStatus.POST_ONLY:
                return post_only
            case MarketStatus.REDUCE_ONLY:
                return side is Side.SELL
            case _:  # cancel only, offline
                return False


class Tier(StrEnum):
    """A class of pairs that share a policy floor on the cost of an entry."""

    TIER_1 = "TIER_1"
    MID_TIER = "MID_TIER"
    MEME = "MEME"


def ppm(rate: Decimal, name: str) -> int:
    """A rate (a fraction of 1) in whole parts per million; BadField when it is finer than that."""
    parts = EXACT.multiply(rate, Decimal(PPM))
    require(parts == parts.to_integral_value(), name, f"{rate} is finer than one part per million")
    return int(parts)


def split_symbol(symbol: str) -> tuple[str, str]:
    """("SOL", "USDT") of "SOL/USDT"; BadField for any other shape."""
    base, slash, quote = symbol.partition("/")
    named = bool(slash) and all(part.isalnum() and part.upper() == part for part in (base, quote))
    require(named, "symbol", f"{symbol!r} is no pair; write BASE/QUOTE, such as SOL/USDT")
    return base, quote


def hash_fields(value: Any) -> int:
    """The hash of a frozen dataclass's own fields, to be kept: hashing a dozen Decimals at every
    use would cost more than the sizing rule itself."""
    return hash(tuple(getattr(value, f.name) for f in fields(value) if f.init))


class Grid(NamedTuple):
    """A market's steps in integers: money in quanta of 10^-digits, in which every cost is whole."""

    digits: int
    tick_lot: int
    """Quanta in one tick of price times one lot."""
    unit: int
    """Quanta in one unit of the quote asset (10^-quote_precision)."""


NUMBERS = ["tick_size", "lot_step", "min_quantity", "min_notional", "max_quantity", "maker_fee", "taker_fee"]


@dataclass(frozen=True, slots=True)
class Market:
    """What the exchange asks of an order on one pair, with the fees this account pays there.

    Prices are in quote per base on the grid of `tick_size`; quantities in base on the grid of
    `lot_step`, from `min_quantity` to `max_quantity` (None: no limit); a cost (price x quantity)
    is at least `min_notional` in quote and is booked in 10^-`quote_precision`. Fee rates are
    fractions in whole parts per million. Raises BadField.
    """

    symbol: str
    tick_size: Decimal
    lot_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    quote_precision: int
    maker_fee: Decimal
    taker_fee: Decimal
    max_quantity: Decimal | None = None
    fee_asset: FeeAsset = FeeAsset.QUOTE
    base: str = field(init=False, compare=False)
    quote: str = field(init=False, compare=False)
    grid: Grid = field(init=False, repr=False, compare=False)
    maker_ppm: int = field(init=False, repr=False, compare=False)
    taker_ppm: int = field(init=False, repr=False, compare=False)
    digest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        base, quote = split_symbol(self.symbol)
        for name in NUMBERS:
            require_exact(getattr(self, name), name)
        for name in ("tick_size", "lot_step", "min_quantity"):
            require(getattr(self, name) > 0, name, "must be above 0")
        require(self.min_notional >= 0, "min_notional", "must not be below 0")
        require(self.max_quantity is None or self.max_quantity > 0, "max_quantity", "must be above 0 or null")
        require(0 <= self.quote_precision <= 18, "quote_precision", "must be from 0 to 18")
        for name in ("maker_fee", "taker_fee"):
            require(0 <= getattr(self, name) < 1, name, "must be a fraction from 0 to below 1")
        tick_lot = EXACT.multiply(self.tick_size, self.lot_step)
        digits = max(self.quote_precision, -exponent(tick_lot))
        derived = {
            "base": base,
            "quote": quote,
            "grid": Grid(digits, int(tick_lot.scaleb(digits, EXACT)), 10 ** (digits - self.quote_precision)),
            "maker_ppm": ppm(self.maker_fee, "maker_fee"),
            "taker_ppm": ppm(self.taker_fee, "taker_fee"),
            "digest": hash_fields(self),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return self.digest

    @property
    def quote_unit(self) -> Decimal:
        """The smallest booked amount of the quote asset."""
        return Decimal(1).scaleb(-self.quote_precision)

    def fee_ppm(self, liquidity: Liquidity) -> int:
        """The fee rate of such an order in parts per million."""
        return self.maker_ppm if liquidity is Liquidity.MAKER else self.taker_ppm

    def fee_rate(self, liquidity: Liquidity) -> Decimal:
        """The fee rate of such an order as a fraction."""
        return self.maker_fee if liquidity is Liquidity.MAKER else self.taker_fee

    def on_tick(self, price: Decimal) -> bool:
        """Whether the exchange takes this price."""
        return price > 0 and is_multiple(price, self.tick_size)

    def price_down(self, price: Decimal) -> Decimal:
        """The price on the grid at or below: buying lower and selling later is the pessimistic side."""
        return EXACT.multiply(self.tick_size, Decimal(steps_down(price, self.tick_size)))

    def price_up(self, price: Decimal) -> Decimal:
        """The price on the grid at or above: a sell target must not promise less than asked."""
        return EXACT.multiply(self.tick_size, Decimal(steps_up(price, self.tick_size)))


def break_even_move(buy_fee: Decimal, sell_fee: Decimal) -> Decimal:
    """The rise of the price, as a fraction rounded up to a ppm, at which a round trip pays its fees.

    >>> break_even_move(Decimal("0.008"), Decimal("0.008"))
    Decimal('0.016130')
    """
    cost, kept = EXACT.add(buy_fee, sell_fee), EXACT.subtract(Decimal(1), sell_fee)
    return ratio_up(cost, kept)


def exponent(number: Decimal) -> int:
    """The power of ten of the last digit that is not zero: -2 of 0.50's grid 0.1 is -1."""
    exponent = number.normalize(EXACT).as_tuple().exponent
    assert isinstance(exponent, int)
    return exponent


@dataclass(frozen=True, slots=True)
class Listing:
    """One dated observation of a pair's rules at the exchange; it holds from its date on.

    `basis` says how the minimum is known ("observed", or from which other pair it is a guess).
    """

    symbol: str
    observed: date
    tick_size: Decimal
    lot_step: Decimal
    min_quantity: Decimal
    min_notional: Decimal
    quote_precision: int
    basis: str = "observed"
    max_quantity: Decimal | None = None


@lru_cache(maxsize=256)
def market_of(
    listing: Listing, maker_fee: Decimal, taker_fee: Decimal, fee_asset: FeeAsset = FeeAsset.QUOTE
) -> Market:
    """The rules of an observation with these fees. Raises BadField."""
    return Market(
        listing.symbol,
        tick_size=listing.tick_size,
        lot_step=listing.lot_step,
        min_quantity=listing.min_quantity,
        min_notional=listing.min_notional,
        quote_precision=listing.quote_precision,
        maker_fee=maker_fee,
        taker_fee=taker_fee,
        max_quantity=listing.max_quantity,
        fee_asset=fee_asset,
    )


@dataclass(frozen=True, slots=True)
class FeeTier:
    """The rates from a 30-day volume (in USD) on."""

    volume: Decimal
    maker_fee: Decimal
    taker_fee: Decimal


@dataclass(frozen=True, slots=True)
class FeeSchedule:
    """The exchange's fee ladder from a date on, lowest volume first."""

    effective: date
    tiers: tuple[FeeTier, ...]

    def tier(self, volume: Decimal) -> FeeTier:
        """The tier of a 30-day volume."""
        return next(tier for tier in reversed(self.tiers) if tier.volume <= volume)


@dataclass(frozen=True, slots=True)
class Candle:
    """What one bar showed: `date` is its opening time; prices in quote, volume in base."""

    symbol: str
    date: Time
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True, slots=True)
class Quote:
    """The best prices of a pair at a time: a sell gets `bid`, a buy pays `ask`."""

    symbol: str
    time: Time
    bid: Decimal
    ask: Decimal
