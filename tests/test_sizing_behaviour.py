"""The sizing rule by example: each bound, each reason with its remedy, the original account, bad input."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from lotwise import Amount, FeeAsset, Liquidity, Market, Opportunity, amount, exact
from lotwise.domain.policy import Policy, fixed
from lotwise.domain.sizing import Bound, Reason, Refused, Sized, least_sellable, size_order
from lotwise.domain.values import BadField, NotExact

COIN = Market(
    "COIN/USDT",
    tick_size=Decimal("0.01"),
    lot_step=Decimal("0.1"),
    min_quantity=Decimal(1),
    min_notional=Decimal("0.5"),
    quote_precision=4,
    maker_fee=Decimal("0.0025"),
    taker_fee=Decimal("0.004"),
)
"""At a price of 1.00 a lot costs 0.10 and the smallest order 1.00, with its fee 1.0025."""
POLICY = Policy(cap=Decimal(10))
UNIT = Decimal("0.0001")


def decimals(values: dict[str, Any]) -> dict[str, Any]:
    texts = {name for name, value in values.items() if isinstance(value, str) and name != "symbol"}
    return {name: Decimal(value) if name in texts else value for name, value in values.items()}


def market(**changes: Any) -> Market:
    return replace(COIN, **decimals(changes))


def policy(**changes: Any) -> Policy:
    return replace(POLICY, **decimals(changes))


def size(free: str, market: Market = COIN, policy: Policy = POLICY, price: str = "1.00") -> Sized | Refused:
    return size_order(Opportunity("COIN/USDT", Decimal(price)), market, amount(f"{free} USDT"), policy)


def sized(free: str, market: Market = COIN, policy: Policy = POLICY) -> Sized:
    answer = size(free, market, policy)
    assert isinstance(answer, Sized), answer
    return answer


def refused(free: str, market: Market = COIN, policy: Policy = POLICY) -> Refused:
    answer = size(free, market, policy)
    assert isinstance(answer, Refused), answer
    return answer


def refused_until(needed: str, free: str, market: Market = COIN, policy: Policy = POLICY) -> Reason:
    """The reason, once it is shown that the balance it asks for is enough, and one unit less is not."""
    no = refused(free, market, policy)
    assert no.needed == Decimal(needed)
    assert no.short == Decimal(needed) - Decimal(free)
    sized(needed, market, policy)
    refused(str(Decimal(needed) - UNIT), market, policy)
    return no.reason


# Each bound, and that loosening it gives more.


def test_the_fraction_bounds_an_ordinary_order() -> None:
    assert size("5") == Sized(
        "COIN/USDT",
        quantity=Decimal("4.7"),
        notional=Decimal("4.70"),
        fee=Decimal("0.0118"),
        fee_asset="USDT",
        debit=Decimal("4.7118"),
        received=Decimal("4.7"),
        exit_notional=Decimal("4.70"),
        bound=Bound.FRACTION,
    )


def test_the_balance_bounds_when_all_of_it_may_be_used_and_the_fee_must_fit() -> None:
    order = sized("5", policy=policy(fraction="1"))
    assert (order.quantity, order.debit, order.bound) == (Decimal("4.9"), Decimal("4.9123"), Bound.BALANCE)
    assert sized("5.0125", policy=policy(fraction="1")).debit == Decimal("5.0125")


def test_the_cap_bounds_a_large_balance() -> None:
    assert (sized("500").notional, sized("500").bound) == (Decimal(10), Bound.CAP)
    assert sized("500", policy=policy(cap="10.1")).notional == Decimal("10.1")


def test_the_risk_target_bounds_below_the_cap_and_the_cap_is_named_when_they_are_equal() -> None:
    order = sized("500", policy=policy(risk_target="2.05"))
    assert (order.notional, order.bound) == (Decimal(2), Bound.RISK)
    assert sized("500", policy=policy(risk_target="2.1")).notional == Decimal("2.1")
    assert sized("500", policy=policy(risk_target="10")).bound is Bound.CAP


def test_the_largest_quantity_of_the_market_bounds() -> None:
    order = sized("500", market(max_quantity="3.75"))
    assert (order.quantity, order.bound) == (Decimal("3.7"), Bound.MAX_QUANTITY)
    assert sized("500", market(max_quantity="3.8")).quantity == Decimal("3.8")


def test_a_share_below_the_minimum_is_raised_to_the_minimum() -> None:
    order = sized("1.05")
    assert (order.quantity, order.bound) == (Decimal(1), Bound.MINIMUM)
    assert order.notional > Decimal("1.05") * POLICY.fraction


def test_an_exact_fit_is_not_raised_but_bound_by_the_next_lot() -> None:
    order = sized("1.0025", policy=policy(fraction="1"))
    assert (order.quantity, order.debit, order.bound) == (Decimal(1), Decimal("1.0025"), Bound.BALANCE)


def test_bounds_that_are_equally_tight_are_told_in_a_fixed_order() -> None:
    whole = policy(fraction="1")
    assert sized("5", market(max_quantity="4.9"), whole).bound is Bound.MAX_QUANTITY
    assert sized("5", policy=policy(fraction="1", cap="4.9")).bound is Bound.BALANCE
    assert sized("5", policy=policy(cap="4.7", risk_target="4.7")).bound is Bound.CAP
    assert sized("5", policy=policy(risk_target="4.7")).bound is Bound.RISK


# Each reason, and that its remedy is exact.


def test_no_free_balance_names_the_balance_that_would_do() -> None:
    assert refused_until("1.0025", free="0") is Reason.NO_FREE_BALANCE


def test_the_reserve_is_never_touched_and_counts_into_what_is_needed() -> None:
    kept = policy(reserve="5")
    assert refused_until("6.0025", free="5", policy=kept) is Reason.NO_FREE_BALANCE
    assert refused_until("6.0025", free="4.5", policy=kept) is Reason.NO_FREE_BALANCE
    assert refused_until("6.0025", free="5.5", policy=kept) is Reason.BELOW_MIN_QUANTITY


def test_a_reserve_finer_than_the_unit_rounds_what_is_needed_up() -> None:
    assert refused_until("1.1026", free="1", policy=policy(reserve="0.10001")) is Reason.BELOW_MIN_QUANTITY


def test_a_minimum_above_the_maximum_is_helped_by_no_balance() -> None:
    assert refused("500", market(max_quantity="0.9")) == Refused(
        "COIN/USDT", Reason.ABOVE_MAX_QUANTITY, needed=None, short=None
    )
    assert sized("500", market(max_quantity="1")).quantity == 1


def test_a_cap_below_the_minimum_is_helped_by_a_higher_cap_only() -> None:
    no = refused("500", policy=policy(cap="0.99"))
    assert (no.reason, no.needed, no.short) == (Reason.CAP_BELOW_MINIMUM, None, None)
    assert sized("500", policy=policy(cap="1")).notional == 1


def test_a_risk_target_below_the_minimum_is_helped_by_a_higher_risk_target_only() -> None:
    no = refused("500", policy=policy(cap="1", risk_target="0.99"))
    assert (no.reason, no.needed, no.short) == (Reason.RISK_BELOW_MINIMUM, None, None)
    assert sized("500", policy=policy(risk_target="1")).notional == 1


def test_the_cap_is_named_when_cap_and_risk_target_are_both_below_the_minimum() -> None:
    assert refused("500", policy=policy(cap="0.9", risk_target="0.8")).reason is Reason.CAP_BELOW_MINIMUM


def test_a_limit_finer_than_any_cost_is_a_limit_all_the_same() -> None:
    tiny = Decimal("0.000000001")
    assert refused("500", policy=policy(cap=tiny)).needed is None
    no = refused("500", policy=policy(risk_target=tiny))
    assert (no.reason, no.needed) == (Reason.RISK_BELOW_MINIMUM, None)


def test_raising_to_the_minimum_never_passes_the_cap() -> None:
    assert refused("1.04", policy=policy(cap="0.99")).reason is Reason.CAP_BELOW_MINIMUM


def test_refuses_when_the_fee_does_not_fit_beside_the_minimum() -> None:
    assert refused_until("1.0025", free="1") is Reason.FEES_EXCEED_FREE
    assert sized("1", market(maker_fee="0")).debit == 1


def test_a_fee_of_one_part_per_million_is_a_fee() -> None:
    assert refused_until("1.0001", "1", market(maker_fee="0.000001")) is Reason.FEES_EXCEED_FREE


def test_refuses_when_the_balance_is_below_the_smallest_quantity() -> None:
    assert refused_until("1.0025", free="0.99") is Reason.BELOW_MIN_QUANTITY
    assert sized("0.99", market(min_quantity="0.9")).quantity == Decimal("0.9")


def test_refuses_when_the_balance_is_below_the_smallest_cost() -> None:
    assert refused_until("2.0050", free="1.5", market=market(min_notional="2")) is Reason.BELOW_MIN_NOTIONAL
    assert sized("1.5", market(min_notional="1.4")).notional == Decimal("1.4")


def test_refuses_when_the_balance_is_below_the_floor_of_the_policy() -> None:
    assert refused_until("2.5063", free="2.40", policy=policy(floor="2.5")) is Reason.BELOW_FLOOR
    assert sized("2.40", policy=policy(floor="2.3")).notional == Decimal("2.3")


def test_refuses_what_could_not_be_sold_at_the_stop() -> None:
    dear = market(min_notional="1")
    assert refused_until("2.0050", "1.5", dear, policy(stop="0.5")) is Reason.UNSELLABLE_AT_STOP
    assert sized("1.5", dear, policy(stop="0.2")).exit_notional == Decimal("1.12")


def test_a_stop_at_the_last_tick_is_still_a_price_to_sell_at() -> None:
    penny = market(min_notional="0.1", quote_precision=3, maker_fee="0")
    answer = size("5", penny, policy(stop="0.5"), price="0.02")
    assert isinstance(size("0.199", penny, policy(stop="0.5"), price="0.02"), Refused)
    assert isinstance(answer, Sized) and answer.exit_notional >= Decimal("0.1")


def test_refuses_what_could_not_be_sold_with_headroom() -> None:
    wary = policy(exit_headroom="1.1")
    assert refused_until("1.1028", free="1.05", policy=wary) is Reason.UNSELLABLE_AT_STOP
    assert sized("1.05", policy=policy(exit_headroom="1.0")).quantity == 1


def test_refuses_what_could_not_be_sold_once_the_fee_has_taken_its_part_of_the_coins() -> None:
    in_base = replace(COIN, fee_asset=FeeAsset.BASE)
    assert refused_until("1.1000", "1.05", in_base) is Reason.UNSELLABLE_AT_STOP
    order = sized("1.1", in_base)
    assert (order.quantity, order.fee, order.fee_asset) == (Decimal("1.1"), Decimal("0.1"), "COIN")
    assert (order.debit, order.received) == (Decimal("1.1"), Decimal(1))


def test_a_stop_that_rounds_to_a_price_of_nothing_is_helped_by_no_balance() -> None:
    no = refused("500", policy=policy(stop="0.999"))
    assert (no.reason, no.needed, no.short) == (Reason.UNSELLABLE_AT_STOP, None, None)
    assert sized("500", market(min_notional="0"), policy(stop="0.99")).exit_notional == Decimal("0.1")


def test_a_share_below_the_minimum_is_refused_where_raising_is_not_allowed() -> None:
    strict = policy(raise_to_minimum=False)
    assert refused_until("1.0527", free="1.05", policy=strict) is Reason.FRACTION_BELOW_MINIMUM
    assert sized("1.05", policy=policy(raise_to_minimum=True)).bound is Bound.MINIMUM
    assert sized("1.05", policy=policy(raise_to_minimum=False, fraction="0.96")).quantity == 1


def test_rules_that_ask_the_same_are_told_in_a_fixed_order() -> None:
    equal = market(min_notional="1")
    assert refused("0.9", equal, policy(floor="1")).reason is Reason.BELOW_MIN_QUANTITY
    small = market(min_notional="2")
    assert refused("0.9", small, policy(floor="2", stop="0")).reason is Reason.BELOW_MIN_NOTIONAL
    assert refused("0.9", policy=policy(floor="2")).reason is Reason.BELOW_FLOOR


# What else is promised.


def test_a_taker_pays_the_taker_fee() -> None:
    wish = Opportunity("COIN/USDT", Decimal("1.00"), Liquidity.TAKER)
    answer = size_order(wish, COIN, amount("5 USDT"), POLICY)
    assert isinstance(answer, Sized) and answer.fee == Decimal("0.0188")


def test_costs_finer_than_the_quote_unit_are_booked_rounded_up() -> None:
    whole = market(quote_precision=0, lot_step="0.01", min_quantity="0.01")
    order = sized("3", whole)
    assert [order.notional, order.fee, order.debit] == [2, 1, 3]


def test_zero_is_a_legal_floor_reserve_minimum_fee_and_stop() -> None:
    free_market = market(min_notional="0", maker_fee="0", taker_fee="0")
    order = sized("1", free_market, policy(fraction="1", floor="0", reserve="0", stop="0"))
    assert [order.quantity, order.fee, order.debit] == [1, 0, 1]


ORIGINAL = {
    "SOL": ("0.01", "0.00000001", "150.12"),
    "ADA": ("0.000001", "0.00000001", "0.709"),
    "DOGE": ("0.00001", "0.00000001", "0.1977"),
    "SHIB": ("0.00000001", "0.00001", "0.00001319"),
    "MANA": ("0.00001", "0.00000001", "0.305"),
}
"""tick_size, lot_step and a price of July 2025 of the five pairs in USDT."""


def original(coin: str) -> tuple[Opportunity, Market, Policy]:
    """The account of 2.86 USDT under its tier floor of 2.50 alone: the market itself asks for nothing."""
    tick, lot, price = map(Decimal, ORIGINAL[coin])
    market = Market(f"{coin}/USDT", tick, lot, lot, Decimal(0), 8, Decimal("0.0025"), Decimal("0.004"))
    return Opportunity(f"{coin}/USDT", price), market, Policy(cap=Decimal(10), floor=Decimal("2.50"))


@pytest.mark.parametrize("coin", ORIGINAL)
def test_the_original_account_can_trade_each_of_its_pairs_for_about_272(coin: str) -> None:
    wish, market, policy = original(coin)
    answer = size_order(wish, market, amount("2.86 USDT"), policy)
    assert isinstance(answer, Sized)
    target = Decimal("2.717")
    assert target - wish.price * market.lot_step < answer.notional <= target
    assert answer.bound is Bound.FRACTION


def test_the_original_fixed_size_of_200_can_trade_none_of_its_pairs() -> None:
    for coin in ORIGINAL:
        wish, market, policy = original(coin)
        answer = size_order(wish, market, amount("2.86 USDT"), fixed(Decimal("2.00"), policy))
        assert answer == Refused(f"{coin}/USDT", Reason.CAP_BELOW_MINIMUM, None, None)


def test_a_fixed_size_is_ordered_whatever_the_fraction_and_never_raised() -> None:
    two = fixed(Decimal("2.00"), policy(fraction="0.1", cap="1", risk_target="0.5"))
    assert sized("500", policy=two).notional == 2
    assert sized("2.01", policy=two).notional == 2
    assert refused("500", market(min_quantity="3"), two).reason is Reason.CAP_BELOW_MINIMUM


# Bad input: refused at the door, by name.

BAD_MARKETS: list[tuple[str, Any]] = [
    ("symbol", "COINUSDT"),
    ("symbol", "coin/usdt"),
    ("tick_size", "0"),
    ("tick_size", "-0.01"),
    ("lot_step", "0"),
    ("min_quantity", "0"),
    ("min_notional", "-0.5"),
    ("max_quantity", "0"),
    ("quote_precision", -1),
    ("quote_precision", 19),
    ("maker_fee", "-0.001"),
    ("maker_fee", "1"),
    ("maker_fee", "0.0000001"),
    ("taker_fee", "0.00123456789"),
]
BAD_POLICIES = [
    ("fraction", "0"),
    ("fraction", "1.01"),
    ("cap", "0"),
    ("risk_target", "0"),
    ("floor", "-0.01"),
    ("reserve", "-1"),
    ("stop", "-0.01"),
    ("stop", "1.000001"),
    ("stop", "0.0000001"),
    ("exit_headroom", "0"),
]


@pytest.mark.parametrize(("field", "value"), BAD_MARKETS)
def test_a_market_that_cannot_be_names_the_field(field: str, value: Any) -> None:
    with pytest.raises(BadField) as bad:
        market(**{field: value})
    assert bad.value.field == field


@pytest.mark.parametrize(("field", "value"), BAD_POLICIES)
def test_a_policy_that_cannot_be_names_the_field(field: str, value: str) -> None:
    with pytest.raises(BadField) as bad:
        policy(**{field: value})
    assert bad.value.field == field


@pytest.mark.parametrize("price", ["1.005", "0", "-1.00", "0.001"])
def test_a_price_off_the_tick_names_the_price(price: str) -> None:
    with pytest.raises(BadField) as bad:
        size("5", price=price)
    assert bad.value.field == "price"


def test_another_asset_or_another_pair_is_named() -> None:
    with pytest.raises(BadField, match=r"^free: "):
        size_order(Opportunity("COIN/USDT", Decimal(1)), COIN, amount("5 USD"), POLICY)
    with pytest.raises(BadField, match=r"^symbol: "):
        size_order(Opportunity("GOLD/USDT", Decimal(1)), COIN, amount("5 USDT"), POLICY)


NO_NUMBERS: list[Any] = [
    *(0.1, 1.0, float("nan"), True, None, "", "two"),
    *("NaN", "sNaN", "Infinity", "-inf", "1e400", "1e30", "1e-31", "1" * 200),
]


@pytest.mark.parametrize(
    "value",
    [*NO_NUMBERS, *map(Decimal, ("NaN", "Infinity", "1e400", "0.1234567890123456789e-20"))],
)
def test_what_is_no_exact_number_of_a_sane_size_is_refused(value: Any) -> None:
    with pytest.raises(NotExact):
        exact(value)


def test_an_exact_number_is_taken_as_it_is_written() -> None:
    assert str(exact("2.860")) == "2.860"
    assert exact(3) == 3
    assert exact("1e29") == Decimal(10) ** 29
    assert exact("1e-30") == Decimal("1e-30")
    assert str(exact("-0")) == "0"


@pytest.mark.parametrize("number", ["NaN", "Infinity"])
def test_a_balance_that_is_no_number_is_refused_at_birth(number: str) -> None:
    with pytest.raises(NotExact):
        Amount(Decimal(number), "USDT")


def test_the_least_that_can_be_sold_again_meets_both_minimums_with_headroom() -> None:
    assert least_sellable(COIN, Decimal("1.00"), Decimal(1)) == 1
    assert least_sellable(COIN, Decimal("1.00"), Decimal("1.15")) == Decimal("1.2"), "whole lots, up"
    assert least_sellable(COIN, Decimal("0.01"), Decimal(1)) == 50, "at a cent the cost binds"
