"""Whatever happens to a run, nothing is made and nothing is lost, and neither passing over silent bars nor
stopping changes it: many short seeded runs in worlds that fill orders in parts, change their rules, close
pairs, and move money in and out."""

import os
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random

import numpy as np

from lotwise.app.settings import Settings
from lotwise.app.wire import Run
from lotwise.domain.market import FeeAsset, Market, MarketStatus
from lotwise.domain.orders import Fill, Order, Purpose, Rejected, RejectionKind
from lotwise.domain.values import EXACT, Amount, Side, Time
from lotwise.engine.codec import fold, state_hash
from lotwise.engine.records import Deposited, Listed, MarketUpdate, Record, Stranded, Submit
from lotwise.ledger.postings import Ledger
from lotwise.store.journal import Journal, read
from lotwise.strategies.candles import Candles
from lotwise.venues.simulated import ACCOUNT, listed
from tests.test_engine import CALM, HOUR, SOL, START, bars, of
from tests.test_happenings import ADA, SMALL, World, begun, born, live, market_of, settings_in, whole

D = Decimal
RUNS = int(os.environ.get("LOTWISE_RUNS", "1000"))
BARS = 48

Refusal = tuple[str, Side, RejectionKind, int]
"""A pair, which way, why, and how often the pair's rules had changed by then."""


def spread_out(market: Market, random: Random) -> Market:
    """The rules with one of them changed."""
    factor = D(random.choice(["0.5", "1", "1.5", "2", "4", "8"]))
    match random.choice(["ordermin", "ordermin", "costmin", "tick", "lot", "fees", "most"]):
        case "ordermin":
            return replace(market, min_quantity=market.min_quantity * factor)
        case "costmin":
            return replace(market, min_notional=D("0.5") * factor)
        case "tick":
            return replace(market, tick_size=market.tick_size * random.choice([1, 5, 10]))
        case "lot":
            return replace(
                market, lot_step=D(1).scaleb(market.min_quantity.adjusted() - random.randint(0, 3))
            )
        case "fees":
            return replace(market, maker_fee=D("0.0025") * factor / 2, taker_fee=D("0.004") * factor / 2)
        case _:
            return replace(market, max_quantity=market.min_quantity * random.choice([1, 3, 40]))


class Shifting:
    """Rules that change at set times, each on those before it or on the first; one history for one seed."""

    def __init__(self, random: Random, symbols: list[str], times: list[Time], fee_asset: FeeAsset) -> None:
        firsts = {symbol: market_of(symbol, fee_asset=fee_asset) for symbol in symbols}
        self.steps = {symbol: [(Time(0), market)] for symbol, market in firsts.items()}
        for time in times:
            steps = self.steps[random.choice(symbols)]
            steps.append((time, spread_out(steps[random.choice([0, -1])][1], random)))

    def __call__(self, calm: Market, time: Time) -> Market:
        return self.at(calm.symbol, time)

    def at(self, symbol: str, time: Time) -> Market:
        return self.steps[symbol][self.changes(symbol, time)][1]

    def changes(self, symbol: str, time: Time) -> int:
        """How often the rules of a pair had changed by then."""
        return sum(since <= time for since, _ in self.steps[symbol]) - 1


def walk(random: Random, symbol: str, timeframe: str, many: int) -> Candles:
    """A wild walk of so many bars, of which some are missing; each trades about what a small order is."""
    bar, (price, step) = {"15m": HOUR // 4, "1h": HOUR, "4h": 4 * HOUR}[timeframe], STARTS[symbol]
    rows: list[tuple[int, int, int, int]] = []
    dates: list[int] = []
    volumes: list[float] = []
    for number in range(many):
        points = [price]
        for _ in range(4):
            points.append(max(1, points[-1] + random.randint(-price // 60 - 1, price // 60 + 1)))
        if random.random() < 0.03:
            points[1:] = [max(1, point * random.choice([70, 90, 110, 130]) // 100) for point in points[1:]]
        if random.random() < 0.95 or not rows:
            rows.append((price, max(points), min(points), points[-1]))
            dates.append(START + bar * number)
            volumes.append(random.choice([0.0, 1.0, 30.0, 1e4]) * random.random() / (price * float(step)))
        price = points[-1]
    first, high, low, last = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    times = np.array(dates, dtype=np.int64)
    return Candles(symbol, timeframe, times, first, high, low, last, step, np.array(volumes))


STARTS = {SOL: (18000, D("0.01")), ADA: (780000, D("0.000001")), "DOGE/USDT": (22300, D("0.00001"))}


def wishes_drawn(random: Random, many: int) -> list[float]:
    often = random.choice([0.1, 0.5])
    return [random.choice([1.0, 0.7, 0.4, -0.5]) if random.random() < often else 0.0 for _ in range(many)]


def world_drawn(random: Random, many: int = 60) -> tuple[World, Settings]:
    """A world in which much happens, and settings to live in it."""
    pick, timeframe = random.choice, random.choice(["15m", "1h", "4h", "4h"])
    symbols = random.sample(sorted(STARTS), random.randint(1, 3))
    candles = {symbol: walk(random, symbol, timeframe, many) for symbol in symbols}
    bar = candles[symbols[0]].bar
    times = [Time(START + bar * number) for number in range(1, many)]
    fee_asset = pick(list(FeeAsset))
    rules = Shifting(random, symbols, sorted(random.sample(times, pick([0, 3, 12]))), fee_asset)
    happenings: list[Deposited | Listed] = []
    for time in sorted(random.sample(times, pick([0, 2, 8]))):
        symbol = pick(symbols)
        if random.random() < 0.4:
            happenings.append(Deposited(Amount(D(pick(["10", "2.5", "-0.00001", "-1", "-4"])), "USDT"), time))
        else:
            status = pick([MarketStatus.ONLINE, MarketStatus.ONLINE, *MarketStatus])
            happenings.append(replace(listed(rules.at(symbol, time), time), status=status))
    settings = {
        "timeframe": timeframe,
        "dry_run_wallet": pick(["2.6", "5", "12", "60"]),
        "max_open_trades": pick([1, 2, 4]),
        "stoploss": pick(["-0.01", "-0.03", "-0.2"]),
        "target": pick(["0.012", "0.03", "0.1"]),
        "trailing_stop": pick([0, 0, "0.02"]),
        "stoploss_on_exchange": pick([False, True]),
        "max_hold_bars": pick([0, 0, 7]),
        "sizing__max_order_size_usdt": pick([3, 10, 30]),
        "sizing__tier_min_costs__TIER_1": pick(["0", "2.5"]),
        "sizing__tier_min_costs__MEME": pick(["0", "2.5"]),
        "sizing__fee_asset": fee_asset,
        "entry__style": pick(["maker", "maker", "taker", "maker_then_taker"]),
        "entry__lifetime_bars": pick([1, 3]),
        "entry__replaces": pick([0, 2]),
        "limits__drawdown": pick([0, "0.2"]),
        "limits__cooldown_bars": pick([0, 5]),
        "paper__volume_share": pick([0, "0.3", "0.01"]),
    }
    wishes = {symbol: wishes_drawn(random, many) for symbol in symbols}
    world = World(candles, wishes, tuple(happenings), rules)
    return world, settings_in(world, **settings)


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
                if order.side is Side.SELL and order.symbol in run.engine.state.holdings:
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
            engine = run.engine
            no_stops = (
                holding.unguarded
                or not engine.status(symbol).takes(Side.SELL, False, False)
                or engine.unsellable(symbol, Purpose.PROTECTION, update.time)
            )
            if engine.plan.stop_rests and no_stops and symbol in engine.brackets():
                continue  # the run watches stop and target
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
    # What another pair's order takes beyond its hold is no matter of these rules: FUNDS may come again.
    ruled = {refusal: count for refusal, count in refused.items() if refusal[3] is not RejectionKind.FUNDS}
    assert [order for order, count in ruled.items() if count > 1] == []


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


WORLDS = 40


def test_the_journal_is_the_same_with_skipping_and_without_whatever_happens(
    tmp_path: Path, say: list[str]
) -> None:
    kinds: Counter[str] = Counter()
    for seed in range(WORLDS):
        world, settings = world_drawn(Random(seed))
        rows = []
        for skips in (True, False):
            path = tmp_path / f"{seed}-{skips}"
            with Journal(path) as journal:
                whole(born(world, settings, journal, skips))
            rows.append([(row.kind, row.body) for row in read(path)])
        assert rows[0] == rows[1], f"world {seed}"
        kinds += Counter(kind for kind, _ in rows[0])
    told = ("Submit", "Fill", "Listed", "Deposited", "Stranded")
    say.append(
        f"skipping in {WORLDS} worlds where much happens: " + ", ".join(f"{kinds[k]} {k}" for k in told)
    )
    assert min(kinds[kind] for kind in told) > 10


class Stopped(Exception):
    """What ends a run before its time."""


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_whatever_happens(tmp_path: Path) -> None:
    """And what it was when it stopped is the fold of what was written down by then."""
    for seed in range(WORLDS):
        random = Random(seed)
        world, settings = world_drawn(random)
        stop = min(candles.dates[0] for candles in world.candles.values()) + HOUR * random.randint(4, 60)
        paths = [tmp_path / f"{seed}-{part}" for part in ("whole", "before", "after")]

        def watch(run: Run, update: MarketUpdate, _: list[Record], stop: int = stop) -> None:
            if update.time >= stop:
                raise Stopped

        with Journal(paths[0]) as journal:
            whole(born(world, settings, journal))
        state = begun(settings)
        with Journal(paths[1]) as journal:
            before = born(world, settings, journal)
            with suppress(Stopped):
                whole(before, watch)
        for row in read(paths[1]):
            fold(state, row.kind, row.body)
        assert state_hash(state) == state_hash(before.engine.state), f"world {seed}"
        with Journal(paths[2]) as journal:
            whole(born(world, settings, journal, state=state))
        told, *parts = [[(row.kind, row.body) for row in read(path)] for path in paths]
        assert parts[0] + parts[1] == told, f"world {seed}"
