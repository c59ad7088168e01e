"""Whole runs for tests: settings, candles and a journal joined as the program joins them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lotwise.app.configuration import load_settings
from lotwise.app.loop import run
from lotwise.app.settings import Settings
from lotwise.app.wire import ROWS_AT_ONCE, Run, Source, built_in_market, open_run
from lotwise.engine.records import MarketUpdate, Record
from lotwise.store.candles import read_folder
from lotwise.store.journal import Journal

PRICES = Path(__file__).resolve().parents[2] / "shared" / "data" / "prices"
NO_PRICES = f"the recorded candles are not at {PRICES.parent.parent.name}/data/prices beside the repository"

Watch = Callable[[Run, MarketUpdate, list[Record]], None]


def settings_of(preset: str = "micro", **overrides: Any) -> Settings:
    """A preset with some keys changed; sections joined by two underscores."""
    return load_settings(None, preset, {key.replace("__", "."): str(v) for key, v in overrides.items()})


def built_in(settings: Settings) -> Source:
    return Source("built-in", built_in_market(settings))


def recorded(settings: Settings) -> Source:
    return Source("recorded", read_folder(PRICES, settings.timeframe, list(settings.pairs)))


def run_through(
    settings: Settings,
    source: Source,
    journal: Journal,
    watch: Watch | None = None,
    rows_at_once: int = ROWS_AT_ONCE,
) -> Run:
    """Run to the end of the candles; `watch` sees each moment when it is over."""
    joined = open_run(settings, source, journal, None)
    joined.rows_at_once = rows_at_once
    assert run(joined, lambda update, records: watch(joined, update, records) if watch else None)
    return joined
