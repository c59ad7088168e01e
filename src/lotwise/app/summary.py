"""What a run came to, as the numbers of `lotwise run --json` and as a few lines for people."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from lotwise.domain.market import Market
from lotwise.domain.orders import Opportunity
from lotwise.domain.sizing import Sized, size_order
from lotwise.domain.values import EXACT, Time, plain, ratio_up, round_down, round_up
from lotwise.engine.engine import Engine, entry_price
from lotwise.strategies.candles import utc_text


def summary(engine: Engine, journal: Path, finished: bool) -> dict[str, Any]:
    """The stable fields of a run's JSON. Money in the run's quote asset; equity at the last prices."""
    state, totals = engine.state, engine.state.totals
    return {
        "trades": totals.trades,
        "orders": totals.orders,
        "size_rejections": totals.size_rejections,
        "skips": dict(sorted(totals.skips.items())),
        "equity_start": totals.deposits,
        "equity_end": engine.equity(),
        "fees_paid": totals.fees_paid,
        "max_drawdown_fraction": max(totals.max_drawdown_fraction, fall_now(engine)),
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
        "locked_out_below": lock_out(engine),
        "finished": finished,
    }


def fall_now(engine: Engine) -> Decimal:
    """The fall from the highest marked equity to what all is worth now, as a fraction."""
    peak, equity = engine.state.totals.peak_equity, engine.equity()
    return ratio_up(EXACT.subtract(peak, equity), peak) if peak > equity else Decimal(0)


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
