"""The law on real prices: no order refused for its size, none skipped that could be placed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import product
from pathlib import Path

import pytest

from lotwise.app.settings import Settings
from lotwise.app.wire import Run, plan_of
from lotwise.domain.market import Liquidity, Market
from lotwise.domain.orders import Order, OrderType, Purpose
from lotwise.domain.sizing import Reason
from lotwise.domain.values import EXACT, Amount, Side, Time
from lotwise.engine.codec import fold, state_hash
from lotwise.engine.records import Decided, MarketUpdate, Record
from lotwise.engine.state import State
from lotwise.exchange.exchange import Exchange
from lotwise.store.journal import Journal, read
from lotwise.venues.simulated import ACCOUNT
from tests.runs import NO_PRICES, PRICES, recorded, run_through, settings_of

pytestmark = pytest.mark.skipif(not PRICES.is_dir(), reason=NO_PRICES)

CASES = list(product(("micro", "small"), ("2.86", "10", "50", "500")))
"""micro: the rules of July 2025; small: the latest ones."""


@dataclass
class Told:
    """What one run did."""

    settings: Settings
    orders: int = 0
    size_rejections: int = 0
    skips: list[Decided] = field(default_factory=list)
    unbalanced: list[str] = field(default_factory=list)
    replayed: bool = False


def owned(joined: Run) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
    """Every asset as our ledger and as the exchange has it."""
    ours, theirs = joined.engine.state.ledger, joined.venue.exchange.ledger(ACCOUNT)
    assets = sorted(ours.assets() | theirs.assets())
    return {a: ours.total(a).number for a in assets}, {a: theirs.total(a).number for a in assets}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Told]:
    folder = tmp_path_factory.mktemp("real")
    return {case: ran(case, folder) for case in CASES}


def ran(case: tuple[str, str], folder: Path) -> Told:
    preset, balance = case
    settings = settings_of(preset, dry_run_wallet=balance)
    result = Told(settings)
    path = folder / f"{preset}-{balance}.journal"

    def watch(joined: Run, update: MarketUpdate, records: list[Record]) -> None:
        result.skips += [r for r in records if isinstance(r, Decided) and r.reason in set(Reason)]
        ours, theirs = owned(joined)
        if ours != theirs:
            result.unbalanced.append(f"{update.time}: {ours} here, {theirs} at the exchange")
        sums: dict[str, Decimal] = {}
        for account, number in joined.engine.state.ledger.balances.items():
            asset = account.rpartition(":")[2]
            sums[asset] = EXACT.add(sums.get(asset, Decimal(0)), number)
        if any(sums.values()):
            result.unbalanced.append(f"{update.time}: the books sum to {sums}")

    with Journal(path) as journal:
        joined = run_through(settings, recorded(settings), journal, watch)
    result.orders = joined.engine.state.totals.orders
    result.size_rejections = joined.engine.state.totals.size_rejections
    folded = State()
    for row in read(path):
        fold(folded, row.kind, row.body)
    result.replayed = state_hash(folded) == state_hash(joined.engine.state)
    return result


def test_no_order_of_at_least_200_is_refused_for_its_size(
    told: dict[tuple[str, str], Told], say: list[str]
) -> None:
    orders = {case: run.orders for case, run in told.items()}
    refused = sum(run.size_rejections for run in told.values())
    say.append(f"real candles: {sum(orders.values())} orders in {len(told)} runs, {refused} refused for size")
    assert sum(orders.values()) >= 200
    assert sum(run.size_rejections for run in told.values()) == 0


def test_nothing_is_made_or_lost_at_any_step(told: dict[tuple[str, str], Told]) -> None:
    assert [run.unbalanced for run in told.values() if run.unbalanced] == []


def test_each_run_replays_to_its_own_state(told: dict[tuple[str, str], Told]) -> None:
    assert all(run.replayed for run in told.values())


def quantities(market: Market, price: Decimal, free: Decimal) -> Iterator[Decimal]:
    """Whole lots from one to twice what the balance pays: evenly, by powers, and around each minimum."""
    step = market.lot_step
    most = int(free * 2 / price / step) + 2
    around = {int(edge / step) for edge in (market.min_quantity, market.min_notional / price)}
    lots = {round(most * n / 150) for n in range(151)} | {2**n for n in range(most.bit_length())}
    lots |= {edge + near for edge in around for near in (-1, 0, 1, 2)}
    return (step * n for n in sorted(lots) if n > 0)


def test_for_each_skip_the_exchange_or_the_policy_refuses_every_quantity(
    told: dict[tuple[str, str], Told], say: list[str]
) -> None:
    swept = 0
    for run in told.values():
        plan = plan_of(run.settings, "sweep")
        for skip in run.skips[:: max(1, len(run.skips) // 60)]:
            market = plan.markets(skip.symbol, skip.time)
            assert isinstance(market, Market)
            exchange = Exchange({skip.symbol: market})
            exchange.deposit(ACCOUNT, Amount(skip.free, market.quote))
            policy = plan.policies[skip.symbol]
            hard = min(policy.cap, policy.risk_target or policy.cap)
            stop = market.price_down(skip.price * (1 - policy.stop))
            for quantity in quantities(market, skip.price, skip.free):
                swept += 1
                notional = skip.price * quantity
                policy_takes = policy.floor <= notional <= hard
                sellable = quantity >= market.min_quantity and stop * quantity >= market.min_notional
                order = entry(skip, market, quantity)
                accepted = exchange.check(ACCOUNT, order) is None
                assert not (accepted and policy_takes and sellable), (skip, quantity)
    skips = sum(len(run.skips) for run in told.values())
    say.append(f"real candles: {skips} skips for size, {swept} orders swept, none would have passed")


def entry(skip: Decided, market: Market, quantity: Decimal) -> Order:
    return Order(
        client_id="sweep",
        symbol=skip.symbol,
        side=Side.BUY,
        type=OrderType.LIMIT,
        quantity=quantity,
        price=skip.price,
        reserve=Amount(Decimal(0), market.quote),
        purpose=Purpose.ENTRY,
        time=Time(0),
        post_only=skip.liquidity is Liquidity.MAKER,
    )
