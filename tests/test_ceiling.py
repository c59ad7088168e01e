"""The rule on bare integers: what a ceiling refuses, and what the balance pays to the last lot."""

from random import Random

import pytest

from lotwise.domain.sizing import (
    ABOVE_MAX_QUANTITY,
    OVERFLOW,
    UNBOUNDED,
    UNSELLABLE_AT_STOP,
    Purse,
    Terms,
    choose_lots,
)

PURSE = Purse(free=1000, fraction_top=1, fraction_bottom=1, cap=1000, risk=1000, raise_to_minimum=1)
TERMS = Terms(
    lot_cost=10,
    stop_lot_cost=9,
    unit=1,
    min_lots=2,
    max_lots=90,
    min_cost=20,
    floor_cost=20,
    exit_min_lots=2,
    exit_min_cost=18,
    fee_ppm=4000,
    fee_in_base=0,
)
MONEY = ("purse.free", "purse.cap", "purse.risk", "terms.unit", "terms.min_cost", "terms.floor_cost")
LOTS = ("terms.max_lots", "terms.min_lots", "terms.exit_min_lots", "terms.lot_cost", "terms.exit_min_cost")


def changed(member: str, value: int) -> tuple[Purse, Terms]:
    where, name = member.split(".")
    if where == "purse":
        return PURSE._replace(**{name: value}), TERMS
    return PURSE, TERMS._replace(**{name: value})


@pytest.mark.parametrize("member", [*MONEY, *LOTS])
def test_each_number_above_the_ceiling_overflows_by_itself(member: str) -> None:
    assert choose_lots(*changed(member, 1001), 1000) == (OVERFLOW, 0, -1)


@pytest.mark.parametrize("member", [*MONEY, "terms.max_lots"])
def test_a_number_at_the_ceiling_does_not(member: str) -> None:
    assert choose_lots(*changed(member, 1000), 1000)[0] != OVERFLOW


def test_a_minimum_whose_cost_is_the_ceiling_fits_and_one_lot_more_does_not() -> None:
    assert choose_lots(PURSE, TERMS._replace(min_lots=100), 1000)[0] == ABOVE_MAX_QUANTITY
    assert choose_lots(PURSE, TERMS._replace(min_lots=101), 1000)[0] == OVERFLOW


def test_a_fraction_whose_square_is_the_ceiling_fits_and_a_larger_one_does_not() -> None:
    purse = Purse(900, 31, 31, 900, 900, 1)
    assert choose_lots(purse, TERMS, 31 * 31)[0] != OVERFLOW
    assert choose_lots(purse._replace(fraction_top=32, fraction_bottom=32), TERMS, 31 * 31)[0] == OVERFLOW


def test_a_quantity_before_a_fee_in_base_keeps_to_the_ceiling() -> None:
    """With half of the quantity for the fee, 2 x 10^6 lots are as much as a ceiling of 4 x 10^6 holds."""
    terms = Terms(1, 1, 1, 1, -1, 0, 0, 0, 0, fee_ppm=500_000, fee_in_base=1)
    for sell_lots, fits in ((1_999_999, True), (2_000_000, False)):
        answer = choose_lots(PURSE, terms._replace(exit_min_lots=sell_lots), 4_000_000)
        assert (answer[0] != OVERFLOW) is fits


def test_nothing_allowed_has_no_smallest_lots() -> None:
    assert choose_lots(PURSE, TERMS._replace(min_lots=91), UNBOUNDED) == (ABOVE_MAX_QUANTITY, 0, -1)
    assert choose_lots(PURSE, TERMS._replace(stop_lot_cost=0), UNBOUNDED) == (UNSELLABLE_AT_STOP, 0, -1)
    lowest = TERMS._replace(stop_lot_cost=1, exit_min_cost=91, max_lots=90)
    assert choose_lots(PURSE, lowest, UNBOUNDED) == (ABOVE_MAX_QUANTITY, 0, -1)


def test_the_balance_pays_to_the_last_lot() -> None:
    """Against a walk over every number of lots, where lots are much finer than the booked unit."""
    random = Random(4711)
    for _ in range(4000):
        unit, lot_cost = random.choice([1, 7, 100, 1000]), random.randint(1, 30)
        fee_ppm = random.choice([1, 999, 4000, 8000, 300_000, 400_000, 700_000, 999_999])
        free = random.randint(1, 60 * unit)
        terms = Terms(lot_cost, lot_cost, unit, 1, -1, 0, 0, 0, 0, fee_ppm, 0)
        purse = Purse(free, 1, 1, 10**9, -1, 0)

        def debit(lots: int, unit: int = unit, lot_cost: int = lot_cost, fee_ppm: int = fee_ppm) -> int:
            notional = lots * lot_cost
            return -(-notional // unit) - (-notional * fee_ppm // (10**6 * unit))

        most = 0
        while debit(most + 1) <= free // unit:
            most += 1
        assert choose_lots(purse, terms, UNBOUNDED)[1] == most
