"""`make bench`: speed and correctness at scale, all figures of one run on one machine.

Times are medians of several rounds; where there is a peer, what counts is the ratio. Nothing here
passes or fails but the ten million sizing cases.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ccxt
import numpy as np

from benchmarks.sizing_check import check
from lotwise import Amount, Market, Opportunity, Policy, exact, size_order
from lotwise.app.loop import run
from lotwise.app.settings import load_settings
from lotwise.app.wire import Source, built_in_market, open_run
from lotwise.domain.sizing import CEILING_64, UNBOUNDED, Purse, Terms, _frame, choose_lots
from lotwise.domain.values import EPOCH
from lotwise.engine.codec import encode
from lotwise.engine.engine import Engine
from lotwise.engine.plan import Plan as EnginePlan
from lotwise.engine.records import Decided, Event, Marked, Record, Submit
from lotwise.engine.state import State
from lotwise.research.compiled import size_batch, walk
from lotwise.research.projection import Odds, Plan
from lotwise.store.journal import Journal

SOL = Market(
    "SOL/USDT",
    tick_size=exact("0.01"),
    lot_step=exact("0.00000001"),
    min_quantity=exact("0.01"),
    min_notional=exact("0.5"),
    quote_precision=8,
    maker_fee=exact("0.004"),
    taker_fee=exact("0.008"),
)
POLICY = Policy(cap=exact("10"), floor=exact("2.5"), stop=exact("0.02"))
WISH = Opportunity("SOL/USDT", exact("150.12"))
FREE = Amount(exact("2.86"), "USDT")
ROUNDS = 7


def say(name: str, figure: str, beside: str = "") -> None:
    print(f"{name:<46}{figure:>22}  {beside}", flush=True)


def seconds_each(function: Callable[[], Any], calls: int) -> float:
    """Median over rounds of the seconds of one call."""
    return statistics.median(in_turn({"it": function}, calls)["it"])


def in_turn(functions: dict[str, Callable[[], Any]], calls: int) -> dict[str, list[float]]:
    """Seconds of one call of each, round by round in turn, so that a busy machine slows all alike."""
    rounds: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for name, function in functions.items():
            start = time.perf_counter()
            for _ in range(calls):
                function()
            rounds[name].append((time.perf_counter() - start) / calls)
    return rounds


def ccxt_decision() -> Callable[[], bool]:
    """What a careful bot does with ccxt: two precisions, then the comparison with the limits."""
    kraken = ccxt.kraken()
    limits = {"amount": {"min": 0.01}, "cost": {"min": 0.5}}
    precision = {"amount": 1e-8, "price": 0.01, "cost": 1e-8}
    kraken.markets = {"SOL/USDT": {"symbol": "SOL/USDT", "limits": limits, "precision": precision}}
    kraken.markets_by_id = {}

    def decide() -> bool:
        cost = float(kraken.cost_to_precision("SOL/USDT", min(2.86 * 0.95, 10.0)))
        quantity = float(kraken.amount_to_precision("SOL/USDT", cost / 150.12))
        return quantity >= limits["amount"]["min"] and quantity * 150.12 >= limits["cost"]["min"]

    return decide


def integers() -> tuple[Purse, Terms]:
    frame = _frame(SOL, POLICY, WISH.liquidity, SOL.grid.digits)
    return frame.purse._replace(free=28_600_000_000), frame.terms(WISH.price)


def sizing() -> None:
    purse, terms = integers()
    spent = in_turn(
        {
            "ccxt: two precisions and two comparisons": ccxt_decision(),
            "size_order, the public decision": lambda: size_order(WISH, SOL, FREE, POLICY),
            "choose_lots, called by Python": lambda: choose_lots(purse, terms, UNBOUNDED),
        },
        10_000,
    )
    peer, *ours = spent.items()
    say(peer[0], f"{1 / statistics.median(peer[1]):,.0f} /s", "the peer")
    for (name, each), aim in zip(ours, (3, 10), strict=True):
        ratio = statistics.median(theirs / mine for theirs, mine in zip(peer[1], each, strict=True))
        say(name, f"{1 / statistics.median(each):,.0f} /s", f"{ratio:.1f} x ccxt (aim {aim})")
    frees = np.random.default_rng(1).integers(0, 20 * 10**10, 2_000_000)
    size_batch(frees[:10], purse, terms)
    batch = seconds_each(lambda: size_batch(frees, purse, terms), 1) / frees.size
    say("choose_lots, compiled, in a batch", f"{1 / batch / 1e6:,.0f} M/s", "(aim 30)")
    assert max(*purse, *terms) <= CEILING_64


def monte_carlo() -> None:
    """Steps of paths under the exact rule and both fees, once compiled."""
    odds = Odds(win_rate=exact("0.6"), loss=exact("0.02"), paths=1_000_000)
    for trades in (10, 50):
        plan = Plan(balance=exact("2.86"), trades=trades, gain=exact("0.02"))
        walk(plan, exact("0.004"), odds, threads=1)
        each = seconds_each(lambda plan=plan: walk(plan, exact("0.004"), odds, threads=1), 1)  # type: ignore[misc]
        steps = odds.paths * trades / each
        say(f"Monte Carlo, {trades} trades a path, one core", f"{steps / 1e6:,.0f} M steps/s", "(aim 200)")


class Timed(Engine):
    """An engine that notes how long each answer took, by what the answer was."""

    def __init__(self, plan: EnginePlan, state: State) -> None:
        super().__init__(plan, state, {})
        self.spent: dict[str, list[float]] = defaultdict(list)

    def handle(self, event: Event) -> list[Record]:
        start = time.perf_counter()
        records = super().handle(event)
        self.spent[kind_of(records)].append(time.perf_counter() - start)
        return records


def kind_of(records: list[Record]) -> str:
    """Silence, one order, one refusal, or something else."""
    kinds = [type(record) for record in records]
    if kinds == [Decided, Submit]:
        return "order"
    if kinds == [Decided]:
        return "refusal"
    return "silence" if not kinds else "other"


def engine(folder: Path) -> None:
    """A run on the built-in market: the whole by bar, and the engine's own share of it."""
    settings = load_settings(None, None, {"dry_run_wallet": "50", "max_open_trades": 3, "paper.bars": 8_000})
    source = Source("bench", built_in_market(settings))
    with Journal(folder / "engine.journal") as journal:
        joined = open_run(settings, source, journal, None)
        joined.engine = timed = Timed(joined.engine.plan, joined.engine.state)
        start = time.perf_counter()
        run(joined, lambda *_: None)
        whole = time.perf_counter() - start
    bars = 8_000 * len(source.candles)
    say("a run, every bar visited, journal and all", f"{whole / bars * 1e6:,.1f} us/bar", f"{bars:,} bars")
    for kind, unit in (("silence", "moment"), ("order", "order"), ("refusal", "refusal")):
        spent = timed.spent[kind]
        figure = f"{statistics.median(spent) * 1e6:,.1f} us/{unit}"
        say(f"  the engine alone: {kind}", figure, f"{len(spent):,} of them")


def journal(folder: Path) -> None:
    record = encode(Marked(EPOCH, exact("2.86"), {}))
    with Journal(folder / "intents.journal") as rows:

        def intent() -> None:
            rows.append(*record)
            rows.commit()

        each = seconds_each(intent, 200)
    say("durable intents (one commit each)", f"{1 / each:,.0f} /s", "synchronous=FULL")


def start_up() -> None:
    command = [sys.executable, "-m", "lotwise", "--help"]
    each = seconds_each(lambda: subprocess.run(command, check=True, capture_output=True), 1)
    bare = seconds_each(lambda: subprocess.run([sys.executable, "-c", ""], check=True), 1)
    say("lotwise --help", f"{each:.3f} s", f"{each / bare:.1f} x bare Python (aim under 0.3 s)")


def main() -> int:
    print(f"Python {sys.version.split()[0]}, {sys.platform}")
    sizing()
    monte_carlo()
    with tempfile.TemporaryDirectory() as folder:
        engine(Path(folder))
        journal(Path(folder))
    start_up()
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    result = check(cases, seed=1)
    seen = f"{result.failures} failures, {result.share_on_a_bound:.1%} on a bound, {result.seconds:.0f} s"
    say("sizing cases against the exhaustive walk", f"{result.cases:,}", seen)
    if result.first_failure:
        print(result.first_failure)
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
