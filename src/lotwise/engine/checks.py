"""The ladder that a wish climbs before it is sized. A rung is a small pure function; the first no
ends the climb, and a check that breaks is a no with its text (fail closed)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.allocation import Crowded
from lotwise.domain.market import Candle, Liquidity, Market, Quote, break_even_move
from lotwise.domain.orders import Opportunity, Purpose
from lotwise.domain.sizing import Reason, Refused, Sized
from lotwise.domain.values import EXACT, Amount, plain, ratio_up
from lotwise.engine.plan import Plan
from lotwise.engine.records import Rung, Skip
from lotwise.engine.state import State
from lotwise.markets import UnknownMarket


@dataclass(frozen=True, slots=True)
class Wish:
    """An opportunity and all that is known at its moment."""

    opportunity: Opportunity
    candle: Candle
    rules: Market | UnknownMarket
    quote: Quote | None
    state: State
    plan: Plan
    equity: Decimal


def fresh_data(wish: Wish) -> Rung:
    """The bar of this pair closed at this very moment."""
    age = wish.opportunity.time - (wish.candle.date + wish.plan.bar)
    return Rung(
        "data fresh",
        age == 0,
        f"a bar that closed {age // 1000} s ago",
        "a bar that closes now",
        "wait for data",
    )


def rules_known(wish: Wish) -> Rung:
    """The exchange's rules for this pair are known for this time."""
    if isinstance(wish.rules, UnknownMarket):
        return Rung("rules known", False, wish.rules.reason, "a dated observation", wish.rules.remedy)
    return Rung("rules known", True, f"minimum {plain(wish.rules.min_quantity)} {wish.rules.base}", "known")


def pair_free(wish: Wish) -> Rung:
    """No position and no order on this pair yet."""
    symbol = wish.opportunity.symbol
    if symbol in wish.state.holdings:
        return Rung("pair free", False, "a position", "no position", "wait until it is closed")
    if wish.state.orders_on(symbol):
        return Rung(
            "pair free", False, "an open order", "no open order", "wait until it is filled or expires"
        )
    return Rung("pair free", True, "nothing open", "nothing open")


def open_trades(wish: Wish) -> Rung:
    """Fewer trades are open (or waiting to open) than the plan allows."""
    most, count = wish.plan.max_open_trades, len(busy_pairs(wish.state))
    return Rung(
        "open trades",
        count < most,
        str(count),
        f"fewer than {most}",
        "wait for an exit, or raise max_open_trades",
    )


def busy_pairs(state: State) -> set[str]:
    """The pairs on which a trade is open or waits to open; what cannot be sold takes no slot."""
    waiting = {s.order.symbol for s in state.orders.values() if s.order.purpose is Purpose.ENTRY}
    return waiting | {symbol for symbol, holding in state.holdings.items() if not holding.stuck}


def cooled_down(wish: Wish) -> Rung:
    """The last loss on this pair lies far enough back."""
    wait, losses = wish.plan.limits.cooldown, wish.state.losses.get(wish.opportunity.symbol, ())
    since = wish.opportunity.time - losses[-1] if losses else None
    passed = not wait or since is None or since >= wait
    have = "no loss yet" if since is None else f"a loss {hours(since)} ago"
    return Rung(
        "cooled down", passed, have, f"{hours(wait)} after a loss", "wait, or lower limits.cooldown_bars"
    )


def stoploss_guard(wish: Wish) -> Rung:
    """This pair has not lost too often lately."""
    limits, now = wish.plan.limits, wish.opportunity.time
    recent = [t for t in wish.state.losses.get(wish.opportunity.symbol, ()) if now - t < limits.guard_window]
    most = limits.guard_losses
    return Rung(
        "losses of the pair",
        not most or len(recent) < most,
        f"{len(recent)} in {hours(limits.guard_window)}",
        f"fewer than {most}" if most else "no limit",
        "wait until the oldest is further back, or raise limits.guard_losses",
    )


def daily_loss(wish: Wish) -> Rung:
    """Today's loss is within what the plan allows for a day."""
    return _fall("loss of the day", wish.state.day_equity, wish.equity, wish.plan.limits.daily_loss)


def drawdown(wish: Wish) -> Rung:
    """The fall from the highest equity is within what the plan allows."""
    return _fall("drawdown", wish.state.totals.peak_equity, wish.equity, wish.plan.limits.drawdown)


def _fall(name: str, before: Decimal | None, now: Decimal, most: Decimal | None) -> Rung:
    fall = ratio_up(EXACT.subtract(before, now), before) if before else Decimal(0)
    need = "no limit" if most is None else f"below {plain(most)}"
    remedy = "exits only until it recovers, or a higher limit"
    return Rung(name, most is None or fall < most, plain(fall), need, remedy)


def narrow_spread(wish: Wish) -> Rung:
    """The ask is not too far above the bid."""
    most, quote = wish.plan.limits.spread, wish.quote
    if quote is None:
        return Rung("spread", False, "no quote", "bid and ask", "wait for prices")
    spread = ratio_up(EXACT.subtract(quote.ask, quote.bid), quote.bid)
    need = "no limit" if most is None else f"at most {plain(most)}"
    return Rung("spread", most is None or spread <= most, plain(spread), need, "wait for a closer market")


def hours(time: int) -> str:
    """Milliseconds as hours for people."""
    return f"{time / 3_600_000:g} h"


def costs(wish: Wish) -> Decimal:
    """The rise that pays both fees and the assumed spread; a target is a resting sale: maker."""
    market = wish.rules
    assert isinstance(market, Market), f"{wish.opportunity.symbol} has no rules"
    move = break_even_move(market.fee_rate(wish.plan.entry), market.fee_rate(Liquidity.MAKER))
    return EXACT.add(move, wish.plan.spread)


def edge(wish: Wish) -> Decimal:
    """What is left of the target after these costs, as a fraction of the notional."""
    return EXACT.subtract(wish.plan.target, costs(wish))


def edge_above_fees(wish: Wish) -> Rung:
    """What is left of the target after both fees and the spread is at least the plan's edge."""
    plan, left, cost = wish.plan, edge(wish), costs(wish)
    return Rung(
        "edge above fees",
        left >= plan.min_edge,
        f"{plain(left)} of a target of {plain(plan.target)} (break-even {plain(cost)})",
        f"at least {plain(plan.min_edge)}",
        f"a target of at least {plain(EXACT.add(cost, plan.min_edge))}, or lower fees",
    )


Check = Callable[[Wish], Rung]
LADDER: Mapping[Skip, Check] = {
    Skip.STALE_DATA: fresh_data,
    Skip.RULES_UNKNOWN: rules_known,
    Skip.PAIR_BUSY: pair_free,
    Skip.MAX_OPEN_TRADES: open_trades,
    Skip.COOLDOWN: cooled_down,
    Skip.STOPLOSS_GUARD: stoploss_guard,
    Skip.DAILY_LOSS: daily_loss,
    Skip.DRAWDOWN: drawdown,
    Skip.SPREAD: narrow_spread,
    Skip.EDGE_BELOW_FEES: edge_above_fees,
}


def climb(wish: Wish, ladder: Mapping[Skip, Check] = LADDER) -> tuple[tuple[Rung, ...], Skip | None]:
    """The rungs up to and with the first no, and its reason; None when all said yes."""
    rungs: list[Rung] = []
    for reason, check in ladder.items():
        try:
            rung = check(wish)
        except Exception as trouble:  # noqa: BLE001  a check that breaks must refuse, whatever broke
            name = getattr(check, "__name__", reason.lower())
            rungs.append(
                Rung(name, False, f"{type(trouble).__name__}: {trouble}", "an answer", "report this")
            )
            return tuple(rungs), Skip.CHECK_FAILED
        rungs.append(rung)
        if not rung.passed:
            return tuple(rungs), reason
    return tuple(rungs), None


OTHER_REMEDIES: Mapping[Reason, str] = {
    Reason.NO_FREE_BALANCE: "a balance, and a higher cap on orders",
    Reason.ABOVE_MAX_QUANTITY: "none on this pair: its largest order is below its smallest",
    Reason.CAP_BELOW_MINIMUM: "a higher cap on orders",
    Reason.RISK_BELOW_MINIMUM: "a higher risk target",
    Reason.UNSELLABLE_AT_STOP: "a stop closer to the entry",
}
"""What helps where no balance would."""


def share_rung(answer: Sized | Refused | Crowded, free: Amount) -> Rung:
    """The last rung: what the wish got of the balance, or what it would take, and the cure."""
    asset = free.asset
    have = f"{plain(free.number)} {asset} free"
    if isinstance(answer, Sized):
        got = f"{plain(answer.quantity)} for {plain(answer.debit)} {asset}"
        return Rung("size", True, got, f"bound by {answer.bound}")
    more = "" if answer.short is None else f"{plain(answer.short)} {asset} more"
    least = "" if answer.needed is None else f"{plain(answer.needed)} {asset} free"
    if isinstance(answer, Crowded):
        beside = f"beside {', '.join(answer.by)}"
        if answer.needed is None or answer.short is None:
            return Rung("share", False, "no slot", f"a slot {beside}", "a higher max_open_trades")
        left = plain(EXACT.subtract(answer.needed, answer.short))
        return Rung("share", False, f"{left} {asset} left", f"{least} {beside}", more)
    need = f"{least} ({answer.reason})" if least else str(answer.reason)
    return Rung("size", False, have, need, more or OTHER_REMEDIES[answer.reason])
