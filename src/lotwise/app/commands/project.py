"""`lotwise project`: what a plan of like trades would leave, before and after fees."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lotwise.app.summary import MONEY, money, money_up, percent
from lotwise.app.terminal import UNAVAILABLE, Problem, json_option, to_json
from lotwise.domain.market import break_even_move
from lotwise.domain.values import EXACT, BadField, NotExact, exact, plain, ratio_up, round_up
from lotwise.kraken.fees import FEE_SCHEDULES
from lotwise.research import MissingExtra
from lotwise.research.projection import Course, Odds, Plan, project

if TYPE_CHECKING:
    from lotwise.research.compiled import MonteCarlo

BAR = 40
"""The width of the longest bar of the histogram."""


@click.command(name="project")
@click.option("--balance", required=True, metavar="AMOUNT", help="What the account holds, such as 2.86.")
@click.option("--trades", required=True, type=int, help="How many trades follow each other.")
@click.option("--gain", required=True, metavar="FRACTION", help="What each gains before fees: 0.01 is 1 %.")
@click.option("--fraction", default="0.95", show_default=True, help="The share of the balance in a trade.")
@click.option("--cap", default="10", show_default=True, metavar="AMOUNT", help="The largest trade.")
@click.option("--minimum", default="2.50", show_default=True, metavar="AMOUNT", help="The smallest trade.")
@click.option("--fee-rate", metavar="FRACTION", help="On each side; default: today's maker fee.")
@click.option("--win-rate", metavar="PROBABILITY", help="Draw paths: a trade gains with this probability ...")
@click.option("--loss", metavar="FRACTION", help="... and else loses this, such as 0.02.")
@click.option("--paths", default=100_000, show_default=True, help="How many paths to draw.")
@click.option("--seed", default=1, show_default=True, help="The same seed draws the same paths.")
@json_option
def command(as_json: bool, trades: int, paths: int, seed: int, **texts: str | None) -> None:
    """What would this plan earn, honestly, after fees?

    Each trade puts a share of the balance to work, up to the cap, raised to the minimum where that
    fits; a balance below the minimum is locked out. Always shown beside the gross result: net of
    maker fees and net of taker fees on both sides. With --win-rate and --loss, as a Monte Carlo.
    """
    numbers = {name: _number(name, text) for name, text in texts.items() if text is not None}
    try:
        wanted = ("balance", "gain", "fraction", "cap", "minimum")
        plan = Plan(trades=trades, **{name: numbers[name] for name in wanted})
        projection = _projection(plan, numbers.get("fee_rate"))
        monte_carlo = _monte_carlo(projection, numbers, paths, seed)
    except BadField as bad:
        raise click.BadParameter(bad.problem, param_hint=_option(bad.field)) from None
    if as_json:
        click.echo(to_json(projection.json(monte_carlo)))
        return
    console = Console(highlight=False)
    if monte_carlo:
        show_odds(console, plan, monte_carlo)
    show(console, projection)
    if monte_carlo:
        show_paths(console, plan, monte_carlo)
    console.print(
        "\nA projection of these assumptions, no promise: spread and slippage are not in it, gains are not"
        " alike, and fees and minimums change.",
        style="dim",
    )


@dataclass(frozen=True, slots=True)
class Projection:
    """One plan before fees, net of `fee_rate` and net of the taker fee; `fees_as_of` dates the fees."""

    plan: Plan
    fee_rate: Decimal
    own_rate: bool
    taker_fee_rate: Decimal
    fees_as_of: str
    gross: Course
    net: Course
    net_taker: Course

    def json(self, monte_carlo: "MonteCarlo | None") -> dict[str, Any]:
        """The stable fields."""
        return {
            "gross": self.gross,
            "net": self.net,
            "net_taker": self.net_taker,
            "break_even_move": break_even_move(self.fee_rate, self.fee_rate),
            "break_even_move_taker": break_even_move(self.taker_fee_rate, self.taker_fee_rate),
            "fee_rate": self.fee_rate,
            "taker_fee_rate": self.taker_fee_rate,
            "fees_as_of": self.fees_as_of,
            "plan": self.plan,
            "monte_carlo": monte_carlo,
        }


def _number(name: str, text: str) -> Decimal:
    try:
        return exact(text)
    except NotExact as bad:
        raise click.BadParameter(str(bad), param_hint=_option(name)) from None


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _projection(plan: Plan, fee_rate: Decimal | None) -> Projection:
    today = datetime.now(UTC).date()
    in_force = [schedule for schedule in FEE_SCHEDULES if schedule.effective <= today]
    if not in_force:
        raise Problem(f"no fees are known for {today}: set the clock right", UNAVAILABLE)
    schedule = max(in_force, key=lambda schedule: schedule.effective)
    fees = schedule.tier(Decimal(0))
    net_rate = fees.maker_fee if fee_rate is None else fee_rate
    return Projection(
        plan,
        net_rate,
        fee_rate is not None,
        fees.taker_fee,
        schedule.effective.isoformat(),
        gross=project(plan, Decimal(0)),
        net=project(plan, net_rate),
        net_taker=project(plan, fees.taker_fee),
    )


def _monte_carlo(
    projection: Projection, numbers: dict[str, Decimal], paths: int, seed: int
) -> "MonteCarlo | None":
    if "win_rate" not in numbers and "loss" not in numbers:
        return None
    for name, other in (("win_rate", "loss"), ("loss", "win_rate")):
        if name not in numbers:
            raise BadField(name, f"is missing beside {_option(other)}")
    odds = Odds(numbers["win_rate"], numbers["loss"], paths, seed)
    try:
        from lotwise.research.compiled import simulate
    except MissingExtra as missing:
        raise Problem(f"--win-rate: {missing}") from None
    return simulate(projection.plan, projection.fee_rate, odds, os.cpu_count() or 1)


def show_odds(console: Console, plan: Plan, found: "MonteCarlo") -> None:
    """The verdict at the odds that were given."""
    profit = EXACT.subtract(found.mean, plan.balance)
    verb = "makes" if profit > 0 else "loses"
    console.print(
        f"At these odds this plan {verb} {money(profit).lstrip('-')} on average after fees, and"
        f" {_percent_up(found.loss_probability)} of its paths end with a loss.",
        style=_style(profit),
    )


def show(console: Console, projection: Projection) -> None:
    """The verdict first, then the numbers it rests on."""
    plan, net, taker_rate = projection.plan, projection.net, projection.taker_fee_rate
    own = "your fees" if projection.own_rate else "maker orders"
    console.print(
        f"If every trade gains, this plan {_outcome(net)} after fees with {own}; with taker orders"
        f" ({percent(taker_rate)} a side since {projection.fees_as_of}) it {_outcome(projection.net_taker)}.",
        style=_style(net.profit),
    )
    rows = (
        ("gross", Decimal(0), projection.gross),
        (f"net, {own}", projection.fee_rate, net),
        ("net, taker orders", taker_rate, projection.net_taker),
    )
    console.print(
        f"\n{plan.trades} trades of {percent(plan.fraction)} of the balance, from"
        f" {plain(plan.minimum)} to {plain(plan.cap)}, each gaining {percent(plan.gain)}:"
    )
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("")
    for heading in ("fee a side", "final", "profit", "growth", "break-even move"):
        table.add_column(heading, justify="right")
    for name, rate, course in rows:
        table.add_row(
            name,
            percent(rate),
            money(course.final),
            _signed(money(course.profit)),
            _signed(percent(course.growth)),
            _percent_up(break_even_move(rate, rate)),
        )
    console.print(table)
    for name, _, course in rows:
        _show_lock_out(console, name, course)


def _outcome(course: Course) -> str:
    if course.lock_out and not course.profit:
        return "never starts"
    if not course.profit:
        return "gains nothing"
    verb = "makes" if course.profit > 0 else "loses"
    size = money(course.profit).lstrip("-")
    return f"{verb} {size} ({_signed(percent(course.growth))})"


def _style(profit: Decimal) -> str:
    return "bold green" if profit > 0 else "bold red"


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def _percent_up(fraction: Decimal) -> str:
    """What costs or hurts is not shown smaller than it is."""
    return percent(round_up(fraction, MONEY))


def _show_lock_out(console: Console, name: str, course: Course) -> None:
    no = course.lock_out
    if no:
        remedy = "no balance would do" if no.needed is None else f"{plain(no.needed)} would do"
        console.print(
            f"Locked out ({name}): trade {no.trade} is refused with {plain(course.final)} left,"
            f" {no.reason}; {remedy}.",
            style="yellow",
        )


def show_paths(console: Console, plan: Plan, found: "MonteCarlo") -> None:
    """Where the paths end, as a few numbers and a histogram."""
    console.print(
        f"\n{found.paths:,} paths at these fees, drawn from seed {found.seed}: half end below"
        f" {money(found.median)}, 5 % below {money(found.p05)}, 5 % above {money(found.p95)}."
        f"\nOn average {money(found.mean)} is left, after {money_up(found.mean_costs)} of fees.",
    )
    halfway = found.lock_out_by_trade[(plan.trades - 1) // 2]
    console.print(
        f"Locked out by the minimum: {_percent_up(halfway)} halfway,"
        f" {_percent_up(found.lock_out_probability)} by the last trade."
    )
    console.print()
    most = max(part.paths for part in found.histogram)
    for part in found.histogram:
        share = ratio_up(Decimal(part.paths), Decimal(found.paths))
        style = "red" if part.high < plan.balance else "green"
        label = f"{money(part.low):>12} - {money(part.high):>12} "
        bar = _bar(part.paths, most, console.options.ascii_only)
        console.print(Text(label).append(f"{bar:<{BAR}}", style).append(f" {_percent_up(share):>8}"))


def _bar(part: int, most: int, ascii_only: bool) -> str:
    """A bar in eighths of a character; what is there at all shows."""
    eighths = -(-part * BAR * 8 // most)
    if ascii_only:
        return "#" * -(-eighths // 8)
    return "█" * (eighths // 8) + " ▏▎▍▌▋▊▉"[eighths % 8].strip()
