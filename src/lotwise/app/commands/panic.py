"""`lotwise panic`: stop entries, cancel our orders, or sell all that we hold: told first, then done."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from lotwise.app.accounts import own_nonces
from lotwise.app.books import asked_after, folded, going_on, live_journal
from lotwise.app.journals import journal_option, problem, unfoldable
from lotwise.app.kraken import Place, clock, open_rest, place_options, trouble
from lotwise.app.operator import LIFT, WORDS, NoReceipt, Receipt, Unheard, ask, listener
from lotwise.app.secrets import load_credentials
from lotwise.app.summary import money, money_up, restricted_to
from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem, confirmed, json_option, to_json
from lotwise.app.wire import LIVE, PAPER
from lotwise.domain.market import FeeAsset, Market, market_of
from lotwise.domain.orders import Order
from lotwise.domain.values import EXACT, Side, plain, round_up
from lotwise.engine.codec import Unfoldable
from lotwise.engine.exits import salable
from lotwise.engine.records import Extent, Trading
from lotwise.engine.rescue import sells
from lotwise.engine.state import State
from lotwise.kraken.fees import SINCE_JULY_2026
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import ticker_of
from lotwise.kraken.rest_account import OPEN, OrderFate
from lotwise.markets import raised
from lotwise.store.journal import JournalError
from lotwise.venues.kraken.account import Account
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest

MEANING = {
    Extent.ENTRIES: "No more entries; stops, targets and sales go on.",
    Extent.ORDERS: "Nothing more is ordered, sales neither: what is held stays, its stops unwatched.",
    Extent.FLATTEN: "No more entries, and all that is held is sold at the market.",
    LIFT: "Entries are allowed again, and so are sales.",
}

KINDS = {LIVE: "real orders", PAPER: "paper: Kraken's prices, simulated orders"}

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
    """What a word would do, and to which run. unasked: why Kraken was not asked what became of its orders
    since it was on; None: it was, or the run is on and knows."""

    asked: str
    journal: str
    mode: str
    trading: str
    cancels: list[dict[str, Any]]
    sales: list[Sale]
    unasked: str | None


@click.command(name="panic")
@click.argument("word", metavar="entries|orders|flatten|lift", type=click.Choice(WORDS))
@click.option("--yes", is_flag=True, help="Do it without asking.")
@journal_option
@place_options
@json_option
def command(
    word: str, yes: bool, journal: Path | None, base_url: str | None, ws_url: str | None, as_json: bool
) -> None:
    """Stop a run on Kraken, as far as you say.

    entries: nothing is bought any more, sales go on. orders: also cancel every order of ours that waits.
    flatten: sell all that we hold, at the market. lift: go on as before. What will be done is shown first,
    and then what was done. The running process is asked; when it does not answer in 2 seconds it is ended,
    and this command acts in its place (a run on paper is only asked: nothing of it is real). Orders and coins
    that are not the bot's are left alone. Before a run is ended all that this command needs of Kraken, the
    key and the journal is tried; where that fails the run is left as it is. Ends with 0 when it is done, 3
    when it is not, or not all of it.
    """
    path, place = journal or live_journal(), Place(base_url, ws_url)
    try:
        preview = asyncio.run(_preview(word, path, place))
        if not as_json:
            click.echo("\n".join(_told(preview)))
        result: dict[str, Any] = {"preview": preview, "receipt": None}
        if yes or (not as_json and confirmed("Do it?")):
            result["receipt"] = _carried_out(word, path, place, preview.mode)
    except Unfoldable as bad:
        raise unfoldable(path, bad) from None
    except JournalError as no:
        raise problem(no) from None
    receipt = result["receipt"]
    if as_json:
        click.echo(to_json(result))
    elif receipt is not None:
        click.echo("\n".join(_done(receipt, going_on(path, place))))
    if receipt is None:
        click.echo("Nothing was done. Add --yes to do it.", err=True)
    if receipt is None or not receipt["done"]:
        raise SystemExit(UNSAFE)


async def _preview(word: str, path: Path, place: Place) -> Preview:
    """What would be done, from the journal and the prices of this moment."""
    opened, state = folded(path)
    if opened.mode not in (LIVE, PAPER):
        raise Problem(f"{path} is of a run on candles ({opened.mode}): there is nothing to stop")
    if opened.mode == PAPER and listener(path) is None:
        raise Problem(f"{path} is of a run on paper, and no run answers: nothing to stop", UNAVAILABLE)
    orders: list[Order] = []
    sales: list[Sale] = []
    infos: dict[str, OrderFate] = {}
    unasked = None
    if word in (Extent.ORDERS, Extent.FLATTEN):
        if listener(path) is None:
            infos, unasked = await _meanwhile(state, place)
        ended = {name for name, info in infos.items() if info.status != OPEN}
        orders = [known.order for name, known in state.orders.items() if name not in ended]
    if word == Extent.FLATTEN:
        held = _held(state, infos)
        async with open_rest(place) as rest:
            sales = [await _sale(symbol, held[symbol], state, rest) for symbol in sorted(held)]
    kept = {sale.symbol for sale in sales if sale.stuck}
    cancels = [
        {
            name: getattr(order, name)
            for name in ("client_id", "symbol", "side", "quantity", "price", "trigger")
        }
        for order in orders
        if order.side is Side.BUY or order.symbol not in kept
    ]
    return Preview(word, str(path), opened.mode, state.trading.value, cancels, sales, unasked)


async def _meanwhile(state: State, place: Place) -> tuple[dict[str, OrderFate], str | None]:
    """What became of the open orders of a run that is not on, as Kraken says now; or why it was not asked."""
    try:
        key = load_credentials()
        with own_nonces(key) as nonces:
            async with open_rest(place, key, nonces) as rest:
                return await asked_after(state, Account(rest)), None
    except Problem as no:
        return {}, no.message
    except (Refused, NoAnswer) as no:
        return {}, trouble(no, place).seen


def _held(state: State, infos: Mapping[str, OrderFate]) -> dict[str, Decimal]:
    """What is held of each pair, with what Kraken's orders bought and sold beyond our books."""
    held = {symbol: holding.position.quantity for symbol, holding in state.holdings.items()}
    for name, info in infos.items():
        known = state.orders[name]
        more = EXACT.subtract(info.executed, known.filled)
        change = more if known.order.side is Side.BUY else -more
        held[info.symbol] = EXACT.add(held.get(info.symbol, Decimal(0)), change)
    return {symbol: quantity for symbol, quantity in held.items() if quantity > 0}


async def _sale(symbol: str, quantity: Decimal, state: State, rest: Rest) -> Sale:
    holding, told = state.holdings.get(symbol), state.listed.get(symbol)
    stuck, market = None if holding is None else holding.stuck, _market(symbol, state)
    rate = SINCE_JULY_2026.tiers[0].taker_fee if told is None else told.taker_fee
    try:
        (payload,) = (await rest.public("Ticker", {"pair": pair_names(symbol).altname})).values()
        bid = ticker_of(payload).quote(symbol, clock()).bid
    except (Refused, NoAnswer, LookupError, ValueError, TypeError, AttributeError):
        return Sale(symbol, quantity, None, None, None, stuck)
    if market is not None and stuck is None and not sells(salable(quantity, market), market, bid):
        least = f"{plain(market.min_quantity)} {market.base}, {plain(market.min_notional)} {market.quote}"
        stuck = f"it is below the minimum of {least}"
    notional = EXACT.multiply(quantity, bid)
    fee = round_up(EXACT.multiply(notional, rate), Decimal("0.00000001"))
    return Sale(symbol, quantity, bid, EXACT.subtract(notional, fee), fee, stuck)


def _market(symbol: str, state: State) -> Market | None:
    """A pair's rules as the run last heard or learned them."""
    told = state.listed.get(symbol)
    if told is None:
        return None
    market = market_of(told.listing, told.maker_fee, told.taker_fee, FeeAsset.QUOTE)
    return raised(market, state.evidence.get(symbol), clock())


def _told(preview: Preview) -> Iterator[str]:
    yield f"{preview.journal}: {KINDS[preview.mode]}."
    yield MEANING[preview.asked]
    if preview.unasked is not None:
        yield f"As the journal knows it, which may be behind what Kraken has ({preview.unasked})."
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
        yield "No order of ours is open and nothing is held."


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
    from lotwise.app.takeover import Deed, act_instead

    return {**act_instead(Deed(word, path, place, load_credentials())), "by": "this command"}


def _done(receipt: Receipt, again: str) -> Iterator[str]:
    if receipt.get("ended"):
        yield f"The run did not answer and was ended (process {receipt['ended']})."
    words = restricted_to(Trading(receipt["trading"]), receipt["asked"] == Extent.FLATTEN)
    yield f"{words}. It stays so until `lotwise panic lift`." if words else "It may buy and sell."
    for order in receipt["orders"]:
        what = f"{order['side']} {_number(order['quantity'])} {order['symbol']}"
        yield f"Order {order['client_id']}: {what}: {order['status']}, {_number(order['filled'])} filled"
    for fill in receipt["sold"]:
        what = f"{_number(fill['quantity'])} of {fill['symbol']} at {_number(fill['price'])}"
        yield f"Sold {what}: {_number(fill['got'])}, fee {fill['fee']} (trade {fill['trade_id']})"
    for held in receipt["holdings"]:
        why = f": {held['stuck']}; see `lotwise rescue`" if held["stuck"] else ""
        yield f"Still held: {_number(held['quantity'])} of {held['symbol']}{why}"
    owned = [f"{_number(has['total'])} {asset}" for asset, has in receipt.get("balances", {}).items()]
    yield f"The bot's balance: {', '.join(owned) or 'nothing'}."
    yield _end(receipt)
    if receipt["by"] != "the run":
        again = f"{again}, with the options that it was begun with"
        yield f"No run is on now, and stops are watched only by one: {again}"


def _end(receipt: Receipt) -> str:
    if receipt["done"]:
        return "Done."
    if receipt["asked"] == Extent.FLATTEN and all(held["stuck"] for held in receipt["holdings"]):
        return "NOT all of it: what is still held cannot be sold now."
    return "NOT all of it is done yet: ask again, or see `lotwise reconcile`."


def _number(told: Decimal | str) -> str:
    """A number of a receipt: over the socket it comes as text."""
    return told if isinstance(told, str) else plain(told)
