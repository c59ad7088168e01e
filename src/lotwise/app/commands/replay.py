"""`lotwise replay`: the journal folded again from its first row, and compared with itself."""

from pathlib import Path

import click

from lotwise.app.journals import newest_journal, problem, unfoldable
from lotwise.app.terminal import json_option, to_json
from lotwise.engine.codec import Unfoldable, fold, state_hash
from lotwise.engine.state import State
from lotwise.store.journal import GENESIS, JournalError, read


@click.command(name="replay")
@click.argument("journal", type=click.Path(path_type=Path), required=False)
@json_option
def command(journal: Path | None, as_json: bool) -> None:
    """Fold JOURNAL (default: the newest in ./runs) again from row 0 and compare all hashes.

    Checks that each row is what was written, that each checkpoint names the state that the rows
    before it give, and prints the hashes: equal runs have equal ones. With --json, `ok` is false
    when something is wrong, and the rest is of the rows before it.
    """
    path = journal or newest_journal()
    state, count, last, wrong = State(), 0, GENESIS, None
    try:
        for row in read(path):
            fold(state, row.kind, row.body)
            count, last = row.number + 1, row.hash
    except JournalError as trouble:
        wrong = problem(trouble)
    except Unfoldable as bad:
        wrong = unfoldable(path, bad, count)
    result = {"ok": not wrong, "rows": count, "journal_hash": last, "state_hash": state_hash(state)}
    if as_json:
        click.echo(to_json(result))
    if wrong:
        raise wrong
    if not as_json:
        click.echo(f"{path}: {count} rows fold to the same state, and no row was changed.")
        click.echo(f"journal {last}\nstate   {result['state_hash']}")
