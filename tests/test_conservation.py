"""Whatever happens to a run, nothing is made and nothing is lost: many short seeded runs in worlds that
fill orders in parts, change their rules, close pairs, and move money in and out."""

import os
from collections import Counter
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random

from lotwise.app.wire import Run
from lotwise.domain.market import Market
from lotwise.domain.orders import Fill, Order, Rejected, RejectionKind
from lotwise.domain.values import EXACT, Side, Time
from lotwise.engine.records import Deposited, MarketUpdate, Record, Stranded, Submit
from lotwise.ledger.postings import Ledger
from lotwise.store.journal import Journal
from lotwise.venues.simulated import ACCOUNT
from tests.test_engine import CALM, SOL, bars, of
from tests.test_happenings import ADA, SMALL, Shifting, World, born, live, whole, world_drawn

RUNS = int(os.environ.get("LOTWISE_RUNS", "1000"))
BARS = 48

Refusal = tuple[str, Side, RejectionKind, int]
"""A pair, which way, why, and how often the pair's rules had changed by then."""


@dataclass
class Auditor:
    """Looks at a run after each of its moments. `told`: how much of each pair was last said to be stuck."""

    rules: Shifting
    orders: dict[str, Order] = field(default_factory=dict)
    told: dict[str, Decimal] = field(default_factory=dict)
    refused: Counter[Refusal] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)

    def __call__(self, run: Run, update: MarketUpdate, moment: list[Record]) -> None:
        for record in moment:
            self.take_note(run, record)
        ours, theirs = run.engine.state.ledger, run.venue.exchange.ledger(ACCOUNT)
        for asset in ours.assets() | theirs.assets():
            assert ours.total(asset) == theirs.total(asset)
        for ledger in (ours, theirs):
            assert not any(sums(ledger).values())
        self.look_for_dust(run, update)

    def take_note(self, run: Run, record: Record) -> None:
        self.seen[type(record).__name__] += 1
        match record:
            case Submit(order):
                self.orders[order.client_id] = order
            case Stranded(symbol, quantity):
                self.told[symbol] = quantity
            case Fill():
                self.seen["part of a fill"] += record.quantity < self.orders[record.client_id].quantity
            case Rejected(client_id, rejection, time):
                order = self.orders[client_id]
                changes = self.rules.changes(order.symbol, time)
                self.refused[order.symbol, order.side, rejection.kind, changes] += 1
                if order.side is Side.SELL:
                    self.told[order.symbol] = run.engine.state.holdings[order.symbol].position.quantity
            case _:
                pass

    def look_for_dust(self, run: Run, update: MarketUpdate) -> None:
        """All coins belong to a holding, and each holding is at work or was said to be stuck as a whole."""
        state = run.engine.state
        for asset in state.ledger.assets() - {"USDT"}:
            holding = state.holdings[f"{asset}/USDT"]
            assert holding.position.quantity == state.ledger.total(asset).number
        for symbol, holding in state.holdings.items():
            if state.orders_on(symbol) or holding.refused == update.time:
                continue
            assert holding.stuck, f"{holding} is neither at work nor stuck"
            assert holding.position.quantity <= self.told[symbol]


def sums(ledger: Ledger) -> dict[str, Decimal]:
    """What the accounts of each asset add up to."""
    found: dict[str, Decimal] = {}
    for account, number in ledger.balances.items():
        asset = account.rpartition(":")[2]
        found[asset] = EXACT.add(found.get(asset, Decimal(0)), number)
    return found


def test_value_is_conserved_and_dust_is_listed_over_many_random_runs(tmp_path: Path, say: list[str]) -> None:
    seen: Counter[str] = Counter()
    refused: Counter[tuple[int, *Refusal]] = Counter()
    with Journal(tmp_path / "all.journal") as journal:
        for seed in range(RUNS):
            world, settings = world_drawn(Random(seed), BARS)
            assert isinstance(world.rules, Shifting)
            auditor = Auditor(world.rules)
            try:
                whole(born(world, settings, journal), auditor)
            except BaseException as trouble:
                trouble.add_note(f"seed {seed}")
                raise
            seen += auditor.seen
            refused += Counter((seed, *refusal) for refusal in auditor.refused.elements())
    kinds = ("Submit", "Fill", "part of a fill", "Stranded", "Listed", Deposited.__name__, "Unexplained")
    say.append(f"{RUNS} random runs, conserved: " + ", ".join(f"{seen[kind]} {kind}" for kind in kinds))
    sells = Counter({refusal: count for refusal, count in refused.items() if refusal[2] is Side.SELL})
    say.append(f"refused: {refused.total()} orders, of which {sells.total()} sells")
    assert [sell for sell, count in sells.items() if count > 1] == [], "a refused sale is not repeated"
    assert [order for order, count in refused.items() if count > 1] == []


def test_a_fee_that_rose_unheard_of_is_paid_although_all_the_rest_is_set_aside(tmp_path: Path) -> None:
    """Two entries of one moment take all that is free, and the first costs more than it was told to."""

    def dearer(market: Market, _: Time) -> Market:
        return replace(market, taker_fee=market.taker_fee * 2)

    candles = {SOL: bars(SOL, *[CALM] * 3), ADA: bars(ADA, *[SMALL] * 3)}
    world = World(candles, {SOL: [1], ADA: [0.5]}, rules=dearer)
    settings = {"entry__style": "taker", "max_open_trades": 2, "sizing__max_order_size_usdt": 6}
    joined, records = live(tmp_path / "j", world, **settings)
    ours, theirs = joined.engine.state.ledger, joined.venue.exchange.ledger(ACCOUNT)
    assert [fill.symbol for fill in of(records, Fill)] == [SOL]
    assert [rejected.rejection.kind for rejected in of(records, Rejected)] == [RejectionKind.FUNDS]
    assert {asset: ours.total(asset) for asset in ours.assets()} == {
        asset: theirs.total(asset) for asset in theirs.assets()
    }
    assert ours.free("USDT") == theirs.free("USDT")
