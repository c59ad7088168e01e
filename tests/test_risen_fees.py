"""Fees that rose after they were asked for: what a purchase takes beyond all that is ours is other money of
the account. It is booked as such, the trade is no lie, and the books agree."""

import csv
import io
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from lotwise.app.books import compared
from lotwise.app.cli import cli
from lotwise.app.screen import describe
from lotwise.domain.market import FeeAsset, Liquidity
from lotwise.domain.orders import Accepted, Fill, Order, OrderType, Purpose, Sent, TimeInForce
from lotwise.domain.values import Amount, Side
from lotwise.engine.codec import decode, encode, fold, state_hash
from lotwise.engine.fold import apply, lent
from lotwise.engine.records import Event, Impossible, Lent, Reconciled, Record, Submit, Trading, Try
from lotwise.engine.state import State
from lotwise.store.journal import Journal
from lotwise.venues.kraken.reconcile import Reconciler
from tests.test_engine import SOL, of
from tests.test_happenings import at
from tests.test_protection_odd import Kraken, held
from tests.test_rounded_books import Desk, agreed, desk
from tests.test_rounded_books import order as order_in_euros

D = Decimal


def all_in(path: Path, foreign: str | None = "5") -> Kraken:
    """It holds SOL, and all that was free is set aside for another purchase, at the fees that it knows."""
    kraken = held(path)
    state = kraken.engine.state
    free = state.ledger.free("USDT")
    limit, now = (SOL, Side.BUY, OrderType.LIMIT, D("0.004"), D(100)), at(3)
    order = Order("more", *limit, free, Purpose.ENTRY, now, TimeInForce.IOC, fee_asset=FeeAsset.QUOTE)
    intent = Submit(order, 1, Try(D(97), D(105), 1.0, 0))
    for record in (intent, Sent("more", now), Accepted("more", "O9", now)):
        apply(state, record)
    if foreign is not None:
        apply(state, Reconciled({"USDT": D(foreign)}, (), at(3)))
    return kraken


def dearer(kraken: Kraken, more: str) -> Fill:
    """The purchase as the exchange made it, for so much more than all that is ours."""
    cost, all_ours = Amount(D("0.4"), "USDT"), kraken.engine.state.ledger.total("USDT")
    fee = all_ours + Amount(D(more), "USDT") - cost
    return Fill("T9", "more", SOL, Side.BUY, D(100), D("0.004"), cost, fee, Liquidity.TAKER, at(3))


@pytest.mark.parametrize("foreign", ["5", None], ids=["after a comparison", "before the first"])
def test_what_a_purchase_takes_beyond_ours_is_booked_as_other_money_of_the_account(
    tmp_path: Path, foreign: str | None
) -> None:
    kraken = all_in(tmp_path, foreign)
    state = kraken.engine.state
    deposits, quantity = state.totals.deposits, state.holdings[SOL].position.quantity
    told = dearer(kraken, "0.01")
    kraken.tell(told)
    assert kraken.log[:2] == [Lent(Amount(D("0.01"), "USDT"), "T9", at(3)), told]
    assert state.trading is Trading.ACTIVE and not of(kraken.log, Impossible)
    assert state.ledger.total("USDT").number == 0 and state.totals.deposits == deposits + D("0.01")
    assert state.holdings[SOL].position.quantity == quantity + D("0.004")
    assert state.reconciled is None or state.reconciled.foreign == {"USDT": D("4.99")}
    assert decode(*encode(kraken.log[0])) == kraken.log[0]
    assert "0.01 USDT of the account's other money went for trade T9" in describe(kraken.log[0], state)


@pytest.mark.parametrize(
    ("more", "foreign"), [("0.01", "0.009"), ("0.2", "5")], ids=["not there", "too much"]
)
def test_what_the_account_has_not_or_no_fee_explains_stays_impossible(
    tmp_path: Path, more: str, foreign: str
) -> None:
    kraken = all_in(tmp_path, foreign)
    money = kraken.engine.state.ledger
    kraken.tell(dearer(kraken, more))
    assert [type(record) for record in kraken.log] == [Impossible]
    assert kraken.engine.state.ledger == money and kraken.engine.state.trading is Trading.REDUCING


def booked(made: Desk, events: list[Event]) -> None:
    """As the engine books them."""
    for event in events:
        if isinstance(event, Fill) and (more := lent(made.state, event)) is not None:
            made.fold([more])
        made.fold([event])


async def buys_with_all(made: Desk, reconciler: Reconciler) -> None:
    """At 0.8 % where none was reckoned."""
    await agreed(made, reconciler)
    reserve = Amount(made.ours("EUR"), "EUR")
    await made.submit(replace(order_in_euros(Side.BUY, "0.498", 1, "101"), reserve=reserve))
    looked = await compared(_copy(made.written), made.rest, made.loop.now)
    assert looked.clean and looked.compared, "as `lotwise reconcile` sees it"
    while (found := await reconciler.compare()).events:
        booked(made, found.events)
    await agreed(made, reconciler)


def _copy(records: list[Record]) -> State:
    state = State()
    for record in records:
        fold(state, *encode(record))
    return state


def test_the_books_agree_and_the_export_adds_up(tmp_path: Path) -> None:
    made = desk(buys_with_all, ours="50 EUR")
    (more,) = [record for record in made.written if isinstance(record, Lent)]
    assert 0 < more.amount.number < D("0.5") and made.ours("EUR") == 0 and made.ours("SOL") == D("0.498")
    assert state_hash(_copy(made.written)) == state_hash(made.state)
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        for record in made.written:
            journal.append(*encode(record))
        journal.commit()
    result = CliRunner().invoke(cli, ["export", "ledger", "--journal", str(path)])
    sums: dict[str, Decimal] = {}
    for row in csv.DictReader(io.StringIO(result.stdout)):
        if row["account"] == "ours":
            sums[row["asset"]] = sums.get(row["asset"], D(0)) + D(row["amount"])
    assert sums == {"EUR": 0, "SOL": D("0.498")}
    taxed = CliRunner().invoke(cli, ["export", "ledger", "--layout", "tax", "--journal", str(path)])
    assert f"came for trade {more.trade_id}, whose fee rose" in taxed.stdout
