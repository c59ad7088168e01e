"""The engine: `handle(event)` is the one function to read. It decides, applies its own records to
the state, and returns them to be written down; Submit and Cancel among them are for the venue."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from lotwise.domain.allocation import Candidate, Crowded, allocate
from lotwise.domain.market import Candle, Liquidity, Market, Quote
from lotwise.domain.orders import (
    ENDED,
    Accepted,
    Fill,
    Opportunity,
    Order,
    OrderType,
    Purpose,
    Rejected,
    RejectionKind,
    Report,
    TimeInForce,
    after,
)
from lotwise.domain.sizing import Refused, Sized, least_sellable
from lotwise.domain.values import EXACT, Amount, Side, Time
from lotwise.engine.checks import LADDER, STANDING, Wish, busy_pairs, climb, edge, share_rung
from lotwise.engine.exits import at_once, exit_prices
from lotwise.engine.fold import impossible, lent
from lotwise.engine.plan import Plan
from lotwise.engine.records import (
    Awaited,
    Compared,
    Corrected,
    Decided,
    Deposited,
    Elapsed,
    Event,
    Impossible,
    Learned,
    Listed,
    Marked,
    MarketUpdate,
    Panic,
    Passed,
    Record,
    Repeated,
    Rescue,
    Restricted,
    Rung,
    Skip,
    Submit,
    Trading,
    Try,
    Unexplained,
)
from lotwise.engine.seller import Seller
from lotwise.engine.state import State
from lotwise.engine.targets import risk_target
from lotwise.markets import taught_by_acceptance, taught_by_refusal

DAY = 86_400_000
SETTLING = 10_000
"""Milliseconds after a fill in which a refused sale proves nothing (Kraken, observed 2026-09-11)."""

MINIMUMS = (RejectionKind.MIN_QUANTITY, RejectionKind.MIN_NOTIONAL)


@dataclass(frozen=True, slots=True)
class Climbed:
    """A wish after its checks: which attempt it is, the rungs it climbed, the reason of the first no."""

    wish: Wish
    attempt: int
    rungs: tuple[Rung, ...]
    reason: Skip | None

    @property
    def candidate(self) -> Candidate:
        """The wish as one of those that share the balance."""
        wish = self.wish
        assert self.reason is None and isinstance(wish.rules, Market), f"{wish.opportunity} was refused"
        policy, target = wish.plan.policies[wish.opportunity.symbol], risk_target(wish)
        if target is not None:
            # A target of nothing refuses every order, as a quote unit does.
            policy = replace(policy, risk_target=max(target, wish.rules.quote_unit))
        return Candidate(wish.opportunity, wish.rules, policy, edge(wish))


class Engine(Seller):
    """Joins market, wishes, sizing, orders and ledger. Everything it knows is its state, what it sees,
    how often each refusal came again since that was last written down (`repeats`: count, last), and whether
    its books were `compared` with the exchange's since the program began; before that nothing is entered."""

    def __init__(
        self,
        plan: Plan,
        state: State,
        quotes: Mapping[str, Quote],
        highs: Mapping[str, Decimal] | None = None,
        repeats: Mapping[str, tuple[int, Time]] | None = None,
    ) -> None:
        super().__init__(plan, state, quotes, highs or {})
        self.compared: Callable[[], bool] = lambda: True
        self._repeats = dict(repeats or {})
        self._lies: set[str] = set()

    def handle(self, event: Event) -> list[Record]:
        """All records that follow from one event, already folded into the state, in order."""
        match event:
            case MarketUpdate():
                source = self._moment(event)
            case Passed():
                source = self._passed(event)
            case Quote():
                source = self._price(event)
            case Listed():
                source = self._rules_told(event)
            case Deposited():
                source = self._moved(event)
            case Compared():
                source = self._compared(event)
            case Restricted() | Unexplained() | Impossible():
                source = iter([self._write(event)])
            case Panic():
                source = self._panic(event)
            case Rescue():
                source = self._rescue(event)
            case Elapsed():
                source = self._resize(event.time)
            case _:
                source = self._report(event)
        return list(source)

    def awaits(self, now: Time) -> Awaited:
        """What could change the state after this moment."""
        today = [(s, e.reason) for s, e in self.state.episodes.items() if e.last // DAY == now // DAY]
        deaf = [symbol for symbol, reason in today if self._standing(symbol, now) == reason]
        return self.awaited(now, frozenset(deaf))

    def close(self) -> list[Record]:
        """The end of the feed: what was counted is written down."""
        return list(self._write_repeats(*self._repeats))

    def mark(self, time: Time) -> Record:
        """Write down what all is worth at the last prices."""
        return self._write(Marked(time, self.equity(), self.prices()))

    def _passed(self, passed: Passed) -> Iterator[Record]:
        """Silent bars: their highest price counts for a trail, their wishes were refused as before."""
        symbol = passed.candle.symbol
        self.saw(symbol, passed.candle.date, passed.high)
        if passed.quote is not None:
            self.quotes = {**self.quotes, symbol: passed.quote}
        if passed.wishes:
            self._count(symbol, passed.wishes, passed.last_wish)
        yield from ()

    def _moment(self, update: MarketUpdate) -> Iterator[Record]:
        """A bar has closed: mark after trades and at day boundaries, leave what is to be left, then
        answer each wish, the surest first."""
        self.quotes = update.quotes
        last = self.state.marked
        new_day = last is not None and update.time // DAY > last.time // DAY
        if new_day:
            yield from self._write_repeats(*self._repeats, time=update.time)
        if last is None or self.state.traded_since_mark or new_day:
            yield self.mark(update.time)
        yield from self._cancel_again(update.time)
        for symbol, holding in list(self.state.holdings.items()):
            candle = update.candles.get(symbol)
            if candle is not None:  # else there is no price of this moment to sell at
                self.saw(symbol, candle.date, candle.high)
            if candle is not None and self.state.trading is not Trading.HALTED:
                yield from self._tend(symbol, holding, update)
        climbed = [
            self._climb(update, symbol, -confidence, attempt)
            for confidence, symbol, attempt in sorted(self._wishes(update))
        ]
        yield from self._share(climbed)

    def _wishes(self, update: MarketUpdate) -> Iterator[tuple[float, str, int]]:
        """(confidence below 0, pair, attempt): what the strategy says now, and what was tried in vain."""
        fresh = {s for s, sure in update.signals.items() if sure > 0 and s in update.candles}
        fresh &= self.plan.policies.keys()  # else a pair is watched for what is still held there
        for symbol in fresh:
            yield -update.signals[symbol], symbol, 0
        for symbol in self.chased():
            if symbol in update.candles and symbol in self.plan.policies and symbol not in fresh:
                unfilled = self.state.unfilled[symbol]
                yield -unfilled.confidence, symbol, unfilled.attempts

    def _climb(self, update: MarketUpdate, symbol: str, confidence: float, attempt: int) -> Climbed:
        """One wish up the ladder of checks."""
        plan, rules, quote = self.plan, self.rules(symbol, update.time), update.quotes.get(symbol)
        price, liquidity = update.candles[symbol].close, plan.liquidity(attempt)
        if isinstance(rules, Market) and quote is not None:
            price = entry_price(plan, liquidity, rules, quote)
        opportunity = Opportunity(symbol, price, liquidity, update.time, confidence)
        candle, swing = update.candles[symbol], update.swings.get(symbol, 0.0)
        seen = (opportunity, candle, rules, quote, self.state, plan, self.equity(), self.status(symbol))
        wish = Wish(*seen, swing, self.compared())
        return Climbed(wish, attempt, *climb(wish, LADDER))

    def _standing(self, symbol: str, now: Time) -> Skip | None:
        """Why every wish of a pair is refused until the state, the rules or a limit's time changes."""
        plan, nothing, soon = self.plan, Decimal(0), Time(now + self.plan.bar)
        opportunity = Opportunity(symbol, nothing, plan.liquidity(0), soon)
        candle = Candle(symbol, now, nothing, nothing, nothing, nothing, nothing)
        rules = self.rules(symbol, soon)
        seen = (opportunity, candle, rules, None, self.state, plan, nothing, self.status(symbol))
        wish = Wish(*seen, compared=self.compared())
        return climb(wish, STANDING)[1]

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
            told = Decided(*head, rungs=one.rungs, reason=one.reason, attempt=one.attempt)
            if one.reason is not None:
                yield from self._refuse(told)
                continue
            answer = next(answers)
            told = replace(told, rungs=(*one.rungs, share_rung(answer, free)))
            if isinstance(answer, Refused):
                yield from self._refuse(replace(told, reason=answer.reason, needed=answer.needed))
            elif isinstance(answer, Crowded):
                reason = Skip.MAX_OPEN_TRADES if answer.needed is None else Skip.CROWDED
                yield from self._refuse(replace(told, reason=reason, needed=answer.needed))
            else:
                yield from self._enter(one, answer, told)

    def _refuse(self, told: Decided) -> Iterator[Record]:
        """A no: written down in full when it is another than the pair's last one of the day, else counted."""
        episode = self.state.episodes.get(told.symbol)
        assert told.reason is not None, f"{told} is no refusal"
        again = episode is not None and (episode.reason, episode.last // DAY) == (
            told.reason,
            told.time // DAY,
        )
        if again and not told.attempt:
            self._count(told.symbol, 1, told.time)
            return
        yield from self._write_repeats(told.symbol, time=told.time)
        yield self._write(told)

    def _count(self, symbol: str, wishes: int, last: Time) -> None:
        self._repeats[symbol] = self._repeats.get(symbol, (0, last))[0] + wishes, last

    def _write_repeats(self, *symbols: str, time: Time | None = None) -> Iterator[Record]:
        """Write down how often the last refusals of these pairs came again."""
        for symbol in sorted(symbols):
            count, last = self._repeats.pop(symbol, (0, self.state.time))
            if count:
                reason = self.state.episodes[symbol].reason
                now = max(self.state.time, last) if time is None else time
                yield self._write(Repeated(symbol, reason, count, last, now))

    def _enter(self, one: Climbed, size: Sized, decided: Decided) -> Iterator[Record]:
        """The order of a wish that got its share."""
        yield from self._write_repeats(decided.symbol, time=decided.time)
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
        order = self._entry_order(client_id, one.candidate, size, stop)
        entry = Try(stop, target, decided.confidence, decided.attempt)
        yield self._write(Submit(order, decided.number, entry))

    def _entry_order(self, client_id: str, candidate: Candidate, size: Sized, stop: Decimal) -> Order:
        """A maker entry rests for its lifetime and never takes; a taker entry never rests, and fills whole
        or not at all when half of it could not be sold again."""
        wish, market = candidate.opportunity, candidate.market
        maker = wish.liquidity is Liquidity.MAKER
        least = least_sellable(market, stop, candidate.policy.exit_headroom)
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
            time_in_force=TimeInForce.GTD if maker else at_once(size.quantity, least),
            expires=Time(wish.time + self.plan.entry_lifetime) if maker else None,
            post_only=maker,
        )

    def _report(self, report: Report) -> Iterator[Record]:
        """What became of an order: book it, learn from it, then leave what it leaves open."""
        why = impossible(self.state, report)
        if why is not None:
            if str(report) not in self._lies:
                self._lies.add(str(report))
                yield self._write(Impossible(str(report), why, report.time))
            return
        before = self.state.order(report.client_id)
        if after(before, report) is before:
            return
        if (more := lent(self.state, report)) is not None:
            yield self._write(more)
        yield self._write(report)
        now = self.state.order(report.client_id)
        if isinstance(report, Rejected | Accepted):
            yield from self._learn(now.order, report)
        holding = self.state.holdings.get(now.order.symbol)
        if isinstance(report, Fill):
            yield from self._filled(now, report.time)
        if now.status in ENDED and before.status not in ENDED and holding is not None:
            yield from self._ended(now, holding, report.time)

    def _learn(self, order: Order, report: Rejected | Accepted) -> Iterator[Record]:
        """An order's answer as evidence on the pair's minimums, where it is some."""
        symbol, known = order.symbol, self.state.evidence.get(order.symbol)
        quote = self.quotes.get(symbol)
        price = order.price or order.trigger or (quote.bid if quote is not None else None)
        if price is None:
            return  # a market order while no price is known teaches nothing of costs
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

    def _moved(self, moved: Deposited) -> Iterator[Record]:
        """Money came or left without our doing."""
        yield self._write(self._too_much(moved.amount, moved.time) or moved)

    def _compared(self, told: Compared) -> Iterator[Record]:
        """What was free when the books were compared may be held for an order by now: then they are
        compared again."""
        moves: tuple[Corrected | Deposited, ...] = (*told.corrected, *told.left)
        sums: dict[str, Amount] = {}
        for move in moves:
            asset = move.amount.asset
            sums[asset] = move.amount + sums.get(asset, Amount(Decimal(0), asset))
        short = [no for moved in sums.values() if (no := self._too_much(moved, moves[0].time))]
        if short:
            yield from map(self._write, short)
            return
        yield from map(self._write, told.records)
        for asset in sums:
            symbol = f"{asset}/{self.plan.quote}"
            if symbol in self.state.holdings:  # what is there now may be sold
                yield from self._free(symbol, self.state.time)

    def _too_much(self, moved: Amount, time: Time) -> Unexplained | None:
        """More than was free cannot have left, unless the exchange's books are not ours."""
        left = self.state.ledger.free(moved.asset) + moved
        if left.number >= 0:
            return None
        return Unexplained(left, f"{-moved} left, but only {left - moved} was free here", time)


def entry_price(plan: Plan, liquidity: Liquidity, market: Market, quote: Quote) -> Decimal:
    """A maker waits at the bid; a taker's limit lets the ask slip by the assumed slippage."""
    if liquidity is Liquidity.MAKER:
        return market.price_down(quote.bid)
    return market.price_up(EXACT.multiply(quote.ask, EXACT.add(Decimal(1), plan.slippage)))
