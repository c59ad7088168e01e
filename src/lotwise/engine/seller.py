"""How what is held is sold: at its target, its stop, its trail, when its time is over, when the strategy
says so, or by a rescue. The one place that orders sales."""

from collections.abc import Iterator

from lotwise.domain.market import Market, Quote
from lotwise.domain.orders import ENDED, Order, OrderState, Purpose, Status
from lotwise.domain.sizing import Refused
from lotwise.domain.values import Side, Time
from lotwise.engine.exits import exit_order, lowest_price, time_due, with_limit
from lotwise.engine.fold import apply
from lotwise.engine.records import (
    Cancel,
    Extent,
    Freed,
    MarketUpdate,
    Panic,
    Record,
    Rescue,
    Stranded,
    Submit,
    Trading,
)
from lotwise.engine.rescue import WayOut, top_up_order, way_out
from lotwise.engine.sight import AT_THE_EXCHANGE, EXIT_TRIES, Sight
from lotwise.engine.state import RESTING, WAITING, Holding

YOUNG = 15_000
"""Milliseconds: Kraken charges cancels of younger orders so much that an entry which fills in many parts,
each with a new stop, would use up the account's rate (its documentation of the trading counter, 2026)."""


class Seller(Sight):
    """Sees, and sells. What it yields is folded into the state and to be written down."""

    def _write(self, record: Record) -> Record:
        apply(self.state, record)
        return record

    def _price(self, quote: Quote) -> Iterator[Record]:
        """A price: the stop is due when it has come down to it, and a target that the run watches when it
        has come up to it (once in a bar, where nobody buys there)."""
        self.quotes = {**self.quotes, quote.symbol: quote}
        holding = self.state.holdings.get(quote.symbol)
        if holding is None or holding.stuck or holding.leaving is not None:
            return
        if self.state.trading is Trading.HALTED:
            return
        bracket = self.bracket(quote.symbol, holding)
        if bracket.stop is not None and quote.bid <= bracket.stop:
            purpose = Purpose.STOP if bracket.stop == holding.stop else Purpose.TRAIL
            yield from self._at_once(quote.symbol, purpose, quote.time)
        elif bracket.target is not None and quote.bid >= bracket.target and self._may_take(holding, quote):
            yield from self._at_once(quote.symbol, Purpose.TAKE_PROFIT, quote.time)

    def _may_take(self, holding: Holding, quote: Quote) -> bool:
        """Whether a sale at the target may be tried now, or again."""
        due = holding.missed is None or quote.time - holding.missed >= self.plan.bar
        return due and holding.untaken < EXIT_TRIES

    def _tend(self, symbol: str, holding: Holding, update: MarketUpdate) -> Iterator[Record]:
        """A holding at the close of a bar: is it time to leave, and does its sale rest?"""
        if holding.stuck:
            yield from self._free(symbol, update.time)
        elif time_due(holding, self.plan.max_hold, update.time):
            yield from self._at_once(symbol, Purpose.TIME, update.time)
        elif update.signals.get(symbol, 0.0) < 0 and holding.leaving is None:
            yield from self._at_once(symbol, Purpose.SIGNAL, update.time)
        elif (wrong := self._rests_wrongly(symbol, holding, update.time)) is not None:
            yield self._write(Cancel(wrong, self.plan.resting, update.time))
        elif self._is_free(symbol, holding) and holding.refused != update.time:
            yield from self._leave(symbol, self._due(holding), update.time)

    def _cancel_again(self, time: Time) -> Iterator[Record]:
        """What should be off the book and is not, for the request was lost or we died before all were
        asked, is asked off it again; but not what by now is the only sale that the rules allow."""
        for known in list(self.state.orders.values()):
            due = self._off_for(known)
            if due is None or known.status not in AT_THE_EXCHANGE:
                continue
            yield from self._ask_off(known.order, due, time)

    def _ask_off(self, order: Order, due: Purpose, time: Time) -> Iterator[Record]:
        """Ask an order off the book, unless by now it is the only sale that the rules allow."""
        holding = self.state.holdings.get(order.symbol) if order.side is Side.SELL else None
        why = None if holding is None else self.unsellable(order.symbol, due, time)
        if holding is None or why is None:
            yield self._write(Cancel(order.client_id, due, time))
        elif not holding.stuck:
            yield self._only_is_left(order, why, time)

    def _off_for(self, known: OrderState) -> Purpose | None:
        """What a waiting order should be off the book for; None: it may stay there."""
        asked, holding = (
            self.state.cancels.get(known.order.client_id),
            self.state.holdings.get(known.order.symbol),
        )
        if asked is not None or known.order.purpose not in WAITING:
            return asked
        if self.state.trading is Trading.HALTED or (holding is None and known.order.side is Side.SELL):
            return Purpose.TARGET
        if holding is not None and holding.leaving is not None and not holding.stuck:
            return holding.leaving
        return Purpose.PANIC if self.state.flattening else None

    def _only_is_left(self, resting: Order, why: str, time: Time) -> Record:
        """Say that a sale that rests is the only one that the rules still allow."""
        word = "stop" if resting.purpose is Purpose.PROTECTION else "target"
        quantity = self.state.holdings[resting.symbol].position.quantity
        return self._write(
            Stranded(resting.symbol, quantity, f"only the resting {word} is left: {why}", time)
        )

    def _rests_wrongly(self, symbol: str, holding: Holding, time: Time) -> str | None:
        """The sale that waits at the exchange in the place of another, which may wait there: for more or less
        than is held, at the target where the plan now wants the stop, or the other way round; or a second
        one beside the first."""
        waiting = [
            known
            for known in self.state.orders_on(symbol)
            if known.order.purpose in RESTING
            and known.status in AT_THE_EXCHANGE
            and known.order.client_id not in self.state.cancels
        ]
        wrong = [*waiting[1:], *(known for known in waiting[:1] if not self.fits(known, symbol, holding))]
        replaced = len(waiting) > 1 or self._may_rest(symbol, time)
        return wrong[0].order.client_id if wrong and replaced else None

    def _may_rest(self, symbol: str, time: Time) -> bool:
        """Whether the rules let the sale wait that the plan wants to."""
        takes = self.status(symbol).takes(Side.SELL, not self.plan.stop_rests, post_only=False)
        return takes and self.unsellable(symbol, self.plan.resting, time) is None

    def _is_free(self, symbol: str, holding: Holding) -> bool:
        """Whether nothing is under way for a holding that should be. A stop that rests stands beside an
        entry that goes on; it was not refused too often."""
        if self._due(holding) is not Purpose.PROTECTION:
            return not self.state.orders_on(symbol)
        sales = (known.order.side is Side.SELL for known in self.state.orders_on(symbol))
        return not any(sales) and holding.unguarded < EXIT_TRIES

    def _at_once(self, symbol: str, purpose: Purpose, time: Time) -> Iterator[Record]:
        """Sell now. What rests on the pair must be off the book first (a sale that waits holds the coins),
        unless that is all that the rules still allow: the only sale left, or an entry that has not yet
        brought enough to be sold."""
        resting = [known.order for known in self.state.orders_on(symbol) if known.order.purpose in WAITING]
        why = self.unsellable(symbol, purpose, time)
        if resting and why is not None:
            only = next((order for order in resting if order.purpose in RESTING), None)
            if only is not None:
                yield self._only_is_left(only, why, time)
        elif resting:
            for order in resting:
                yield self._write(Cancel(order.client_id, purpose, time))
        else:
            yield from self._leave(symbol, purpose, time)

    def _leave(self, symbol: str, purpose: Purpose, time: Time) -> Iterator[Record]:
        """Order the sale of a holding, or say why that cannot be."""
        if self.state.trading is Trading.HALTED:
            return
        market, holding = self.rules(symbol, time), self.state.holdings[symbol]
        why = self.unsellable(symbol, purpose, time)
        if not isinstance(market, Market) or why is not None:
            watched = purpose is Purpose.PROTECTION and self.unsellable(symbol, Purpose.TARGET, time) is None
            if not watched and not self.state.orders_on(symbol):  # else an entry may bring enough
                yield self._write(Stranded(symbol, holding.position.quantity, why or "no rules", time))
            return
        order = exit_order(self._name(), holding, market, purpose, time)
        quote = self.quotes.get(symbol)
        if not self.status(symbol).takes(Side.SELL, order.price is not None, post_only=False):
            if purpose is Purpose.PROTECTION:
                return  # the run watches the stop until the pair takes it
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
            if purpose in RESTING and holding.leaving is Purpose.RESCUE:
                yield from self._way_out(symbol, time)
        elif self._next_is_due(ended, holding):
            yield from self._sell_what_is_due(symbol, holding, time)

    def _next_is_due(self, ended: OrderState, holding: Holding) -> bool:
        """Whether an order's end lets another take its place now. A waiting sale that somebody else took
        off the book waits for the next bar; one of which more or less is held now does not."""
        match ended.order.purpose:
            case Purpose.ENTRY:
                return bool(ended.filled) or holding.leaving is not None
            case Purpose.TAKE_PROFIT:
                return ended.status is not Status.REJECTED  # new rules may come with the refusal
            case purpose if purpose in RESTING and holding.leaving is not None:
                return True
            case Purpose.PROTECTION if ended.status is Status.CANCELED:
                return ended.rest != self.whole(ended.order.symbol, holding)
        return ended.status in (Status.FILLED, Status.DEAD)

    def _filled(self, known: OrderState, time: Time) -> Iterator[Record]:
        """A part of an order is done: the stop that rests follows what is held; where it is met, no more
        is bought."""
        symbol, purpose = known.order.symbol, known.order.purpose
        holding = self.state.holdings.get(symbol)
        if purpose is Purpose.PROTECTION and (holding is None or holding.leaving is None):
            for other in self.state.orders_on(symbol):
                if other.order.purpose is Purpose.ENTRY:
                    yield self._write(Cancel(other.order.client_id, Purpose.STOP, time))
        elif purpose is Purpose.ENTRY and known.status not in ENDED and holding is not None:
            yield from self._guard(symbol, holding, time)

    def outgrown(self, time: Time) -> list[str]:
        """The pairs whose stop at the exchange is for more or less than is held, and may be replaced now."""
        found = []
        for symbol, holding in self.state.holdings.items():
            resting = self.resting(symbol)
            if holding.stuck or self._due(holding) is not Purpose.PROTECTION or resting is None:
                continue
            known, fits = resting.status in AT_THE_EXCHANGE, self.fits(resting, symbol, holding)
            if known and not fits and self._may_replace(resting, time):
                found.append(symbol)
        return found

    def _resize(self, time: Time) -> Iterator[Record]:
        """Replace the stops that what is held has outgrown."""
        for symbol in self.outgrown(time):
            yield from self._guard(symbol, self.state.holdings[symbol], time)

    def _guard(self, symbol: str, holding: Holding, time: Time) -> Iterator[Record]:
        """While more is bought: let a stop rest for what is there, where stops rest."""
        if self.plan.stop_rests and not holding.stuck:
            yield from self._sell_what_is_due(symbol, holding, time)

    def _sell_what_is_due(self, symbol: str, holding: Holding, time: Time) -> Iterator[Record]:
        """Order the sale of a holding once nothing else is under way on its pair; a stop that rests may stand
        beside an entry, and is to be for all that is held."""
        due, resting = self._due(holding), self.resting(symbol)
        if due is not Purpose.PROTECTION:
            if not self.state.orders_on(symbol):
                yield from self._leave(symbol, due, time)
        elif resting is None:
            if holding.unguarded < EXIT_TRIES:
                yield from self._leave(symbol, due, time)
        elif not self.fits(resting, symbol, holding) and self._may_replace(resting, time):
            yield self._write(Cancel(resting.order.client_id, due, time))

    def _may_replace(self, resting: OrderState, time: Time) -> bool:
        """Whether a stop may make room for one that fits: at once when nothing more is bought; else when it
        is not so young that its cancel would use up the exchange's patience."""
        symbol = resting.order.symbol
        if resting.order.client_id in self.state.cancels:
            return False
        buys = any(known.order.side is Side.BUY for known in self.state.orders_on(symbol))
        return self._may_rest(symbol, time) and (not buys or time - resting.order.time >= YOUNG)

    def _free(self, symbol: str, time: Time) -> Iterator[Record]:
        """Leave what is stuck, if the rules and the price now allow it and it was not refused too often.
        Where a sale rests for it, that goes on, and the run watches the holding again."""
        holding = self.state.holdings[symbol]
        if not holding.stuck or holding.refusals >= EXIT_TRIES or holding.refused == time:
            return
        if self.resting(symbol) is not None:
            if self.unsellable(symbol, Purpose.TIME, time) is None:
                yield self._write(Freed(symbol, time))
        elif not self.state.orders_on(symbol):
            purpose = self._due(holding)
            if self.unsellable(symbol, purpose, time) is None:
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
        if any(known.order.purpose not in RESTING for known in self.state.orders_on(symbol)):
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
        """How a holding is to be left now. A stop that is met already need not rest."""
        due = holding.leaving or (Purpose.PANIC if self.state.flattening else self.plan.resting)
        quote = self.quotes.get(holding.position.symbol)
        met = due is Purpose.PROTECTION and quote is not None and quote.bid <= holding.stop
        return Purpose.STOP if met else due

    def _panic(self, asked: Panic) -> Iterator[Record]:
        """The owner wants to stop. Told again it does again what is not done yet."""
        yield self._write(asked)
        if asked.extent is Extent.ENTRIES:
            return
        for known in list(self.state.orders.values()):
            if known.order.purpose in WAITING and asked.extent is Extent.FLATTEN:
                yield from self._ask_off(known.order, Purpose.PANIC, asked.time)
            elif known.order.purpose in WAITING:
                yield self._write(Cancel(known.order.client_id, Purpose.TARGET, asked.time))
        for symbol, holding in list(self.state.holdings.items()):
            again = holding.refusals < EXIT_TRIES
            sellable = again and self.unsellable(symbol, Purpose.PANIC, asked.time) is None
            if self.state.flattening and (sellable or not holding.stuck) and not self.state.orders_on(symbol):
                yield from self._leave(symbol, Purpose.PANIC, asked.time)

    def _name(self) -> str:
        """The client id of the next order: no other of this run has it, and it has at most 18
        characters (an exchange's limit)."""
        return f"{self.plan.run_id}-{self.state.totals.orders + 1:x}"
