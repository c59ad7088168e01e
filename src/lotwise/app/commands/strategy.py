"""`lotwise strategy`: list the strategies, write one of your own, check one."""

import inspect
import os
import sys
from decimal import Decimal
from importlib import resources
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

import click

from lotwise.app.strategies import SHIPPED, load_strategy
from lotwise.app.terminal import BAD_INPUT, UNAVAILABLE, Problem, json_option, to_json, unwritten
from lotwise.domain.values import EXACT

if TYPE_CHECKING:
    from lotwise.app.settings import Settings
    from lotwise.app.wire import Source
    from lotwise.strategies.candles import Candles
    from lotwise.strategies.strategy import Strategy

# What needs numpy or pydantic is imported where it is used, so that help stays instant.

OWN, CLASS = "my_strategy", "MyStrategy"
"""The module and the class that `new` writes."""


@click.group(name="strategy")
def command() -> None:
    """List the strategies, write one of your own, or check one.

    A strategy says for each bar how much it wishes to buy. It is chosen by `lotwise run --strategy`
    or the key `strategy`; your own is named module:Class. Each subcommand takes --json.
    """


@command.command(name="list")
@json_option
def listed(as_json: bool) -> None:
    """The strategies that come with lotwise; examples, not profitable ones."""
    rows = [_about(name, load_strategy(name).strategy) for name in SHIPPED]
    if as_json:
        click.echo(to_json({"strategies": rows}))
        return
    for row in rows:
        click.echo(f"{row['name']:9} {row['about']}")
    click.echo("Write your own with: lotwise strategy new")


def _about(name: str, strategy: "Strategy") -> dict[str, Any]:
    about = str(inspect.getdoc(type(strategy))).partition("\n")[0]
    return {"name": name, "about": about, "settings": repr(strategy), "warm_up": strategy.warm_up}


@command.command()
@click.argument("path", type=click.Path(path_type=Path), default=f"{OWN}.py")
@click.option("--force", is_flag=True, help="Write over an existing file.")
@json_option
def new(path: Path, force: bool, as_json: bool) -> None:
    """Write a commented strategy that runs to PATH, and say how to run it."""
    folder, name = _importable(path)
    if path.exists() and not force:
        raise Problem(f"{path} exists; --force writes over it")
    text = resources.files("lotwise.app").joinpath(f"{OWN}.py").read_text(encoding="utf-8")
    # A draft first: a full disk must not cost the strategy that was there.
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.write_text(text.replace(f"{OWN}:{CLASS}", name), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise unwritten(path, error) from None
    run = f"{folder}lotwise run --strategy {name}"
    told = to_json({"path": str(path), "strategy": name, "run": run})
    click.echo(told if as_json else f"wrote {path}; run it with: {run}")


def _importable(path: Path) -> tuple[str, str]:
    """What to type before the command for Python to find the file (if anything), and module:Class."""
    if path.suffix != ".py" or not path.stem.isidentifier() or path.stem in sys.stdlib_module_names:
        raise Problem(f"{path} cannot be imported as a module of its own; name it like {OWN}.py")
    below = Path(os.path.normpath(path))
    parts = (*below.parts[:-1], below.stem)
    if all(part.isidentifier() for part in parts):
        return "", f"{'.'.join(parts)}:{CLASS}"
    return f"PYTHONPATH={quote(str(path.absolute().parent))} ", f"{path.stem}:{CLASS}"


@command.command()
@click.argument("name")
@click.option("--candles", type=click.Path(path_type=Path), metavar="DIR", help="Ask about these candles.")
@click.option("--timeframe", help="1m 5m 15m 1h 4h or 1d.")
@json_option
@click.pass_context
def check(ctx: click.Context, name: str, candles: Path | None, timeframe: str | None, as_json: bool) -> None:
    """Ask the strategy NAME about the built-in market or your candles: what is wrong, how often it fires.

    It must give each bar a number from 0 to 1, and the same one when the later bars are cut off.
    """
    from lotwise.app.configuration import load_settings

    settings = load_settings(None, None, {"strategy": name, "timeframe": timeframe})
    strategy = load_strategy(settings.strategy).strategy
    source = _source(settings, candles)
    rows = [_checked(strategy, found) for _, found in sorted(source.candles.items())]
    good = not any(row["trouble"] for row in rows)
    if as_json:
        click.echo(to_json({"strategy": name, "ok": good, "source": source.label, "pairs": rows}))
    else:
        click.echo(f"{name} on {source.label}, {settings.timeframe}")
        for row in rows:
            click.echo(f"{row['symbol']:10} {_line(row)}")
    if not good:
        ctx.exit(BAD_INPUT)


def _source(settings: "Settings", folder: Path | None) -> "Source":
    from lotwise.app.wire import Source, built_in_market
    from lotwise.store.candles import CandleError, read_folder

    if folder is None:
        market = built_in_market(settings)
        if not market:
            raise Problem("the built-in market has none of the pairs; name candles with --candles DIR")
        return Source(f"the built-in synthetic market, seed {settings.seed}", market)
    try:
        return Source(f"the candles of {folder}", read_folder(folder, settings.timeframe))
    except CandleError as bad:
        raise Problem(str(bad)) from None
    except OSError as trouble:
        raise Problem(f"{trouble.filename}: {trouble.strerror}", UNAVAILABLE) from None


def _checked(strategy: "Strategy", candles: "Candles") -> dict[str, Any]:
    from lotwise.strategies.wishes import wishes_of

    found = wishes_of(strategy, candles)
    bars, wishes = len(candles), int((found.confidence > 0).sum())
    return {
        "symbol": candles.symbol,
        "bars": bars,
        "wishes": wishes,
        "fraction": EXACT.scaleb(Decimal(wishes * 10_000 // bars), -4),  # down: never shown too often
        "trouble": found.trouble or None,
    }


def _line(row: dict[str, Any]) -> str:
    from lotwise.app.summary import percent

    if row["trouble"]:
        return str(row["trouble"])
    return f"wishes at {row['wishes']} of {row['bars']} bars ({percent(row['fraction'])})"
