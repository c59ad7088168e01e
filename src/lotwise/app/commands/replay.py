"""`lotwise replay`: the journal folded again from its first row, and compared with itself."""

from pathlib import Path

import click

from lotwise.app.journals import newest_journal, problem
from lotwise.app.terminal import UNSAFE, Problem, json_option, to_json
from lotwise.engine.codec import fold, state_hash
from lotwise.engine.state import State
from lotwise.store.journal import GENESIS, JournalError, read


@click.command(name="replay")
@click.argument("journal", type=click.Path(path_type=Path), required=False)
@json_option
def command(journal: Path | None, as_json: bool) -> None:
    """Fold JOURNAL (default: the newest in ./runs) again from row 0 and compare all hashes.

    Checks that each row is what was written, that each checkpoint names the state that the rows
    before it give, and prints the hashes: equal runs have equal ones.
    """

    path = journal or newest_journal()
    state, count, last = State(), 0, GENESIS
    try:
        for row in read(path):
            try:
                fold(state, row.kind, row.body)
            except (KeyError, ValueError) as bad:
                text = f"{path}: row {row.number} ({row.kind}) cannot be folded: {bad}"
                raise Problem(
                    f"{text}; restore the file from a backup, or start a new journal", UNSAFE
                ) from None
            count, last = row.number + 1, row.hash
    except JournalError as trouble:
        raise problem(trouble) from None
    result = {"ok": True, "rows": count, "journal_hash": last, "state_hash": state_hash(state)}
    if as_json:
        click.echo(to_json(result))
    else:
        click.echo(f"{path}: {count} rows fold to the same state, and no row was changed.")
        click.echo(f"journal {last}\nstate   {result['state_hash']}")
