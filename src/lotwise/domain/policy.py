"""What the owner of the money allows one entry to be."""

from dataclasses import dataclass, field, replace
from decimal import Decimal

from lotwise.domain.market import hash_fields, ppm
from lotwise.domain.values import require, require_exact


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner of the money allows one entry to be. Money in the quote asset of the pair.

    fraction: the share of the spendable balance (free less reserve) to use, above 0 to 1.
    cap: the hard limit of an order's cost. risk_target: a second one, from a risk rule, or None.
    floor: the tier floor; entries below it are not worth placing. reserve: never touched.
    stop: the fraction below the entry at which the position must still be sellable (whole ppm).
    exit_headroom: how far above the minimums that sale must be (1.1 when live).
    raise_to_minimum: whether a share below the minimum is raised to it, never above cap and risk.
    Raises BadField.
    """

    cap: Decimal
    fraction: Decimal = Decimal("0.95")
    risk_target: Decimal | None = None
    floor: Decimal = Decimal(0)
    reserve: Decimal = Decimal(0)
    stop: Decimal = Decimal(0)
    exit_headroom: Decimal = Decimal(1)
    raise_to_minimum: bool = True
    digest: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("cap", "fraction", "risk_target", "floor", "reserve", "stop", "exit_headroom"):
            require_exact(getattr(self, name), name)
        require(0 < self.fraction <= 1, "fraction", "must be above 0 and at most 1")
        require(self.cap > 0, "cap", "must be above 0")
        require(self.risk_target is None or self.risk_target > 0, "risk_target", "must be above 0 or null")
        require(self.floor >= 0, "floor", "must not be below 0")
        require(self.reserve >= 0, "reserve", "must not be below 0")
        require(0 <= self.stop <= 1, "stop", "must be a fraction from 0 to 1")
        ppm(self.stop, "stop")
        require(self.exit_headroom > 0, "exit_headroom", "must be above 0")
        object.__setattr__(self, "digest", hash_fields(self))

    def __hash__(self) -> int:
        return self.digest


def fixed(size: Decimal, policy: Policy) -> Policy:
    """The policy of a bot with one order size: what the balance cannot pay of it makes it smaller."""
    return replace(policy, fraction=Decimal(1), cap=size, risk_target=None, raise_to_minimum=False)
