"""`lotwise reconcile`: our books beside Kraken's, each asset and each order, and what a difference means."""

import asyncio
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lotwise.app.accounts import own_nonces
from lotwise.app.books import Books, compared, live_journal, live_state
from lotwise.app.journals import journal_option, problem, unfoldable
from lotwise.app.kraken import Place, clock, open_rest, place_options
from lotwise.app.secrets import load_credentials
from lotwise.app.summary import when
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem, json_option, to_json
from lotwise.domain.values import plain
from lotwise.engine.codec import Unfoldable
from lotwise.kraken.signature import Credentials
from lotwise.store.journal import JournalError
from lotwise.venues.kraken.inbox import STRIKES
from lotwise.venues.kraken.rest import NoAnswer, Refused

PAUSE = 2.0
"""Seconds before another look at a difference: a run that goes on may not have written it down yet."""


@click.command(name="reconcile")
@journal_option
@place_options
@json_option
def command(journal: Path | None, base_url: str, ws_url: str | None, as_json: bool) -> None:
    """Compare the books of a live run with Kraken's, to the last unit. Changes nothing.

    A run may go on meanwhile; use another key for this then, one that may only query. Ends with 0 when
    everything is explained, 3 when something is not.
    """
    path = journal or live_journal()
    key = load_credentials()
    try:
        books = asyncio.run(_look(path, Place(base_url, ws_url), key))
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None
    except (Refused, NoAnswer) as trouble:
        raise Problem(f"Kraken: {trouble}; nothing was compared", UNAVAILABLE) from None
    if as_json:
        click.echo(to_json({"clean": books.clean, "assets": books.assets, "orders": books.orders}))
    else:
        _show(books, path)
    if not books.clean:
        raise SystemExit(UNSAFE)


async def _look(path: Path, place: Place, key: Credentials) -> Books:
    """Look once, or while a run goes on until all is explained or a difference has stayed. Raises Refused,
    NoAnswer, JournalError, Unfoldable."""
    with own_nonces(key) as nonces:
        if nonces is None:
            click.echo("note: a run trades with this key; another key for this would be safer", err=True)
        async with open_rest(place, key, nonces) as rest:
            books = await compared(live_state(path), rest, clock)
            for _ in range(STRIKES - 1 if nonces is None else 0):
                if books.clean:
                    break
                await asyncio.sleep(PAUSE)
                books = await compared(live_state(path), rest, clock)
            return books


def _show(books: Books, path: Path) -> None:
    console = Console()
    table = Table("Asset", "Ours", "Kraken's", "Not ours", "Difference", "Meaning", box=None)
    for row in books.assets:
        numbers = (row.ours, row.kraken, row.foreign, row.difference)
        table.add_row(row.asset, *map(plain, numbers), row.meaning)
    if books.assets:
        console.print(table)
    if books.orders:
        table = Table(box=None)
        for name in ("Order", "Pair", "", "Quantity", "Since", "Here", "At Kraken"):
            table.add_column(name, no_wrap=True, overflow="fold")
        table.add_column("Meaning")
        for order in books.orders:
            head = order.name, order.symbol, order.side, plain(order.quantity), when(order.since)
            table.add_row(*head, order.here, order.kraken, order.meaning)
        console.print(table)
    else:
        console.print("No orders are open, here or there.")
    words = "Everything is explained." if books.clean else "Something is NOT explained: see above."
    console.print(f"{words} Journal: {path}", markup=False, highlight=False, soft_wrap=True)
