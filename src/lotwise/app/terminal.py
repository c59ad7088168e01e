"""What every command shares: its exit codes, its JSON and the way it says no."""

import errno
import json
import shlex
import sys
from dataclasses import asdict, is_dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lotwise.domain.values import plain

BAD_INPUT, UNSAFE, UNAVAILABLE = 2, 3, 4

stake_option = click.option(
    "--stake",
    metavar="ASSET",
    callback=lambda _context, _option, asset: asset and asset.upper(),
    help="The currency to spend, such as USD: the pairs follow.",
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""What another path on the same disk does not mend."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON (decimals as strings).")


class Problem(click.ClickException):
    """One clear message for the person: what is wrong, where, and what to do; then the exit code."""

    def __init__(self, message: str, exit_code: int = BAD_INPUT) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance


def same_options(*, but: tuple[str, ...] = ("journal",)) -> str:
    """The options that the command was called with, but these, as words to call it with again."""
    context, words = click.get_current_context(), [""]
    for option in context.command.params:
        name = option.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not isinstance(option, click.Option) or name in but or not given:
            continue
        value = context.params[name]
        words.append(option.opts[0])
        if not option.is_flag:
            words.append(shlex.quote(f"{value:%Y-%m-%d}" if isinstance(value, date) else str(value)))
    return " ".join(words)


def confirmed(question: str) -> bool:
    """The person's yes or no, asked once; Problem where there is nobody to ask."""
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise
        click.echo(err=True)
        raise Problem("nothing was done: there is no terminal to ask; add --yes", BAD_INPUT) from None


def unwritten(path: Path | str, trouble: OSError) -> Problem:
    """A file or folder that cannot be written: named wrongly, or no longer possible on this machine."""
    code = UNAVAILABLE if trouble.errno in _FULL else BAD_INPUT
    return Problem(f"{path}: cannot be written: {trouble.strerror}", code)


def to_json(value: Any) -> str:
    """One line of JSON; decimals as strings without exponent, enums by value, keys in given order."""
    return json.dumps(_plain(value), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
