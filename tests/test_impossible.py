"""What cannot be is kept as evidence and not booked; nothing is bought until the owner says otherwise."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from lotwise.domain.market import Liquidity
from lotwise.domain.orders import Accepted, Fill, OrderState, Purpose
from lotwise.domain.values import Amount, Side
from lotwise.engine.codec import decode, encode
from lotwise.engine.records import Decided, Impossible, Record, Restricted, Submit, Trading
from tests.test_engine import SOL, of
from tests.test_happenings import at
from tests.test_protection_odd import Kraken, bar, held, resting

D = Decimal


def sale(stop: OrderState, quantity: Decimal, fee: str = "0.01") -> Fill:
    """A trade of a resting stop."""
    cost, paid = Amount(quantity * 97, "USDT"), Amount(D(fee), "USDT")
    name = stop.order.client_id
    return Fill("T1", name, SOL, Side.SELL, D(97), quantity, cost, paid, Liquidity.TAKER, at(3))


def overfilled(kraken: Kraken) -> Fill:
    (stop,) = resting(kraken)
    return sale(stop, stop.order.quantity * 2)


def dearer_than_all_that_is_owned(kraken: Kraken) -> Fill:
    (stop,) = resting(kraken)
    return sale(stop, stop.order.quantity / 2, fee="10000")


@pytest.mark.parametrize("lie", [overfilled, dearer_than_all_that_is_owned], ids=["too much", "too dear"])
def test_a_trade_that_cannot_be_is_kept_as_evidence_and_changes_no_money(
    tmp_path: Path, lie: Callable[[Kraken], Fill]
) -> None:
    kraken = held(tmp_path)
    state = kraken.engine.state
    money, holding = state.ledger, state.holdings[SOL].position
    told = lie(kraken)
    kraken.tell(told)
    (kept,) = kraken.log
    assert isinstance(kept, Impossible) and kept.what == str(told) and kept.why
    assert state.ledger == money and state.holdings[SOL].position == holding
    assert decode(*encode(kept)) == kept


def test_after_it_nothing_is_bought_and_what_is_held_is_still_sold(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    kraken.tell(overfilled(kraken))
    assert kraken.engine.state.trading is Trading.REDUCING
    kraken.tell(replace(bar(at(4)), signals={SOL: 1.0}))
    (no,) = of(kraken.log, Decided)
    assert no.reason == "RESTRICTED" and "lotwise panic lift" in no.rungs[-1].remedy
    kraken.tell(replace(bar(at(5)), signals={SOL: -1.0}))
    assert [submit.order.purpose for submit in of(kraken.log, Submit)] == [Purpose.SIGNAL]


def test_the_owner_lifts_it(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    kraken.tell(overfilled(kraken), Restricted(Trading.ACTIVE, "looked into", at(4)))
    kraken.tell(replace(bar(at(4)), signals={SOL: 1.0}))
    assert [no.reason for no in of(kraken.log, Decided)] == ["PAIR_BUSY"], "as on any other day"


def test_a_halted_run_stays_halted(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    kraken.tell(Restricted(Trading.HALTED, "by hand", at(3)), overfilled(kraken))
    assert kraken.engine.state.trading is Trading.HALTED


def test_what_is_told_late_or_twice_is_nothing_impossible(tmp_path: Path) -> None:
    kraken = held(tmp_path)
    before: list[Record] = list(kraken.log)
    entry = next(known for known in kraken.engine.state.ended.values())
    kraken.tell(*entry.fills, Accepted(entry.order.client_id, str(entry.venue_id), at(3)))
    assert kraken.log == before
