"""Passing over silent bars changes nothing: the same journal, row for row, as visiting every bar."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from lotwise.app.loop import run
from lotwise.app.settings import Settings
from lotwise.app.wire import Source, built_in_market, open_run
from lotwise.engine.engine import Engine
from lotwise.store.candles import read_folder
from lotwise.store.journal import Journal, read
from lotwise.strategies.candles import Candles
from tests.runs import NO_PRICES, PRICES, settings_of

CONFIGURATIONS = 100
BARS = {"1h": 500, "5m": 900, "1m": 1200}
PAIRS = {"1h": "SOL ADA DOGE SHIB MANA", "5m": "SOL ADA DOGE", "1m": "SOL ADA DOGE SHIB MANA"}


@cache
def prices(timeframe: str) -> Mapping[str, Candles]:
    return read_folder(PRICES, timeframe, [f"{base}/USDT" for base in PAIRS[timeframe].split()])


def drawn(random: Random) -> dict[str, Any]:
    """A configuration, with each part of the engine awake in some."""
    pick = random.choice
    timeframe = pick(["1h", "1h", "5m", "1m"])
    bases = PAIRS[timeframe].split()
    pairs = random.sample(bases, random.randint(1, len(bases)))
    return {
        "timeframe": timeframe,
        "pairs": ",".join(f"{base}/USDT" for base in pairs),
        "dry_run_wallet": pick(["2.4", "2.86", "5", "12", "60"]),
        "max_open_trades": pick([1, 2, 4]),
        "stoploss": pick(["-0.01", "-0.03", "-0.2"]),
        "target": pick(["0.008", "0.012", "0.03", "0.1"]),
        "trailing_stop": pick([0, 0, "0.01", "0.03"]),
        "stoploss_on_exchange": pick([False, True]),
        "max_hold_bars": pick([0, 0, 7, 60]),
        "strategy": pick(["dip", "dip", "trend", "breakout"]),
        "sizing__max_order_size_usdt": pick([4, 10, 30]),
        "sizing__risk_per_trade": pick([0, 0, "0.01", "0.05"]),
        "sizing__volatility_target": pick([0, 0, "0.02"]),
        "sizing__fee_asset": pick(["quote", "base"]),
        "entry__style": pick(["maker", "taker", "maker_then_taker"]),
        "entry__lifetime_bars": pick([1, 3, 20]),
        "entry__replaces": pick([0, 2]),
        "entry__min_confidence": pick([0, "0.55"]),
        "limits__cooldown_bars": pick([0, 12]),
        "limits__guard_losses": pick([0, 2]),
        "limits__daily_loss": pick([0, "0.01"]),
        "limits__drawdown": pick([0, "0.05"]),
        "limits__volume": pick([0, 0, "0.0001"]),
        "rules__rules_on": pick(["2025-07-29", "latest", "floors", "dated"]),
        "rules__fees_on": pick(["2025-07-29", "latest"]),
        "paper__volume_share": pick([0, "0.1", "0.0000001"]),
    }


def shown(random: Random, settings: Settings) -> dict[str, Candles]:
    """A stretch of the recorded candles, of which some pairs lack bars or begin late or end early."""
    found, cut = prices(settings.timeframe), {}
    for symbol in settings.pairs:
        candles, many = found[symbol], BARS[settings.timeframe]
        first = 700 + random.randint(0, 30)
        keep = np.zeros(len(candles), dtype=bool)
        keep[first : first + many - random.randint(0, 100)] = True
        if random.random() < 0.4:
            hole = first + random.randint(0, many // 2)
            keep[hole : hole + random.randint(1, 40)] = False
        columns = {n: getattr(candles, n)[keep] for n in ("dates", "open", "high", "low", "close", "volume")}
        cut[symbol] = replace(candles, **columns)
    return cut


def journal_hash(
    path: Path, settings: Settings, candles: Mapping[str, Candles], skips: bool
) -> tuple[str, Engine]:
    with Journal(path) as journal:
        joined = open_run(settings, Source("recorded", candles), journal, None, skips=skips)
        assert run(joined, lambda *_: None)
    return list(read(path))[-1].hash, joined.engine


def rows(path: Path) -> list[tuple[str, str]]:
    return [(row.kind, row.body) for row in read(path)]


@pytest.mark.skipif(not PRICES.is_dir(), reason=NO_PRICES)
def test_the_journal_is_the_same_with_skipping_and_without(tmp_path: Path, say: list[str]) -> None:
    orders = fills = repeats = 0
    for seed in range(CONFIGURATIONS):
        random = Random(seed)
        settings = settings_of(**drawn(random))
        candles = shown(random, settings)
        with_skips, without = tmp_path / f"{seed}-on", tmp_path / f"{seed}-off"
        hashes = [
            journal_hash(path, settings, candles, path is with_skips)[0] for path in (with_skips, without)
        ]
        if hashes[0] != hashes[1]:
            for on, off in zip(rows(with_skips), rows(without), strict=False):
                assert on == off, f"configuration {seed}"
        assert hashes[0] == hashes[1], f"configuration {seed}"
        kinds = [kind for kind, _ in rows(with_skips)]
        orders, fills = orders + kinds.count("Submit"), fills + kinds.count("Fill")
        repeats += kinds.count("Repeated")
    say.append(
        f"skipping on and off: {CONFIGURATIONS} equal journals, {orders} orders, {fills} fills,"
        f" {repeats} episodes"
    )
    assert orders > 200 and repeats > 50


def test_a_run_that_skips_visits_far_fewer_bars(tmp_path: Path) -> None:
    settings = settings_of(timeframe="1m", paper__bars=4000, dry_run_wallet=50)
    candles, visited = built_in_market(settings), []
    with Journal(tmp_path / "visits.journal") as journal:
        joined = open_run(settings, Source("built-in", candles), journal, None)
        assert run(joined, lambda update, _: visited.append(update.time))
    assert len(visited) < 2000
    assert visited[-1] == joined.feed.closes[-1], "the last moment is always seen"
