"""`lotwise run`: the loop, on the built-in market or on recorded candles."""

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console

from lotwise.app.configuration import load_settings
from lotwise.app.journals import fresh_journal, kept_journal, problem, unfoldable
from lotwise.app.loop import run
from lotwise.app.rules import none_known, rules_in_force, time_of
from lotwise.app.screen import Screen
from lotwise.app.settings import Settings
from lotwise.app.strategies import load_strategy
from lotwise.app.summary import lines, summary, when
from lotwise.app.terminal import UNAVAILABLE, Problem, json_option, same_options, stake_option, to_json
from lotwise.app.wire import OtherRun, Source, built_in_market, open_run
from lotwise.domain.values import Time
from lotwise.engine.codec import Unfoldable
from lotwise.markets import UnknownMarket
from lotwise.store.candles import CandleError, gaps, read_folder
from lotwise.store.journal import JournalError
from lotwise.strategies.candles import Candles

CAUTION = "an example, not a profitable strategy"
Period = tuple[date | None, date | None]
SPEEDS = {"max": None, "60": 60, "1": 1}


class Pace(NamedTuple):
    """How many times real time (None: at full speed), and whether silent bars are passed over."""

    speed: int | None
    skips: bool


RECORDED_ONLY = "--candles, --from, --to, --speed, --seed and --no-skip"
HOW_MUCH = (
    "how much of the account a live run may touch is live.fraction, such as LOTWISE__LIVE__FRACTION=0.5 (and"
    " `lotwise doctor` says what that can buy)"
)


@click.command(name="run")
@click.option(
    "--preset",
    help="micro (2.86 USDT, rules of July 2025), or small, usd, eur, usdc (50 of it, rules of today).",
)
@click.option("--config", type=click.Path(path_type=Path), help="A config.json or .toml; see lotwise config.")
@click.option(
    "--candles",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Trade these candles instead: csv, csv.gz, parquet or feather, named like SOL_USDT-1h.csv.gz.",
)
@click.option("--timeframe", help="1m 5m 15m 1h 4h or 1d.")
@stake_option
@click.option("--balance", help="The balance to start with, in the stake currency.")
@click.option("--seed", help="Draw another built-in market.")
@click.option("--strategy", metavar="NAME", help="dip, trend, breakout, or your own as module:Class.")
@click.option(
    "--speed",
    type=click.Choice(list(SPEEDS)),
    default="max",
    help="As fast as can be, or 60 or 1 times real time.",
)
@click.option("--live", is_flag=True, help="Real orders on Kraken, with your key. Asks before it begins.")
@click.option("--feed", type=click.Choice(["kraken"]), help="kraken: paper on Kraken's live data; no key.")
@click.option("--yes", is_flag=True, help="Begin a live run without asking (for services).")
@click.option("--base-url", metavar="URL", help="Kraken's REST address, or a sandbox's.")
@click.option("--ws-url", metavar="URL", help="Its WebSocket address: ws://127.0.0.1:8600.")
@click.option("--no-skip", is_flag=True, help="Visit every bar, also those in which nothing can happen.")
@click.option("--from", "start", type=click.DateTime(["%Y-%m-%d"]), help="First day of the candles (UTC).")
@click.option("--to", "end", type=click.DateTime(["%Y-%m-%d"]), help="Day before which to stop (UTC).")
@click.option(
    "--journal",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Write here; a run that is there already goes on. Default: a new file in ./runs.",
)
@json_option
def command(
    preset: str | None,
    config: Path | None,
    candles: Path | None,
    speed: str,
    live: bool,
    feed: str | None,
    yes: bool,
    base_url: str | None,
    ws_url: str | None,
    no_skip: bool,
    start: datetime | None,
    end: datetime | None,
    journal: Path | None,
    as_json: bool,
    **overrides: str | None,
) -> None:
    """Trade on paper: real decisions, a simulated exchange, a journal of everything.

    Without options it trades a built-in synthetic market (seeded, labelled so) with the preset
    `micro`: the 2.86 USDT account. Ctrl-C stops cleanly; the same --journal goes on from there.
    With --feed kraken the prices are Kraken's, live; with --live the orders are real too (docs/live.md).
    """
    settings = load_settings(config, preset, _overrides(overrides))
    load_strategy(settings.strategy)  # one that cannot be made leaves no journal
    if live and feed:
        raise Problem("--live trades with real orders, --feed kraken on paper: leave one of them out")
    if live or feed:
        recorded = candles or start or end or speed != "max" or no_skip or overrides["seed"] is not None
        if recorded:
            raise Problem(f"{RECORDED_ONLY} are for recorded candles and the built-in market; leave them out")
        if live and overrides["balance"] is not None:
            raise Problem(f"--balance is what a run on paper starts with; {HOW_MUCH}")
        _on_kraken(settings, Kraken(live, yes, base_url, ws_url), journal, as_json)
        return
    if base_url is not None or ws_url is not None or yes:
        raise Problem("--base-url, --ws-url and --yes are for --live and --feed kraken")
    period = (start.date() if start else None, end.date() if end else None)
    source = _source(settings, candles, period)
    _check_rules(settings, source)
    pace = Pace(SPEEDS[speed], not no_skip)
    result = _run(settings, source, journal or fresh_journal(), pace, as_json)
    if as_json:
        click.echo(to_json(result))


class Kraken(NamedTuple):
    """Which run on Kraken is asked for."""

    live: bool
    yes: bool
    base_url: str | None
    ws_url: str | None


def _on_kraken(settings: Settings, asked: Kraken, journal: Path | None, as_json: bool) -> None:
    try:
        from lotwise.app.kraken import Place
        from lotwise.app.kraken_run import Asked, run_on_kraken
    except ModuleNotFoundError as missing:
        raise Problem(f"{missing.name} is not installed: install lotwise[live]", UNAVAILABLE) from None
    place = Place(asked.base_url, asked.ws_url)
    path = journal or fresh_journal()
    words = Asked(asked.live, asked.yes, as_json, journal is not None, same_options())
    result = run_on_kraken(settings, place, words, path)
    if as_json:
        click.echo(to_json(result))


def _overrides(given: dict[str, str | None]) -> dict[str, Any]:
    names = {"stake": "stake_currency", "balance": "dry_run_wallet"}
    return {names.get(key, key): value for key, value in given.items() if value is not None}


def _source(settings: Settings, folder: Path | None, period: Period) -> Source:
    """The candles to run on; Problem when they cannot be read."""
    if folder is None:
        market = built_in_market(settings)
        missing = [symbol for symbol in settings.pairs if symbol not in market]
        if missing:
            raise Problem(
                f"the built-in market has no {', '.join(missing)}: no reference price is known. Take such "
                "pairs out of `pairs` (lotwise config show says where it is set), or trade --candles DIR"
            )
        label = f"built-in synthetic market, seed {settings.seed}"
        return Source(f"{label}, from {period[0]}" if period[0] else label, _within(market, period))
    try:
        found = read_folder(folder, settings.timeframe, list(settings.pairs))
    except CandleError as bad:
        raise Problem(str(bad)) from None
    except OSError as trouble:
        raise Problem(f"{trouble.filename}: {trouble.strerror}", UNAVAILABLE) from None
    for symbol, candles in found.items():
        missing_bars = gaps(candles)
        if missing_bars.count:
            click.echo(
                f"note: {symbol} lacks {missing_bars.count} bars of {settings.timeframe}; such moments pass "
                "without it",
                err=True,
            )
    for symbol in settings.pairs:
        if symbol not in found:
            click.echo(f"note: no candles of {symbol} {settings.timeframe} in {folder}", err=True)
    label = f"candles {settings.timeframe} of {', '.join(sorted(found))} from {period[0] or 'the first'}"
    return Source(label, _within(found, period))


def _within(found: Mapping[str, Candles], period: Period) -> Mapping[str, Candles]:
    if period == (None, None):
        return found
    first = time_of(period[0]) if period[0] else Time(0)
    last = time_of(period[1]) if period[1] else Time(1 << 62)
    cut = {symbol: candles.between(first, last) for symbol, candles in found.items()}
    kept = {symbol: candles for symbol, candles in cut.items() if len(candles)}
    if not kept:
        asked = " ".join(f"--{name} {day}" for name, day in zip(("from", "to"), period, strict=True) if day)
        start = min(candles.dates[0] for candles in found.values())
        end = max(candles.dates[-1] for candles in found.values())
        there = f"from {when(Time(int(start)))} to {when(Time(int(end)))}"
        raise Problem(f"{asked} leaves no candles; there are some {there}")
    for symbol in sorted(cut.keys() - kept.keys()):
        click.echo(f"note: no candles of {symbol} in that time", err=True)
    return kept


def _check_rules(settings: Settings, source: Source) -> None:
    """Name the pairs whose rules are never known; Problem when there is no other."""
    end = max(Time(int(candles.dates[-1])) for candles in source.candles.values())
    found = [(symbol, rules_in_force(settings)(symbol, end)) for symbol in source.candles]
    unknown = {symbol: no.remedy for symbol, no in found if isinstance(no, UnknownMarket)}
    if len(unknown) == len(found):
        raise none_known(unknown)
    for symbol, remedy in unknown.items():
        click.echo(f"note: cannot be traded: {symbol}: {remedy}", err=True)


def _run(settings: Settings, source: Source, path: Path, pace: Pace, as_json: bool) -> dict[str, Any]:
    console = Console(stderr=as_json)
    title = f"lotwise, paper: {source.label}", f"preset {settings.preset}: {CAUTION}"
    try:
        with kept_journal(path) as journal:
            joined = open_run(settings, source, journal, *pace)
            closes = joined.feed.closes
            left = closes[closes > joined.engine.state.time]
            for trouble in joined.feed.troubles:
                click.echo(f"note: {trouble}; it makes no wish there", err=True)
            if not joined.fresh:
                since = when(joined.engine.state.time)
                _say(console, f"Going on with {path} after {since}: {len(left)} bars.")
            with Screen(console, joined.engine, title, left) as screen:
                finished = run(joined, screen.watch)
            result = summary(joined.engine, path, finished)
    except OtherRun as other:
        raise Problem(f"{other}. Give the same options, or another --journal.") from None
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None
    for line in [*lines(result), *(f"No wishes: {trouble}" for trouble in joined.feed.troubles)]:
        _say(console, line)
    if not finished:
        _say(console, f"Stopped. Go on with: lotwise run --journal {path}{same_options()}")
    return result


def _say(console: Console, line: str) -> None:
    """A line as it is; on a terminal it is broken between words."""
    console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)
