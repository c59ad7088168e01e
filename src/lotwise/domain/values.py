"""Numbers that are exact, amounts that know their asset, and steps with a direction.

Laws: no float becomes money; adding across assets raises; rounding always names its direction.
"""

from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from enum import StrEnum
from typing import NewType

Time = NewType("Time", int)
"""Milliseconds since 1970-01-01 UTC."""

EPOCH = Time(0)

MAX_DIGITS = 30
"""Accepted numbers lie on the grid of 10^-30 and below 10^30; anything else is a mistake, not money."""

EXACT = Context(prec=400, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
"""Arithmetic that raises rather than round: 400 digits hold any product this program forms."""


class Side(StrEnum):
    """Which way an order goes."""

    BUY = "buy"
    SELL = "sell"


class NotExact(ValueError):
    """The text or value is no exact, finite number of a sane size."""


class BadField(ValueError):
    """A value that its field cannot hold: says which field and what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


def require(holds: bool, field: str, problem: str) -> None:
    """Raise BadField unless the condition holds."""
    if not holds:
        raise BadField(field, problem)


def exact(value: Decimal | int | str) -> Decimal:
    """The value as a Decimal, or NotExact: floats, NaN, infinities and absurd exponents are refused.

    >>> exact("2.86")
    Decimal('2.86')
    """
    if isinstance(value, float):
        raise NotExact(f"{value!r} is a float; write it as text, such as '{value}'")
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        raise NotExact(f"{value!r} is not a number")
    text = str(value)
    if len(text) > 4 * MAX_DIGITS:
        raise NotExact(f"a number of {len(text)} characters is too long")
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise NotExact(f"{value!r} is not a number") from None
    if not number.is_finite():
        raise NotExact(f"{value} is not finite")
    if not number:
        return Decimal(0)
    # What is written out in so few characters lies on the grid; most numbers are.
    if (len(text) > MAX_DIGITS or "e" in text.lower()) and not _on_grid(number):
        raise NotExact(f"{value} is outside 10^-{MAX_DIGITS} .. 10^{MAX_DIGITS}")
    return number


def _on_grid(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    return -MAX_DIGITS <= number.adjusted() < MAX_DIGITS and exponent >= -MAX_DIGITS


def require_exact(value: Decimal | None, field: str) -> None:
    """Raise BadField unless the value is an exact Decimal (or None): numbers are checked at birth."""
    if value is None:
        return
    require(isinstance(value, Decimal), field, f"{value!r} is no Decimal; write exact('{value}')")
    try:
        exact(value)
    except NotExact as bad:
        raise BadField(field, str(bad)) from None


def plain(number: Decimal) -> str:
    """The number without exponent or trailing zeros: '0.00001', '160000'."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def round_down(number: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of step at or below number."""
    return EXACT.multiply(Decimal(steps_down(number, step)), step)


def round_up(number: Decimal, step: Decimal) -> Decimal:
    """The smallest multiple of step at or above number."""
    return EXACT.multiply(Decimal(steps_up(number, step)), step)


def steps_down(number: Decimal, step: Decimal) -> int:
    """How many whole steps fit into number (floor, below zero too)."""
    top, bottom = _ratio(number, step)
    return top // bottom


def steps_up(number: Decimal, step: Decimal) -> int:
    """How many whole steps cover number (ceiling)."""
    top, bottom = _ratio(number, step)
    return -(-top // bottom)


def is_multiple(number: Decimal, step: Decimal) -> bool:
    """Whether number lies on the grid of step."""
    top, bottom = _ratio(number, step)
    return top % bottom == 0


def ratio_up(part: Decimal, whole: Decimal) -> Decimal:
    """part / whole in whole parts per million, rounded up: costs and losses are never understated."""
    return EXACT.scaleb(Decimal(steps_up(EXACT.scaleb(part, 6), whole)), -6)


def _ratio(number: Decimal, step: Decimal) -> tuple[int, int]:
    if step <= 0:
        raise NotExact(f"a step must be above 0, not {step}")
    top, under = number.as_integer_ratio()
    step_top, step_under = step.as_integer_ratio()
    return top * step_under, under * step_top


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of one asset, such as 2.86 USDT. Only amounts of one asset add up."""

    number: Decimal
    asset: str

    def __post_init__(self) -> None:
        if not isinstance(self.number, Decimal) or not self.number.is_finite():
            raise NotExact(f"{self.number!r} {self.asset} is no exact amount")

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(EXACT.add(self.number, self._same(other)), self.asset)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(EXACT.subtract(self.number, self._same(other)), self.asset)

    def __neg__(self) -> "Amount":
        return Amount(EXACT.minus(self.number), self.asset)

    def __str__(self) -> str:
        return f"{plain(self.number)} {self.asset}"

    def _same(self, other: "Amount") -> Decimal:
        if self.asset != other.asset:
            raise ValueError(f"{self} and {other} are different assets")
        return other.number


def amount(text: str) -> Amount:
    """An amount from text: amount("2.86 USDT")."""
    number, _, asset = text.partition(" ")
    if not asset:
        raise NotExact(f"{text!r} names no asset; write '2.86 USDT'")
    return Amount(exact(number), asset)
