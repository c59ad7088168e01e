"""What the owner of the money asked for, in domain terms: the engine's only configuration."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.market import Liquidity, Market
from lotwise.domain.policy import Policy
from lotwise.domain.values import EPOCH, Time
from lotwise.markets import UnknownMarket


@dataclass(frozen=True, slots=True)
class Limits:
    """When to stop entering, exits always allowed. None or 0: no such limit.

    cooldown: after a loss on a pair, in milliseconds. guard_losses within guard_window: so many losses
    on a pair close it for the window. daily_loss: fall of the equity since the day began; drawdown:
    fall since its peak; spread: distance of ask and bid; all three as fractions.
    """

    cooldown: Time = EPOCH
    guard_losses: int = 0
    guard_window: Time = EPOCH
    daily_loss: Decimal | None = None
    drawdown: Decimal | None = None
    spread: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Fractions are of 1, times in milliseconds, money in the quote asset.

    markets gives the rules in force at a time; policies one sizing policy for each pair (tier
    floors differ); spread is the assumed distance of ask and bid where only candles are known;
    max_hold: how long a position may be held.
    """

    run_id: str
    quote: str
    policies: dict[str, Policy]
    markets: Callable[[str, Time], Market | UnknownMarket]
    bar: Time
    target: Decimal
    stop: Decimal
    max_open_trades: int
    entry: Liquidity
    entry_lifetime: Time
    min_confidence: float
    min_edge: Decimal
    spread: Decimal
    slippage: Decimal
    max_hold: Time | None
    limits: Limits
