"""`lotwise reconcile`: our books beside Kraken's, each asset and each order, and what a difference means."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import click

from lotwise.app.accounts import account_name, check_account, own_nonces
from lotwise.app.books import AssetRow, Books, OrderRow, compared, live_books, live_journal, live_state
from lotwise.app.journals import journal_option, problem, unfoldable
from lotwise.app.kraken import Place, clock, open_rest, place_options, trouble
from lotwise.app.secrets import load_credentials
from lotwise.app.summary import when
from lotwise.app.terminal import UNSAFE, Problem, json_option, to_json
from lotwise.domain.values import plain
from lotwise.engine.codec import Unfoldable
from lotwise.kraken.signature import Credentials
from lotwise.store.journal import JournalError
from lotwise.venues.kraken.facts import key_info
from lotwise.venues.kraken.inbox import STRIKES
from lotwise.venues.kraken.rest import NoAnswer, Refused

PAUSE = 2.0
"""Seconds before another look at a difference: a run that goes on may not have written it down yet."""

NOT_COMPARED = (
    "The money could not be compared: a trade, or an order's fate, is so new that Kraken does not tell it"
    " everywhere yet. Look again in a minute."
)

HEADS = ["Asset", "Ours", "Kraken's", "Not ours", "Difference"]


@click.command(name="reconcile")
@journal_option
@place_options
@json_option
def command(journal: Path | None, base_url: str | None, ws_url: str | None, as_json: bool) -> None:
    """Compare the books of a live run with Kraken's, to the last unit. Changes nothing.

    A run may go on meanwhile; use another key of the account for this then, one that may only query. Ends
    with 0 when everything is explained, 3 when something is not or the key is of another account.
    """
    path, place = journal or live_journal(), Place(base_url, ws_url)
    key = load_credentials()
    try:
        books = asyncio.run(_look(path, place, key))
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as no:
        raise problem(no) from None
    except (Refused, NoAnswer) as no:
        told = trouble(no, place).problem
        raise Problem(f"{told.message}; nothing was compared", told.exit_code) from None
    if as_json:
        found = {"clean": books.clean, "compared": books.compared}
        click.echo(to_json({**found, "assets": books.assets, "orders": books.orders}))
    else:
        click.echo("\n".join(_lines(books, path)))
    if not books.clean:
        raise SystemExit(UNSAFE)


async def _look(path: Path, place: Place, key: Credentials) -> Books:
    """Look once, or while a run goes on until all is explained or a difference has stayed. Raises Refused,
    NoAnswer, JournalError, Unfoldable."""
    with own_nonces(key) as nonces:
        if nonces is None:
            click.echo("note: a run trades with this key; another key for this would be safer", err=True)
        async with open_rest(place, key, nonces) as rest:
            told, state = live_books(path)
            await check_account(account_name(await key_info(rest), key), told, state, rest)
            books = await compared(state, rest, clock)
            for _ in range(STRIKES - 1 if nonces is None else 0):
                if books.clean:
                    break
                await asyncio.sleep(PAUSE)
                books = await compared(live_state(path), rest, clock)
            return books


def _lines(books: Books, path: Path) -> Iterator[str]:
    """Each meaning stands on a line of its own: no number and no word is cut, however narrow it is here."""
    yield from _assets(books.assets)
    yield from _orders(books.orders)
    if not books.compared:
        yield NOT_COMPARED
    words = "Everything is explained." if books.clean else "Something is NOT explained: see above."
    yield f"{words} Journal: {path}"


def _assets(rows: list[AssetRow]) -> Iterator[str]:
    if not rows:
        return
    numbers = [[plain(n) for n in (row.ours, row.kraken, row.foreign, row.difference)] for row in rows]
    table = [HEADS, *([row.asset, *cells] for row, cells in zip(rows, numbers, strict=True))]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells, meaning in zip(table, ["", *(row.meaning for row in rows)], strict=True):
        first, *rest = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        yield "  ".join([first.strip().ljust(widths[0]), *rest])
        if meaning:
            yield f"  {meaning}"


def _orders(rows: list[OrderRow]) -> Iterator[str]:
    if not rows:
        yield "No orders are open, here or there."
    for row in rows:
        what = f"{row.side} {plain(row.quantity)} {row.symbol}, since {when(row.since)}"
        yield f"Order {row.name}: {what}; here: {row.here}, at Kraken: {row.kraken}"
        yield f"  {row.meaning}"
