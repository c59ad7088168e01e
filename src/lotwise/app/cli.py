"""The command line: `lotwise COMMAND`. A command's module is imported only when it is called or
its help is asked for, so that `lotwise --help` is instant."""

import difflib
import os
import sys
from importlib import import_module

import click

from lotwise.app.terminal import UNAVAILABLE

INTERRUPTED = 130
"""Ctrl-C where nothing is under way that could be gone on with, as shells count it."""

COMMANDS = {
    "size": "Size orders: JSON lines in, one decision a line out.",
    "fit": "What can this balance trade, and what would it need?",
    "project": "What would this plan earn, honestly, after fees?",
    "run": "Trade: paper on the built-in market or on your candles.",
    "why": "Why was (or was not) a pair traded? Read from a journal.",
    "replay": "Fold a journal again from its first row and compare.",
    "rescue": "Sell what became too small to be sold, at a cost told first.",
    "sandbox": "Serve Kraken's spot exchange on loopback, for any client.",
    "doctor": "Is everything there for a live run?",
    "reconcile": "Our books beside Kraken's: each asset, each order.",
    "panic": "Stop entries, cancel our orders, or sell all that we hold.",
    "export": "Trades or ledger as csv or parquet, also for tax tools.",
    "minimums": "Listed, learned and policy minimums of each pair.",
    "config": "Write, check or describe the configuration.",
    "strategy": "List the strategies, write your own, or check one.",
}


class Commands(click.Group):
    """The subcommands by name, each loaded on its first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"lotwise.app.commands.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            close = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"Did you mean '{close[0]}'?" if close else f"One of: {', '.join(COMMANDS)}."
            ctx.fail(f"No command '{args[0]}'. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        # The one-liners stand above, so that help needs none of the modules.
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="lotwise")
def cli() -> None:
    """Crypto spot trading for small accounts: no order is ever refused for its size.

    Exit codes: 0 done, 2 bad input or configuration, 3 refused for safety, 4 venue or data
    unavailable. Set NO_COLOR for plain output.
    """


def main() -> None:
    """The console entry point."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), "r+", encoding="utf-8"))
    try:
        code = cli.main(prog_name="lotwise", standalone_mode=False)
    except click.ClickException as told:
        told.show()
        code = told.exit_code
    except click.Abort:
        code = INTERRUPTED
    except SystemExit as end:
        # 1 is how click and rich end when the reader has left, as `head` does: no more is to be said.
        code = _stop_writing(0) if end.code == 1 else end.code
    except OSError as trouble:
        click.echo(f"Error: {trouble.filename or 'output'}: {trouble.strerror}", err=True)
        code = _stop_writing(UNAVAILABLE)
    sys.exit(code)


def _stop_writing(code: int) -> int:
    """What is still buffered cannot be written: let it not be tried again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return code
