"""What a holding has cost and what selling it earned: average cost, fees included."""

from dataclasses import dataclass, replace
from decimal import Decimal

from lotwise.domain.orders import Fill
from lotwise.domain.values import EXACT, Side, steps_up

COST_UNIT = Decimal("0.00000001")
"""Cost that leaves with a part of a holding is rounded up to this, so that gains are never early."""


@dataclass(frozen=True, slots=True)
class Position:
    """A holding: quantity in base, cost in quote (fees included), what its sales have earned so far."""

    symbol: str
    quantity: Decimal = Decimal(0)
    cost: Decimal = Decimal(0)
    realised_pnl: Decimal = Decimal(0)


def after_fill(position: Position, fill: Fill) -> Position:
    """The position after one fill. A fee in base is quantity that never arrived (or left with the sale)."""
    in_quote = fill.fee.asset == fill.cost.asset
    fee_quote = fill.fee.number if in_quote else Decimal(0)
    fee_base = Decimal(0) if in_quote else fill.fee.number
    if fill.side is Side.BUY:
        got = EXACT.subtract(fill.quantity, fee_base)
        paid = EXACT.add(fill.cost.number, fee_quote)
        return Position(
            position.symbol,
            EXACT.add(position.quantity, got),
            EXACT.add(position.cost, paid),
            position.realised_pnl,
        )
    gone = EXACT.add(fill.quantity, fee_base)
    left = EXACT.subtract(position.quantity, gone)
    cost_gone = position.cost if not left else _share(position.cost, gone, position.quantity)
    earned = EXACT.subtract(EXACT.subtract(fill.cost.number, fee_quote), cost_gone)
    return Position(
        position.symbol,
        left,
        EXACT.subtract(position.cost, cost_gone),
        EXACT.add(position.realised_pnl, earned),
    )


def after_withdrawal(position: Position, left: Decimal) -> Position:
    """The position when coins left without a sale: their part of the cost goes along, no gain, no loss."""
    gone = _share(position.cost, EXACT.subtract(position.quantity, left), position.quantity)
    return replace(position, quantity=left, cost=EXACT.subtract(position.cost, gone))


def _share(cost: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    units = steps_up(EXACT.multiply(cost, part), EXACT.multiply(whole, COST_UNIT))
    return min(cost, EXACT.multiply(Decimal(units), COST_UNIT))
