"""`lotwise fit`: what a balance can trade, what it would need, and how long it would last."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lotwise.app.configuration import load_settings
from lotwise.app.rules import LATEST, known_markets, none_known, rules_in_force
from lotwise.app.settings import Settings
from lotwise.app.summary import money, money_up, percent, when
from lotwise.app.terminal import Problem, json_option, to_json
from lotwise.domain.market import Listing, Market
from lotwise.domain.sizing import Reason, Refused, Sized
from lotwise.domain.values import EPOCH, Amount, NotExact, exact, plain
from lotwise.engine.plan import exit_role
from lotwise.kraken.reference import reference_price
from lotwise.research.fit import LOSSES_LOOKED_AHEAD, Fit, fit, fits_fixed
from lotwise.store.candles import CandleError, read_folder

NO_PRICE = "NO_PRICE"

REMEDIES = {
    Reason.NO_FREE_BALANCE: "a higher cap",
    Reason.CAP_BELOW_MINIMUM: "a higher cap",
    Reason.RISK_BELOW_MINIMUM: "a higher risk",
    Reason.UNSELLABLE_AT_STOP: "a closer stop",
    Reason.ABOVE_MAX_QUANTITY: "another pair",
}
"""What helps where no balance would, in a table's cell."""


@click.command(name="fit")
@click.option("--balance", metavar="NUMBER", help="The free balance. Default: the configured wallet.")
@click.option("--quote", metavar="ASSET", help="The currency of the balance: USDT, USD, EUR, USDC.")
@click.option("--all", "every", is_flag=True, help="Each known pair of the quote currency, not only yours.")
@click.option(
    "--rules",
    metavar="DATE|latest|floors",
    default="latest",
    show_default=True,
    help="Whose minimums: of a day, the latest known, or none but the tier floors.",
)
@click.option(
    "--price", "given", multiple=True, metavar="PAIR=PRICE", help="A price, such as SOL/USDT=150. Repeatable."
)
@click.option(
    "--candles",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Take the last closing prices of the candles in this folder.",
)
@click.option("--fixed", metavar="SIZE", help="Show beside it what a bot of this one order size could trade.")
@click.option(
    "--target", metavar="FRACTION", help="The gain asked for, such as 0.05. Default: the configured one."
)
@click.option("--preset", help="micro or small: where what is not given comes from.")
@click.option("--config", type=click.Path(path_type=Path), help="A config.json or .toml.")
@json_option
def command(
    balance: str | None,
    quote: str | None,
    every: bool,
    rules: str,
    given: tuple[str, ...],
    candles: Path | None,
    fixed: str | None,
    target: str | None,
    preset: str | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """What can this balance trade? For each pair the order that fits, or why none does and what would;
    the rise that pays both fees; and how many straight losses until nothing fits any more.

    Prices without --price or --candles are dated reference prices, shown with their date.
    """
    if rules == "dated":
        raise Problem("--rules dated: this is about one day; write it as 2025-07-29, or latest or floors")
    overrides = {
        "dry_run_wallet": balance,
        "stake_currency": quote.upper() if quote else None,
        "target": target,
        "rules.rules_on": rules,
        "rules.fees_on": "latest" if rules == "floors" else rules,
    }
    settings = load_settings(config, preset, {k: v for k, v in overrides.items() if v is not None})
    size = _number("--fixed", fixed) if fixed is not None else None
    answer = _answer(settings, Prices(_given(given), candles), every, size)
    if as_json:
        click.echo(to_json(answer.json()))
    else:
        show_fit(answer)


@dataclass(frozen=True, slots=True)
class Prices:
    """Where prices come from: given ones first, then a candle folder, then the references."""

    given: dict[str, Decimal]
    folder: Path | None


@dataclass(frozen=True, slots=True)
class Row:
    """One pair's line: `fit` is None where rules or price are not known, and `unknown` says why."""

    symbol: str
    tier: str
    fit: Fit | None
    fits_fixed: bool
    priced: str
    rules: str
    unknown: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """All that `fit` says."""

    settings: Settings
    rows: tuple[Row, ...]
    fixed: Decimal | None

    @property
    def fits(self) -> list[Fit]:
        """The answers of all pairs whose rules and price are known."""
        return [row.fit for row in self.rows if row.fit]

    @property
    def sized(self) -> list[Fit]:
        """Those on which an order fits."""
        return [fit for fit in self.fits if isinstance(fit.size, Sized)]

    @property
    def paying(self) -> list[Fit]:
        """Those of them whose target pays both fees and the spread."""
        return [fit for fit in self.sized if self.target_needed(fit) <= self.settings.target]

    def target_needed(self, fit: Fit) -> Decimal:
        """The least target that pays both fees, the assumed spread and the edge asked for."""
        settings = self.settings
        return sum((fit.break_even_move, settings.paper.spread, settings.entry.min_edge), Decimal(0))

    def json(self) -> dict[str, Any]:
        """The stable fields."""
        settings = self.settings
        return {
            "balance": settings.dry_run_wallet,
            "quote": settings.stake_currency,
            "rules": str(settings.rules.rules_on),
            "tradeable": len(self.sized),
            "pays_fees": len(self.paying),
            "pairs": [_pair(row) for row in self.rows],
            "fixed": None
            if self.fixed is None
            else {"size": self.fixed, "tradeable": sum(row.fits_fixed for row in self.rows)},
        }


def _pair(row: Row) -> dict[str, Any]:
    fit = row.fit
    size = fit.size if fit else None
    sized = size if isinstance(size, Sized) else None
    refused = size if isinstance(size, Refused) else None
    return {
        "symbol": row.symbol,
        "tier": row.tier,
        "decision": "sized" if sized else "refused",
        "quantity": sized.quantity if sized else None,
        "notional": sized.notional if sized else None,
        "reason": None if sized else refused.reason if refused else row.unknown,
        "needed": refused.needed if refused else None,
        "break_even_move": fit.break_even_move if fit else None,
        "losses_to_lock_out": fit.losses_to_lock_out if fit else None,
        "price": fit.price if fit else None,
        "priced": row.priced,
        "rules_of": row.rules,
        "remedy": row.remedy,
    }


def _answer(settings: Settings, prices: Prices, every: bool, size: Decimal | None) -> Answer:

    markets = known_markets(settings)
    symbols = markets.symbols(settings.stake_currency) if every else settings.pairs
    if not symbols:
        raise Problem(f"no pair with {settings.stake_currency} is known; try --quote USDT, USD, EUR or USDC")
    unpriced = set(prices.given) - set(symbols)
    if unpriced:
        raise Problem(
            f"--price {min(unpriced)}: the pairs asked for are {', '.join(symbols)} (--all: each known)"
        )
    found = _priced(symbols, prices, settings)
    day = settings.rules.rules_on if isinstance(settings.rules.rules_on, date) else LATEST
    rows = tuple(_row(symbol, settings, found.get(symbol), day, size) for symbol in symbols)
    unknown = {row.symbol: row.remedy for row in rows if row.unknown not in ("", NO_PRICE)}
    if len(unknown) == len(rows):
        raise none_known(unknown)
    return Answer(settings, rows, size)


def _row(
    symbol: str, settings: Settings, priced: tuple[Decimal, str] | None, day: date, size: Decimal | None
) -> Row:

    markets = known_markets(settings)
    tier, listing = markets.tier(symbol), markets.listing(symbol, day)
    market = rules_in_force(settings)(symbol, EPOCH)
    if not isinstance(market, Market):
        return Row(symbol, tier, None, False, "", "", market.reason, market.remedy)
    assert isinstance(listing, Listing), "a market has a listing"
    rules = f"{listing.observed} ({listing.basis})" if settings.rules.rules_on != "floors" else "floors"
    if priced is None:
        remedy = f"give a price: --price {symbol}=..."
        return Row(symbol, tier, None, False, "", rules, NO_PRICE, remedy)
    price, source = priced
    if not market.price_down(price):
        raise Problem(f"{symbol}: a price of {plain(price)} is below its tick, {plain(market.tick_size)}")
    free = Amount(settings.dry_run_wallet, settings.stake_currency)
    policy = settings.policy(markets.floor(symbol))
    roles = settings.entry.style.first, exit_role(settings.stoploss_on_exchange)
    return Row(
        symbol,
        tier,
        fit(market, price, free, policy, roles),
        size is not None and fits_fixed(market, price, free, policy, size),
        source,
        rules,
    )


def _priced(symbols: Iterable[str], prices: Prices, settings: Settings) -> dict[str, tuple[Decimal, str]]:
    """The price of each pair with words for where it is from."""

    found: dict[str, tuple[Decimal, str]] = {}
    day = settings.rules.rules_on if isinstance(settings.rules.rules_on, date) else LATEST
    for symbol in symbols:
        base, _, quote = symbol.partition("/")
        known = reference_price(base, day)
        if known and quote in ("USDT", "USD", "USDC"):
            price, on = known
            found[symbol] = price, f"reference of {on}" + ("" if quote == "USDT" else " in USDT")
    if prices.folder:
        found |= _closes(prices.folder, symbols, settings)
    return found | {symbol: (price, "given") for symbol, price in prices.given.items()}


def _closes(folder: Path, symbols: Iterable[str], settings: Settings) -> dict[str, tuple[Decimal, str]]:

    try:
        candles = read_folder(folder, settings.timeframe, list(symbols))
    except CandleError as bad:
        raise Problem(str(bad)) from None
    return {
        symbol: (c.candle(len(c) - 1).close, f"close of {when(c.close_time(len(c) - 1))}")
        for symbol, c in candles.items()
    }


def _given(texts: tuple[str, ...]) -> dict[str, Decimal]:
    given = {}
    for text in texts:
        symbol, equals, number = text.partition("=")
        if not equals:
            raise Problem(f"--price {text}: write PAIR=PRICE, such as SOL/USDT=150")
        price = _number(f"--price {text}", number)
        if price <= 0:
            raise Problem(f"--price {text}: a price is above 0")
        given[symbol.upper()] = price
    return given


def _number(option: str, text: str) -> Decimal:
    try:
        number = exact(text)
    except NotExact as bad:
        raise Problem(f"{option}: {bad}") from None
    if number <= 0:
        raise Problem(f"{option}: {text} is not above 0")
    return number


def show_fit(answer: Answer) -> None:
    """`lotwise fit` on the terminal."""
    console, settings = Console(), answer.settings
    console.print(_verdict(answer), highlight=False)
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in ("Pair", "Order", "Cost", "Losses", "Price", "Rules"):
        table.add_column(name, no_wrap=True)
    if answer.fixed is not None:
        table.add_column(f"{answer.fixed}", no_wrap=True)
    for row in answer.rows:
        cells = _cells(row, settings.stake_currency)
        if answer.fixed is not None:
            cells.append("[green]yes[/]" if row.fits_fixed else "[red]no[/]")
        table.add_row(*cells)
    console.print(table)
    for line in _notes(answer):
        console.print(line, highlight=False, markup=False)


def _verdict(answer: Answer) -> Text:
    settings, rows = answer.settings, answer.rows
    balance = f"{plain(settings.dry_run_wallet)} {settings.stake_currency}"
    if answer.sized and not answer.paying:
        least = min(answer.target_needed(fit) for fit in answer.sized)
        words = (
            f"Do not trade: no pair pays its fees at a target of {percent(settings.target)}."
            f" It would take a target of at least {plain(least * 100)} %, or lower fees."
        )
        return Text(words, style="bold red")
    if not answer.fits:
        return Text("Nothing can be said: no price is known, or no rules (see below).", style="bold red")
    if not answer.sized:
        sizes = [fit.size for fit in answer.fits]
        needs = [size.needed for size in sizes if isinstance(size, Refused) and size.needed is not None]
        remedy = f" The least that would do: {plain(min(needs))} {settings.stake_currency}." if needs else ""
        return Text(f"Do not trade: {balance} fits none of {len(rows)} pairs.{remedy}", style="bold red")
    words = f"{balance} can trade {len(answer.sized)} of {len(rows)} pairs"
    if len(answer.paying) < len(answer.sized):
        words += f", {len(answer.paying)} of them above their fees"
    return Text(words + ".", style="bold green")


def _cells(row: Row, quote: str) -> list[str]:
    """One line of the table; a price in brackets is a reference, a day with ? a guess."""
    rules = f"{row.rules[:7]}{'?' if 'guess' in row.rules else ''}"
    if row.fit is None:
        return [row.symbol, f"[red]{row.unknown}[/]", "", "", "", rules]
    fit = row.fit
    if isinstance(fit.size, Sized):
        order, cost = plain(fit.size.quantity), money(fit.size.notional)
    else:
        order = f"[red]{fit.size.reason}[/]"
        cost = REMEDIES[fit.size.reason] if fit.size.needed is None else f"needs {money_up(fit.size.needed)}"
    losses = f"{LOSSES_LOOKED_AHEAD}+" if fit.losses_to_lock_out is None else str(fit.losses_to_lock_out)
    price = plain(fit.price) if row.priced == "given" else f"({plain(fit.price)})"
    return [row.symbol, order, cost, losses, price, rules]


def _notes(answer: Answer) -> list[str]:
    settings = answer.settings
    rules, fees = settings.rules.rules_on, settings.rules.fees_on
    told = {"floors": "tier floors alone, no exchange minimums", "latest": "the latest known of each pair"}
    paid = "the latest known fees" if fees == "latest" else f"fees of {fees}"
    leaves = "target sold at once" if settings.stoploss_on_exchange else "resting target"
    notes = [
        f"Cost in {settings.stake_currency}. Minimums: {told.get(str(rules), f'as of {rules}')}; {paid},"
        f" {settings.entry.style} entry, {leaves}.",
        "Losses: how many straight ones, each sold at the stop, until nothing fits.",
    ]
    moves = sorted({plain(fit.break_even_move * 100) for fit in answer.fits})
    if moves:
        notes.insert(
            0, f"Both fees are paid by a rise of {' or '.join(moves)} %; {percent(settings.target)} is asked."
        )
    if answer.fixed is not None:
        count = sum(row.fits_fixed for row in answer.rows)
        notes.append(
            f"{answer.fixed}: a bot of this one order size could trade {count} of {len(answer.rows)}."
        )
    if any(row.priced not in ("given", "") for row in answer.rows):
        days = ", ".join(sorted({row.priced for row in answer.rows if row.priced not in ("given", "")}))
        notes.append(f"(Price): {days}. Give --price or --candles for today's.")
    if any("guess" in row.rules for row in answer.rows):
        notes.append("?: seen on another pair of the same coin, not on this one: a guess.")
    unpriced = [row.symbol for row in answer.rows if row.unknown == NO_PRICE]
    if unpriced:
        notes.append(f"No price is known here: --price {unpriced[0]}=... for each, or --candles DIR.")
    notes += [row.remedy for row in answer.rows if row.unknown not in ("", NO_PRICE)]
    return notes
