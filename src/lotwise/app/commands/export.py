"""`lotwise export`: what a journal holds, as a file for other programs."""

from contextlib import closing
from itertools import chain
from pathlib import Path

import click

from lotwise.app.exporting import Table, booked, csv_text, ledger, parquet_bytes, tax, trades
from lotwise.app.journals import journal_option, newest_journal, problem, unfoldable
from lotwise.app.terminal import Problem, json_option, to_json, unwritten
from lotwise.domain.orders import Fill
from lotwise.engine.codec import Unfoldable, decode
from lotwise.engine.records import Opened
from lotwise.store.journal import JournalError, Row, read

LIVE = "live"
"""The mode of runs whose orders were real."""


@click.command(name="export")
@click.argument("what", type=click.Choice(["trades", "ledger"]))
@click.option("--format", "form", type=click.Choice(["csv", "parquet"]), default="csv", show_default=True)
@click.option(
    "--layout",
    type=click.Choice(["lotwise", "tax"]),
    default="lotwise",
    show_default=True,
    help="tax: sent, received and fee columns, as tax tools read them.",
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="Default: standard output.")
@journal_option
@json_option
def command(what: str, form: str, layout: str, out: Path | None, journal: Path | None, as_json: bool) -> None:
    """Write all trades, or all that moved money, exactly as booked.

    trades has a row for each fill. ledger has a row for each posting, those of one reference summing to
    zero; with --layout tax it has the trades together with deposits and withdrawals. Every number is an
    exact decimal, written as text (docs/live.md lists the columns). A run may go on meanwhile.
    """
    path = journal or newest_journal()
    if as_json and (form == "parquet" or out is not None):
        raise Problem("--json goes to standard output; leave out --format and --out")
    if form == "parquet" and out is None:
        raise Problem("parquet is no text: say where to with --out FILE")
    try:
        table, paper = _table(path, what, layout)
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None
    if paper and layout == "tax":
        click.echo(f"note: {path} is of a paper run: nothing of this happened", err=True)
    if as_json:
        click.echo(to_json({"columns": table.columns, "rows": list(table.rows)}))
        return
    content = csv_text(table).encode() if form == "csv" else parquet_bytes(table)
    if out is None:
        click.echo(content, nl=False)
        return
    _write(out, content)
    click.echo(f"{len(table.rows)} rows of {path} in {out}", err=True)


def _table(path: Path, what: str, layout: str) -> tuple[Table, bool]:
    """The table, and whether the run was made up. Raises Unfoldable, JournalError."""
    with closing(read(path)) as rows:
        first = next(rows, None)
        paper = first is None or _mode(first) != LIVE
        moves = booked(rows if first is None else chain([first], rows))
        if layout == "tax":
            return tax((m for m in moves if what == "ledger" or isinstance(m.what, Fill)), paper), paper
        return trades(moves) if what == "trades" else ledger(moves), paper


def _mode(first: Row) -> str:
    told = decode(first.kind, first.body) if first.kind == Opened.__name__ else None
    if not isinstance(told, Opened):
        raise Unfoldable("a journal begins with what its run was told")
    return told.mode


def _write(out: Path, content: bytes) -> None:
    """A file that is there already stays as it is: it may be the only one of its kind."""
    try:
        with out.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise Problem(f"{out}: is there already; give another --out") from None
    except OSError as trouble:
        raise unwritten(out, trouble) from None
