"""Numbers that are exact, and steps that name their direction."""

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotwise.domain.market import break_even_move
from lotwise.domain.values import (
    MAX_DIGITS,
    Amount,
    NotExact,
    amount,
    exact,
    is_multiple,
    plain,
    ratio_up,
    round_down,
    round_up,
)

numbers = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)
steps = st.decimals(min_value=Decimal("1e-12"), max_value=10**4).filter(lambda step: step > 0)


@given(numbers, steps)
def test_rounding_goes_to_the_next_step_on_its_side(number: Decimal, step: Decimal) -> None:
    exactly = Fraction(number) / Fraction(step)
    assert Fraction(round_down(number, step)) == floor(exactly) * Fraction(step)
    assert Fraction(round_up(number, step)) == ceil(exactly) * Fraction(step)
    assert is_multiple(number, step) == (exactly.denominator == 1)


@pytest.mark.parametrize("step", ["0", "-0.1"])
def test_a_step_of_nothing_is_refused(step: str) -> None:
    with pytest.raises(NotExact, match="a step must be above 0"):
        round_down(Decimal(1), Decimal(step))


@pytest.mark.parametrize(
    "bad",
    [
        0.1,
        True,
        None,
        "abc",
        "NaN",
        "Infinity",
        "1e400",
        "1e-31",
        "9" * 200,
        [1],
        f"0.{'0' * 31}1",
        f"1{'0' * 30}",
    ],
)
def test_what_is_no_exact_number_is_refused(bad: object) -> None:
    with pytest.raises(NotExact):
        exact(bad)  # type: ignore[arg-type]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=MAX_DIGITS - 1, max_value=10**9))
def test_an_exact_number_keeps_its_value_through_text(number: Decimal) -> None:
    assert exact(plain(exact(number))) == number


def test_zero_has_one_form() -> None:
    assert str(exact("-0E+5")) == "0"


def test_an_amount_knows_its_asset() -> None:
    assert amount("2.86 USDT") == Amount(Decimal("2.86"), "USDT")
    assert str(-amount("2.860 USDT") - amount("1 USDT")) == "-3.86 USDT"
    with pytest.raises(NotExact, match="names no asset"):
        amount("2.86")
    with pytest.raises(NotExact, match="no exact amount"):
        Amount(Decimal("NaN"), "USDT")


@given(st.integers(0, 10**9), st.integers(1, 10**9))
def test_a_share_is_never_understated(part: int, whole: int) -> None:
    share = Fraction(ratio_up(Decimal(part), Decimal(whole)))
    assert 0 <= share - Fraction(part, whole) < Fraction(1, 10**6)


rates = st.integers(0, 500_000).map(lambda ppm: Decimal(ppm) / 10**6)


@given(rates, rates)
def test_at_the_break_even_move_a_round_trip_loses_nothing_and_a_ppm_less_does(
    buy: Decimal, sell: Decimal
) -> None:
    move = Fraction(break_even_move(buy, sell))

    def left(rise: Fraction) -> Fraction:
        return (1 + rise) * (1 - Fraction(sell)) - (1 + Fraction(buy))

    assert left(move) >= 0
    assert move == 0 or left(move - Fraction(1, 10**6)) < 0


def test_the_break_even_moves_of_todays_fees() -> None:
    maker, taker = Decimal("0.004"), Decimal("0.008")
    assert break_even_move(taker, taker) == Decimal("0.016130")
    assert break_even_move(maker, taker) == Decimal("0.012097")
    assert break_even_move(maker, maker) == Decimal("0.008033")
