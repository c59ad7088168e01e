"""The engine: `handle(event)` is the one function to read. It decides, applies its own records to
the state, and returns them to be written down; Submit and Cancel among them are for the venue."""

from collections.abc import Iterator, Mapping
from decimal import Decimal

from lotwise.domain.market import Liquidity, Market, Quote
from lotwise.domain.orders import (
    ENDED,
    Opportunity,
    Order,
    OrderType,
    Purpose,
    Report,
    Status,
    TimeInForce,
)
from lotwise.domain.sizing import Sized, size_order
from lotwise.domain.values import EXACT, Amount, Side, Time, plain
from lotwise.engine.checks import Wish, climb
from lotwise.engine.exits import exit_order, exit_prices, stop_due
from lotwise.engine.plan import Plan
from lotwise.engine.records import Cancel, Decided, Event, Marked, MarketUpdate, Record, Rung, Submit
from lotwise.engine.state import State, apply

DAY = 86_400_000


class Engine:
    """Joins market, wishes, sizing, orders and ledger. Everything it knows is `state` (the fold of
    its records) and the last prices it was shown."""

    def __init__(self, plan: Plan, state: State, quotes: Mapping[str, Quote]) -> None:
        self.plan = plan
        self.state = state
        self.quotes = quotes

    def handle(self, event: Event) -> list[Record]:
        """All records that follow from one event, already folded into the state, in order."""
        match event:
            case MarketUpdate():
                source = self._moment(event)
            case Quote():
                source = self._price(event)
            case _:
                source = self._report(event)
        return list(source)

    def stops(self) -> dict[str, Decimal]:
        """The prices the engine waits for, by pair: reaching one is an event it wants to see."""
        waiting = self.state.holdings.items()
        return {symbol: h.stop for symbol, h in waiting if h.leaving is not Purpose.STOP and not h.stuck}

    def equity(self) -> Decimal:
        """What all is worth in the quote asset at the last bids; an asset without one counts as nothing."""
        ledger, quote = self.state.ledger, self.plan.quote
        total = ledger.total(quote).number
        for pair, price in self._prices().items():
            worth = EXACT.multiply(ledger.total(pair.partition("/")[0]).number, price)
            total = EXACT.add(total, worth)
        return total

    def _prices(self) -> dict[str, Decimal]:
        pairs = (f"{asset}/{self.plan.quote}" for asset in sorted(self.state.ledger.assets()))
        return {pair: self.quotes[pair].bid for pair in pairs if pair in self.quotes}

    def mark(self, time: Time) -> Record:
        """Write down what all is worth at the last prices."""
        return self._write(Marked(time, self.equity(), self._prices()))

    def _write(self, record: Record) -> Record:
        apply(self.state, record)
        return record

    def _moment(self, update: MarketUpdate) -> Iterator[Record]:
        """A bar has closed: mark after trades and at day boundaries, then answer each wish, the
        surest first."""
        self.quotes = update.quotes
        last = self.state.marked
        if last is None or self.state.traded_since_mark or update.time // DAY > last.time // DAY:
            yield self.mark(update.time)
        wishes = [
            (-confidence, symbol)
            for symbol, confidence in update.signals.items()
            if confidence > 0 and confidence >= self.plan.min_confidence and symbol in update.candles
        ]
        for confidence, symbol in sorted(wishes):
            yield from self._decide(update, symbol, -confidence)

    def _decide(self, update: MarketUpdate, symbol: str, confidence: float) -> Iterator[Record]:
        """One wish: the ladder, the size, the order; or a skip that says why."""
        plan, state = self.plan, self.state
        rules, quote = plan.markets(symbol, update.time), update.quotes.get(symbol)
        price = update.candles[symbol].close
        if isinstance(rules, Market) and quote is not None:
            price = _entry_price(plan, rules, quote)
        wish = Opportunity(symbol, price, plan.entry, update.time, confidence)
        rungs, reason = climb(Wish(wish, update.candles[symbol], rules, state, plan))
        free = state.ledger.free(plan.quote)
        number = state.decisions + 1
        head = (number, update.time, symbol, price, plan.entry, confidence, free.number)
        if reason is not None:
            yield self._write(Decided(*head, rungs=rungs, reason=reason))
            return
        assert isinstance(rules, Market)
        size = size_order(wish, rules, free, plan.policies[symbol])
        if not isinstance(size, Sized):
            remedy = (
                "no balance would do" if size.needed is None else f"{plain(size.needed)} {plan.quote} free"
            )
            rung = Rung("size", False, f"{plain(free.number)} {plan.quote} free", size.reason, remedy)
            yield self._write(Decided(*head, rungs=(*rungs, rung), reason=size.reason, needed=size.needed))
            return
        rung = Rung("size", True, f"{plain(size.quantity)} for {plain(size.debit)}", f"bound by {size.bound}")
        client_id = self._name()
        yield self._write(
            Decided(
                *head,
                rungs=(*rungs, rung),
                reason=None,
                quantity=size.quantity,
                notional=size.notional,
                bound=size.bound,
                client_id=client_id,
            )
        )
        stop, target = exit_prices(rules, price, plan.stop, plan.target)
        order = self._entry_order(client_id, wish, size)
        yield self._write(Submit(order, decision=number, stop=stop, target=target))

    def _entry_order(self, client_id: str, wish: Opportunity, size: Sized) -> Order:
        """A maker entry rests for its lifetime and never takes; a taker entry fills whole or not at all."""
        maker = wish.liquidity is Liquidity.MAKER
        return Order(
            client_id=client_id,
            symbol=wish.symbol,
            side=Side.BUY,
            type=OrderType.LIMIT,
            quantity=size.quantity,
            price=wish.price,
            reserve=Amount(size.debit, self.plan.quote),
            purpose=Purpose.ENTRY,
            time=wish.time,
            time_in_force=TimeInForce.GTD if maker else TimeInForce.FOK,
            expires=Time(wish.time + self.plan.entry_lifetime) if maker else None,
            post_only=maker,
        )

    def _price(self, quote: Quote) -> Iterator[Record]:
        """A price: the stop is due when it has come down to it."""
        holding = self.state.holdings.get(quote.symbol)
        if holding is None or holding.stuck or not stop_due(holding, quote):
            return
        resting = [s for s in self.state.orders_on(quote.symbol) if s.order.purpose is Purpose.TARGET]
        if resting:
            # The sale at the target holds the coins; it must be off the book before they can be sold.
            yield self._write(Cancel(resting[0].order.client_id, Purpose.STOP, quote.time))
        else:
            yield from self._leave(quote.symbol, Purpose.STOP, quote.time)

    def _report(self, report: Report) -> Iterator[Record]:
        """What became of an order: book it, then leave what a closed or cancelled order leaves open."""
        before = self.state.order(report.client_id)
        yield self._write(report)
        after = self.state.order(report.client_id)
        if after is before:
            return
        order, symbol = after.order, after.order.symbol
        holding = self.state.holdings.get(symbol)
        if after.status in ENDED and holding is not None and not holding.stuck:
            if order.purpose is Purpose.ENTRY:
                yield from self._leave(symbol, Purpose.TARGET, report.time)
            elif after.status is Status.CANCELED and holding.leaving is Purpose.STOP:
                yield from self._leave(symbol, Purpose.STOP, report.time)

    def _leave(self, symbol: str, purpose: Purpose, time: Time) -> Iterator[Record]:
        """Order the sale of a holding."""
        market = self.plan.markets(symbol, time)
        assert isinstance(market, Market), f"{symbol} was bought under rules that are gone: {market}"
        client_id = self._name()
        order = exit_order(client_id, self.state.holdings[symbol], market, purpose, time)
        yield self._write(Submit(order))

    def _name(self) -> str:
        """The client id of the next order: no other of this run has it, and it has at most 18
        characters (an exchange's limit)."""
        return f"{self.plan.run_id}-{self.state.totals.orders + 1:x}"


def _entry_price(plan: Plan, market: Market, quote: Quote) -> Decimal:
    """A maker waits at the bid; a taker's limit lets the ask slip by the assumed slippage."""
    if plan.entry is Liquidity.MAKER:
        return market.price_down(quote.bid)
    return market.price_up(EXACT.multiply(quote.ask, EXACT.add(Decimal(1), plan.slippage)))
