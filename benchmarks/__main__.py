"""`make bench`: speed and correctness at scale, all figures of one run on one machine.

Times are medians of several rounds; where there is a peer, what counts is the ratio. Nothing here
passes or fails but the ten million sizing cases.
"""

import json
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

from benchmarks import live, sandbox
from benchmarks.sizing_check import check
from lotwise import Amount, Market, Opportunity, Policy, exact, size_order
from lotwise.domain.sizing import CEILING_64, UNBOUNDED, Purse, Terms, _frame, choose_lots
from lotwise.domain.values import EPOCH
from lotwise.engine.codec import encode
from lotwise.engine.records import Marked
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


def year() -> None:
    """Minutes of five pairs through the whole program, with silent bars passed over and without."""
    whole, some, each = (_ran(*options) for options in (["365"], ["14"], ["14", "--no-skip"]))
    say("a year of 1m candles, five pairs", f"{whole['run_seconds'] + whole['signals_seconds']:,.1f} s",
        f"{whole['bars']:,} bars, {whole['visited']:,} moments visited")  # fmt: skip
    say(
        "  by bar",
        f"{whole['us_per_bar']:,.1f} us/bar",
        f"{whole['orders']:,} orders, {whole['rows']:,} rows",
    )
    say("  memory at its peak", f"{whole['peak_mb']:,.0f} MB", "(aim under 500)")
    for kind in ("order", "refusal", "silence"):
        unit = "moment" if kind == "silence" else kind
        say(f"  the engine alone: {kind}", f"{whole['engine_us'][kind]:,.1f} us/{unit}",
            f"{whole['answers'][kind]:,} of them")  # fmt: skip
    ratio = each["run_seconds"] / some["run_seconds"]
    say("passing over silent bars, 14 days", f"{ratio:,.0f} x", f"{each['rows']} rows each way")
    assert each["rows"] == some["rows"], "skipping must change no row"


def _ran(*options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.year", *options]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(told)
    return result


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
        journal(Path(folder))
    year()
    start_up()
    live.main()
    sandbox.main(100_000)
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    result = check(cases, seed=1)
    seen = f"{result.failures} failures, {result.share_on_a_bound:.1%} on a bound, {result.seconds:.0f} s"
    say("sizing cases against the exhaustive walk", f"{result.cases:,}", seen)
    if result.first_failure:
        print(result.first_failure)
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
