"""`lotwise doctor`: is everything there for a live run? Each row with what was seen and what to do."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lotwise.app.accounts import own_nonces
from lotwise.app.journals import RUNS
from lotwise.app.kraken import Place, clock, open_rest, place_options
from lotwise.app.secrets import load_credentials
from lotwise.app.settings import Settings, load_settings
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem, json_option, to_json
from lotwise.domain.values import plain
from lotwise.engine.records import Listed
from lotwise.kraken.signature import Credentials
from lotwise.venues.kraken.captures import PRIVATE, PUBLIC, Redactor, capture
from lotwise.venues.kraken.facts import clocks, key_info, pairs
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest

SLOW = 2_000
ROOM = 200_000_000
"""Bytes of free disk below which a journal may soon fail."""

DAY = 86_400_000


class Verdict(StrEnum):
    FINE = "fine"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was looked at, how it is, what was seen, and the remedy where one is needed."""

    check: str
    verdict: Verdict
    seen: str
    remedy: str = ""


@click.command(name="doctor")
@click.option("--config", type=click.Path(path_type=Path), help="A config.json or .toml.")
@click.option("--preset", help="The preset of the run that is to be live.")
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
    folder: Path | None,
    base_url: str,
    ws_url: str | None,
    as_json: bool,
) -> None:
    """Look at everything that a live run needs, without placing an order.

    Ends with 0 when all is fine or only a warning is left, 3 when a live run would be refused, 4 when the
    exchange cannot be asked.
    """
    settings = load_settings(config, preset, {})
    found = asyncio.run(examine(settings, Place(base_url, ws_url), folder))
    if as_json:
        click.echo(to_json({"findings": found, "fine": all(f.verdict is not Verdict.BAD for f in found)}))
    else:
        _show(found)
    bad = [finding for finding in found if finding.verdict is Verdict.BAD]
    if bad:
        raise SystemExit(UNAVAILABLE if bad[0].check == "Kraken" else UNSAFE)


async def examine(settings: Settings, place: Place, folder: Path | None = None) -> list[Finding]:
    """All rows, in the order in which one would mend them."""
    key, found = _key()
    found += _disk()
    with own_nonces(key) if key else nullcontext() as nonces:
        async with open_rest(place, key, nonces) as rest:
            found += await _of_kraken(rest, settings)
            if folder is not None and all(f.check != "Kraken" or f.verdict is Verdict.FINE for f in found):
                found += await _asked("capture", lambda: _captures(rest, settings, folder))
    return found


async def _of_kraken(rest: Rest, settings: Settings) -> list[Finding]:
    found = await _asked("Kraken", lambda: _clock(rest))
    if found[0].verdict is Verdict.BAD:
        return found
    found += await _asked("status", lambda: _status(rest))
    if rest.has_key:
        found += await _asked("key", lambda: _permissions(rest))
    return found + await _asked("pairs", lambda: _pairs(rest, settings))


async def _asked(check: str, ask: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    """The findings, or the one that Kraken could not be asked."""
    try:
        return await ask()
    except Refused as no:
        return [Finding(check, Verdict.BAD, ", ".join(no.texts), "see what Kraken says, and ask again")]
    except NoAnswer as trouble:
        remedy = "is the network there, and the address right (--base-url)? Then ask again"
        return [Finding(check, Verdict.BAD, str(trouble), remedy)]


def _key() -> tuple[Credentials | None, list[Finding]]:
    try:
        return load_credentials(), [Finding("key given", Verdict.FINE, "yes")]
    except Problem as no:
        return None, [Finding("key given", Verdict.BAD, "no", no.message)]


def _disk() -> list[Finding]:
    place = RUNS if RUNS.exists() else Path()
    free = shutil.disk_usage(place).free
    verdict = Verdict.FINE if free >= ROOM else Verdict.BAD
    remedy = (
        "" if verdict is Verdict.FINE else "free some space: an order is sent only once it is written down"
    )
    return [Finding("disk", verdict, f"{free // 1_000_000:,} MB free", remedy)]


async def _clock(rest: Rest) -> list[Finding]:
    seen = await clocks(rest, clock)
    return [
        Finding("Kraken", Verdict.FINE, "answers"),
        Finding(
            "latency",
            Verdict.WARNING if seen.took > SLOW else Verdict.FINE,
            f"{seen.took} ms",
            "orders have five seconds to arrive; a nearer machine is safer" if seen.took > SLOW else "",
        ),
        Finding(
            "clock",
            Verdict.BAD if seen.wrong else Verdict.FINE,
            f"{seen.ahead / 1000:+.1f} s from Kraken's",
            "set the clock (NTP): orders carry a deadline" if seen.wrong else "",
        ),
    ]


async def _status(rest: Rest) -> list[Finding]:
    told = await rest.public("SystemStatus")
    status = str(told.get("status")) if isinstance(told, dict) else "unknown"
    fine = status == "online"
    remedy = "" if fine else "wait: entries are refused until Kraken is online (status.kraken.com)"
    return [Finding("status", Verdict.FINE if fine else Verdict.WARNING, status, remedy)]


async def _permissions(rest: Rest) -> list[Finding]:
    info = await key_info(rest)
    found = [
        Finding(
            "key may withdraw", Verdict.BAD, "yes", "make a key without that permission: lotwise refuses it"
        )
        if info.may_withdraw
        else Finding("key may withdraw", Verdict.FINE, "no"),
        Finding(
            "key may trade",
            Verdict.BAD,
            f"lacks {', '.join(sorted(info.lacks))}",
            "allow it on Kraken's key page",
        )
        if info.lacks
        else Finding("key may trade", Verdict.FINE, "yes"),
        Finding(
            "key's nonce window",
            Verdict.BAD,
            str(info.nonce_window),
            "set it to 0 on Kraken's key page: within a window an order that the network doubles is two",
        )
        if info.nonce_window
        else Finding("key's nonce window", Verdict.FINE, "0"),
        Finding("key's addresses", Verdict.FINE, "restricted")
        if info.address_bound
        else Finding("key's addresses", Verdict.WARNING, "any", "bind the key to this machine's address"),
    ]
    left = None if info.valid_until is None else info.valid_until - clock()
    if left is None:
        found.append(
            Finding("key's expiry", Verdict.WARNING, "never", "give it an end, and a date to renew it")
        )
    else:
        verdict = Verdict.BAD if left <= 0 else Verdict.WARNING if left < 7 * DAY else Verdict.FINE
        found.append(
            Finding("key's expiry", verdict, f"in {left // DAY} days", "" if left > 7 * DAY else "renew it")
        )
    return found


async def _pairs(rest: Rest, settings: Settings) -> list[Finding]:
    told = await pairs(rest, settings.pairs, clock())
    absent = [symbol for symbol in settings.pairs if symbol not in told]
    found = []
    if absent:
        remedy = (
            "take them out of `pairs`; an account of the EEA has no USDT pairs: try another stake_currency"
        )
        found.append(
            Finding("pairs", Verdict.WARNING if told else Verdict.BAD, f"none of {', '.join(absent)}", remedy)
        )
    for symbol, listed in told.items():
        found.append(_pair(symbol, listed))
    return found


def _pair(symbol: str, listed: Listed) -> Finding:
    fees = f"fees {plain(listed.maker_fee.scaleb(2))} % / {plain(listed.taker_fee.scaleb(2))} %"
    least = f"minimum {plain(listed.listing.min_quantity)} {symbol.partition('/')[0]}"
    open_ = listed.status == "online"
    verdict = Verdict.FINE if open_ else Verdict.WARNING
    remedy = "" if open_ else "wait, or take it out of `pairs`: nothing is bought there until it is online"
    return Finding(symbol, verdict, f"{listed.status}, {least}, {fees}", remedy)


async def _captures(rest: Rest, settings: Settings, folder: Path) -> list[Finding]:
    """Kraken's answers saved, and whether we read them."""
    redactor = Redactor(await pairs(rest, settings.pairs, clock()))
    found: list[Finding] = []
    for endpoint in (*PUBLIC, *(PRIVATE if rest.has_key else ())):
        found += await _asked(f"capture {endpoint}", partial(_capture, rest, endpoint, redactor, folder))
    return found


async def _capture(rest: Rest, endpoint: str, redactor: Redactor, folder: Path) -> list[Finding]:
    told = await capture(rest, endpoint, redactor)
    file = folder / f"{endpoint}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(told.text(), encoding="utf-8")
    except OSError as trouble:
        raise Problem(f"{file}: {trouble.strerror}", UNAVAILABLE) from None
    check, seen = f"capture {endpoint}", f"{told.read} read, saved in {file}"
    if told.problem is None:
        return [Finding(check, Verdict.FINE, seen)]
    remedy = "our reading of Kraken is wrong here: look through the file, and report it"
    return [Finding(check, Verdict.WARNING, f"{seen}, then {told.problem}", remedy)]


def _show(found: list[Finding]) -> None:
    colours = {Verdict.FINE: "green", Verdict.WARNING: "yellow", Verdict.BAD: "red bold"}
    table = Table("", "Check", "Seen", "What to do", box=None, padding=(0, 2, 0, 0))
    for finding in found:
        mark = f"[{colours[finding.verdict]}]{finding.verdict}[/]"
        table.add_row(mark, finding.check, finding.seen, finding.remedy)
    Console().print(table)
