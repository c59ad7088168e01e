"""The ladder that a wish climbs before it is sized. A rung is a small pure function; the first no
ends the climb, and a check that breaks is a no with its text (fail closed)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from lotwise.domain.allocation import Crowded
from lotwise.domain.market import Candle, Liquidity, Market, MarketStatus, Quote, break_even_move
from lotwise.domain.orders import Opportunity, Purpose
from lotwise.domain.sizing import Reason, Refused, Sized
from lotwise.domain.values import EXACT, Amount, Side, plain, ratio_up, round_up
from lotwise.engine.plan import Plan, exit_role
from lotwise.engine.records import Rung, Skip, Trading
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
    status: MarketStatus = MarketStatus.ONLINE
    swing: float = 0.0
    """How much the pair moves in a typical day, as a fraction; 0: not known."""
    compared: bool = True
    """Whether our books were compared with the exchange's since the program began."""


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


def may_trade(wish: Wish) -> Rung:
    """The run may enter: nobody has restricted it."""
    trading = wish.state.trading
    return Rung(
        "run unrestricted", trading is Trading.ACTIVE, trading, Trading.ACTIVE, "`lotwise panic lift`"
    )


def pair_online(wish: Wish) -> Rung:
    """The exchange takes such an order on this pair now."""
    maker = wish.opportunity.liquidity is Liquidity.MAKER
    passed = wish.status.takes(Side.BUY, limit=True, post_only=maker)
    return Rung("pair online", passed, wish.status, "open to entries", "wait until the exchange opens it")


def reconciled(wish: Wish) -> Rung:
    """The exchange has what our books say."""
    missing, need = wish.state.unexplained, "the exchange has what our books say"
    if missing is None and not wish.compared:
        return Rung("books agree", False, "not compared since the start", need, "wait until they are")
    return Rung("books agree", missing is None, missing or "yes", need, "explain it")


def pair_free(wish: Wish) -> Rung:
    """No position and no order on this pair yet; what is stuck there waits for just such an entry."""
    symbol = wish.opportunity.symbol
    holding = wish.state.holdings.get(symbol)
    if holding is not None and not holding.stuck:
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


def tradable(wish: Wish) -> Decimal:
    """What one order may be of what its bar traded, in quote."""
    traded = EXACT.multiply(wish.candle.volume, wish.candle.close)
    return EXACT.multiply(traded, wish.plan.limits.volume or Decimal(0))


def enough_volume(wish: Wish) -> Rung:
    """The bar traded so much that the smallest order is only a small part of it."""
    market, share = wish.rules, wish.plan.limits.volume
    assert isinstance(market, Market), f"{wish.opportunity.symbol} has no rules"
    floor = wish.plan.policies[wish.opportunity.symbol].floor
    least = max(floor, market.min_notional, EXACT.multiply(market.min_quantity, wish.opportunity.price))
    if share is None:
        return Rung("volume", True, "any", "no limit")
    most = tradable(wish)
    return Rung(
        "volume",
        most >= least,
        f"{plain(share)} of the bar is {plain(most)} {market.quote}",
        f"the smallest order, {plain(round_up(least, market.quote_unit))}",
        "wait for a busier bar, or raise limits.volume",
    )


def hours(time: int) -> str:
    """Milliseconds as hours for people."""
    return f"{time / 3_600_000:g} h"


def costs(wish: Wish) -> Decimal:
    """The rise that pays both fees and the assumed spread."""
    market = wish.rules
    assert isinstance(market, Market), f"{wish.opportunity.symbol} has no rules"
    buy, sell = market.fee_rate(wish.opportunity.liquidity), market.fee_rate(exit_role(wish.plan.stop_rests))
    move = break_even_move(buy, sell)
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
STANDING: Mapping[Skip, Check] = {
    Skip.RULES_UNKNOWN: rules_known,
    Skip.RESTRICTED: may_trade,
    Skip.PAIR_OFFLINE: pair_online,
    Skip.UNRECONCILED: reconciled,
    Skip.PAIR_BUSY: pair_free,
    Skip.MAX_OPEN_TRADES: open_trades,
    Skip.COOLDOWN: cooled_down,
    Skip.STOPLOSS_GUARD: stoploss_guard,
    Skip.EDGE_BELOW_FEES: edge_above_fees,
}
"""What no price changes: such a no stands until the state, the rules or the time of a limit does."""

LADDER: Mapping[Skip, Check] = {
    Skip.STALE_DATA: fresh_data,
    **STANDING,
    Skip.DAILY_LOSS: daily_loss,
    Skip.DRAWDOWN: drawdown,
    Skip.SPREAD: narrow_spread,
    Skip.VOLUME: enough_volume,
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
    Reason.RISK_BELOW_MINIMUM: "a higher target of risk, or a busier market where volume is the limit",
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
