"""What the engine sees: the state, the last prices, and what follows from both. Nothing changes here."""

from collections.abc import Mapping
from decimal import Decimal

from lotwise.domain.market import Market, MarketStatus, Quote, market_of
from lotwise.domain.orders import OrderState, Purpose, Status
from lotwise.domain.values import EXACT, Side, Time, plain, steps_down
from lotwise.engine.exits import salable
from lotwise.engine.plan import Plan
from lotwise.engine.records import Awaited, Bracket, Listed
from lotwise.engine.state import RESTING, Holding, State
from lotwise.markets import EVIDENCE_AGE, UnknownMarket, raised

AT_THE_EXCHANGE = (Status.OPEN, Status.PARTIALLY_FILLED)

EXIT_TRIES = 3
"""A sale that was refused so often is not tried again before a person looks."""


class Sight:
    """The plan, the state (the fold of the records), and what is shown of the market: the last prices,
    and the highest of each pair since its coins came."""

    def __init__(
        self, plan: Plan, state: State, quotes: Mapping[str, Quote], highs: Mapping[str, Decimal]
    ) -> None:
        self.plan = plan
        self.state = state
        self.quotes = quotes
        held = state.holdings
        self._highs = {symbol: (held[symbol].opened, high) for symbol, high in highs.items()}

    def rules(self, symbol: str, time: Time) -> Market | UnknownMarket:
        """The rules in force for a pair: the plan's, renewed by what the exchange told since, raised
        by what our own orders taught."""
        known = self.plan.markets(symbol, time)
        told = self.state.listed.get(symbol)
        if isinstance(known, UnknownMarket):
            return known
        if told is not None:
            known = renewed(known, told)
        return raised(known, self.state.evidence.get(symbol), time)

    def status(self, symbol: str) -> MarketStatus:
        """Which new orders a pair takes, as far as the exchange told."""
        told = self.state.listed.get(symbol)
        return MarketStatus.ONLINE if told is None else told.status

    def stop(self, symbol: str, holding: Holding) -> Decimal:
        """The price at which a holding is sold to lose no more: its stop, or the trail when that is higher.

        The trail counts the bars that opened after the coins came and have closed: what the market did
        within a bar, nobody knows."""
        trailing, high = self.plan.trailing, self._high(symbol)
        if trailing is None or high is None:
            return holding.stop
        market = self.rules(symbol, self.state.time)
        trail = EXACT.multiply(high, EXACT.subtract(Decimal(1), trailing))
        return max(holding.stop, market.price_down(trail) if isinstance(market, Market) else trail)

    def _high(self, symbol: str) -> Decimal | None:
        """The highest price since the coins of a holding came; None: no bar has closed since."""
        opened, high = self._highs.get(symbol, (None, None))
        return high if opened == self.state.holdings[symbol].opened else None

    def saw(self, symbol: str, date: Time, high: Decimal) -> None:
        """Take in the highest price of a bar, if it opened with the coins held."""
        holding = self.state.holdings.get(symbol)
        if holding is not None and date >= holding.opened:
            self._highs[symbol] = holding.opened, max(high, self._high(symbol) or high)

    def brackets(self) -> dict[str, Bracket]:
        """The prices the engine waits for, by pair: reaching one is an event it wants to see."""
        waiting = self.state.holdings.items()
        return {symbol: self.bracket(symbol, h) for symbol, h in waiting if h.leaving is None and not h.stuck}

    def bracket(self, symbol: str, holding: Holding) -> Bracket:
        """Where the run itself sells a holding: a stop that rests at the exchange for all of it is the
        exchange's."""
        stop, resting = self.stop(symbol, holding), self.resting(symbol)
        kept = (
            resting is not None
            and resting.status in AT_THE_EXCHANGE
            and resting.order.trigger == stop
            and self.fits(resting, symbol, holding)
        )
        return Bracket(None if kept else stop, self._watched_target(symbol, holding), holding.opened)

    def _watched_target(self, symbol: str, holding: Holding) -> Decimal | None:
        """The price of a sale at the target that the run is to see, on the tick; None: that sale waits."""
        if not self.plan.stop_rests:
            return None
        market = self.rules(symbol, self.state.time)
        return market.price_up(holding.target) if isinstance(market, Market) else holding.target

    def resting(self, symbol: str) -> OrderState | None:
        """The sale of a holding that waits at the exchange, as far as we know."""
        return next((known for known in self.state.orders_on(symbol) if known.order.purpose in RESTING), None)

    def fits(self, resting: OrderState, symbol: str, holding: Holding) -> bool:
        """Whether a sale that waits is what should wait: a stop is for all that could be sold, no more."""
        if resting.order.purpose is not self.plan.resting:
            return False
        return not self.plan.stop_rests or resting.rest == self.whole(symbol, holding)

    def whole(self, symbol: str, holding: Holding) -> Decimal:
        """How much of a holding one sale may be."""
        market = self.rules(symbol, self.state.time)
        quantity = holding.position.quantity
        return salable(quantity, market) if isinstance(market, Market) else quantity

    def equity(self, shown: Mapping[str, Quote] | None = None) -> Decimal:
        """What all is worth in the quote asset at the last bids, or at those that are shown; coins for which
        no price was ever seen count as what they cost."""
        ledger, quote, prices = self.state.ledger, self.plan.quote, self.prices(shown)
        total = ledger.total(quote).number
        for asset in ledger.assets():
            pair = f"{asset}/{quote}"
            if pair in prices:
                total = EXACT.add(total, EXACT.multiply(ledger.total(asset).number, prices[pair]))
            elif pair in self.state.holdings:
                total = EXACT.add(total, self.state.holdings[pair].position.cost)
        return total

    def prices(self, shown: Mapping[str, Quote] | None = None) -> dict[str, Decimal]:
        """The last bid of each pair of which we own something; where none is shown, the last mark's."""
        quotes = {**self.quotes, **(shown or {})}
        marked = {} if self.state.marked is None else self.state.marked.prices
        bids = {**marked, **{pair: quote.bid for pair, quote in quotes.items()}}
        pairs = (f"{asset}/{self.plan.quote}" for asset in sorted(self.state.ledger.assets()))
        return {pair: bids[pair] for pair in pairs if pair in bids}

    def unsellable(self, symbol: str, purpose: Purpose, time: Time) -> str | None:
        """Why a holding cannot be sold now, or None: it can."""
        market, holding = self.rules(symbol, time), self.state.holdings[symbol]
        if not isinstance(market, Market):
            return f"no rules: {market.remedy}"
        if not self.status(symbol).takes(Side.SELL, limit=True, post_only=False):
            return f"{symbol} is {self.status(symbol)} at the exchange"
        quantity = salable(holding.position.quantity, market)
        if quantity < market.min_quantity:
            return f"{plain(quantity)} {market.base} is below the minimum of {plain(market.min_quantity)}"
        worth = EXACT.multiply(quantity, self._sale_price(symbol, holding, purpose))
        if worth < market.min_notional:
            return f"{plain(worth)} {market.quote} is below the minimum of {plain(market.min_notional)}"
        return None

    def _sale_price(self, symbol: str, holding: Holding, purpose: Purpose) -> Decimal:
        """What values a sale: the price that it states, or the bid."""
        quote = self.quotes.get(symbol)
        if purpose is Purpose.PROTECTION:
            return holding.stop
        return quote.bid if quote and purpose is not Purpose.TARGET else holding.target

    def awaited(self, now: Time, deaf: frozenset[str]) -> Awaited:
        """What could change the state after this moment, but for the wishes of pairs in `deaf`."""
        state, limits = self.state, self.plan.limits
        soon = bool(state.cancels) or state.traded_since_mark or state.marked is None or bool(self.chased())
        losses = [lost for times in state.losses.values() for lost in times]
        times = [lost + limits.cooldown for lost in losses] + [lost + limits.guard_window for lost in losses]
        falls: dict[str, Decimal] = {}
        rises: dict[str, Decimal] = {}
        for known in state.orders.values():
            order = known.order
            if order.expires is not None:
                times.append(order.expires)
            if order.trigger is not None:
                met = EXACT.add(order.trigger, self._tick(order.symbol))
                falls[order.symbol] = max(met, falls.get(order.symbol, met))
            elif order.price is not None:
                (falls if order.side is Side.BUY else rises)[order.symbol] = order.price
        for symbol, holding in state.holdings.items():
            if holding.stuck:
                soon |= self._may_come_free(symbol, holding, times, rises)
                continue
            resting = self.resting(symbol)
            if resting is None:
                soon |= self.plan.stop_rests or not state.orders_on(symbol)
            else:
                soon |= not self.fits(resting, symbol, holding)
            if holding.leaving is None and self.plan.max_hold is not None:
                due = holding.opened + self.plan.max_hold
                soon |= due <= now
                times.append(due)
            if holding.leaving is None:
                stop = EXACT.add(self.stop(symbol, holding), self._tick(symbol))
                falls[symbol] = max(stop, falls.get(symbol, stop))
                target = self._watched_target(symbol, holding)
                if target is not None:
                    rises[symbol] = min(target, rises.get(symbol, target))
        by = min((Time(time) for time in times if time > now), default=None)
        return Awaited(soon, by, falls, rises, self._trails(), frozenset(state.holdings), deaf)

    def chased(self) -> list[str]:
        """The pairs whose wish ended without what it was for, and may be ordered once more."""
        state, tries = self.state, self.plan.tries
        return [
            symbol
            for symbol, unfilled in state.unfilled.items()
            if unfilled.attempts < tries
            and not state.orders_on(symbol)
            and (symbol not in state.holdings or state.holdings[symbol].stuck)
        ]

    def _may_come_free(
        self, symbol: str, holding: Holding, times: list[int], rises: dict[str, Decimal]
    ) -> bool:
        """When what is stuck could be sold again: note the time and the price; whether at once."""
        market, evidence = self.rules(symbol, self.state.time), self.state.evidence.get(symbol)
        if evidence is not None:
            times.append(evidence.time + EVIDENCE_AGE + 1)
        if holding.refusals >= EXIT_TRIES or not isinstance(market, Market):
            return False
        rests = self.resting(symbol) is not None
        if self.state.orders_on(symbol) and not rests:
            return False
        purpose = Purpose.TIME if rests else holding.leaving or self.plan.resting
        if self.unsellable(symbol, purpose, self.state.time) is None:
            return True
        if rests or holding.leaving is not None:
            tick = market.tick_size
            worth_of_tick = EXACT.multiply(holding.position.quantity, tick)
            enough = EXACT.multiply(tick, Decimal(steps_down(market.min_notional, worth_of_tick)))
            rises[symbol] = min(enough, rises.get(symbol, enough))
        return False

    def _trails(self) -> dict[str, tuple[Decimal, Decimal]]:
        trailing = self.plan.trailing
        return {} if trailing is None else {s: (trailing, self._tick(s)) for s in self.brackets()}

    def _tick(self, symbol: str) -> Decimal:
        market = self.rules(symbol, self.state.time)
        return market.tick_size if isinstance(market, Market) else Decimal(0)


def renewed(market: Market, told: Listed) -> Market:
    """The market with what the exchange told of it since."""
    return market_of(told.listing, told.maker_fee, told.taker_fee, market.fee_asset)
