"""The simulated venue: the engine's orders on the simulated exchange, moved by candles.

Its orders live and die with this process, and its memory is the journal, so a moment of it is
durable as a whole or not at all.
"""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from lotwise.domain.market import Candle, Listing, Market, MarketStatus, Quote
from lotwise.domain.orders import SIZE_REJECTIONS, OrderState, Rejected, RejectionKind, Report, Sent
from lotwise.domain.values import EXACT, Time
from lotwise.engine.ports import Brackets
from lotwise.engine.records import Cancel, Command, Deposited, Event, Listed, MarketUpdate, Passed, Submit
from lotwise.engine.sight import renewed
from lotwise.engine.state import State
from lotwise.exchange.booking import OpenOrder, terms_for
from lotwise.exchange.candle_matcher import stop_touch
from lotwise.exchange.events import Told
from lotwise.exchange.exchange import Exchange
from lotwise.markets import UnknownMarket

ACCOUNT = "lotwise"
BY_RULES = SIZE_REJECTIONS | {RejectionKind.TICK}
"""Refusals that no order meets whose sender knows the rules."""

DAY = 86_400_000

Rules = Callable[[str, Time], Market | UnknownMarket]


class SimulatedVenue:
    """One account on a simulated exchange whose rules are those of the given time. `happenings`: what
    comes from outside besides, in order of time: deposits and withdrawals, rules and statuses told."""

    def __init__(
        self, exchange: Exchange, rules: Rules, happenings: Sequence[Deposited | Listed] = ()
    ) -> None:
        self.exchange = exchange
        self.rules = rules
        self._days: dict[str, int] = {}
        self._told: dict[str, Market] = {}
        self._happenings = deque(happenings)
        self._statuses: dict[str, MarketStatus] = {}
        self._within: dict[str, Candle] = {}

    def resume(self, state: State, last: Mapping[str, Candle]) -> None:
        """Take up the account where a journal left it; `last` are the candles closed by then."""
        for symbol, candle in last.items():
            self._days[symbol] = candle.date // DAY
            market = self._list(symbol, state.time)
            if market is not None and market.price_down(candle.close) > 0:
                self.exchange.close(candle, state.time)
            told = state.listed.get(symbol)
            if market is not None and told is not None:
                self._told[symbol] = renewed(market, told)
        while self._happenings and self._happenings[0].time <= state.time:
            self._happens(self._happenings.popleft(), money=False)
        for known in state.orders.values():
            self._list(known.order.symbol, state.time)  # of which no candle is known yet
        owned = [state.ledger.total(asset) for asset in sorted(state.ledger.assets())]
        self.exchange.restore(ACCOUNT, owned, [self._open(s) for s in state.orders.values()])

    async def events(self, update: MarketUpdate, brackets: Brackets) -> AsyncIterator[Event]:
        """A candle as its worst path: the stop of what is held comes first, then resting orders, then
        the stop of what was just bought (its price was passed on the way down), then the target of what
        was held when it opened, and last the close."""
        for passed in update.passed.values():
            yield self._passed(passed)
        while self._happenings and self._happenings[0].time <= update.time:
            yield self._happens(self._happenings.popleft(), money=True)
        for symbol, candle in update.candles.items():
            for told in self._rules_of_the_day(candle, update.time):
                yield told
            market = self._list(symbol, update.time)
            if market is None or market.price_down(candle.close) <= 0:
                continue  # without rules, or worth less than one tick: no price to trade at
            for event in self._stopped(candle, market, brackets, update.time):
                yield event
            reports = self.exchange.settle(candle, update.time)
            if reports:
                # What is ordered in answer meets the worst price of the bar, never its close.
                self._quote(symbol, market.price_down(candle.low), market, update.time)
                self._within[symbol] = candle
            for report in ours(reports):
                yield report
            for event in self._stopped(candle, market, brackets, update.time):
                yield event
            reached = self._target(candle, market, brackets, update.time)
            if reached:
                yield reached
            self._within.pop(symbol, None)
            self.exchange.close(candle, update.time)
        for report in ours(self.exchange.expire(update.time)):
            yield report  # an order's time ends whether or not its pair trades
        for quote in update.quotes.values():
            self.show(quote)
        yield replace(update, quotes=self.exchange.quotes())

    def show(self, quote: Quote) -> None:
        """Let a price of now be the exchange's, where it comes from a live feed."""
        if self._list(quote.symbol, quote.time) is not None:
            self.exchange.quote(quote)

    def due(self) -> Time | None:
        """When the next thing from outside happens."""
        return self._happenings[0].time if self._happenings else None

    def _happens(self, event: Deposited | Listed, money: bool) -> Event:
        """Let the exchange know. Money that is not free cannot leave: the event then says so itself."""
        match event:
            case Deposited(amount):
                free = self.exchange.ledger(ACCOUNT).free(amount.asset)
                if money and (free + amount).number >= 0:
                    self.exchange.deposit(ACCOUNT, amount)
            case Listed():
                symbol = event.listing.symbol
                self._statuses[symbol] = event.status
                market = self._list(symbol, event.time)
                if market is not None:
                    self._told[symbol] = renewed(market, event)
        return event

    def _passed(self, passed: Passed) -> Passed:
        """Silent bars: their last close is the price, as if they had been visited."""
        candle, time = passed.candle, passed.closed
        market = self._list(candle.symbol, time)
        if market is None or market.price_down(candle.close) <= 0:
            return passed
        self.exchange.close(candle, time)
        return replace(passed, quote=self.exchange.quotes()[candle.symbol])

    def _rules_of_the_day(self, candle: Candle, time: Time) -> list[Event]:
        """The rules are read once a day, at a pair's first candle of it; told when they are new."""
        symbol, day = candle.symbol, candle.date // DAY
        before_day = self._days.get(symbol, day)
        self._days[symbol] = day
        if before_day == day:
            return []
        market = self.rules(symbol, Time(day * DAY))
        before = self._told.get(symbol) or self.rules(symbol, Time(before_day * DAY))
        if not isinstance(market, Market) or market == before:
            return []
        self._told[symbol] = market
        return [self._listed(market, time)]

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        """At once, in this process."""
        match command:
            case Submit(order):
                market = self._list(order.symbol, order.time)
                if order.trigger is not None and market is not None and order.symbol in self._within:
                    self._fall_to(order.symbol, order.trigger, market, order.time)
                told: list[Event] = [Sent(order.client_id, order.time)]
                told += self.exchange.accept(ACCOUNT, order, order.time)
                # As a live venue does: such a refusal means that our rules are not the exchange's.
                refused = any(isinstance(r, Rejected) and r.rejection.kind in BY_RULES for r in told)
                if refused and market:
                    self._told[order.symbol] = market
                    told.append(self._listed(market, order.time))
                return told
            case Cancel(client_id, _, time):
                return self.exchange.cancel(ACCOUNT, client_id, time)

    def _fall_to(self, symbol: str, trigger: Decimal, market: Market, time: Time) -> None:
        """A stop ordered in answer to a fill within a bar stood before the price came down to it."""
        price = stop_touch(self._within[symbol], trigger, market.tick_size)
        if price is not None:
            self._quote(symbol, price, market, time)

    def _open(self, state: OrderState) -> OpenOrder:
        order = state.order
        market = self.rules(order.symbol, order.time)
        assert isinstance(market, Market) and state.venue_id is not None, f"{state} rests nowhere"
        return OpenOrder(order, terms_for(order, market), state.venue_id, order.time, state.fills)

    def _stopped(self, candle: Candle, market: Market, brackets: Brackets, time: Time) -> Iterator[Event]:
        """The price at which the stop that the run watches is met within a candle, if it is."""
        bracket = brackets().get(candle.symbol)
        if bracket is not None and bracket.stop is not None:
            price = stop_touch(candle, bracket.stop, market.tick_size)
            if price is not None:
                yield self._quote(candle.symbol, price, market, time)

    def _target(self, candle: Candle, market: Market, brackets: Brackets, time: Time) -> Quote | None:
        """The price of a target that the run watches, where a candle trades through it."""
        bracket = brackets().get(candle.symbol)
        if bracket is None or bracket.target is None or candle.date < bracket.since:
            return None
        target = market.price_up(bracket.target)
        if market.price_down(candle.high) <= target:
            return None
        return self._quote(candle.symbol, target, market, time)

    def _quote(self, symbol: str, price: Decimal, market: Market, time: Time) -> Quote:
        """Let the best bid be a price within the bar (one tick at the least)."""
        bid = max(price, market.tick_size)
        quote = Quote(symbol, time, bid, EXACT.add(bid, market.tick_size))
        self.exchange.quote(quote)
        return quote

    def _list(self, symbol: str, time: Time) -> Market | None:
        market = self.rules(symbol, time)
        if not isinstance(market, Market):
            return None
        self.exchange.list_market(market)
        self.exchange.set_status(symbol, self._statuses.get(symbol, MarketStatus.ONLINE))
        return market

    def _listed(self, market: Market, time: Time) -> Listed:
        return listed(market, time, self._statuses.get(market.symbol, MarketStatus.ONLINE))


def ours(told: Iterable[Told]) -> Iterator[Report]:
    """The reports to our account."""
    return (report for account, report in told if account == ACCOUNT)


def listed(market: Market, time: Time, status: MarketStatus = MarketStatus.ONLINE) -> Listed:
    """A market as the exchange tells it at a time."""
    day = datetime.fromtimestamp(time / 1000, tz=UTC).date()
    told = Listing(
        market.symbol,
        day,
        market.tick_size,
        market.lot_step,
        market.min_quantity,
        market.min_notional,
        market.quote_precision,
        "told by the exchange",
        market.max_quantity,
    )
    return Listed(told, market.maker_fee, market.taker_fee, time, status)
