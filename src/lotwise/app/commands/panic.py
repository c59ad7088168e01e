"""`lotwise panic`: stop entries, cancel our orders, or sell all that we hold: told first, then done."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lotwise.app.books import folded, live_journal
from lotwise.app.journals import journal_option, problem, unfoldable
from lotwise.app.kraken import Place, clock, open_rest, place_options
from lotwise.app.live import LIVE, PAPER
from lotwise.app.operator import LIFT, WORDS, NoReceipt, Receipt, Unheard, ask, listener
from lotwise.app.secrets import load_credentials
from lotwise.app.summary import money, money_up
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem, json_option, to_json
from lotwise.domain.values import EXACT, plain, round_up
from lotwise.engine.codec import Unfoldable
from lotwise.engine.records import Extent
from lotwise.engine.state import State
from lotwise.kraken.fees import SINCE_JULY_2026
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import ticker_of
from lotwise.store.journal import JournalError
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest

MEANING = {
    Extent.ENTRIES: "No more entries; stops, targets and sales go on.",
    Extent.ORDERS: "Nothing more is ordered, sales neither: what is held stays, its stops unwatched.",
    Extent.FLATTEN: "No more entries, and all that is held is sold at the market.",
    LIFT: "Entries are allowed again, and so are sales.",
}

KINDS = {LIVE: "real orders on Kraken", PAPER: "paper: Kraken's prices, simulated orders"}

STATED = (("trigger", "stop at"), ("price", "at"))
"""How the prices of an order are told."""


@dataclass(frozen=True, slots=True)
class Sale:
    """What a sale at the market would bring: about so much after the fee. None: no price is known now."""

    symbol: str
    quantity: Decimal
    bid: Decimal | None
    gets: Decimal | None
    fee: Decimal | None
    stuck: str | None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a word would do, and to which run."""

    asked: str
    journal: str
    mode: str
    trading: str
    cancels: list[dict[str, Any]]
    sales: list[Sale]


@click.command(name="panic")
@click.argument("word", metavar="entries|orders|flatten|lift", type=click.Choice(WORDS))
@click.option("--yes", is_flag=True, help="Do it without asking.")
@journal_option
@place_options
@json_option
def command(
    word: str, yes: bool, journal: Path | None, base_url: str, ws_url: str | None, as_json: bool
) -> None:
    """Stop a run on Kraken, as far as you say.

    entries: nothing is bought any more, sales go on. orders: also cancel every order of ours that waits.
    flatten: sell all that we hold, at the market. lift: go on as before. What will be done is shown first,
    and then what was done. The running process is asked; when it does not answer in 2 seconds it is ended,
    and this command acts in its place (a run on paper is only asked: nothing of it is real). Orders and coins
    that are not the bot's are left alone. Ends with 0 when it is done, 3 when something is left.
    """
    path, place = journal or live_journal(), Place(base_url, ws_url)
    try:
        preview = asyncio.run(_preview(word, path, place))
        if not as_json:
            click.echo("\n".join(_told(preview)))
        result: dict[str, Any] = {"preview": preview, "receipt": None}
        if not yes and (as_json or not click.confirm("Do it?")):
            click.echo("Nothing was done. Add --yes to do it.", err=True)
        else:
            result["receipt"] = _carried_out(word, path, place, preview.mode)
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as trouble:
        raise problem(trouble) from None
    receipt = result["receipt"]
    if as_json:
        click.echo(to_json(result))
    elif receipt is not None:
        click.echo("\n".join(_done(receipt, path)))
    if receipt is not None and not receipt["done"]:
        raise SystemExit(UNSAFE)


async def _preview(word: str, path: Path, place: Place) -> Preview:
    """What would be done, from the journal and the prices of this moment."""
    opened, state = folded(path)
    if opened.mode not in (LIVE, PAPER):
        raise Problem(f"{path} is of a run on candles ({opened.mode}): there is nothing to stop")
    if opened.mode == PAPER and listener(path) is None:
        raise Problem(f"{path} is of a run on paper, and no run answers: nothing to stop", UNAVAILABLE)
    cancels, sales = [], []
    if word in (Extent.ORDERS, Extent.FLATTEN):
        orders = [known.order for known in state.orders.values()]
        names = ("client_id", "symbol", "side", "quantity", "price", "trigger")
        cancels = [{name: getattr(order, name) for name in names} for order in orders]
    if word == Extent.FLATTEN:
        async with open_rest(place) as rest:
            sales = [await _sale(symbol, state, rest) for symbol in sorted(state.holdings)]
    return Preview(word, str(path), opened.mode, state.trading.value, cancels, sales)


async def _sale(symbol: str, state: State, rest: Rest) -> Sale:
    holding, told = state.holdings[symbol], state.listed.get(symbol)
    quantity = holding.position.quantity
    rate = SINCE_JULY_2026.tiers[0].taker_fee if told is None else told.taker_fee
    try:
        (payload,) = (await rest.public("Ticker", {"pair": pair_names(symbol).altname})).values()
        bid = ticker_of(payload).quote(symbol, clock()).bid
    except (Refused, NoAnswer, LookupError, ValueError, TypeError, AttributeError):
        return Sale(symbol, quantity, None, None, None, holding.stuck)
    notional = EXACT.multiply(quantity, bid)
    fee = round_up(EXACT.multiply(notional, rate), Decimal("0.00000001"))
    return Sale(symbol, quantity, bid, EXACT.subtract(notional, fee), fee, holding.stuck)


def _told(preview: Preview) -> Iterator[str]:
    yield f"{preview.journal}: {KINDS[preview.mode]}."
    yield MEANING[preview.asked]
    for order in preview.cancels:
        stated = [f"{word} {plain(order[name])}" for name, word in STATED if order[name] is not None]
        where = " ".join(stated) or "at the market"
        what = f"{order['side']} {plain(order['quantity'])} {order['symbol']} {where}"
        yield f"Cancel {order['client_id']}: {what}"
    for sale in preview.sales:
        quote, held = sale.symbol.partition("/")[2], f"{plain(sale.quantity)} {sale.symbol.partition('/')[0]}"
        if sale.stuck:
            yield f"Keep {held}: it cannot be sold now ({sale.stuck}); see `lotwise rescue`"
        elif sale.bid is None or sale.gets is None or sale.fee is None:
            yield f"Sell {held} at the market; the price cannot be asked now"
        else:
            gets = f"for about {money(sale.gets, quote)} after a fee of {money_up(sale.fee, quote)}"
            yield f"Sell {held} at the market, now {plain(sale.bid)}, {gets}"
    if preview.asked in (Extent.ORDERS, Extent.FLATTEN) and not (preview.cancels or preview.sales):
        yield "No order of ours is open and nothing is held, as far as the journal knows."


def _carried_out(word: str, path: Path, place: Place, mode: str) -> Receipt:
    """Have it done: by the run, or in its place."""
    try:
        return {**ask(path, word), "by": "the run"}
    except NoReceipt:
        text = "the run has heard it, but did not say in time what became of it; see `lotwise reconcile`"
        raise Problem(text, UNSAFE) from None
    except Unheard:
        pass
    if mode != LIVE:
        text = f"the run (process {listener(path)}) does not answer; nothing of it is real: end it by hand"
        raise Problem(text, UNAVAILABLE)
    from lotwise.app.takeover import act_instead

    return {**act_instead(path, word, place, load_credentials()), "by": "this command"}


def _done(receipt: Receipt, path: Path) -> Iterator[str]:
    if receipt.get("ended"):
        yield f"The run did not answer and was ended (process {receipt['ended']})."
    yield f"Trading is now: {receipt['trading']}."
    for order in receipt["orders"]:
        what = f"{order['side']} {_number(order['quantity'])} {order['symbol']}"
        yield f"Order {order['client_id']}: {what}: {order['status']}, {_number(order['filled'])} filled"
    for fill in receipt["sold"]:
        what = f"{_number(fill['quantity'])} of {fill['symbol']} at {_number(fill['price'])}"
        yield f"Sold {what}: {_number(fill['got'])}, fee {fill['fee']} (trade {fill['trade_id']})"
    for held in receipt["holdings"]:
        why = f": {held['stuck']}; see `lotwise rescue`" if held["stuck"] else ""
        yield f"Still held: {_number(held['quantity'])} of {held['symbol']}{why}"
    yield "Done." if receipt["done"] else "NOT all of it is done yet: ask again, or see `lotwise reconcile`."
    if receipt["by"] != "the run":
        yield f"No run is on now, and stops are watched only by one: lotwise run --live --journal {path}"


def _number(told: Decimal | str) -> str:
    """A number of a receipt: over the socket it comes as text."""
    return told if isinstance(told, str) else plain(told)
