"""`lotwise sandbox`: Kraken's spot exchange on loopback, for any client of it."""

import asyncio
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import click

from lotwise.app.terminal import BAD_INPUT, UNAVAILABLE, Problem
from lotwise.domain.values import BadField, NotExact, amount, plain
from lotwise.kraken.signature import credentials
from lotwise.sandbox.clock import STILL
from lotwise.sandbox.faults import Plan, plan_of
from lotwise.sandbox.saving import StateError, StateInUse
from lotwise.sandbox.service import LOOPBACK, Account, Running, Sandbox, made_for_the_run
from lotwise.sandbox.tables import conformance
from lotwise.sandbox.world import LATEST, UnknownRules, World
from lotwise.store.candles import CandleError, read_folder
from lotwise.strategies.candles import Candles

SYNTHETIC = "synthetic"
SPEEDS: Mapping[str, int | Literal["max"]] = {"1": 1, "60": 60, "max": "max", "manual": STILL}


@click.command(name="sandbox")
@click.option("--port", type=click.IntRange(0, 65535), default=8600, show_default=True, help="0: a free one.")
@click.option("--host", default=LOOPBACK, show_default=True, help="The address to listen on.")
@click.option(
    "--admin-port", type=click.IntRange(0, 65535), default=8601, show_default=True, help="Of the operator."
)
@click.option(
    "--account",
    "accounts",
    multiple=True,
    metavar="NAME:KEY:SECRET:USDT=100,BTC=0.01",
    help="Let an account in; may be given again. Default: one with a key pair made for the run.",
)
@click.option(
    "--market", default=SYNTHETIC, metavar="synthetic|DIR", help="Made-up prices, or candles in DIR."
)
@click.option(
    "--timeframe", help="Which candles of DIR, when there are several kinds: 1m 5m 15m 1h 4h or 1d."
)
@click.option("--rules", default="latest", metavar="latest|DATE", help="The day whose rules and fees hold.")
@click.option(
    "--speed", type=click.Choice(list(SPEEDS)), default="1", help="Times real time; manual: by the operator."
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Draw another market, and other faults.")
@click.option("--faults", type=click.Path(path_type=Path), metavar="FILE", help="What shall go wrong (TOML).")
@click.option(
    "--state", type=click.Path(path_type=Path), metavar="PATH", help="Keep everything in this file."
)
@click.option("--no-limits", is_flag=True, help="Count no calls and no orders.")
@click.option("--no-history", is_flag=True, help="No candles of the time before: it starts sooner.")
@click.option(
    "--conformance", "tables", is_flag=True, help="Print what is as at Kraken (markdown), and leave."
)
def command(
    accounts: tuple[str, ...],
    market: str,
    timeframe: str | None,
    rules: str,
    speed: str,
    seed: int,
    faults: Path | None,
    state: Path | None,
    no_limits: bool,
    no_history: bool,
    tables: bool,
    host: str,
    port: int,
    admin_port: int,
) -> None:
    """Serve Kraken's spot exchange on loopback: REST and WebSocket v2, with made-up money.

    A client works unmodified once its base URL points here; three lines say how. Ctrl-C stops.
    """
    if tables:
        click.echo(conformance())
        return
    day = _day(rules)
    told = tuple(map(_account, accounts))
    asked = Sandbox(
        accounts=told or (() if state is not None and state.exists() else (made_for_the_run(),)),
        world=World(
            seed,
            day,
            candles={} if market == SYNTHETIC else _candles(Path(market), timeframe),
            history=not no_history,
        ),
        speed=SPEEDS[speed],
        plan=Plan() if faults is None else _plan(faults),
        state=state,
        rate_limits=not no_limits,
        host=host,
        port=port,
        admin_port=admin_port,
    )
    source = f"synthetic market, seed {seed}" if market == SYNTHETIC else f"candles of {market}"
    try:
        asyncio.run(_serve(asked, f"{source}, rules {rules}, speed {speed}"))
    except (BadField, NotExact) as bad:
        raise Problem(str(bad)) from None
    except (StateError, UnknownRules) as no:
        raise Problem(str(no), UNAVAILABLE if isinstance(no, StateInUse) else BAD_INPUT) from None
    except OSError as trouble:
        there = f"{asked.host} port {asked.port} (operator: {asked.admin_port})"
        remedy = "give another --port and --admin-port, or 0 for free ones"
        raise Problem(f"{there}: {trouble.strerror or trouble}; {remedy}", UNAVAILABLE) from None


async def _serve(asked: Sandbox, label: str) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    with ExitStack() as undo:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopped.set)
            undo.callback(loop.remove_signal_handler, number)
        async with asked as sandbox:
            for line in _lines(sandbox, label):
                click.echo(line)
            stopping = asyncio.create_task(stopped.wait())
            # A market that ends by itself has failed: leaving raises what it raised.
            await asyncio.wait((stopping, sandbox.market), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
    click.echo("Stopped." if asked.state is None else f"Stopped; {asked.state} has everything.")


def _lines(sandbox: Running, label: str) -> list[str]:
    url, ws, auth = sandbox.url, sandbox.ws_url, sandbox.auth_ws_url
    sockets = f'"ws": {{"publicV2": "{ws}/v2", "privateV2": "{auth}/v2", "private": "{auth}"}}'
    urls = f'"urls": {{"api": {{"public": "{url}", "private": "{url}", {sockets}}}}}'
    keys = "key=KEY, secret=SECRET"
    money = sandbox.admin.accounts()
    return [
        f"Kraken's spot exchange, made up: {url} ({label}); operator: {sandbox.admin_url}",
        *(
            f"account {account.name}: KEY {account.key} SECRET {account.secret}, with "
            + ", ".join(f"{held['total']} {asset}" for asset, held in money.get(account.name, {}).items())
            for account in sandbox.accounts
        ),
        f'ccxt: ccxt.kraken({{"apiKey": KEY, "secret": SECRET, {urls}}})',
        f'python-kraken-sdk: Trade({keys}, url="{url}"), SpotWSClient({keys}, rest_url="{url}", '
        f'ws_url="{ws}", auth_ws_url="{auth}")',
        "lotwise: KRAKEN_API_KEY=KEY KRAKEN_API_SECRET=SECRET "
        f"lotwise run --live --base-url {url} --ws-url {ws}",
    ]


def _account(text: str) -> Account:
    """An account from NAME:KEY:SECRET:MONEY. The secret is in no message."""
    parts = text.split(":")
    if len(parts) != 4 or not all(parts):
        raise Problem(f"--account {parts[0]}: write NAME:KEY:SECRET:USDT=100,BTC=0.01")
    name, key, secret, money = parts
    try:
        credentials(key, secret)
        sums = [word.split("=") for word in money.split(",")]
        if any(len(pair) != 2 for pair in sums):
            raise BadField("money", f"{money!r} is not like USDT=100,BTC=0.01")
        amounts = tuple(amount(f"{number} {asset}") for asset, number in sums)
        wrong = next((held for held in amounts if held.number <= 0 or not held.asset.isalnum()), None)
        if wrong is not None:
            raise BadField("money", f"{plain(wrong.number)} {wrong.asset} is no money to begin with")
    except (BadField, NotExact) as bad:
        raise Problem(f"--account {name}: {bad}") from None
    return Account(name, key, secret, amounts)


def _day(text: str) -> date:
    if text == "latest":
        return LATEST
    try:
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007  a day has no zone
    except ValueError:
        raise Problem(f"--rules {text}: write latest, or a day as 2025-07-29") from None


def _plan(path: Path) -> Plan:
    try:
        return plan_of(path.read_text(encoding="utf-8"))
    except OSError as trouble:
        raise Problem(f"{path}: {trouble.strerror}") from None
    except UnicodeDecodeError:
        raise Problem(f"{path}: is no UTF-8 text; save it as such") from None
    except BadField as bad:
        raise Problem(f"{path}: {bad} (see docs/sandbox.md)") from None


def _candles(folder: Path, timeframe: str | None) -> dict[str, Candles]:
    try:
        return read_folder(folder, timeframe)
    except CandleError as bad:
        raise Problem(str(bad)) from None
    except OSError as trouble:
        raise Problem(f"{trouble.filename}: {trouble.strerror}", UNAVAILABLE) from None
