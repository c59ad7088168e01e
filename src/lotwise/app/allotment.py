"""What so much money can buy on Kraken now, and which change would make it buy.

Law: the rule is the one of `lotwise fit`, under Kraken's minimums, fees and prices of this moment.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from lotwise.app.live import rules_of
from lotwise.app.settings import Settings
from lotwise.app.summary import MONEY, money_up
from lotwise.app.wire import plan_of
from lotwise.domain.market import Market, Quote
from lotwise.domain.orders import Opportunity
from lotwise.domain.sizing import Reason, Refused, Sized, size_order
from lotwise.domain.values import EPOCH, EXACT, Amount, plain, ratio_up, round_down, round_up, steps_up
from lotwise.engine.engine import entry_price
from lotwise.engine.records import Listed

SMALLEST = Decimal("0.00000001")
FRACTION_STEP = Decimal("0.001")
"""A live.fraction is proposed in steps of this, rounded up: so much is enough."""

KEYS = {
    Reason.CAP_BELOW_MINIMUM: "a higher sizing.max_order_size_usdt",
    Reason.RISK_BELOW_MINIMUM: "a higher sizing.risk_per_trade",
    Reason.UNSELLABLE_AT_STOP: "a closer stoploss",
    Reason.ABOVE_MAX_QUANTITY: "another pair",
    Reason.NO_FREE_BALANCE: "a higher sizing.max_order_size_usdt",
}
"""What helps where no amount would."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What `money` can buy. least: the smallest amount that each pair would do with, None where none would;
    fits: the pairs that do with it; reasons: why each other does not; unpriced: pairs without prices now."""

    money: Amount
    least: Mapping[str, Decimal | None]
    fits: tuple[str, ...]
    reasons: Mapping[str, Reason]
    unpriced: tuple[str, ...]

    @property
    def needed(self) -> Amount | None:
        """The smallest amount that any pair would do with."""
        found = [least for least in self.least.values() if least is not None]
        return Amount(min(found), self.money.asset) if found else None

    @property
    def nearest(self) -> str:
        """The pair that needs the least; only where one is needed."""
        return min((least, symbol) for symbol, least in self.least.items() if least is not None)[1]

    def told(self) -> str:
        """How many pairs fit, which, and what each other needs."""
        count = f"{len(self.fits)} of {len(self.least)} pairs"
        parts = [
            f"{count} can be bought now" + (f": {', '.join(map(self._from, self.fits))}" if self.fits else "")
        ]
        parts += [self._needs(symbol) for symbol in self.least if symbol not in self.fits]
        parts += [f"{symbol} has no prices now" for symbol in self.unpriced]
        return "; ".join(parts)

    def _from(self, symbol: str) -> str:
        least = self.least[symbol]
        return symbol if least is None else f"{symbol} (from {money_up(least)})"

    def _needs(self, symbol: str) -> str:
        least, reason = self.least[symbol], self.reasons[symbol]
        return f"{symbol} needs {money_up(least) if least is not None else _key(reason)}"


def reach(
    settings: Settings, listings: Mapping[str, Listed], quotes: Mapping[str, Quote], money: Amount
) -> Reach:
    """What this money can buy, flat, at these prices; the settings are those of a run with real orders."""
    plan, rules = plan_of(settings, ""), rules_of(listings, settings.sizing.fee_asset)
    least: dict[str, Decimal | None] = {}
    fits, reasons = [], {}
    for symbol in (symbol for symbol in settings.pairs if symbol in quotes and symbol in listings):
        market, liquidity = rules(symbol, EPOCH), plan.liquidity(0)
        assert isinstance(market, Market), "what is listed has rules"
        wish = Opportunity(symbol, entry_price(plan, liquidity, market, quotes[symbol]), liquidity)
        nothing = size_order(wish, market, Amount(Decimal(0), money.asset), plan.policies[symbol])
        assert isinstance(nothing, Refused), "nothing buys nothing"
        least[symbol] = nothing.needed
        match size_order(wish, market, money, plan.policies[symbol]):
            case Sized():
                fits.append(symbol)
            case Refused() as no:
                reasons[symbol] = no.reason
    unpriced = tuple(symbol for symbol in settings.pairs if symbol in listings and symbol not in quotes)
    return Reach(money, least, tuple(fits), reasons, unpriced)


def share_of(available: Decimal, fraction: Decimal) -> Decimal:
    """How much of what is available a run may touch."""
    return round_down(EXACT.multiply(available, fraction), SMALLEST)


def remedy(found: Reach, fraction: Decimal, available: Decimal) -> str:
    """Which live.fraction, or else which balance, would make a first pair fit where this share of what is
    available fits none."""
    if not found.least:
        return "wait until Kraken tells prices"
    needed = found.needed
    if needed is None:
        return (
            f"no amount would do; it takes {' or '.join(sorted({_key(r) for r in found.reasons.values()}))}"
        )
    least, asset, first = needed.number, needed.asset, found.nearest
    if least <= available:
        enough = plain(round_up(ratio_up(least, available), FRACTION_STEP))
        return f"with live.fraction {enough} {first} fits (LOTWISE__LIVE__FRACTION={enough})"
    whole = f"{first} fits with {money_up(least, asset)} in the account and live.fraction 1"
    if fraction == 1:
        return whole
    return (
        f"{whole}, or with {money_up(_whole_of(least, fraction), asset)} and live.fraction {plain(fraction)}"
    )


def _whole_of(share: Decimal, fraction: Decimal) -> Decimal:
    """The least of which this fraction is such a share."""
    return EXACT.multiply(Decimal(steps_up(share, EXACT.multiply(fraction, MONEY))), MONEY)


def _key(reason: Reason) -> str:
    return KEYS.get(reason, str(reason))
