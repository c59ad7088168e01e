"""What every command shares: its exit codes, its JSON and the way it says no."""

import json
import shlex
from dataclasses import asdict, is_dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import click
from click.core import ParameterSource

from lotwise.domain.values import plain

BAD_INPUT, UNSAFE, UNAVAILABLE = 2, 3, 4

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
