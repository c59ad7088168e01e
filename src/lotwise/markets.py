"""Which rules hold for a pair on a day: the one owner of minimums, tier floors and fees in force.

Law: an observation holds from its date on, never before; what was not observed is an UnknownMarket,
never a guess of ours. Rules and fees have a date each, so that both may be pinned whatever the
candles' dates. Observations and schedules are handed in: no exchange is known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum

from lotwise.domain.market import FeeSchedule, Listing, Market, Tier, market_of
from lotwise.domain.orders import RejectionKind
from lotwise.domain.values import EXACT, Time, require

_TIERS = {
    Tier.TIER_1: "SOL ADA BTC ETH XRP LTC LINK DOT AVAX ALGO ATOM POL",
    Tier.MID_TIER: "MANA",
    Tier.MEME: "DOGE SHIB BERA FARTCOIN AI16Z",
}
DEFAULT_TIERS: Mapping[str, Tier] = {base: tier for tier, bases in _TIERS.items() for base in bases.split()}
"""The tier of each base; policy only, no exchange knows of it."""


class Unknown(StrEnum):
    """Why no rules can be told for a pair."""

    NO_SUCH_PAIR = "NO_SUCH_PAIR"
    NOT_YET_OBSERVED = "NOT_YET_OBSERVED"
    NO_FEES_YET = "NO_FEES_YET"


@dataclass(frozen=True, slots=True)
class UnknownMarket:
    """A refusal to tell a pair's rules: the reason, the first day they are known from, the remedy."""

    symbol: str
    reason: Unknown
    known_from: date | None
    remedy: str


@dataclass(frozen=True, slots=True)
class Markets:
    """Dated listings and fee schedules, and the policy's tier floors in quote by the tier's name.

    Of two observations of a pair on one day the later in the tuple holds. A base without a tier is
    MID_TIER. Raises BadField.
    """

    listings: tuple[Listing, ...]
    schedules: tuple[FeeSchedule, ...]
    floors: Mapping[str, Decimal]
    tiers: Mapping[str, Tier]
    history: Mapping[str, tuple[Listing, ...]] = field(init=False, repr=False, compare=False)
    """Each pair's listings, oldest first."""

    def __post_init__(self) -> None:
        require(bool(self.schedules), "schedules", "must name at least one")
        for schedule in self.schedules:
            volumes = [tier.volume for tier in schedule.tiers]
            require(volumes[:1] == [0] and volumes == sorted(volumes), "schedules", "must rise from volume 0")
        for tier in Tier:
            require(tier in self.floors, "floors", f"name no floor for {tier}")
            require(self.floors[tier] >= 0, "floors", f"{tier} must not be below 0")
        history: dict[str, tuple[Listing, ...]] = {}
        for listing in sorted(self.listings, key=lambda listing: listing.observed):
            history[listing.symbol] = (*history.get(listing.symbol, ()), listing)
        object.__setattr__(self, "history", history)

    def symbols(self, quote: str) -> tuple[str, ...]:
        """The known pairs of a quote asset, in the order they were handed in."""
        known = dict.fromkeys(listing.symbol for listing in self.listings)
        return tuple(symbol for symbol in known if symbol.endswith(f"/{quote}"))

    def tier(self, symbol: str) -> Tier:
        """The tier of a pair's base."""
        return self.tiers.get(symbol.partition("/")[0], Tier.MID_TIER)

    def floor(self, symbol: str) -> Decimal:
        """What an entry on the pair must cost at least by policy, in quote."""
        return self.floors[self.tier(symbol)]

    def listing(self, symbol: str, on: date) -> Listing | UnknownMarket:
        """The latest observation of a pair at or before a day."""
        observations = self.history.get(symbol, ())
        if not observations:
            return UnknownMarket(symbol, Unknown.NO_SUCH_PAIR, None, self._other_pairs(symbol))
        if on < (first := observations[0].observed):
            remedy = f"{symbol} was first observed on {first}: use the rules of that day or later"
            return UnknownMarket(symbol, Unknown.NOT_YET_OBSERVED, first, remedy)
        return next(listing for listing in reversed(observations) if listing.observed <= on)

    def market(
        self, symbol: str, rules_on: date, fees_on: date, volume: Decimal = Decimal(0)
    ) -> Market | UnknownMarket:
        """The rules of one day with the fees of another, for a 30-day volume in USD."""
        require(volume >= 0, "volume", "must not be below 0")
        listing = self.listing(symbol, rules_on)
        if isinstance(listing, UnknownMarket):
            return listing
        schedules = sorted(self.schedules, key=lambda schedule: schedule.effective)
        in_force = [schedule for schedule in schedules if schedule.effective <= fees_on]
        if not in_force:
            first = schedules[0].effective
            remedy = f"no fees are known before {first}: use the fees of that day or later"
            return UnknownMarket(symbol, Unknown.NO_FEES_YET, first, remedy)
        fees = in_force[-1].tier(volume)
        return market_of(listing, fees.maker_fee, fees.taker_fee)

    def floors_alone(
        self, symbol: str, rules_on: date, fees_on: date, volume: Decimal = Decimal(0)
    ) -> Market | UnknownMarket:
        """The same without the exchange's minimums: one lot is enough, and only the tier floor binds."""
        market = self.market(symbol, rules_on, fees_on, volume)
        if isinstance(market, UnknownMarket):
            return market
        return replace(market, min_quantity=market.lot_step, min_notional=Decimal(0))

    def _other_pairs(self, symbol: str) -> str:
        base = symbol.partition("/")[0]
        pairs = [known for known in self.history if known.partition("/")[0] == base]
        if not pairs:
            return f"no pair of {base} is known; add a dated listing of it"
        return f"{base} is known as {', '.join(pairs)}: choose one, or add a dated listing of {symbol}"


def age_days(listing: Listing, on: date) -> int:
    """How old an observation is on a day, in days."""
    return (on - listing.observed).days


EVIDENCE_AGE = 7 * 86_400_000
"""Milliseconds that a learned minimum is trusted; then the listing speaks alone until it errs again."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What our own orders taught about a pair's minimums beyond its listing.

    min_quantity (base) and min_notional (quote): just above the largest refusal of that kind, or
    None. contradicts: the exchange refused what its own listing allows. time: the last refusal's.
    """

    min_quantity: Decimal | None
    min_notional: Decimal | None
    contradicts: bool
    time: Time


def taught_by_refusal(
    known: Evidence | None, kind: RejectionKind, quantity: Decimal, notional: Decimal, at: tuple[Market, Time]
) -> Evidence:
    """The evidence after an order of this size was refused by a minimum: the rule lies above it.

    `at` is the market as listed, and the time. A refusal of another kind teaches nothing about
    minimums: BadField.
    """
    market, time = at
    least, cost = (known.min_quantity, known.min_notional) if known else (None, None)
    contradicts = known is not None and known.contradicts
    if kind is RejectionKind.MIN_QUANTITY:
        contradicts |= quantity >= market.min_quantity
        least = max(least or Decimal(0), EXACT.add(quantity, market.lot_step))
    else:
        require(kind is RejectionKind.MIN_NOTIONAL, "kind", f"{kind} teaches nothing about minimums")
        contradicts |= notional >= market.min_notional
        cost = max(cost or Decimal(0), EXACT.add(notional, market.quote_unit))
    return Evidence(least, cost, contradicts, time)


def taught_by_acceptance(known: Evidence, quantity: Decimal, notional: Decimal) -> Evidence | None:
    """The evidence that an accepted order of this size leaves: what lies above it is disproved.
    None: nothing is left."""
    least = None if known.min_quantity and known.min_quantity > quantity else known.min_quantity
    cost = None if known.min_notional and known.min_notional > notional else known.min_notional
    return replace(known, min_quantity=least, min_notional=cost) if least or cost else None


def raised(market: Market, known: Evidence | None, now: Time) -> Market:
    """The market with its minimums raised by evidence that is not too old."""
    if known is None or now - known.time > EVIDENCE_AGE:
        return market
    return replace(
        market,
        min_quantity=max(market.min_quantity, known.min_quantity or Decimal(0)),
        min_notional=max(market.min_notional, known.min_notional or Decimal(0)),
    )
