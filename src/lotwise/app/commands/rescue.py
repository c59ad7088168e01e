"""`lotwise rescue`: the cheapest way out of a holding below the minimum; its cost first, then the deed."""

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lotwise.app.journals import journal_option, newest_journal, problem, unfoldable
from lotwise.app.loop import Moment, answer
from lotwise.app.summary import money, money_up, when
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem, confirmed, json_option, to_json
from lotwise.app.wire import LIVE, Desk, open_desk
from lotwise.app.wire import opened as journal_begins
from lotwise.domain.orders import Fill
from lotwise.domain.sizing import Refused
from lotwise.domain.values import EXACT, Side, plain
from lotwise.engine.codec import Unfoldable
from lotwise.engine.records import Record, Rescue
from lotwise.engine.rescue import WayOut
from lotwise.store.journal import Journal, JournalError

AT_KRAKEN = (
    "what is stuck is sold as soon as the minimum or the price allows, or together with the next entry on its"
    " pair. Sooner by hand: buy what is missing at Kraken and sell it all there; the run books that the coins"
    " left"
)


@click.command(name="rescue")
@click.argument("symbol", metavar="PAIR")
@click.option("--yes", is_flag=True, help="Do it without asking.")
@journal_option
@json_option
def command(symbol: str, yes: bool, journal: Path | None, as_json: bool) -> None:
    """Sell what is held on PAIR though it became too small to be sold.

    The exchange takes no sale below its minimum, so the smallest order that it takes is bought first and
    all is sold together. What that costs in fees, spread and slippage is shown before you are asked. The
    run must be stopped; a paper run trades at the prices of its last mark. Ends with 0 when it is done, 3
    when nothing was.
    """
    path, symbol = journal or newest_journal(), symbol.upper()
    if not path.exists():
        raise Problem(f"{path}: there is no such journal")
    try:
        with Journal(path) as opened:
            if journal_begins(opened).mode == LIVE:
                raise Problem(f"{path} is of a run with real orders: {AT_KRAKEN}")
            desk = open_desk(opened)
            way = _way(desk, symbol)
            if not as_json:
                click.echo("\n".join(_told(desk, symbol, way)))
            result = _numbers(symbol, way)
            if yes or (not as_json and confirmed("Do it?")):
                records = asyncio.run(_carry_out(desk, symbol, opened))
                result |= _outcome(desk, symbol, way, records)
                if not as_json:
                    click.echo(_done(desk, result))
            else:
                click.echo("Nothing was done. Add --yes to do it.", err=True)
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None
    if as_json:
        click.echo(to_json(result))
    if not result["done"]:
        raise SystemExit(UNSAFE)


def _way(desk: Desk, symbol: str) -> WayOut:
    """The way out, or a Problem that says why there is none."""
    engine = desk.engine
    way = engine.rescue(symbol, engine.state.time)
    if isinstance(way, str):
        stuck = [pair for pair, holding in sorted(engine.state.holdings.items()) if holding.stuck]
        raise Problem(f"{way}; {'stuck are: ' + ', '.join(stuck) if stuck else 'nothing is stuck'}")
    if isinstance(way, Refused):
        quote = engine.plan.quote
        need = (
            f"the purchase takes {plain(way.needed)} {quote} free, {plain(way.short)} more than there is"
            if way.needed is not None and way.short is not None
            else f"the exchange takes no such purchase ({way.reason})"
        )
        raise Problem(f"{symbol} cannot be sold, and {need}", UNAVAILABLE)
    return way


def _told(desk: Desk, symbol: str, way: WayOut) -> Iterator[str]:
    engine, quote = desk.engine, desk.engine.plan.quote
    holding, bid = engine.state.holdings[symbol], engine.quotes[symbol].bid
    held = holding.position.quantity
    worth = money(EXACT.multiply(held, bid), quote)
    yield f"{symbol}: {plain(held)} is stuck ({holding.stuck}), worth {worth} at {plain(bid)}"
    yield f"Prices of {when(desk.priced)} on the simulated exchange."
    if way.top_up is None:
        yield f"It can be sold as it is, and gets about {money(way.gets, quote)}."
    else:
        yield (
            f"The cheapest way out: buy {plain(way.top_up.quantity)} at {plain(way.price)} or less for"
            f" {money_up(way.top_up.debit, quote)}, then sell all {plain(way.sells)} for about"
            f" {money(way.gets, quote)}."
        )
    yield f"That costs {money_up(way.cost, quote)} in fees, spread and slippage."


def _numbers(symbol: str, way: WayOut) -> dict[str, Any]:
    top_up = way.top_up
    return {
        "symbol": symbol,
        "top_up": top_up.quantity if top_up else Decimal(0),
        "top_up_debit": top_up.debit if top_up else Decimal(0),
        "sells": way.sells,
        "gets": way.gets,
        "cost": way.cost,
        "done": False,
    }


async def _carry_out(desk: Desk, symbol: str, journal: Journal) -> list[Record]:
    moment = Moment(journal)
    await answer(desk.engine, desk.venue, moment, Rescue(symbol, desk.engine.state.time))
    moment.durable()
    return moment.records


def _outcome(desk: Desk, symbol: str, way: WayOut, records: list[Record]) -> dict[str, Any]:
    """What the fills made of it; Problem when the holding is still there."""
    held = desk.engine.state.holdings.get(symbol)
    if held is not None and not any(isinstance(r, Fill) and r.side is Side.SELL for r in records):
        raise Problem(f"{symbol} is still held: {held.stuck or 'its sale is under way'}", UNSAFE)
    change = Decimal(0)
    for fill in (record for record in records if isinstance(record, Fill)):
        moved = EXACT.minus(fill.cost.number) if fill.side is Side.BUY else fill.cost.number
        change = EXACT.add(change, moved)
        if fill.fee.asset == fill.cost.asset:
            change = EXACT.subtract(change, fill.fee.number)
    expected = EXACT.subtract(way.gets, way.top_up.debit if way.top_up else Decimal(0))
    return {"done": True, "cost": EXACT.add(way.cost, EXACT.subtract(expected, change))}


def _done(desk: Desk, result: dict[str, Any]) -> str:
    return f"Done: {result['symbol']} is sold. It cost {money_up(result['cost'], desk.engine.plan.quote)}."
