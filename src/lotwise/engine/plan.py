"""What the owner of the money asked for, in domain terms: the engine's only configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from lotwise.domain.market import Liquidity, Market
from lotwise.domain.orders import Purpose
from lotwise.domain.policy import Policy
from lotwise.domain.values import EPOCH, Time
from lotwise.markets import UnknownMarket


class EntryStyle(StrEnum):
    """How a position is opened: wait in the book, buy at once, or wait and then buy at once."""

    MAKER = "maker"
    TAKER = "taker"
    MAKER_THEN_TAKER = "maker_then_taker"

    @property
    def first(self) -> Liquidity:
        """The role of a wish's first order."""
        return Liquidity.TAKER if self is EntryStyle.TAKER else Liquidity.MAKER


def exit_role(stop_rests: bool) -> Liquidity:
    """The role of a sale at the target: one that waits there is a maker's, one at once a taker's."""
    return Liquidity.TAKER if stop_rests else Liquidity.MAKER


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop entering, exits always allowed. None or 0: no such limit.

    cooldown: after a loss on a pair, in milliseconds. guard_losses within guard_window: so many losses
    on a pair close it for the window. daily_loss: fall of the equity since the day began; drawdown:
    fall since its peak; spread: distance of ask and bid; volume: the share of what a bar traded that
    one order may be; all four as fractions.
    """

    cooldown: Time = EPOCH
    guard_losses: int = 0
    guard_window: Time = EPOCH
    daily_loss: Decimal | None = None
    drawdown: Decimal | None = None
    spread: Decimal | None = None
    volume: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Risks:
    """What one entry may lose or swing, as fractions of the equity; None: no such target.

    loss: what its stop would cost, both fees included. swing: what a typical day's move of the pair
    (the deviation of its last `window` closes, scaled to a day) would change the equity by.
    """

    loss: Decimal | None = None
    swing: Decimal | None = None
    window: int = 48


@dataclass(frozen=True, slots=True)
class Plan:
    """Fractions are of 1, times in milliseconds, money in the quote asset.

    markets gives the rules in force at a time; policies one sizing policy for each pair (tier
    floors differ); spread is the assumed distance of ask and bid where only candles are known;
    max_hold: how long a position may be held; trailing: how far below its highest price a position is
    sold; stop_rests: the stop waits at the exchange and the run watches the target, else the other way
    round. A maker entry that ends unfilled is placed anew at most `replaces` times.
    """

    run_id: str
    quote: str
    policies: dict[str, Policy]
    markets: Callable[[str, Time], Market | UnknownMarket]
    bar: Time
    target: Decimal
    stop: Decimal
    max_open_trades: int
    style: EntryStyle
    replaces: int
    entry_lifetime: Time
    min_edge: Decimal
    spread: Decimal
    slippage: Decimal
    max_hold: Time | None
    trailing: Decimal | None
    stop_rests: bool
    limits: Limits
    risks: Risks

    @property
    def tries(self) -> int:
        """How often a wish may be ordered in all."""
        return 1 + self.replaces + (self.style is EntryStyle.MAKER_THEN_TAKER)

    @property
    def resting(self) -> Purpose:
        """Which sale of a holding waits at the exchange."""
        return Purpose.PROTECTION if self.stop_rests else Purpose.TARGET

    def liquidity(self, attempt: int) -> Liquidity:
        """The role of a wish's order at this attempt (from 0)."""
        return self.style.first if attempt <= self.replaces else Liquidity.TAKER
