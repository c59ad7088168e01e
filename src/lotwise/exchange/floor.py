"""Where orders live: from the door through matching to their end, with every entry booked on the way.

Laws: an order is taken only when no rule forbids it and its hold is free; each of its trades is booked on
both sides at once; its end frees what it still holds. What follows from an event (triggers that are
reached, orders that hang on a fill) happens after it, in order of acceptance.
"""

from collections import Counter, deque
from dataclasses import replace
from decimal import Decimal
from functools import partial
from heapq import heappop, heappush
from typing import NamedTuple

from lotwise.domain.market import Liquidity, Market, MarketStatus
from lotwise.domain.orders import (
    Accepted,
    Canceled,
    Expired,
    Fill,
    Order,
    OrderType,
    Purpose,
    Rejected,
    Rejection,
    Status,
    TimeInForce,
)
from lotwise.domain.values import EPOCH, Amount, BadField, Time
from lotwise.exchange import rules
from lotwise.exchange.accounts import Accounts, ClosedOrder
from lotwise.exchange.book import opposite
from lotwise.exchange.booking import OpenOrder, Trade, hold, holding, is_immediate, terms_for
from lotwise.exchange.crowd import Taking
from lotwise.exchange.events import (
    NOT_AT_ONCE,
    PLAIN,
    POST_ONLY_CROSSED,
    SELF_TRADE,
    UNFUNDED,
    Instructions,
    Key,
    Told,
    Triggered,
)
from lotwise.exchange.house import HouseRules
from lotwise.exchange.matching import Arrival, Match, Meeting
from lotwise.exchange.pairs import Pair
from lotwise.exchange.triggers import reached
from lotwise.ledger import postings
from lotwise.ledger.postings import FREE, Entry

NOBODY = Meeting()


class Weighed(NamedTuple):
    """An order may be taken: under these terms, with this set aside, and it would meet so much at once."""

    terms: Market
    reserve: Amount
    meeting: Meeting


class Floor:
    """Pairs, accounts and open orders (in order of acceptance). `issued` counts the ids given out; `now` is
    the latest time it was told."""

    def __init__(self, house: HouseRules, issued: int) -> None:
        self.house = house
        self.issued = issued
        self.now = EPOCH
        self.pairs: dict[str, Pair] = {}
        self.accounts = Accounts(house.kept, house.decimals)
        self.open: dict[Key, OpenOrder] = {}
        self.keys: dict[str, Key] = {}
        """Of the open orders, by venue id."""
        self.counts: Counter[tuple[str, str]] = Counter()
        self._due: list[tuple[Time, int, Key]] = []
        self._told: list[Told] = []
        self._parents: deque[tuple[Key, OpenOrder, Fill]] = deque()

    def pair(self, symbol: str) -> Pair:
        """The pair; BadField when it is not listed."""
        pair = self.pairs.get(symbol)
        if pair is None:
            raise BadField("symbol", f"{symbol} is not listed")
        return pair

    def issue(self, letter: str) -> str:
        """The next id."""
        self.issued += 1
        return f"{letter}{self.issued}"

    def tell(self, account: str, report: Accepted | Rejected | Fill | Canceled | Expired) -> None:
        """Let the account hear a report."""
        self._told.append((account, report))
        self.accounts.tell(account, report)

    def heard(self) -> list[Told]:
        """What was told since this was last asked."""
        told, self._told = self._told, []
        return told

    def terms(self, account: str, order: Order) -> Market:
        """The rules of the order's pair with this account's fees."""
        market = self.pairs[order.symbol].market
        if self.house.fees is not None:
            market = self.house.fees(account, market, self.accounts.history(account).volume(self.now))
        return terms_for(order, market)

    def weigh(
        self, account: str, order: Order, instructions: Instructions, replacing: Key | None = None
    ) -> Rejection | Weighed:
        """On what terms the order would be taken now; or why it may not be. As if the one that it replaces
        were gone; changes nothing."""
        key, replaced = (account, order.client_id), None if replacing is None else self.open[replacing]
        if order.symbol not in self.pairs:
            return rules.unknown_pair(order.symbol)
        if key in self.open and key != replacing:
            return rules.name_in_use(order.client_id)
        broken = rules.broken_rule(self.pairs[order.symbol].request(order))
        if broken is not None:
            return broken
        most, count = self.house.max_open_orders, self.counts[account, order.symbol]
        if (
            most is not None
            and count - (replaced is not None and replaced.order.symbol == order.symbol) >= most
        ):
            return rules.too_many_orders(order.symbol, most)
        terms = self.terms(account, order)
        meeting = NOBODY
        if not order.type.has_trigger:
            arrival = Arrival(account, order, order.quantity, terms, instructions.self_trade)
            meeting = self.pairs[order.symbol].matcher.meet(arrival)
        reserve = hold(order, terms, meeting.trades)
        free = self.accounts.ledger(account).free(reserve.asset)
        if replaced is not None and replaced.held.asset == free.asset:
            free += replaced.held
        return rules.short_of_funds(reserve, free) or Weighed(terms, reserve, meeting)

    def meet(self, account: str, waiting: OpenOrder) -> Meeting:
        """What the rest of an order would trade at once: nothing while it sleeps."""
        order = waiting.order
        if waiting.sleeps:
            return NOBODY
        how = waiting.instructions.self_trade
        arrival = Arrival(account, order, waiting.rest, waiting.terms, how)
        return self.pairs[order.symbol].matcher.meet(arrival)

    def place(
        self, account: str, order: Order, instructions: Instructions, parent: str | None = None
    ) -> None:
        """Take an order or reject it, and see to what follows at once (but not to what follows from that)."""
        weighed = self.weigh(account, order, instructions)
        if isinstance(weighed, Rejection):
            self.tell(account, Rejected(order.client_id, weighed, self.now))
            return
        key, held = (account, order.client_id), holding(order, weighed.reserve)
        waiting = OpenOrder(
            held, weighed.terms, self.issue("O"), self.now, instructions=instructions, parent=parent
        )
        self.accounts.post(account, postings.reserve(waiting.order))
        self.enter(key, waiting)
        self.tell(account, Accepted(order.client_id, waiting.venue_id, self.now))
        if order.expires is not None and order.expires <= self.now:
            self.expire(key, self.now)
        elif waiting.sleeps:
            self.sleep(key)
        else:
            self.arrive(key, weighed.meeting)

    def sleep(self, key: Key) -> None:
        """Let an order wait for its trigger, or wake when that is reached already."""
        waiting = self.open[key]
        pair = self.pairs[waiting.order.symbol]
        if pair.last is not None and reached(waiting.order, pair.last):
            pair.woken.append(key)
        else:
            pair.triggers.add(waiting.order, waiting.number, key)

    def enter(self, key: Key, waiting: OpenOrder) -> None:
        """Count an order among the open ones."""
        self.open[key] = waiting
        self.keys[waiting.venue_id] = key
        self.counts[key[0], waiting.order.symbol] += 1
        if waiting.order.expires is not None:
            heappush(self._due, (waiting.order.expires, waiting.number, key))

    def arrive(self, key: Key, meeting: Meeting) -> None:
        """Let an order trade what it meets, and let the rest wait or end."""
        waiting = self.open[key]
        order, pair = waiting.order, self.pairs[waiting.order.symbol]
        if order.post_only and meeting.crosses:
            self.cancel(key, POST_ONLY_CROSSED)
            return
        if order.time_in_force is TimeInForce.FOK and meeting.quantity < waiting.rest:
            self.cancel(key, NOT_AT_ONCE)
            return
        for displaced in meeting.displaced:
            self.cancel(displaced, SELF_TRADE)
        for match in meeting.matches:
            self.trade(key, match)
        if key not in self.open:
            return
        if meeting.stopped:
            self.cancel(key, SELF_TRADE)
        elif is_immediate(order):
            self.cancel(key, NOT_AT_ONCE)
        else:
            pair.matcher.rest(key, self.open[key], self.now)

    def trade(self, key: Key, match: Match) -> None:
        """Book a match of an arriving order on both sides."""
        order = self.open[key].order
        pair = self.pairs[order.symbol]
        pair.matcher.trade(match, self.now)
        self.fill(key, match.trade, match.maker is None)
        if match.maker is not None:
            self.fill(match.maker, match.trade._replace(liquidity=Liquidity.MAKER), False)
        type = OrderType.LIMIT if order.type.has_limit else OrderType.MARKET
        pair.print(match, order.side, type, key, self.now)

    def crowd_takes(self, pair: Pair, taking: Taking) -> int:
        """Let one of the crowd trade at once with whoever waits; the lots it got."""
        matcher, got = pair.matched_by_book, 0
        matcher.book.time = self.now
        for hit in matcher.book.take(taking.side, taking.lots, taking.limit):
            got += hit.lots
            match = matcher.match(hit.resting, hit.lots, Liquidity.MAKER)
            if match.maker is not None:
                self.fill(match.maker, match.trade, True)
            pair.print(match, taking.side, taking.type, None, self.now)
        self.follow_up()
        return got

    def crowd_steps(self, pair: Pair, due: Time) -> None:
        """Let a pair's crowd make the step that is due now, if it is. It lives while the pair is online."""
        crowd = pair.crowd
        if crowd is None or crowd.due != due:
            return
        if pair.status is not MarketStatus.ONLINE:
            crowd.skip()
            return
        crowd.step(pair.matched_by_book, partial(self.crowd_takes, pair))

    def fill(self, key: Key, trade: Trade, with_crowd: bool) -> None:
        """Book one side of a trade."""
        waiting = self.open[key]
        fill = waiting.book(trade, self.issue("T"), self.now)
        self.accounts.settle(key[0], waiting.venue_id, fill, with_crowd)
        waiting = self.open[key] = replace(waiting, fills=(*waiting.fills, fill))
        self.tell(key[0], fill)
        if waiting.instructions.closing is not None:
            self._parents.append((key, waiting, fill))
        if not waiting.rest:
            self._end(key, Status.FILLED, "")

    def cancel(self, key: Key, why: str) -> None:
        """End an order before it is filled."""
        self._end(key, Status.CANCELED, why)
        self.tell(key[0], Canceled(key[1], why, self.now))

    def expire(self, key: Key, when: Time) -> None:
        """End an order because its time is over."""
        self._end(key, Status.EXPIRED, "")
        self.tell(key[0], Expired(key[1], when))

    def expire_until(self, time: Time) -> None:
        """End the orders whose time is over by then, each at its own time."""
        while self._due and self._due[0][0] <= time:
            due, number, key = heappop(self._due)
            if key in self.open and self.open[key].number == number:
                self.now = max(self.now, due)
                self.expire(key, due)

    def follow_up(self) -> None:
        """What follows from all that happened, until nothing does: every order wakes once and an order that
        hangs on a fill has none hanging on its own, so this ends."""
        while True:
            for pair in self.pairs.values():
                if pair.woken:
                    self._wake(pair.woken.popleft())
                    break
            else:
                if not self._parents:
                    return
                self._place_closing(*self._parents.popleft())

    def wake(self, key: Key) -> None:
        """Wake an order whose trigger was met otherwise than by a trade."""
        waiting = self.open[key]
        self.pairs[waiting.order.symbol].triggers.remove(waiting.order, waiting.number, key)
        self._wake(key)

    def _wake(self, key: Key) -> None:
        waiting = self.open[key] = replace(self.open[key], triggered=True)
        self.accounts.tell(key[0], Triggered(key[1], self.now))
        meeting = self.meet(key[0], waiting)
        if waiting.order.price is None and not self.hold_anew(key, meeting):
            self.cancel(key, UNFUNDED)
            return
        self.arrive(key, meeting)

    def hold_anew(self, key: Key, meeting: Meeting) -> bool:
        """Set aside what an unfilled market order takes now that it is known; False when it is not free."""
        waiting = self.open[key]
        needed = hold(waiting.order, waiting.terms, meeting.trades)
        more = needed - waiting.order.reserve
        ledger = self.accounts.ledger(key[0])
        if more.number > ledger.free(more.asset).number:
            return False
        self.accounts.post(key[0], Entry(postings.move(more, FREE, postings.held(key[1]))))
        self.open[key] = replace(waiting, order=replace(waiting.order, reserve=needed))
        return True

    def _place_closing(self, key: Key, parent: OpenOrder, fill: Fill) -> None:
        closing, order = parent.instructions.closing, parent.order
        assert closing is not None
        profit = closing.type in (OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT)
        child = Order(
            f"{order.client_id}/{len(parent.fills)}",
            order.symbol,
            opposite(order.side),
            closing.type,
            fill.quantity,
            closing.price,
            Amount(Decimal(0), parent.terms.quote),
            Purpose.STOP if closing.type.has_trigger and not profit else Purpose.TARGET,
            self.now,
            fee_asset=order.fee_asset,
            trigger=closing.trigger,
        )
        self.place(key[0], child, PLAIN, parent.venue_id)

    def _end(self, key: Key, status: Status, why: str) -> None:
        ended = self.open.pop(key)
        del self.keys[ended.venue_id]
        account, pair = key[0], self.pairs[ended.order.symbol]
        self.counts[account, ended.order.symbol] -= 1
        if ended.sleeps and key not in pair.woken:
            pair.triggers.remove(ended.order, ended.number, key)
        pair.matcher.leave(ended, self.now)
        self.accounts.post(account, postings.release(self.accounts.ledger(account), ended.order))
        self.accounts.close(account, ClosedOrder(ended, status, why, self.now))
