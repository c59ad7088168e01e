"""A year of minutes on five pairs through the whole program, in a process of its own: time and memory.

`python -m benchmarks.year [DAYS] [--no-skip]` prints one line of JSON.
"""

import json
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from lotwise.app.configuration import load_settings
from lotwise.app.loop import run
from lotwise.app.wire import Source, built_in_market, open_run
from lotwise.engine.engine import Engine
from lotwise.engine.records import Decided, Event, MarketUpdate, Record, Submit
from lotwise.store.journal import Journal


class Timed(Engine):
    """An engine that notes how long each answer took, by what the answer was."""

    spent: defaultdict[str, list[float]]
    visited = 0

    def handle(self, event: Event) -> list[Record]:
        start = time.perf_counter()
        records = super().handle(event)
        self.spent[kind_of(records)].append(time.perf_counter() - start)
        self.visited += isinstance(event, MarketUpdate)
        return records


def kind_of(records: list[Record]) -> str:
    """Silence, one order, one refusal, or something else."""
    kinds = [type(record) for record in records]
    if kinds == [Decided, Submit]:
        return "order"
    if kinds == [Decided]:
        return "refusal"
    return "silence" if not kinds else "other"


def measure(days: int, skips: bool) -> dict[str, Any]:
    """A seeded built-in market of minutes; the engine's own share is timed apart."""
    keys = {"dry_run_wallet": "50", "max_open_trades": 3, "timeframe": "1m", "paper.bars": days * 1440}
    settings = load_settings(None, None, keys)
    source = Source("bench", built_in_market(settings))
    bars = sum(len(candles) for candles in source.candles.values())
    with tempfile.TemporaryDirectory() as folder, Journal(Path(folder) / "year.journal") as journal:
        start = time.perf_counter()
        joined = open_run(settings, source, journal, None, skips)
        opened = time.perf_counter()
        engine = joined.engine
        joined.engine = timed = Timed(engine.plan, engine.state, engine.quotes)
        timed.spent = defaultdict(list)
        run(joined, lambda *_: None)
        end = time.perf_counter()
        rows = journal.count
    return {
        "bars": bars,
        "visited": timed.visited,
        "signals_seconds": opened - start,
        "run_seconds": end - opened,
        "us_per_bar": (end - start) / bars * 1e6,
        "orders": timed.state.totals.orders,
        "rows": rows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "engine_us": {kind: statistics.median(spent) * 1e6 for kind, spent in timed.spent.items()},
        "answers": {kind: len(spent) for kind, spent in timed.spent.items()},
    }


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
    print(json.dumps(measure(numbers[0] if numbers else 365, "--no-skip" not in sys.argv)))
