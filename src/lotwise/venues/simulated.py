"""The simulated venue: the engine's orders on the simulated exchange, moved by candles.

Its orders live and die with this process, and its memory is the journal, so a moment of it is
durable as a whole or not at all.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from lotwise.domain.market import Candle, Listing, Market, Quote
from lotwise.domain.orders import SIZE_REJECTIONS, OrderState, Rejected, Sent
from lotwise.domain.values import EXACT, Time
from lotwise.engine.ports import Stops
from lotwise.engine.records import Cancel, Command, Event, Listed, MarketUpdate, Submit
from lotwise.engine.state import State
from lotwise.exchange.booking import OpenOrder, terms_for
from lotwise.exchange.candle_matcher import stop_touch
from lotwise.exchange.exchange import Exchange
from lotwise.markets import UnknownMarket

ACCOUNT = "lotwise"
DAY = 86_400_000

Rules = Callable[[str, Time], Market | UnknownMarket]


class SimulatedVenue:
    """One account on a simulated exchange whose rules are those of the given time."""

    def __init__(self, exchange: Exchange, rules: Rules) -> None:
        self.exchange = exchange
        self.rules = rules

    def resume(self, state: State, last: Mapping[str, Candle]) -> None:
        """Take up the account where a journal left it; `last` are the candles closed by then."""
        for symbol, candle in last.items():
            if self._list(symbol, state.time):
                self.exchange.close(candle, state.time)
        owned = [state.ledger.total(asset) for asset in sorted(state.ledger.assets())]
        self.exchange.restore(ACCOUNT, owned, [self._open(s) for s in state.orders.values()])

    async def events(self, update: MarketUpdate, stops: Stops) -> AsyncIterator[Event]:
        """A candle as its worst path: the stop of what is held comes first, then resting orders,
        then the stop of what was just bought (its price was passed on the way down), then the close."""
        for symbol, candle in update.candles.items():
            market = self._list(symbol, update.time)
            if market is None:
                continue
            if candle.date % DAY == 0 and market != self.rules(symbol, Time(update.time - DAY)):
                yield listed(market, update.time)  # rules are read once a day
            touch = self._touch(candle, market, stops, update.time)
            if touch:
                yield touch
            for account, report in self.exchange.settle(candle, update.time):
                if account == ACCOUNT:
                    yield report
            touch = self._touch(candle, market, stops, update.time)
            if touch:
                yield touch
                self.exchange.close(candle, update.time)
        yield replace(update, quotes=self.exchange.quotes())

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        """At once, in this process."""
        match command:
            case Submit(order):
                market = self._list(order.symbol, order.time)
                told: list[Event] = [Sent(order.client_id, order.time)]
                told += self.exchange.accept(ACCOUNT, order, order.time)
                # As a live venue does: a refusal for size means that our rules are not the exchange's.
                refused = any(isinstance(r, Rejected) and r.rejection.kind in SIZE_REJECTIONS for r in told)
                return [*told, listed(market, order.time)] if refused and market else told
            case Cancel(client_id, _, time):
                return self.exchange.cancel(ACCOUNT, client_id, time)

    def _open(self, state: OrderState) -> OpenOrder:
        order = state.order
        market = self.rules(order.symbol, order.time)
        assert isinstance(market, Market) and state.venue_id is not None, f"{state} rests nowhere"
        assert not state.filled, "candles fill whole"
        return OpenOrder(order, terms_for(order, market), state.venue_id, order.time)

    def _touch(self, candle: Candle, market: Market, stops: Stops, time: Time) -> Quote | None:
        stop = stops().get(candle.symbol)
        if stop is None:
            return None
        price = stop_touch(candle, stop, market.tick_size)
        if price is None:
            return None
        quote = Quote(candle.symbol, time, price, EXACT.add(price, market.tick_size))
        self.exchange.quote(quote)
        return quote

    def _list(self, symbol: str, time: Time) -> Market | None:
        market = self.rules(symbol, time)
        if not isinstance(market, Market):
            return None
        self.exchange.list_market(market)
        return market


def listed(market: Market, time: Time) -> Listed:
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
    return Listed(told, market.maker_fee, market.taker_fee, time)
