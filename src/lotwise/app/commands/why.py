"""`lotwise why`: the checks that a wish passed or failed, from a journal."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lotwise.app.journals import journal_option, newest_journal, problem
from lotwise.app.summary import when
from lotwise.app.terminal import Problem, json_option, to_json
from lotwise.domain.values import Time
from lotwise.store.journal import JournalError, read
from lotwise.store.views import Why, why


@click.command(name="why")
@click.argument("symbol")
@click.option(
    "--at", metavar="TIME", help="The last decision at or before this time (UTC): 2025-03-01T12:00."
)
@journal_option
@json_option
def command(symbol: str, at: str | None, journal: Path | None, as_json: bool) -> None:
    """Why was (or was not) SYMBOL bought? The ladder of checks of one decision, and all reasons counted."""

    path = journal or newest_journal()
    try:
        found = why(read(path), symbol.upper(), _time(at))
    except JournalError as trouble:
        raise problem(trouble) from None
    if not found.pairs[found.symbol]:
        known = ", ".join(sorted(found.pairs))
        there = f"it has some on {known}" if known else "it has none at all yet"
        raise Problem(f"{path} has no decision on {found.symbol}; {there}")
    if found.decision is None:
        raise Problem(
            f"the first decision on {found.symbol} in {path} is of {_when(found.first)}; ask --at later"
        )
    if as_json:
        click.echo(
            to_json(
                {
                    "symbol": found.symbol,
                    "decision": found.decision,
                    "repeated": found.repeated,
                    "sized": found.sized,
                    "reasons": dict(found.reasons.most_common()),
                    "journal": str(path),
                }
            )
        )
    else:
        _show(found, path)


def _time(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        asked = datetime.fromisoformat(text)
    except ValueError:
        raise Problem(f"--at {text} is no time; write it as 2025-03-01T12:00") from None
    asked = asked if asked.tzinfo else asked.replace(tzinfo=UTC)
    return int(asked.timestamp() * 1000)


def _when(time: int | None) -> str:

    return when(Time(time or 0))


def _show(found: Why, path: Path) -> None:

    console, decision = Console(), found.decision
    assert decision is not None
    free = f"{decision['free']} {found.symbol.partition('/')[2]}"
    answer = "ordered" if decision["reason"] is None else f"skipped: {decision['reason']}"
    console.print(
        f"[bold]{found.symbol}[/] at {_when(decision['time'])} UTC, price {decision['price']},"
        f" {free} free, confidence {decision['confidence']:.2f}: [bold]{answer}[/]",
        highlight=False,
    )
    table = Table("", "Check", "Has", "Needs", box=None, padding=(0, 2, 0, 0))
    for rung in decision["rungs"]:
        mark = "[green]yes[/]" if rung["passed"] else "[red bold]NO[/]"
        table.add_row(mark, rung["check"], rung["have"], rung["need"])
    console.print(table)
    failed = [rung for rung in decision["rungs"] if not rung["passed"]]
    for rung in failed:
        console.print(f"What would change it: {rung['remedy']}", markup=False, highlight=False)
    if found.repeated:
        console.print(f"The same answer came {found.repeated} times more after that.", highlight=False)
    if decision["client_id"]:
        console.print(f"Order {decision['client_id']}, bound by {decision['bound']}", highlight=False)
    counts = ", ".join(f"{reason} {count}" for reason, count in found.reasons.most_common()) or "none"
    console.print(
        f"All {found.sized + found.reasons.total()} decisions on it from {_when(found.first)} to"
        f" {_when(found.last)}: ordered {found.sized}; skipped: {counts}",
        markup=False,
        highlight=False,
    )
    console.print(f"Journal: {path}", markup=False, highlight=False, soft_wrap=True)
