"""The engine: `handle(event)` is the one function to read. It decides, applies its own records to
the state, and returns them to be written down; Submit and Cancel among them are for the venue."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from lotwise.domain.allocation import Candidate, Crowded, allocate
from lotwise.domain.market import Liquidity, Market, Quote
from lotwise.domain.orders import (
    ENDED,
    Accepted,
    Opportunity,
    Order,
    OrderType,
    Purpose,
    Rejected,
    RejectionKind,
    Report,
    Status,
    TimeInForce,
)
from lotwise.domain.sizing import Refused, Sized
from lotwise.domain.values import EXACT, Amount, Side, Time, plain
from lotwise.engine.checks import Wish, busy_pairs, climb, edge, share_rung
from lotwise.engine.exits import exit_order, exit_prices, stop_due, time_due
from lotwise.engine.plan import Plan
from lotwise.engine.records import (
    Cancel,
    Decided,
    Event,
    Learned,
    Listed,
    Marked,
    MarketUpdate,
    Record,
    Rung,
    Skip,
    Stranded,
    Submit,
)
from lotwise.engine.state import State, apply
from lotwise.markets import UnknownMarket, raised, taught_by_acceptance, taught_by_refusal

DAY = 86_400_000
SETTLING = 10_000
"""Milliseconds after a fill in which a refused sale proves nothing (Kraken, observed 2026-09-11)."""

EXIT_TRIES = 3
"""A sale that was refused so often is not tried again before a person looks."""

MINIMUMS = (RejectionKind.MIN_QUANTITY, RejectionKind.MIN_NOTIONAL)


@dataclass(frozen=True, slots=True)
class Climbed:
    """A wish after its checks: the rungs it climbed, and the reason of the first no."""

    wish: Wish
    rungs: tuple[Rung, ...]
    reason: Skip | None

    @property
    def candidate(self) -> Candidate:
        """The wish as one of those that share the balance."""
        wish = self.wish
        assert self.reason is None and isinstance(wish.rules, Market), f"{wish.opportunity} was refused"
        policy = wish.plan.policies[wish.opportunity.symbol]
        return Candidate(wish.opportunity, wish.rules, policy, edge(wish))


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
            case Listed():
                source = self._rules_told(event)
            case _:
                source = self._report(event)
        return list(source)

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

    def stops(self) -> dict[str, Decimal]:
        """The prices the engine waits for, by pair: reaching one is an event it wants to see."""
        waiting = self.state.holdings.items()
        return {symbol: h.stop for symbol, h in waiting if h.leaving is None and not h.stuck}

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
        for symbol, holding in list(self.state.holdings.items()):
            if symbol not in update.candles:
                continue  # no price of this moment to sell at
            yield from self._free(symbol, update.time)
            if time_due(holding, self.plan.max_hold, update.time) and not holding.stuck:
                yield from self._at_once(symbol, Purpose.TIME, update.time)
        wishes = [
            (-confidence, symbol)
            for symbol, confidence in update.signals.items()
            if confidence > 0 and confidence >= self.plan.min_confidence and symbol in update.candles
        ]
        climbed = [self._climb(update, symbol, -confidence) for confidence, symbol in sorted(wishes)]
        yield from self._share(climbed)

    def _climb(self, update: MarketUpdate, symbol: str, confidence: float) -> Climbed:
        """One wish up the ladder of checks."""
        plan, rules, quote = self.plan, self.rules(symbol, update.time), update.quotes.get(symbol)
        price = update.candles[symbol].close
        if isinstance(rules, Market) and quote is not None:
            price = entry_price(plan, rules, quote)
        opportunity = Opportunity(symbol, price, plan.entry, update.time, confidence)
        wish = Wish(opportunity, update.candles[symbol], rules, quote, self.state, plan, self.equity())
        return Climbed(wish, *climb(wish))

    def _share(self, climbed: list[Climbed]) -> Iterator[Record]:
        """All wishes of a moment on one balance: orders for those that it is shared to, and for each
        other the reason why not."""
        plan, state = self.plan, self.state
        free = state.ledger.free(plan.quote)
        candidates = [one.candidate for one in climbed if one.reason is None]
        slots = max(0, plan.max_open_trades - len(busy_pairs(state)))
        answers = iter(allocate(candidates, free, slots))
        for one in climbed:
            wish, number = one.wish.opportunity, state.decisions + 1
            head = (number, wish.time, wish.symbol, wish.price, wish.liquidity, wish.confidence, free.number)
            if one.reason is not None:
                yield self._write(Decided(*head, rungs=one.rungs, reason=one.reason))
                continue
            answer = next(answers)
            rungs = (*one.rungs, share_rung(answer, free))
            if isinstance(answer, Refused):
                yield self._write(Decided(*head, rungs=rungs, reason=answer.reason, needed=answer.needed))
            elif isinstance(answer, Crowded):
                reason = Skip.MAX_OPEN_TRADES if answer.needed is None else Skip.CROWDED
                yield self._write(Decided(*head, rungs=rungs, reason=reason, needed=answer.needed))
            else:
                yield from self._enter(one, answer, Decided(*head, rungs=rungs, reason=None))

    def _enter(self, one: Climbed, size: Sized, decided: Decided) -> Iterator[Record]:
        """The order of a wish that got its share."""
        client_id, market = self._name(), one.candidate.market
        yield self._write(
            replace(
                decided,
                quantity=size.quantity,
                notional=size.notional,
                bound=size.bound,
                client_id=client_id,
            )
        )
        stop, target = exit_prices(market, decided.price, self.plan.stop, self.plan.target)
        order = self._entry_order(client_id, one.wish.opportunity, size)
        yield self._write(Submit(order, decision=decided.number, stop=stop, target=target))

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
        self.quotes = {**self.quotes, quote.symbol: quote}
        holding = self.state.holdings.get(quote.symbol)
        if holding is None or holding.stuck or not stop_due(holding, quote):
            return
        yield from self._at_once(quote.symbol, Purpose.STOP, quote.time)

    def _at_once(self, symbol: str, purpose: Purpose, time: Time) -> Iterator[Record]:
        """Sell now. The sale at the target holds the coins: it must be off the book first, unless it
        is the only sale that the rules still allow."""
        resting = [s for s in self.state.orders_on(symbol) if s.order.purpose is Purpose.TARGET]
        why = self._unsellable(symbol, purpose, time)
        if resting and why is not None:
            quantity = self.state.holdings[symbol].position.quantity
            yield self._write(Stranded(symbol, quantity, f"only the resting target is left: {why}", time))
        elif resting:
            yield self._write(Cancel(resting[0].order.client_id, purpose, time))
        else:
            yield from self._leave(symbol, purpose, time)

    def _report(self, report: Report) -> Iterator[Record]:
        """What became of an order: book it, learn from it, then leave what it leaves open."""
        before = self.state.order(report.client_id)
        yield self._write(report)
        after = self.state.order(report.client_id)
        if after is before:
            return
        order, symbol = after.order, after.order.symbol
        if isinstance(report, Rejected | Accepted):
            yield from self._learn(order, report)
        holding = self.state.holdings.get(symbol)
        if after.status in ENDED and holding is not None and not holding.stuck:
            if order.purpose is Purpose.ENTRY:
                yield from self._leave(symbol, Purpose.TARGET, report.time)
            elif after.status is Status.CANCELED and holding.leaving is not None:
                yield from self._leave(symbol, holding.leaving, report.time)

    def _learn(self, order: Order, report: Rejected | Accepted) -> Iterator[Record]:
        """An order's answer as evidence on the pair's minimums, where it is some."""
        symbol, known = order.symbol, self.state.evidence.get(order.symbol)
        price = order.price or self.quotes[symbol].bid
        notional = EXACT.multiply(price, order.quantity)
        if isinstance(report, Accepted):
            left = known and taught_by_acceptance(known, order.quantity, notional)
            if left != known:
                yield self._write(Learned(symbol, left, report.time))
        elif report.rejection.kind in MINIMUMS and not self._just_filled(symbol, report.time):
            listed = self.rules(symbol, report.time)
            assert isinstance(listed, Market), f"{symbol} was ordered without rules"
            taught = taught_by_refusal(
                known, report.rejection.kind, order.quantity, notional, (listed, report.time)
            )
            yield self._write(Learned(symbol, taught, report.time))

    def _just_filled(self, symbol: str, time: Time) -> bool:
        """Whether coins of this pair came so lately that the exchange may not yet count them."""
        holding = self.state.holdings.get(symbol)
        return holding is not None and time - holding.filled < SETTLING

    def _rules_told(self, told: Listed) -> Iterator[Record]:
        """New rules: what was stuck under the old ones may be sellable now."""
        yield self._write(told)
        symbol = told.listing.symbol
        if symbol in self.state.holdings:
            yield from self._free(symbol, told.time)

    def _free(self, symbol: str, time: Time) -> Iterator[Record]:
        """Leave what is stuck, if the rules now allow it and it was not refused too often."""
        holding = self.state.holdings[symbol]
        purpose = holding.leaving or Purpose.TARGET
        waits = holding.refusals >= EXIT_TRIES or holding.refused == time or self.state.orders_on(symbol)
        if holding.stuck and not waits and self._unsellable(symbol, purpose, time) is None:
            yield from self._leave(symbol, purpose, time)

    def _leave(self, symbol: str, purpose: Purpose, time: Time) -> Iterator[Record]:
        """Order the sale of a holding, or say why that cannot be."""
        market, holding = self.rules(symbol, time), self.state.holdings[symbol]
        why = self._unsellable(symbol, purpose, time)
        if isinstance(market, Market) and why is None:
            yield self._write(Submit(exit_order(self._name(), holding, market, purpose, time)))
        else:
            yield self._write(Stranded(symbol, holding.position.quantity, why or "no rules", time))

    def _unsellable(self, symbol: str, purpose: Purpose, time: Time) -> str | None:
        """Which minimum a holding falls below under the rules in force; None: it can be sold."""
        market, holding = self.rules(symbol, time), self.state.holdings[symbol]
        if not isinstance(market, Market):
            return f"no rules: {market.remedy}"
        quantity, quote = holding.position.quantity, self.quotes.get(symbol)
        if quantity < market.min_quantity:
            return f"{plain(quantity)} {market.base} is below the minimum of {plain(market.min_quantity)}"
        price = quote.bid if quote and purpose is not Purpose.TARGET else holding.target
        worth = EXACT.multiply(quantity, price)
        if worth < market.min_notional:
            return f"{plain(worth)} {market.quote} is below the minimum of {plain(market.min_notional)}"
        return None

    def _name(self) -> str:
        """The client id of the next order: no other of this run has it, and it has at most 18
        characters (an exchange's limit)."""
        return f"{self.plan.run_id}-{self.state.totals.orders + 1:x}"


def renewed(market: Market, told: Listed) -> Market:
    """The market with what the exchange told of it since."""
    return replace(
        market,
        tick_size=told.listing.tick_size,
        lot_step=told.listing.lot_step,
        min_quantity=told.listing.min_quantity,
        min_notional=told.listing.min_notional,
        max_quantity=told.listing.max_quantity,
        maker_fee=told.maker_fee,
        taker_fee=told.taker_fee,
    )


def entry_price(plan: Plan, market: Market, quote: Quote) -> Decimal:
    """A maker waits at the bid; a taker's limit lets the ask slip by the assumed slippage."""
    if plan.entry is Liquidity.MAKER:
        return market.price_down(quote.bid)
    return market.price_up(EXACT.multiply(quote.ask, EXACT.add(Decimal(1), plan.slippage)))
