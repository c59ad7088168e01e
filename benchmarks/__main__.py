"""`make bench`: speed and correctness at scale, all figures of one run on one machine.

Times are medians of several rounds; where there is a peer, what counts is the ratio. Nothing here
passes or fails but the ten million sizing cases.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
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
from lotwise.engine.codec import encode
from lotwise.engine.records import Decided, Marked, Submit
from lotwise.research.compiled import size_batch
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
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            function()
        rounds.append((time.perf_counter() - start) / calls)
    return statistics.median(rounds)


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
    peer = seconds_each(ccxt_decision(), 20_000)
    say("ccxt: two precisions and two comparisons", f"{1 / peer:,.0f} /s", "the peer")
    ours = seconds_each(lambda: size_order(WISH, SOL, FREE, POLICY), 20_000)
    say("size_order, the public decision", f"{1 / ours:,.0f} /s", f"{peer / ours:.1f} x ccxt (aim 3)")
    ours = seconds_each(lambda: choose_lots(purse, terms, UNBOUNDED), 50_000)
    say("choose_lots, called by Python", f"{1 / ours:,.0f} /s", f"{peer / ours:.1f} x ccxt (aim 10)")
    frees = np.random.default_rng(1).integers(0, 20 * 10**10, 2_000_000)
    size_batch(frees[:10], purse, terms)
    each = seconds_each(lambda: size_batch(frees, purse, terms), 1) / frees.size
    say("choose_lots, compiled, in a batch", f"{1 / each:,.0f} /s", f"{peer / each:,.0f} x ccxt (aim 30 M/s)")
    assert max(*purse, *terms) <= CEILING_64


def engine(folder: Path) -> None:
    """A run on the built-in market: what a bar, an order and a skip cost, journal included."""
    settings = load_settings(None, None, {"dry_run_wallet": "50", "max_open_trades": 3, "paper.bars": 8_000})
    source = Source("bench", built_in_market(settings))
    kinds: Counter[str] = Counter()

    def watch(_: object, records: list[Any]) -> None:
        for record in records:
            skip = isinstance(record, Decided) and record.reason is not None
            kinds["skip" if skip else type(record).__name__] += 1

    with Journal(folder / "engine.journal") as journal:
        joined = open_run(settings, source, journal, None)
        start = time.perf_counter()
        run(joined, watch)
        whole = time.perf_counter() - start
    bars = 8_000 * len(source.candles)
    say("a run, every bar visited, durable journal", f"{whole / bars * 1e6:,.1f} us/bar", f"{bars:,} bars")
    orders, skips = kinds[Submit.__name__], kinds["skip"]
    say("  the same by order", f"{whole / orders * 1e6:,.0f} us/order", f"{orders:,} orders")
    say("  the same by refusal", f"{whole / skips * 1e6:,.0f} us/refusal", f"{skips:,} skips")


def journal(folder: Path) -> None:
    record = encode(Marked(joined_time := 0, exact("2.86"), {}))  # type: ignore[arg-type]
    del joined_time
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
    share = f"{result.on_bound / result.cases:.1%} on a bound"
    say("sizing cases against the exhaustive walk", f"{result.cases:,}", f"{result.failures} failures, {share}")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
