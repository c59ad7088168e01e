"""What a run came to, as the numbers of `lotwise run --json` and as a few lines for people; and what it
leaves behind at the exchange."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from lotwise.domain.market import Market, Quote
from lotwise.domain.orders import Opportunity, OrderState, Status
from lotwise.domain.sizing import Sized, size_order
from lotwise.domain.values import EXACT, Time, plain, ratio_up, round_down, round_up
from lotwise.engine.engine import Engine, entry_price
from lotwise.engine.records import Trading
from lotwise.engine.sight import AT_THE_EXCHANGE
from lotwise.engine.state import State
from lotwise.strategies.candles import utc_text


def summary(engine: Engine, journal: Path, finished: bool) -> dict[str, Any]:
    """The stable fields of a run's JSON. Money in the run's quote asset; equity at the last prices."""
    state, totals, equity = engine.state, engine.state.totals, engine.equity()
    fall = fall_to(equity, totals.peak_equity)
    return {
        "trades": totals.trades,
        "orders": totals.orders,
        "size_rejections": totals.size_rejections,
        "skips": dict(sorted(totals.skips.items())),
        "equity_start": totals.deposits,
        "equity_end": equity,
        "fees_paid": totals.fees_paid,
        "max_drawdown_fraction": max(totals.max_drawdown_fraction, fall),
        "journal": str(journal),
        "quote": engine.plan.quote,
        "wins": totals.wins,
        "fills": totals.fills,
        "positions": {
            symbol: {
                "quantity": holding.position.quantity,
                "cost": holding.position.cost,
                "stranded": holding.stuck,
            }
            for symbol, holding in sorted(state.holdings.items())
        },
        "orders_waiting": [
            {
                "symbol": known.order.symbol,
                "side": known.order.side.value,
                "quantity": known.rest,
                "price": known.order.price if known.order.trigger is None else known.order.trigger,
                "until": None if known.order.expires is None else utc_text(known.order.expires),
                "status": known.status.value,
            }
            for known in state.orders.values()
        ],
        "trading": state.trading.value,
        "unpriced": unpriced(engine),
        "locked_out_below": lock_out(engine),
        "finished": finished,
    }


def fall_to(equity: Decimal, peak: Decimal) -> Decimal:
    """The fall from the highest marked equity to what all is worth now, as a fraction."""
    return ratio_up(EXACT.subtract(peak, equity), peak) if peak > equity else Decimal(0)


def unpriced(engine: Engine, shown: Mapping[str, Quote] | None = None) -> dict[str, str]:
    """The pairs of which coins are held and no price was seen yet, and what they count as until then."""
    seen, prices = {**engine.quotes, **(shown or {})}, engine.prices(shown)
    marked = engine.state.marked
    before = "" if marked is None else f"its price of {when(marked.time)}"
    unseen = (symbol for symbol in sorted(engine.state.holdings) if symbol not in seen)
    return {symbol: before if symbol in prices else "its cost" for symbol in unseen}


def lock_out(engine: Engine) -> Decimal | None:
    """The least free balance that would trade some pair at the last prices, when flat and none fits."""
    state, plan = engine.state, engine.plan
    if state.holdings or state.orders:
        return None
    needs = []
    for symbol, quote in engine.quotes.items():
        market = engine.rules(symbol, quote.time)
        if isinstance(market, Market) and symbol in plan.policies:
            liquidity = plan.liquidity(0)
            wish = Opportunity(symbol, entry_price(plan, liquidity, market, quote), liquidity)
            size = size_order(wish, market, state.ledger.free(plan.quote), plan.policies[symbol])
            if isinstance(size, Sized):
                return None
            if size.needed is not None:
                needs.append(size.needed)
    return min(needs, default=None)


MONEY = Decimal("0.0001")
"""The unit of money that people are shown."""


def money(number: Decimal, asset: str = "") -> str:
    """Money for people, rounded down: nobody is shown more than there is."""
    return f"{round_down(number, MONEY):.4f} {asset}".strip()


def money_up(number: Decimal, asset: str = "") -> str:
    """Money that somebody must bring, rounded up: so much is enough."""
    return f"{round_up(number, MONEY):.4f} {asset}".strip()


def percent(fraction: Decimal) -> str:
    """A fraction as a percentage of two decimals, rounded down."""
    return f"{plain(EXACT.scaleb(round_down(fraction, MONEY), 2))} %"


def when(time: Time) -> str:
    """A time for people, in UTC."""
    return utc_text(time)[:16].replace("T", " ")


def clock_time(time: Time, now: Time) -> str:
    """A time in UTC, with its day when that is not today."""
    text = when(time)
    return text[-5:] if text[:10] == when(now)[:10] else text


def counted(number: int, noun: str) -> str:
    """So many of them."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def order_words(known: OrderState, state: State) -> str:
    """An order that has not ended: what is still to be done, at which price, until when, and whether it is
    in doubt."""
    order, done = known.order, f" ({plain(known.filled)} done)" if known.filled else ""
    base, _, quote = order.symbol.partition("/")
    price = f"at {plain(order.price)} {quote}" if order.price is not None else "at the market"
    if order.trigger is not None:
        price = f"once {plain(order.trigger)} {quote} is traded"
    until = "" if order.expires is None else f" until {clock_time(order.expires, state.time)} UTC"
    doubt = ""
    if known.status is Status.UNKNOWN:
        doubt = ": its fate is not known yet, it is looked up"
    elif order.client_id in state.cancels:
        doubt = ", being cancelled"
    elif known.status not in AT_THE_EXCHANGE:
        doubt = ", on its way"
    return f"{order.side} {plain(known.rest)} {base}{done} {price}{until}{doubt}"


RESTRICTIONS: Mapping[Trading, str] = {
    Trading.REDUCING: "MAY ONLY SELL: stops, targets and sales go on, nothing is bought",
    Trading.HALTED: "HALTED: nothing is bought or sold, and no stop is watched",
}
"""What a run that the owner restricted does."""


def restriction(state: State) -> str:
    """What the owner's word keeps the run from; empty when nothing."""
    return restricted_to(state.trading, state.flattening)


def restricted_to(trading: Trading, flattening: bool) -> str:
    """What a run may still do; empty when all."""
    if flattening and trading is not Trading.ACTIVE:
        return "SELLING ALL: everything is sold, nothing is bought"
    return RESTRICTIONS.get(trading, "")


def left_behind(engine: Engine, real: bool) -> list[str]:
    """What goes on, and what does not, while a run on live data is stopped."""
    state, there = (
        engine.state,
        "at the exchange" if real else "that are simulated, and stand still until then",
    )
    resting = [known for known in state.orders.values() if known.status in AT_THE_EXCHANGE]
    told = []
    if resting:
        told.append(f"{counted(len(resting), 'order')} left {there}:")
        told += [f"  {order_words(known, state)}" for known in resting]
    undecided = len(state.orders) - len(resting)
    if undecided:
        told.append(f"{counted(undecided, 'order')} of unknown fate: see `lotwise reconcile`")
    for symbol, holding in sorted(state.holdings.items()):
        stop = f"its stop at {plain(engine.stop(symbol, holding))}"
        if holding.stuck:
            continue  # told as stranded
        if real and engine.bracket(symbol, holding).stop is None:
            told.append(f"{symbol} held: {stop} rests {there}, and sells without the run")
        else:
            told.append(f"{symbol} held: {stop} IS NOT WATCHED until the run goes on")
    if restriction(state):
        told.append(f"{restriction(state)}; it stays so until `lotwise panic lift`")
    return told


def lines(result: dict[str, Any]) -> list[str]:
    """The end of a run in plain lines."""
    quote = result["quote"]
    gain = EXACT.subtract(result["equity_end"], result["equity_start"])
    skips = ", ".join(f"{reason} {count}" for reason, count in result["skips"].items()) or "none"
    needed = result["locked_out_below"]
    locked = (
        [f"Locked out: no pair fits any more; it would take {plain(needed)} {quote} free."] if needed else []
    )
    return [
        f"Equity {money(result['equity_start'], quote)} -> {money(result['equity_end'], quote)}"
        f" ({'+' if gain >= 0 else ''}{money(gain, quote)}), fees paid {money(result['fees_paid'], quote)},"
        f" largest fall {percent(result['max_drawdown_fraction'])}",
        *(
            f"No price of {symbol} is known: its coins count as {worth}"
            for symbol, worth in result["unpriced"].items()
        ),
        f"Orders {result['orders']}, refused for size {result['size_rejections']}; round trips"
        f" {result['trades']}, of which won {result['wins']}; open now {len(result['positions'])}",
        f"Skips: {skips}",
        *(
            f"Stranded: {plain(held['quantity'])} on {symbol}: {held['stranded']}"
            for symbol, held in result["positions"].items()
            if held["stranded"]
        ),
        *locked,
        f"Journal: {result['journal']}",
    ]
