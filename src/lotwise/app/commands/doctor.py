"""`lotwise doctor`: is everything there for a live run? Each row with what was seen and what to do."""

import asyncio
import shutil
from collections.abc import Awaitable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lotwise.app.accounts import account_name, own_nonces
from lotwise.app.configuration import load_settings
from lotwise.app.findings import (
    Finding,
    Verdict,
    bad,
    bounds_found,
    clock_found,
    fine,
    key_found,
    left_found,
    listings_found,
    money_found,
    pairs_found,
    streams_found,
    system_found,
    unanswered,
    warning,
)
from lotwise.app.journals import RUNS
from lotwise.app.kraken import Place, clock, open_rest, place_options
from lotwise.app.secrets import load_credentials
from lotwise.app.settings import Settings
from lotwise.app.strategies import load_strategy
from lotwise.app.summary import counted
from lotwise.app.terminal import UNAVAILABLE, Problem, json_option, stake_option, to_json, unwritten
from lotwise.app.which_journal import JOURNAL, which_journal
from lotwise.domain.values import Amount, plain
from lotwise.engine.records import Listed
from lotwise.kraken.signature import Credentials
from lotwise.venues.kraken.account import Account
from lotwise.venues.kraken.captures import PRIVATE, PUBLIC, Redactor, capture
from lotwise.venues.kraken.facts import Clocks, account_fees, clocks, key_info, pairs, system
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest

SLOW = 2_000
ROOM = 200_000_000
"""Bytes of free disk below which a journal may soon fail."""

REACHED = "Kraken"
"""The row without which there are no others."""

Answer = TypeVar("Answer")


@click.command(name="doctor")
@click.option("--config", type=click.Path(path_type=Path), help="A config.json or .toml.")
@click.option("--preset", help="The preset of the run that is to be live.")
@stake_option
@click.option(
    "--journal",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The journal that the run is to write. Default: the newest with real orders in ./runs is looked at.",
)
@click.option(
    "--capture",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Save Kraken's answers there, without ids, names and amounts of other assets: as evidence.",
)
@place_options
@json_option
def command(
    config: Path | None,
    preset: str | None,
    stake: str | None,
    journal: Path | None,
    folder: Path | None,
    base_url: str | None,
    ws_url: str | None,
    as_json: bool,
) -> None:
    """Look at everything that a live run needs, without placing an order.

    Ends as a live run would: with 0 when it could begin (though warnings are left), 2 without a key, 3 where
    it would be refused for safety, 4 when the exchange cannot be asked or there is nothing to trade with.
    """
    settings = load_settings(config, preset, {"stake_currency": stake})
    place = Place(base_url, ws_url)
    found = asyncio.run(_examined(settings, place, journal, folder))
    if as_json:
        well = all(finding.verdict is not Verdict.BAD for finding in found)
        click.echo(to_json({"findings": found, "fine": well, "exchange": place.name}))
    else:
        _show(found)
    code = next((finding.code for finding in found if finding.verdict is Verdict.BAD), 0)
    if code:
        raise SystemExit(code)


@dataclass(frozen=True, slots=True)
class Look:
    """Whom to ask, and for which run."""

    rest: Rest
    place: Place
    key: Credentials | None
    settings: Settings
    journal: Path | None

    async def asked(self, check: str, answer: Awaitable[Answer]) -> Answer | Finding:
        """The answer, or the finding that there is none."""
        try:
            return await answer
        except (Refused, NoAnswer) as no:
            return unanswered(check, no, self.place)


async def _examined(
    settings: Settings, place: Place, journal: Path | None, folder: Path | None
) -> list[Finding]:
    """All rows, in the order in which one would mend them."""
    key, found = _key()
    found += [_disk(), _strategy(settings)]
    with own_nonces(key) if key else nullcontext() as nonces:
        async with open_rest(place, key, nonces) as rest:
            look = Look(rest, place, key, settings, journal)
            seen = await look.asked(REACHED, clocks(rest, clock))
            if isinstance(seen, Finding):
                return [*found, seen]
            found += [*_reached(seen, place), *await _of_kraken(look)]
            if folder is not None:
                found += await _captures(look, folder)
            return found


async def _of_kraken(look: Look) -> list[Finding]:
    """How the exchange is, what the key may do, and then what a run could do."""
    rest, place = look.rest, look.place
    told = await look.asked("status", system(rest))
    found = [told] if isinstance(told, Finding) else system_found(told, place)
    if place.ws_url is None and not place.is_kraken:
        found.append(warning("streams", "not looked at", "give --ws-url too, as a run needs it"))
    else:
        found.append(await streams_found(place.with_streams(), private=look.key is not None))
    if look.key is None:
        return found + await _of_market(look, None, None)
    info = await look.asked("key", key_info(rest))
    if isinstance(info, Finding):
        return [*found, info, *await _of_market(look, None, None)]
    found += [*key_found(info), *bounds_found(info, clock())]
    held = await look.asked("money", Account(rest).balances())
    if isinstance(held, Finding):
        return [*found, held, *await _of_market(look, None, None)]
    return found + await _of_market(look, held, account_name(info, look.key))


async def _of_market(look: Look, held: Mapping[str, Amount] | None, account: str | None) -> list[Finding]:
    """Pairs, rules and fees; with a key the money and the journal too."""
    rest, settings = look.rest, look.settings
    listings = await look.asked("pairs", pairs(rest, settings.pairs, clock()))
    if isinstance(listings, Finding):
        return [listings]
    absent = await look.asked("pairs", pairs_found(rest, settings, listings, held or {}))
    found = [absent] if isinstance(absent, Finding) else absent
    found += [_pair(symbol, listed) for symbol, listed in listings.items()]
    if listings:
        confirmed = await look.asked("fees", account_fees(rest, list(listings)))
        found.append(listings_found(settings, listings))
        found.append(confirmed if isinstance(confirmed, Finding) else _fees(look, listings, confirmed))
    if held is None or account is None or not listings:
        return found
    which = await look.asked(JOURNAL, which_journal(rest, look.journal, account))
    if isinstance(which, Finding):
        return [*found, which]
    if which.state is not None:
        left = await look.asked("money", left_found(rest, settings, listings, which.state))
        return [*found, which.finding, left]
    money = await look.asked("money", money_found(rest, settings, listings, held))
    return [*found, which.finding, money if isinstance(money, Finding) else money[0]]


def _key() -> tuple[Credentials | None, list[Finding]]:
    try:
        return load_credentials(), [fine("key given", "yes")]
    except Problem as no:
        return None, [bad("key given", "no key can be read", no.message, no.exit_code)]


def _disk() -> Finding:
    free = shutil.disk_usage(RUNS if RUNS.exists() else Path()).free
    seen = f"{free // 1_000_000:,} MB free"
    if free >= ROOM:
        return fine("disk", seen)
    return bad("disk", seen, "free some space: an order is sent only once it is written down", UNAVAILABLE)


def _strategy(settings: Settings) -> Finding:
    """Whether the one that the run is to wish with can be made; its module is imported, as a run does."""
    try:
        load_strategy(settings.strategy)
    except Problem as no:
        seen, _, what = no.message.partition("; ")
        return bad("strategy", seen, what or "mend it: `lotwise strategy check` says more", no.exit_code)
    return fine("strategy", settings.strategy)


def _reached(seen: Clocks, place: Place) -> list[Finding]:
    took, what = f"{seen.took} ms", "orders have five seconds to arrive; a nearer machine is safer"
    return [
        fine(REACHED, f"{place.name} answers"),
        warning("latency", took, what) if seen.took > SLOW else fine("latency", took),
        clock_found(seen),
    ]


def _pair(symbol: str, listed: Listed) -> Finding:
    fees = f"fees {plain(listed.maker_fee.scaleb(2))} % / {plain(listed.taker_fee.scaleb(2))} %"
    least = f"minimum {plain(listed.listing.min_quantity)} {symbol.partition('/')[0]}"
    seen = f"{listed.status}, {least}, {fees}"
    if listed.status == "online":
        return fine(symbol, seen)
    return warning(
        symbol, seen, "wait, or take it out of `pairs`: nothing is bought there until it is online"
    )


def _fees(look: Look, listings: Mapping[str, Listed], confirmed: Mapping[str, object]) -> Finding:
    """Whose fees are reckoned with."""
    assumed = [symbol for symbol in listings if symbol not in confirmed]
    if not assumed:
        return fine("fee tier", "this account's, as Kraken tells (TradeVolume)")
    seen = f"assumed: the dearest tier's for {', '.join(assumed)}"
    if look.key is None:
        return warning("fee tier", seen, "give a key: Kraken tells an account's own fees to that alone")
    return warning("fee tier", seen, "Kraken does not tell this key: ask again later; orders may cost less")


async def _captures(look: Look, folder: Path) -> list[Finding]:
    """Kraken's answers saved, and whether we read them."""
    rest = look.rest
    listings = await look.asked("capture", pairs(rest, look.settings.pairs, clock()))
    if isinstance(listings, Finding):
        return [listings]
    redactor, found = Redactor(listings), []
    for endpoint in (*PUBLIC, *(PRIVATE if rest.has_key else ())):
        found.append(await look.asked(f"capture {endpoint}", _capture(rest, endpoint, redactor, folder)))
    return found


async def _capture(rest: Rest, endpoint: str, redactor: Redactor, folder: Path) -> Finding:
    told = await capture(rest, endpoint, redactor)
    file = folder / f"{endpoint}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(told.text(), encoding="utf-8")
    except OSError as trouble:
        raise unwritten(file, trouble) from None
    check, seen = f"capture {endpoint}", f"{told.read} read, saved in {file}"
    if told.problem is None:
        return fine(check, seen)
    what = "our reading of Kraken is wrong here: look through the file, and report it"
    return warning(check, f"{seen}, then {told.problem}", what)


def _show(found: list[Finding]) -> None:
    colours = {Verdict.FINE: "green", Verdict.WARNING: "yellow", Verdict.BAD: "red bold"}
    table = Table("", "Check", "Seen, and what to do", box=None, padding=(0, 2, 0, 0))
    for finding in found:
        style = colours[finding.verdict]
        table.add_row(Text(finding.verdict, style), finding.check, Text(finding.seen))
        if finding.remedy:
            table.add_row("", "", Text(f"-> {finding.remedy}", style))
    console = Console()
    console.print(table)
    stops = sum(finding.verdict is Verdict.BAD for finding in found)
    if stops:
        console.print(f"No live run can begin: mend {counted(stops, 'row')} first.", style="red bold")
    else:
        console.print("A live run could begin.", style="green")
