"""A policy that cannot be says which field is wrong, and what would be right."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from lotwise import Market, Opportunity
from lotwise.domain.policy import Policy, fixed
from lotwise.domain.sizing import Bound, Sized, size_order
from lotwise.domain.values import BadField, amount, exact

D = Decimal
SOL = Market("SOL/USDT", D("0.01"), D("0.00000001"), D("0.02"), D("0.5"), 5, D("0.004"), D("0.008"))
WISH = Opportunity("SOL/USDT", exact("150.12"))


@pytest.mark.parametrize(
    ("field", "bad", "problem"),
    [
        ("fraction", "0", "must be above 0 and at most 1"),
        ("fraction", "1.000001", "must be above 0 and at most 1"),
        ("cap", "0", "must be above 0"),
        ("risk_target", "0", "must be above 0 or null"),
        ("floor", "-0.01", "must not be below 0"),
        ("reserve", "-0.01", "must not be below 0"),
        ("stop", "-0.01", "must be a fraction from 0 to 1"),
        ("stop", "1.01", "must be a fraction from 0 to 1"),
        ("stop", "0.0000001", "1E-7 is finer than one part per million"),
        ("exit_headroom", "0", "must be above 0"),
    ],
)
def test_a_field_that_cannot_be_is_named_with_what_would_be_right(field: str, bad: str, problem: str) -> None:
    values: dict[str, Any] = {"cap": D(10), field: D(bad)}
    with pytest.raises(BadField) as told:
        Policy(**values)
    assert (told.value.field, told.value.problem) == (field, problem)


@pytest.mark.parametrize("bad", [D("NaN"), D("Infinity"), D("1e400"), 1.5, "2"])
@pytest.mark.parametrize("field", ["cap", "fraction", "stop", "floor", "risk_target"])
def test_what_is_no_exact_number_is_refused_at_birth(field: str, bad: Any) -> None:
    values: dict[str, Any] = {"cap": D(10), field: bad}
    with pytest.raises(BadField) as told:
        Policy(**values)
    assert told.value.field == field


@pytest.mark.parametrize("bad", [D("NaN"), D("Infinity"), D("1e400"), 1.5, "2"])
@pytest.mark.parametrize(
    "field", ["tick_size", "lot_step", "min_quantity", "min_notional", "max_quantity", "maker_fee"]
)
def test_a_market_of_no_exact_numbers_is_refused_at_birth(field: str, bad: Any) -> None:
    with pytest.raises(BadField) as told:
        replace(SOL, **{field: bad})
    assert told.value.field == field


@pytest.mark.parametrize(
    ("field", "good"),
    [
        ("fraction", "1"),
        ("fraction", "0.000001"),
        ("risk_target", "0.00000001"),
        ("floor", "0"),
        ("floor", "0.5"),
        ("reserve", "0"),
        ("stop", "0"),
        ("stop", "1"),
        ("exit_headroom", "0.5"),
        ("cap", "0.5"),
    ],
)
def test_a_field_may_be_at_the_edge_of_what_it_can_be(field: str, good: str) -> None:
    values: dict[str, Any] = {"cap": D(10), field: D(good)}
    assert getattr(Policy(**values), field) == D(good)


def test_what_is_not_said_has_the_values_of_the_rule() -> None:
    policy = Policy(cap=D(10))
    told = (policy.fraction, policy.risk_target, policy.floor, policy.reserve, policy.stop)
    assert told == (D("0.95"), None, 0, 0, 0)
    assert (policy.exit_headroom, policy.raise_to_minimum) == (1, True)


def test_equal_policies_are_one_key_and_others_are_not() -> None:
    policies = [Policy(cap=D(10)), Policy(cap=D("10.0")), Policy(cap=D(11)), Policy(cap=D(10), floor=D(1))]
    assert len({hash(policy) for policy in policies}) == len(set(policies)) == 3


def test_a_fixed_size_is_all_or_nothing_and_keeps_the_rest_of_the_policy() -> None:
    policy = Policy(cap=D(10), fraction=D("0.5"), risk_target=D(3), floor=D("2.5"), stop=D("0.03"))
    told = fixed(D(4), policy)
    assert (told.fraction, told.cap, told.risk_target, told.raise_to_minimum) == (1, 4, None, False)
    assert (told.floor, told.stop) == (policy.floor, policy.stop)


@pytest.mark.parametrize(
    ("wish", "free", "field", "problem"),
    [
        (Opportunity("ADA/USDT", D(1)), "3 USDT", "symbol", "ADA/USDT is not SOL/USDT"),
        (WISH, "3 USD", "free", "is in USD, but SOL/USDT is paid in USDT"),
        (Opportunity("SOL/USDT", D("150.123")), "3 USDT", "price", "150.123 is not on the tick of 0.01"),
        (Opportunity("SOL/USDT", D(0)), "3 USDT", "price", "0 is not above 0"),
        (Opportunity("SOL/USDT", D(-1)), "3 USDT", "price", "-1 is not above 0"),
    ],
)
def test_a_request_that_cannot_be_is_named(wish: Opportunity, free: str, field: str, problem: str) -> None:
    with pytest.raises(BadField) as told:
        size_order(wish, SOL, amount(free), Policy(cap=D(10)))
    assert (told.value.field, told.value.problem) == (field, problem)


def test_a_sized_order_tells_every_number_of_itself() -> None:
    size = size_order(WISH, SOL, amount("3.20 USDT"), Policy(cap=D(10), stop=D("0.02")))
    assert size == Sized(
        symbol="SOL/USDT",
        quantity=D("0.02025046"),
        notional=D("3.0399990552"),
        fee=D("0.01216"),
        fee_asset="USDT",
        debit=D("3.05216"),
        received=D("0.02025046"),
        exit_notional=D("2.9790451706"),
        bound=Bound.FRACTION,
    )
