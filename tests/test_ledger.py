"""Double entry: nothing is made or lost, nothing of ours goes below zero."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotwise.domain.market import Liquidity
from lotwise.domain.orders import Fill
from lotwise.domain.values import EPOCH, Amount, Side, amount
from lotwise.ledger.positions import Position, after_fill, after_withdrawal
from lotwise.ledger.postings import (
    FREE,
    Entry,
    Ledger,
    Overdrawn,
    Posting,
    Unbalanced,
    correction,
    deposit,
    held,
    move,
    post,
    release,
    reserve,
    settlement,
    top_up,
)
from tests.test_orders import ORDER

BUY = Fill(
    "T1",
    "a",
    "SOL/USDT",
    Side.BUY,
    Decimal(10),
    Decimal(4),
    amount("40 USDT"),
    amount("0.4 USDT"),
    Liquidity.MAKER,
    EPOCH,
)
SELL = replace(BUY, trade_id="T2", side=Side.SELL, cost=amount("44 USDT"), fee=amount("0.44 USDT"))


def posted(*entries: Entry) -> Ledger:
    ledger = Ledger()
    for entry in entries:
        ledger = post(ledger, entry)
    return ledger


def test_an_entry_that_makes_money_is_refused() -> None:
    with pytest.raises(Unbalanced):
        Entry((Posting(FREE, amount("1 USDT")),))


def test_an_entry_balances_in_each_asset_by_itself() -> None:
    with pytest.raises(Unbalanced):
        Entry((Posting(FREE, amount("1 USDT")), Posting("market", amount("-1 USD"))))


def test_a_reserve_is_ours_but_not_free_and_comes_back_when_the_order_ends() -> None:
    ledger = posted(deposit(amount("50 USDT")), reserve(ORDER))
    assert (ledger.free("USDT"), ledger.total("USDT")) == (amount("9 USDT"), amount("50 USDT"))
    assert ledger.balance(held("a"), "USDT") == ORDER.reserve
    assert post(ledger, release(ledger, ORDER)).free("USDT") == amount("50 USDT")


def test_no_more_is_reserved_than_is_free() -> None:
    with pytest.raises(Overdrawn, match="free would hold -1"):
        posted(deposit(amount("40 USDT")), reserve(ORDER))


def test_a_bought_coin_costs_its_price_and_the_fee() -> None:
    ledger = posted(deposit(amount("50 USDT")), reserve(ORDER), settlement(BUY))
    ledger = post(ledger, release(ledger, ORDER))
    assert ledger.total("USDT") == amount("9.6 USDT")
    assert ledger.total("SOL") == amount("4 SOL")
    assert ledger.assets() == {"USDT", "SOL"}


def test_a_fee_in_base_is_taken_from_the_coins() -> None:
    fill = replace(BUY, fee=amount("0.04 SOL"))
    ledger = posted(deposit(amount("50 USDT")), reserve(ORDER), settlement(fill))
    assert ledger.total("SOL") == amount("3.96 SOL")


def test_a_fee_of_a_sale_is_taken_from_what_it_brings() -> None:
    order = replace(ORDER, side=Side.SELL, reserve=amount("4 SOL"))
    ledger = posted(deposit(amount("4 SOL")), reserve(order), settlement(SELL))
    assert (ledger.total("SOL"), ledger.total("USDT")) == (amount("0 SOL"), amount("43.56 USDT"))


amounts = st.decimals(min_value=Decimal("0.00000001"), max_value=Decimal(10**9), places=8)


@given(st.lists(st.tuples(st.sampled_from(["free", "market", "fees", "external"]), amounts), max_size=20))
def test_whatever_is_moved_every_asset_sums_to_zero(moves: list[tuple[str, Decimal]]) -> None:
    ledger = posted(deposit(Amount(Decimal(10**12), "USDT")))
    for account, number in moves:
        ledger = post(ledger, Entry(move(Amount(number, "USDT"), FREE, account)))
    assert sum(map(Fraction, ledger.balances.values())) == 0


def test_amounts_of_different_assets_do_not_add_up() -> None:
    with pytest.raises(ValueError, match="different assets"):
        amount("1 USDT") + amount("1 USD")


def test_a_round_trip_earns_what_it_brought_less_what_it_cost() -> None:
    flat = after_fill(after_fill(Position("SOL/USDT"), BUY), SELL)
    assert (flat.quantity, flat.cost) == (0, 0)
    assert flat.realised_pnl == Decimal("44") - Decimal("0.44") - Decimal("40") - Decimal("0.4")


def test_a_fee_in_base_makes_the_rest_dearer_not_the_loss_larger() -> None:
    held_now = after_fill(Position("SOL/USDT"), replace(BUY, fee=amount("0.04 SOL")))
    assert (held_now.quantity, held_now.cost) == (Decimal("3.96"), Decimal(40))


sales = st.lists(st.integers(1, 60), min_size=1, max_size=6)


@given(sales, st.integers(1, 10**6), st.integers(1, 10**6))
def test_partial_sales_earn_in_sum_what_all_at_once_would(parts: list[int], cost: int, price: int) -> None:
    whole = Decimal(sum(parts)) / 100
    bought = replace(BUY, quantity=whole, cost=Amount(Decimal(cost) / 100, "USDT"))
    position = after_fill(Position("SOL/USDT"), bought)
    for number, part in enumerate(parts):
        assert position.cost >= 0
        quantity = Decimal(part) / 100
        proceeds = Amount(quantity * price / 100, "USDT")
        sold = replace(SELL, trade_id=str(number), quantity=quantity, cost=proceeds, fee=amount("0 USDT"))
        before = position
        position = after_fill(position, sold)
        if position.quantity:
            # The cost that leaves is never less than its share: gains are not shown early.
            share = Fraction(before.cost) * Fraction(quantity) / Fraction(before.quantity)
            assert Fraction(before.cost) - Fraction(position.cost) >= share
    earned = whole * price / 100 - Decimal(cost) / 100 - Decimal("0.4")
    assert (position.quantity, position.cost, position.realised_pnl) == (0, 0, earned)


def test_coins_that_leave_without_a_sale_take_their_cost_along() -> None:
    position = Position("SOL/USDT", Decimal(4), Decimal(40), Decimal(1))
    left = after_withdrawal(position, Decimal(3))
    assert (left.quantity, left.cost, left.realised_pnl) == (3, 30, 1)
    assert after_withdrawal(position, Decimal(0)).cost == 0


def test_a_fee_that_rose_is_paid_from_what_is_free_and_then_from_other_holds() -> None:
    books = post(Ledger(), deposit(amount("41.5 USDT")))
    books = post(books, Entry(move(amount("40 USDT"), FREE, held("a"))))
    books = post(books, Entry(move(amount("1.4 USDT"), FREE, held("b"))))
    books = post(books, top_up(books, BUY))
    assert books.balance(held("a"), "USDT") == amount("40.4 USDT")
    assert books.free("USDT").number == 0 and books.balance(held("b"), "USDT") == amount("1.1 USDT")
    with pytest.raises(Overdrawn):
        dear = replace(BUY, fee=amount("9 USDT"))
        post(books, top_up(books, dear))


def test_what_was_booked_otherwise_than_told_is_between_us_and_the_fees() -> None:
    changes = deposit(amount("50 USDT")), correction(amount("-0.3 USDT")), correction(amount("0.1 USDT"))
    ledger = posted(*changes)
    assert (ledger.free("USDT"), ledger.balance("fees", "USDT")) == (amount("49.8 USDT"), amount("0.2 USDT"))
    with pytest.raises(Overdrawn):
        post(ledger, correction(amount("-50 USDT")))
