"""`lotwise minimums`: what each pair's minimum is, who says so, and what our own orders taught."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from lotwise.app.configuration import load_settings
from lotwise.app.journals import journal_option, newest_journal, problem, unfoldable
from lotwise.app.learned import DEFAULT_FILE, exported, imported
from lotwise.app.rules import LATEST, known_markets
from lotwise.app.settings import Settings
from lotwise.app.summary import when
from lotwise.app.terminal import Problem, json_option, to_json, unwritten
from lotwise.app.wire import load_state
from lotwise.domain.market import Listing
from lotwise.domain.values import plain
from lotwise.engine.codec import Unfoldable, encode, fold
from lotwise.engine.records import Learned
from lotwise.engine.state import State
from lotwise.markets import Evidence, age_days
from lotwise.store.journal import Journal, JournalError, read

PORTFOLIO = tuple("SOL ADA DOGE SHIB MANA ALGO ATOM AVAX DOT LINK POL BERA FARTCOIN AI16Z".split())  # noqa: SIM905
"""The five pairs and the other nine of the original bot."""


@click.group(name="minimums")
def command() -> None:
    """Listed, learned and policy minimums of each pair, with their age and evidence."""


@command.command()
@click.option("--quote", help="The currency of the pairs. Default: the configured one.")
@click.option("--all", "every", is_flag=True, help="Each known pair of the currency, not only yours.")
@click.option(
    "--journal", type=click.Path(path_type=Path), metavar="PATH", help="Show what this run learned too."
)
@click.option("--config", type=click.Path(path_type=Path), help="A config.json or .toml.")
@json_option
def show(quote: str | None, every: bool, journal: Path | None, config: Path | None, as_json: bool) -> None:
    """The minimum of each pair: what is listed (with its day), what was learned, the tier floor."""
    settings = load_settings(config, None, {"stake_currency": quote.upper() if quote else None})
    learned = _state(journal).evidence if journal else {}
    rows = [_row(settings, symbol, learned.get(symbol)) for symbol in _symbols(settings, every)]
    if as_json:
        click.echo(to_json({"quote": settings.stake_currency, "pairs": rows}))
        return
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("Pair", "Least", "Cost", "Listed", "Basis", "Learned", "Floor"):
        table.add_column(name, no_wrap=True)
    for row in rows:
        least = "unknown" if row["min_quantity"] is None else plain(row["min_quantity"])
        cost = "" if row["min_notional"] is None else plain(row["min_notional"])
        taught = " / ".join(
            plain(n) if n else "-" for n in (row["learned_quantity"], row["learned_notional"])
        )
        cells = (row["symbol"], least, cost, str(row["observed"] or ""), row["basis"][:24])
        table.add_row(*cells, "" if taught == "- / -" else taught, f"{plain(row['floor'])} {row['tier']}")
    Console().print(table)
    click.echo(
        f"Least in base, cost in {settings.stake_currency}. A guess was seen on another pair of the coin."
    )


@command.command()
@click.argument("path", type=click.Path(path_type=Path), default="config.json")
@click.option("--quote", default="USDT", show_default=True, help="The currency to spend.")
@click.option("--force", is_flag=True, help="Write over an existing file.")
@json_option
def init(path: Path, quote: str, force: bool, as_json: bool) -> None:
    """Write a configuration of fourteen coins (docs/original.md), those that are known in QUOTE.

    From then on it is in force in this folder; trade it with lotwise run --candles DIR.
    """
    settings = load_settings(None, None, {"stake_currency": quote.upper()})
    known = known_markets(settings).symbols(settings.stake_currency)
    pairs = [
        symbol for symbol in (f"{base}/{settings.stake_currency}" for base in PORTFOLIO) if symbol in known
    ]
    missing = [base for base in PORTFOLIO if f"{base}/{settings.stake_currency}" not in known]
    if not pairs:
        raise Problem(f"no pair with {settings.stake_currency} is known; try --quote USDT, USD, EUR or USDC")
    if path.suffix.lower() != ".json":
        raise Problem(f"{path}: this writes JSON; give a name that ends in .json")
    if path.exists() and not force:
        raise Problem(f"{path} exists; --force writes over it")
    try:
        path.write_text(to_json({"stake_currency": settings.stake_currency, "pairs": pairs}) + "\n")
    except OSError as trouble:
        raise unwritten(path, trouble) from None
    if as_json:
        click.echo(to_json({"path": str(path), "pairs": pairs, "missing": missing}))
        return
    click.echo(f"wrote {path} with {len(pairs)} pairs: {', '.join(pairs)}")
    if missing:
        click.echo(f"not known in {settings.stake_currency}: {', '.join(missing)}")


@command.command()
@journal_option
@json_option
def learned(journal: Path | None, as_json: bool) -> None:
    """What the orders of a run taught beyond the listings, and where they contradict them."""
    path = journal or newest_journal()
    evidence = _state(path).evidence
    if as_json:
        click.echo(to_json({"journal": str(path), "learned": evidence}))
        return
    for symbol, known in sorted(evidence.items()):
        told = "against its listing" if known.contradicts else "within its listing"
        least, cost = (plain(n) if n else "-" for n in (known.min_quantity, known.min_notional))
        click.echo(
            f"{symbol}: at least {least}, cost at least {cost}; last refused {when(known.time)}, {told}"
        )
    if not evidence:
        click.echo(f"{path}: no order was refused for its size since the rules were last read")


@command.command()
@click.argument("path", type=click.Path(path_type=Path), default=DEFAULT_FILE)
@journal_option
@json_option
def export(path: Path, journal: Path | None, as_json: bool) -> None:
    """Write what a run learned to PATH, as {"SOL/USDT":{"volume":"0.02","cost":"2.5"}}."""
    content = exported(_state(journal or newest_journal()).evidence)
    try:
        path.write_text(to_json(content) + "\n", encoding="utf-8")
    except OSError as trouble:
        raise unwritten(path, trouble) from None
    told = to_json({"path": str(path), "pairs": len(content)})
    click.echo(told if as_json else f"wrote {path}: {len(content)} pairs")


@command.command(name="import")
@click.argument("path", type=click.Path(path_type=Path), default=DEFAULT_FILE)
@journal_option
@json_option
def import_(path: Path, journal: Path | None, as_json: bool) -> None:
    """Teach a run the minimums of PATH: from its next start on they raise the listed ones."""
    to = journal or newest_journal()
    try:
        with Journal(to) as rows:
            state = load_state(rows)
            if not rows.count:
                raise Problem(f"{to}: no run has begun there; start one with lotwise run --journal {to}")
            taught = imported(path, known_markets(load_settings(None, None, {})), state.time)
            for symbol, evidence in taught.items():
                rows.append(*encode(Learned(symbol, evidence, state.time)))
            rows.commit()
    except Unfoldable as bad:
        raise unfoldable(to, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None
    told = to_json({"journal": str(to), "pairs": len(taught)})
    click.echo(told if as_json else f"{to}: {len(taught)} pairs learned from {path}")


def _state(path: Path) -> State:
    state = State()
    try:
        for row in read(path):
            fold(state, row.kind, row.body)
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None
    return state


def _symbols(settings: Settings, every: bool) -> tuple[str, ...]:
    return known_markets(settings).symbols(settings.stake_currency) if every else settings.pairs


def _row(settings: Settings, symbol: str, taught: Evidence | None) -> dict[str, Any]:
    markets, on = known_markets(settings), settings.rules.rules_on
    day = on if isinstance(on, date) else LATEST
    listing = markets.listing(symbol, day)
    told = listing if isinstance(listing, Listing) else None
    return {
        "symbol": symbol,
        "tier": markets.tier(symbol),
        "floor": markets.floor(symbol),
        "min_quantity": told.min_quantity if told else None,
        "min_notional": told.min_notional if told else None,
        "observed": str(told.observed) if told else None,
        "age_days": age_days(told, datetime.now(UTC).date()) if told else None,
        "basis": told.basis if told else listing.reason if not isinstance(listing, Listing) else "",
        "learned_quantity": taught.min_quantity if taught else None,
        "learned_notional": taught.min_notional if taught else None,
        "contradicts": taught.contradicts if taught else False,
    }
