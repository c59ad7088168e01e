"""Kraken tells a trade with its pair's decimals and books it with those of the assets, and a fee may be taken
otherwise than told: our books follow to the last unit, and nothing stays unexplained."""

import asyncio
import csv
import io
from collections import defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from lotwise.app.cli import cli
from lotwise.app.screen import describe
from lotwise.domain.market import FeeAsset, Market
from lotwise.domain.orders import Order, OrderType, Purpose, TimeInForce
from lotwise.domain.values import Amount, Side, Time, amount, is_multiple
from lotwise.engine.codec import encode, fold, state_hash
from lotwise.engine.fold import apply
from lotwise.engine.records import (
    Compared,
    Corrected,
    Deposited,
    Event,
    Opened,
    Reconciled,
    Record,
    Submit,
    Try,
    Unexplained,
)
from lotwise.engine.state import State
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching, ladder
from lotwise.kraken.fees import SINCE_JULY_2026
from lotwise.kraken.rest import asset_decimals
from lotwise.kraken.rest_money import LedgerInfo
from lotwise.sandbox.core import Core, Settings
from lotwise.store.journal import Journal
from lotwise.venues.kraken.account import Account
from lotwise.venues.kraken.reconcile import Reconciler, Reconciliation
from lotwise.venues.kraken.rest import Rest
from lotwise.venues.kraken.venue import KrakenVenue
from tests.sandbox_client import NOW, Client, client, levels
from tests.test_happenings import at
from tests.test_live_orders import World
from tests.test_protection_odd import held
from world.clock import VirtualLoop, run
from world.network import Network, Rates

D = Decimal
SOL, PENGU = "SOL/EUR", "PENGU/EUR"
UNIT = D("0.0001")
FEES = D("0.004"), D("0.008")
MARKETS = {
    SOL: Market(SOL, D("0.01"), D("1e-8"), D("0.02"), D("0.45"), 5, *FEES),
    PENGU: Market(PENGU, D("0.00001"), D("1e-5"), D(100), D("0.45"), 5, *FEES),
    "EUR/USD": Market("EUR/USD", D("0.00001"), D("1e-8"), D(1), D("0.5"), 5, *FEES),
}
BOOK = {
    SOL: ("99.83 3, 99.51 10", "100.13 0.37, 100.17 0.11111, 100.29 30"),
    PENGU: ("0.01099 90000", "0.01101 50000.12345, 0.01103 90000"),
    "EUR/USD": ("1.16003 900", "1.16111 900"),
}


def decimals(asset: str) -> int:
    """As Assets had it in 2025-05 of a coin that the sandbox does not name."""
    return 4 if asset == "PENGU" else asset_decimals(asset)


def exchange() -> Exchange:
    fees = ladder(SINCE_JULY_2026, frozenset({"USD"}))
    made = Exchange(MARKETS, house=HouseRules(matching=Matching.BOOK, fees=fees, decimals=decimals))
    for symbol, (bids, asks) in BOOK.items():
        made.show_depth(symbol, levels(bids), levels(asks), NOW)
    return made


def at_kraken(money: str = "1000 EUR, 10 SOL") -> Client:
    return client(Core(exchange(), Settings(rate_limits=False)), money)


# What the exchange books


def rows_of(made: Client, txid: str) -> dict[str, tuple[str, str]]:
    rows = made.private("Ledgers")["ledger"].values()
    return {row["asset"]: (row["amount"], row["fee"]) for row in rows if row["refid"] == txid}


def test_a_trade_is_told_exactly_and_booked_in_the_decimals_of_its_assets() -> None:
    made = at_kraken("10 SOL")
    made.core.exchange.show_depth(SOL, levels("171.06 0.4"), levels("172 1"), NOW)
    made.placed("sell 0.39999999 SOLEUR limit 171.06")
    ((txid, trade),) = made.private("TradesHistory")["trades"].items()
    assert (trade["cost"], trade["fee"]) == ("68.42399", "0.54740")  # 68.4239982894, of it 0.8 %
    assert rows_of(made, txid) == {
        "SOL": ("-0.3999999900", "0.0000000000"),
        "ZEUR": ("68.4240", "0.5474"),
    }
    assert made.private("Balance") == {"SOL": "9.6000000100", "ZEUR": "67.8766"}
    history = made.core.exchange.history("a")
    assert history.owned == {"SOL": D("9.60000001"), "EUR": D("67.8766")}
    assert made.core.exchange.ledger("a").free("EUR") == amount("67.8766 EUR")


@pytest.mark.parametrize(
    ("volume", "booked"),
    [("39148.13654", "39148.1365"), ("39148.13655", "39148.1366"), ("39148.13645", "39148.1364")],
)
def test_coins_are_rounded_half_to_even_as_kraken_says(volume: str, booked: str) -> None:
    made = at_kraken()
    made.placed(f"buy {volume} PENGUEUR limit 0.02")
    (row, *_) = (row for row in made.core.exchange.history("a").rows if row.asset == "PENGU" and row.amount)
    assert row.amount == D(booked) == made.core.exchange.ledger("a").total("PENGU").number


def test_what_rounds_to_nothing_has_no_row() -> None:
    made = at_kraken()
    made.core.exchange.show_depth(SOL, levels("99 1"), levels("100 0.0000001, 101 1"), NOW)
    made.placed("buy 0.05 SOLEUR limit 101")
    trades = made.private("TradesHistory", ledgers="true")["trades"]
    dust, rest = sorted(trades, key=lambda txid: D(trades[txid]["vol"]))
    assert trades[dust]["cost"] == "0.00001" and list(rows_of(made, dust)) == ["SOL"]
    assert len(trades[dust]["ledgers"]) == 1 and len(trades[rest]["ledgers"]) == 2


def test_rounding_up_takes_nothing_that_is_not_there() -> None:
    """Each of nine parts would be rounded up, and all money but half a unit is set aside for the order."""
    made = at_kraken("90.7206 EUR")
    made.core.exchange.list_market(replace(MARKETS[SOL], tick_size=UNIT))
    seller = client(made.core, "1 SOL", "b")
    for _ in range(9):
        seller.placed("sell 0.1 SOLEUR limit 100.0006")
    made.placed("buy 0.9 SOLEUR limit 100.0006")
    paid = [row.amount for row in made.core.exchange.history("a").rows if row.asset == "EUR"][1:]
    assert sorted(set(paid)) == [D("-10.0001"), D("-10.0000")] and len(paid) == 9
    left = made.core.exchange.ledger("a").total("EUR").number
    assert left >= 0 and is_multiple(left, UNIT)


def test_however_much_is_traded_nothing_is_made_or_lost_and_all_balances_have_their_decimals() -> None:
    core, dice = Core(exchange(), Settings(rate_limits=False)), Random(7)
    traders = [client(core, "57.1234 EUR, 3 SOL, 91.07 USD, 20000 PENGU", name) for name in ("a", "b", "c")]
    for trader in traders * 60:
        pair, price, most = dice.choice(
            [("SOLEUR", D(100), D("0.3")), ("PENGUEUR", D("0.011"), D(2000)), ("EURUSD", D("1.16"), D(30))]
        )
        volume = (most * D(dice.randint(30, 100)) / 100).quantize(D("1e-8" if pair != "PENGUEUR" else "1e-5"))
        limit = (price * D(dice.randint(985, 1015)) / 1000).quantize(D("0.01" if price > 2 else "0.00001"))
        flag = dice.choice(["fciq", "fcib"])
        side = dice.choice(["buy", "sell"])
        trader.order(f"{side} {volume} {pair} limit {limit}", oflags=flag)
        trader.moved(1000)
    gained, rounded = core.exchange.strangers()
    ledgers = [core.exchange.ledger(name) for name in ("a", "b", "c")]
    assert sum(len(core.exchange.history(name).fills) for name in ("a", "b", "c")) > 60
    for asset, brought in (("EUR", D("57.1234")), ("SOL", D(3)), ("USD", D("91.07")), ("PENGU", D(20000))):
        owned = [ledger.total(asset).number for ledger in ledgers]
        fees = [ledger.balance("fees", asset).number for ledger in ledgers]
        strange = gained.get(asset, D(0)) + rounded.get(asset, D(0))
        assert sum(owned) + sum(fees) + strange == 3 * brought, asset
        assert all(is_multiple(number, D(1).scaleb(-decimals(asset))) for number in owned)
        assert owned == [core.exchange.history(name).owned.get(asset, D(0)) for name in ("a", "b", "c")]


# What the books of a run make of it


@dataclass
class Desk(World):
    """A world that writes down what it folds; its orders are made when they are sent."""

    written: list[Record] = field(default_factory=list)

    def fold(self, events: Any) -> None:
        for event in events:
            for record in event.records if isinstance(event, Compared) else (event,):
                self.written.append(record)
                apply(self.state, record)

    async def submit(self, order: Order) -> list[Event]:
        order = replace(order, time=self.loop.now())
        self.fold([Submit(order, 1, Try(D(1), D(200), 1.0, 0))])
        told = list(await self.venue.carry_out(Submit(order), lambda: None))
        self.fold(told)
        return told

    def ours(self, asset: str) -> Decimal:
        return self.state.ledger.total(asset).number

    def kraken(self, asset: str) -> Decimal:
        return self.theirs.core.exchange.ledger("a").total(asset).number

    @property
    def corrected(self) -> list[Corrected]:
        return [record for record in self.written if isinstance(record, Corrected)]


Scenario = Callable[[Desk, Reconciler], Coroutine[Any, Any, None]]


def desk(scenario: Scenario, money: str = "1000 EUR, 10 SOL", ours: str = "200 EUR") -> Desk:
    loop, theirs = VirtualLoop(NOW), at_kraken(money)
    network = Network(theirs.core, loop.now, Random(1), Rates())
    state, waiting, made = State(), list[Event](), list[Desk]()

    async def main() -> None:
        async with httpx.AsyncClient(transport=network, base_url="http://sandbox") as http:
            rest = Rest(http, loop.now, theirs.credentials)
            venue = KrakenVenue(rest, loop.now, state, waiting.extend)
            search = asyncio.create_task(venue.search())
            made.append(Desk(loop, theirs, network, state, venue, waiting, search, rest))
            made[0].fold([Opened("abc", "live", {}), Deposited(amount(ours), NOW)])
            await scenario(made[0], Reconciler(venue, state, loop.now))
            search.cancel()

    run(main(), loop)
    return made[0]


def order(side: Side, quantity: str, number: int, limit: str, symbol: str = SOL) -> Order:
    reserve = (
        Amount((D(limit) * D(quantity) * D("1.009")).quantize(D("0.00001")), "EUR")
        if side is Side.BUY
        else Amount(D(quantity), symbol.partition("/")[0])
    )
    return Order(
        client_id=f"abc-{number}",
        symbol=symbol,
        side=side,
        type=OrderType.LIMIT,
        quantity=D(quantity),
        price=D(limit),
        reserve=reserve,
        purpose=Purpose.ENTRY if side is Side.BUY else Purpose.STOP,
        time=NOW,
        time_in_force=TimeInForce.GTC,
        fee_asset=FeeAsset.QUOTE,
    )


async def compared(made: Desk, reconciler: Reconciler) -> Reconciliation:
    """Compare until nothing new comes."""
    for _ in range(6):
        found = await reconciler.compare()
        if not found.events:
            return found
        made.fold(found.events)
    raise AssertionError("it never ends")


async def agreed(made: Desk, reconciler: Reconciler) -> None:
    """The books are compared: without a difference, and the money is the same in the end."""
    found = await compared(made, reconciler)
    assert not found.differences, found
    done = made.state.reconciled
    assert done is not None and made.state.unexplained is None
    for asset in ("EUR", "SOL", "PENGU"):
        assert made.ours(asset) + done.foreign.get(asset, D(0)) == made.kraken(asset), asset


async def trades(made: Desk, reconciler: Reconciler) -> None:
    await agreed(made, reconciler)
    steps = [(Side.BUY, "0.1234567"), (Side.BUY, "0.35791113"), (Side.SELL, "0.2"), (Side.BUY, "0.02000001")]
    for number, (side, quantity) in enumerate(steps, 1):
        await made.submit(order(side, quantity, number, "101" if side is Side.BUY else "99"))
        if number != 1:  # the rows of two orders come together
            await agreed(made, reconciler)
    await made.submit(order(Side.SELL, str(made.ours("SOL")), 9, "99"))
    await agreed(made, reconciler)


def test_the_books_of_a_euro_account_agree_to_the_last_unit_after_every_trade() -> None:
    made = desk(trades)
    assert made.ours("SOL") == 0 and not made.state.holdings and made.state.totals.fills >= 6
    assert made.kraken("EUR") == 800 + made.ours("EUR") and is_multiple(made.ours("EUR"), UNIT)
    assert len(made.corrected) >= 5 and all(abs(c.amount.number) <= UNIT for c in made.corrected)
    assert not any(describe(record, made.state) for record in made.corrected), "that is nothing to tell"
    again = State()
    for record in made.written:
        fold(again, *encode(record))
    assert state_hash(again) == state_hash(made.state)


def test_a_trade_is_corrected_once_though_its_rows_are_seen_again() -> None:
    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        await trades(made, reconciler)
        count = len(made.corrected)
        later = Reconciler(made.venue, made.state, made.loop.now)  # as after a restart
        await agreed(made, later)
        assert len(made.corrected) == count

    desk(scenario)


def test_the_export_adds_up_to_what_the_account_has(tmp_path: Path) -> None:
    made, path = desk(trades), tmp_path / "eur.journal"
    with Journal(path) as journal:
        for record in made.written:
            journal.append(*encode(record))
        journal.commit()

    def table(*words: str) -> list[dict[str, str]]:
        result = CliRunner().invoke(cli, ["export", *words, "--journal", str(path)])
        assert result.exit_code == 0, result.output
        return list(csv.DictReader(io.StringIO(result.stdout)))

    ours = {"EUR": made.ours("EUR")}
    by_reference: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for row in table("ledger"):
        by_reference[row["reference"], row["asset"]] += D(row["amount"])
        if row["account"] == "ours":
            sums[row["asset"]] += D(row["amount"])
            assert D(row["balance"]) == sums[row["asset"]]
    assert not any(by_reference.values()) and {a: n for a, n in sums.items() if n} == ours
    moved: dict[str, Decimal] = defaultdict(Decimal)
    rows = table("ledger", "--layout", "tax")
    for row in rows:
        for part, sign in (("Received", 1), ("Sent", -1), ("Fee", -1)):
            if row[f"{part} Amount"]:
                moved[row[f"{part} Currency"]] += sign * D(row[f"{part} Amount"])
    assert {asset: number for asset, number in moved.items() if number} == ours
    assert sum("than told" in row["Description"] for row in rows) == len(made.corrected)
    fills = made.state.totals.fills
    assert len(table("trades")) == len(table("trades", "--layout", "tax")) == fills


@pytest.mark.parametrize("quantity", ["12345.67894", "12345.67895", "12345.67899"])
def test_coins_that_are_fewer_or_more_than_told_are_what_is_held(quantity: str) -> None:
    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        await agreed(made, reconciler)
        await made.submit(order(Side.BUY, quantity, 1, "0.012", PENGU))
        cost = made.state.holdings[PENGU].position.cost if PENGU in made.state.holdings else D(0)
        await agreed(made, reconciler)
        position = made.state.holdings[PENGU].position
        assert position.quantity == made.ours("PENGU") == made.kraken("PENGU") != D(quantity)
        assert not cost or position.cost <= cost
        await made.submit(order(Side.SELL, str(position.quantity), 2, "0.0109", PENGU))
        await agreed(made, reconciler)
        assert not made.state.holdings and made.ours("PENGU") == 0

    desk(scenario)


async def buys_with_the_fee_in_coins(made: Desk, reconciler: Reconciler) -> None:
    """Asked for in quote, and told so, it is taken in base."""
    await agreed(made, reconciler)
    await made.submit(replace(order(Side.BUY, "0.3", 1, "101"), fee_asset=FeeAsset.BASE))


def test_a_fee_taken_in_coins_makes_the_holding_smaller() -> None:
    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        await buys_with_the_fee_in_coins(made, reconciler)
        await agreed(made, reconciler)
        assert made.state.holdings[SOL].position.quantity == made.ours("SOL") == D("0.2976")
        told = next(c for c in made.corrected if c.amount.asset == "SOL")
        assert "booked otherwise than told: -0.0024 SOL" in describe(told, made.state)
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == 10
        deposits, earned = made.state.totals.deposits, made.state.totals.realised_pnl
        assert (deposits, earned) == (200, 0), "it is neither money from outside nor a gain"

    desk(scenario)


def test_coins_that_were_sold_before_it_was_seen_that_a_fee_took_them_were_somebody_elses() -> None:
    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        await buys_with_the_fee_in_coins(made, reconciler)
        while made.ours("SOL") < D("0.3"):
            made.fold((await reconciler.compare()).events[:1])
        await made.submit(order(Side.SELL, "0.3", 2, "99"))
        await agreed(made, reconciler)
        assert made.ours("SOL") == 0
        assert made.state.reconciled is not None and made.state.reconciled.foreign["SOL"] == D("9.9976")

    desk(scenario)


def test_where_all_is_set_aside_what_came_pays_for_what_went() -> None:
    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        await agreed(made, reconciler)
        await made.submit(order(Side.BUY, "0.17", 1, "101"))
        await made.submit(order(Side.BUY, "0.13", 2, "101"))
        while made.state.totals.fills < 2:
            made.fold((await reconciler.compare()).events)
        free = made.state.ledger.free("EUR")
        await made.submit(replace(order(Side.BUY, "1", 3, "50"), reserve=free))
        await agreed(made, reconciler)
        assert [str(c.amount) for c in made.corrected] == ["0.00004 EUR", "-0.00002 EUR"]
        assert made.state.ledger.free("EUR") == amount("0.00002 EUR")
        assert made.state.reconciled is not None and made.state.reconciled.foreign["EUR"] == 800

    desk(scenario)


class Retold(Account):
    """An account whose rows and balances are changed on their way here."""

    def __init__(self, rest: Rest, rows: Callable[[list[LedgerInfo]], list[LedgerInfo]]) -> None:
        super().__init__(rest)
        self.retell = rows
        self.more: dict[str, Decimal] = {}

    async def balances(self) -> dict[str, Amount]:
        told = await super().balances()
        for asset, number in self.more.items():
            told[asset] = Amount(number, asset) + told.get(asset, Amount(D(0), asset))
        return told

    async def ledger(self, since: Time) -> list[LedgerInfo]:
        return self.retell(await super().ledger(since))


def test_a_fee_taken_in_credits_is_not_taken_from_our_money() -> None:
    """Kraken's fee credits (KFEE) are foreign: they lose what the fee is, and the quote's row has no fee."""

    def credited(rows: list[LedgerInfo]) -> list[LedgerInfo]:
        paid = [replace(row, fee=D(0)) for row in rows]
        return paid + [
            replace(row, ledger_id=f"K{row.ledger_id}", amount=amount("0 KFEE"), fee=row.fee * 100)
            for row in rows
            if row.fee
        ]

    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        made.venue.account = kraken = Retold(made.rest, credited)
        kraken.more = {"KFEE": D(1000)}
        await agreed(made, reconciler)
        await made.submit(order(Side.BUY, "0.3", 1, "101"))
        fee = sum((row.fee for row in made.theirs.core.exchange.history("a").rows), D(0))
        kraken.more = {"KFEE": D(1000) - fee * 100, "EUR": fee}
        found = await compared(made, reconciler)
        assert not found.differences and made.ours("EUR") == made.kraken("EUR") - 800 + fee
        assert made.state.reconciled is not None
        assert made.state.reconciled.foreign == {"EUR": 800, "KFEE": 1000 - fee * 100, "SOL": 10}

    desk(scenario)


def test_a_difference_whose_row_is_missing_stays_unexplained() -> None:
    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        await agreed(made, reconciler)
        await made.submit(order(Side.BUY, "0.1234567", 1, "101"))
        made.venue.account = Retold(made.rest, lambda rows: [r for r in rows if r.amount.asset != "SOL"])
        found = await compared(made, reconciler)
        assert found.differences and abs(found.differences["EUR"]) <= UNIT and not made.corrected
        made.venue.account = Account(made.rest)
        await agreed(made, reconciler)
        assert made.corrected

    desk(scenario)


def test_a_trade_of_which_a_part_rounds_to_nothing_is_whole_without_its_row() -> None:
    async def scenario(made: Desk, reconciler: Reconciler) -> None:
        await agreed(made, reconciler)
        made.theirs.core.exchange.show_depth(SOL, levels("99 1"), levels("100 0.0000001, 101 1"), NOW)
        await made.submit(order(Side.BUY, "0.05", 1, "101"))
        await agreed(made, reconciler)
        assert made.state.order("abc-1").filled == D("0.05") and made.corrected

    desk(scenario)


def test_what_went_is_counted_in_only_where_it_is_free(tmp_path: Path) -> None:
    """Free when the books were compared, held for an order by now: then nothing of it is booked."""

    def comparison(*numbers: Decimal) -> Compared:
        told = tuple(Corrected(Amount(number, "USDT"), f"T{n}", at(2)) for n, number in enumerate(numbers))
        return Compared((), Reconciled({}, ("L1",), at(2)), told)

    kraken = held(tmp_path)
    state = kraken.engine.state
    free = state.ledger.free("USDT").number
    before = state.ledger
    kraken.tell(comparison(-free, -UNIT))
    (said,) = kraken.log
    assert isinstance(said, Unexplained) and state.ledger == before and state.reconciled is None
    kraken.log.clear()
    kraken.tell(told := comparison(UNIT, -free, -UNIT))
    assert tuple(kraken.log) == told.records
    assert state.ledger.free("USDT").number == 0 and state.unexplained is None
