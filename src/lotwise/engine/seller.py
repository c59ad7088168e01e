"""How what is held is sold: at its target, its stop, its trail, when its time is over, when the strategy
says so, or by a rescue. The one place that orders sales."""

from collections.abc import Iterator

from lotwise.domain.market import Market, Quote
from lotwise.domain.orders import OrderState, Purpose, Status
from lotwise.domain.sizing import Refused
from lotwise.domain.values import Side, Time
from lotwise.engine.exits import exit_order, lowest_price, time_due, with_limit
from lotwise.engine.records import (
    Cancel,
    Extent,
    MarketUpdate,
    Panic,
    Record,
    Rescue,
    Stranded,
    Submit,
    Trading,
)
from lotwise.engine.rescue import WayOut, top_up_order, way_out
from lotwise.engine.sight import EXIT_TRIES, Sight
from lotwise.engine.state import WAITING, Holding, apply


class Seller(Sight):
    """Sees, and sells. What it yields is folded into the state and to be written down."""

    def _write(self, record: Record) -> Record:
        apply(self.state, record)
        return record

    def _price(self, quote: Quote) -> Iterator[Record]:
        """A price: the stop is due when it has come down to it."""
        self.quotes = {**self.quotes, quote.symbol: quote}
        holding = self.state.holdings.get(quote.symbol)
        if holding is None or holding.stuck or holding.leaving is not None:
            return
        if self.state.trading is Trading.HALTED:
            return
        level = self.stop(quote.symbol, holding)
        if quote.bid <= level:
            purpose = Purpose.STOP if level == holding.stop else Purpose.TRAIL
            yield from self._at_once(quote.symbol, purpose, quote.time)

    def _tend(self, symbol: str, holding: Holding, update: MarketUpdate) -> Iterator[Record]:
        """A holding at the close of a bar: is it time to leave, and does its sale rest?"""
        if holding.stuck:
            yield from self._free(symbol, update.time)
        elif time_due(holding, self.plan.max_hold, update.time):
            yield from self._at_once(symbol, Purpose.TIME, update.time)
        elif update.signals.get(symbol, 0.0) < 0 and holding.leaving is None:
            yield from self._at_once(symbol, Purpose.SIGNAL, update.time)
        elif not self.state.orders_on(symbol) and holding.refused != update.time:
            yield from self._leave(symbol, self._due(holding), update.time)

    def _at_once(self, symbol: str, purpose: Purpose, time: Time) -> Iterator[Record]:
        """Sell now. What rests on the pair must be off the book first (the sale at the target holds the
        coins), unless that is all that the rules still allow: the only sale left, or an entry that has
        not yet brought enough to be sold."""
        resting = [known.order for known in self.state.orders_on(symbol) if known.order.purpose in WAITING]
        why = self.unsellable(symbol, purpose, time)
        if resting and why is not None:
            if resting[0].purpose is Purpose.TARGET:
                quantity = self.state.holdings[symbol].position.quantity
                yield self._write(Stranded(symbol, quantity, f"only the resting target is left: {why}", time))
        elif resting:
            yield self._write(Cancel(resting[0].client_id, purpose, time))
        else:
            yield from self._leave(symbol, purpose, time)

    def _leave(self, symbol: str, purpose: Purpose, time: Time) -> Iterator[Record]:
        """Order the sale of a holding, or say why that cannot be."""
        if self.state.trading is Trading.HALTED:
            return
        market, holding = self.rules(symbol, time), self.state.holdings[symbol]
        why = self.unsellable(symbol, purpose, time)
        if not isinstance(market, Market) or why is not None:
            yield self._write(Stranded(symbol, holding.position.quantity, why or "no rules", time))
            return
        order = exit_order(self._name(), holding, market, purpose, time)
        quote = self.quotes.get(symbol)
        if not self.status(symbol).takes(Side.SELL, order.price is not None, post_only=False):
            if quote is None:
                return  # there is no price to set a limit by: the next bar tries again
            order = with_limit(order, lowest_price(market, quote, self.plan.slippage))
        yield self._write(Submit(order))

    def _ended(self, ended: OrderState, holding: Holding, time: Time) -> Iterator[Record]:
        """An order is over and coins are left: what is next for them."""
        symbol, purpose = ended.order.symbol, ended.order.purpose
        if purpose is Purpose.TOP_UP:
            if ended.filled:
                yield from self._leave(symbol, Purpose.RESCUE, time)
        elif holding.stuck:
            if purpose is Purpose.TARGET and holding.leaving is Purpose.RESCUE:
                yield from self._way_out(symbol, time)
        elif purpose is Purpose.ENTRY:
            if ended.filled:
                yield from self._leave(symbol, self._due(holding), time)
        elif ended.status is Status.FILLED or (purpose is Purpose.TARGET and holding.leaving is not None):
            yield from self._leave(symbol, self._due(holding), time)

    def _free(self, symbol: str, time: Time) -> Iterator[Record]:
        """Leave what is stuck, if the rules now allow it and it was not refused too often."""
        holding = self.state.holdings[symbol]
        purpose = self._due(holding)
        waits = holding.refusals >= EXIT_TRIES or holding.refused == time or self.state.orders_on(symbol)
        if holding.stuck and not waits and self.unsellable(symbol, purpose, time) is None:
            yield from self._leave(symbol, purpose, time)

    def rescue(self, symbol: str, time: Time) -> WayOut | Refused | str:
        """The cheapest way out of what is stuck on a pair, or the text why there is none to be told."""
        holding, market, quote = (
            self.state.holdings.get(symbol),
            self.rules(symbol, time),
            self.quotes.get(symbol),
        )
        if holding is None:
            return f"nothing is held on {symbol}"
        if not holding.stuck:
            return f"what is held on {symbol} is not stuck: its stop and target are at work"
        if any(known.order.purpose is not Purpose.TARGET for known in self.state.orders_on(symbol)):
            return f"an order on {symbol} is open; wait until it is filled or over"
        if not isinstance(market, Market) or quote is None:
            return f"there are no rules or no price of {symbol} now"
        free = self.state.ledger.free(self.plan.quote)
        return way_out(holding.position.quantity, market, quote, free, self.plan.slippage)

    def _rescue(self, asked: Rescue) -> Iterator[Record]:
        """The owner wants out of what is stuck; a sale that still rests at its target holds the coins."""
        yield self._write(asked)
        resting = self.state.orders_on(asked.symbol)
        if not isinstance(self.rescue(asked.symbol, asked.time), WayOut):
            return
        if resting:
            yield self._write(Cancel(resting[0].order.client_id, Purpose.RESCUE, asked.time))
        else:
            yield from self._way_out(asked.symbol, asked.time)

    def _way_out(self, symbol: str, time: Time) -> Iterator[Record]:
        """Sell what is stuck, topped up first where it must be."""
        way = self.rescue(symbol, time)
        if isinstance(way, WayOut) and way.top_up is not None:
            yield self._write(Submit(top_up_order(self._name(), way, time, self.plan.quote)))
        elif isinstance(way, WayOut):
            yield from self._leave(symbol, Purpose.RESCUE, time)

    def _due(self, holding: Holding) -> Purpose:
        """How a holding is to be left now."""
        return holding.leaving or (Purpose.PANIC if self.state.flattening else Purpose.TARGET)

    def _panic(self, asked: Panic) -> Iterator[Record]:
        """The owner wants to stop. Told again it does again what is not done yet."""
        yield self._write(asked)
        if asked.extent is Extent.ENTRIES:
            return
        due = Purpose.PANIC if asked.extent is Extent.FLATTEN else Purpose.TARGET
        for known in list(self.state.orders.values()):
            if known.order.purpose in WAITING:
                yield self._write(Cancel(known.order.client_id, due, asked.time))
        for symbol, holding in list(self.state.holdings.items()):
            if self.state.flattening and not holding.stuck and not self.state.orders_on(symbol):
                yield from self._leave(symbol, Purpose.PANIC, asked.time)

    def _name(self) -> str:
        """The client id of the next order: no other of this run has it, and it has at most 18
        characters (an exchange's limit)."""
        return f"{self.plan.run_id}-{self.state.totals.orders + 1:x}"
