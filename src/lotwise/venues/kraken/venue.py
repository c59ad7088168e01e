"""Orders on Kraken: sent once, and when no answer proves their fate, looked up until something does.

Laws (docs/live.md): an intent is on disk before its first byte leaves; only an error that proves it means
that an order was not taken; what is unknown stays unknown until evidence ends it: the order is found, or
its deadline has passed and two complete look-ups, `CLOSED_ORDERS_LAG` apart, find nothing anywhere.
Filled quantities come from trades, never from a status.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from lotwise.domain.market import FeeAsset
from lotwise.domain.orders import (
    ENDED,
    Accepted,
    Canceled,
    Expired,
    Order,
    OrderState,
    OrderType,
    ProvenAbsent,
    Purpose,
    Rejected,
    Rejection,
    RejectionKind,
    Sent,
    Status,
    TimedOut,
    TimeInForce,
)
from lotwise.domain.values import EXACT, Time
from lotwise.engine.records import Cancel, Command, Event, Impossible, Submit
from lotwise.engine.state import State
from lotwise.kraken.errors import rejection_of
from lotwise.kraken.rest_account import CANCELED, CLOSED, EXPIRED, OrderFate
from lotwise.kraken.rest_orders import order_parameters
from lotwise.venues.kraken.account import Account, Lists, fill_of
from lotwise.venues.kraken.pace import Pace
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest, TooLate

DEADLINE = 5_000
"""Milliseconds after its sending within which Kraken takes an order, or never does."""

CLOSED_ORDERS_LAG = 30_000
"""Assumed bound on how late Kraken's lists of ended orders and trades may be, in milliseconds."""

FRESH = 15_000
"""Milliseconds after its decision within which an entry is sent, or not at all: its price grows old."""

LOOK_AFTER = (2.0, 3.0, 5.0)
LOOK_EVERY = 20.0
"""Seconds between look-ups of an unknown order: the first ones, then each."""

AT_ONCE = (TimeInForce.IOC, TimeInForce.FOK)

OVERDUE = 5_000
"""Milliseconds after the expiry of an order by which its end should have been heard of."""

MARGIN = 60_000
"""Milliseconds before an order was made from which on it is searched: clocks may differ."""

UNDECIDED = frozenset({Status.INTENDED, Status.SENT, Status.UNKNOWN})

Put = Callable[[list[Event]], None]


@dataclass(slots=True)
class Sought:
    """An order that is searched for: until when Kraken may still take it, since when it is absent, and
    whether it is to be off the book."""

    order: Order
    deadline: Time
    leaves: bool
    absent_at: Time | None = None


class KrakenVenue:
    """Carries out commands on Kraken. `state` is the engine's, read here and never changed; what is learned
    later is put where the loop takes its events. pace: of an account on the lowest level, if not told."""

    def __init__(
        self, rest: Rest, clock: Callable[[], Time], state: State, put: Put, pace: Pace | None = None
    ) -> None:
        self.account = Account(rest)
        self._urgent = Account(rest, urgent=True)
        self._rest = rest
        self._pace = pace or Pace(clock)
        self._clock = clock
        self._state = state
        self._put = put
        self._sought: dict[str, Sought] = {}
        self._pauses: list[float] = []
        self._asked = asyncio.Event()

    async def carry_out(self, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        """Do it and report; what is not known in time comes later."""
        durable()
        match command:
            case Submit(order):
                return await self._submit(order)
            case Cancel(client_id):
                return await self._cancel(client_id)

    def resume(self) -> list[Event]:
        """On a start: whatever may have been sent before is unknown, and looked up."""
        now, told = self._clock(), list[Event]()
        for client_id, known in self._state.orders.items():
            if known.status in UNDECIDED and known.status is not Status.UNKNOWN:
                told.append(TimedOut(client_id, now))
            if known.status in UNDECIDED or known.venue_id is None or client_id in self._state.cancels:
                self._look_up(known.order, Time(now + DEADLINE))
        return told

    async def search(self) -> None:
        """Look for all that is sought at once, for as long as the run goes on: calls are few. Failed look-ups
        prove nothing, however many."""
        while True:
            await self._pause()
            for known in self._state.orders.values():
                if self._is_overdue(known):
                    self._sought.setdefault(known.order.client_id, Sought(known.order, self._clock(), False))
            asked_at, sought = self._clock(), list(self._sought.values())
            if not sought:
                continue
            lists = self._lists(self.account, *(one.order for one in sought))
            for one in sought:
                with suppress(Refused, NoAnswer):
                    if await self._is_settled(one, lists, asked_at):
                        del self._sought[one.order.client_id]

    async def _submit(self, order: Order) -> list[Event]:
        """Send an intent that was never sent, if the exchange's patience allows it."""
        client_id, known = order.client_id, self._state.find(order.client_id)
        if known is None or known.status is not Status.INTENDED:
            what = f"{order} is to be sent and is {known.status if known else 'no intent'}"
            return [Impossible(what, "an intent is sent once", self._clock())]
        if order.purpose is not Purpose.ENTRY:
            await self._pace.sell(order.symbol, client_id)
        elif not self._pace.may_buy(order.symbol, client_id):
            full = f"not sent: the exchange's counter of orders on {order.symbol} has no room for entries"
            return [Rejected(client_id, Rejection(RejectionKind.RATE_LIMIT, full), self._clock())]
        return await self._send(order)

    async def _send(self, order: Order) -> list[Event]:
        client_id, sent = order.client_id, Sent(order.client_id, self._clock())
        asked = order_parameters(replace(order, fee_asset=order.fee_asset or FeeAsset.QUOTE))
        try:
            latest = Time(order.time + FRESH) if order.purpose is Purpose.ENTRY else None
            told = await self._rest.private("AddOrder", asked, lifetime=DEADLINE, latest=latest)
            venue_id = told["txid"][0]
            if isinstance(venue_id, str) and venue_id:
                if order.type is OrderType.MARKET or order.time_in_force in AT_ONCE:
                    self._look_up(order, sent.time)  # it is over by now, should no stream tell of it
                return [sent, Accepted(client_id, venue_id, self._clock())]
        except Refused as no:
            if no.nothing_was_done:
                return [sent, Rejected(client_id, rejection_of(no.texts[0]), self._clock())]
        except TooLate as late:
            no_longer = Rejection(RejectionKind.DEADLINE, f"not sent: {late}")
            return [sent, Rejected(client_id, no_longer, self._clock())]
        except (NoAnswer, LookupError, TypeError):
            pass  # whatever was said, it does not tell what became of the order
        self._look_up(order, Time(self._clock() + DEADLINE))
        return [sent, TimedOut(client_id, self._clock())]

    async def _cancel(self, client_id: str) -> list[Event]:
        """Ask for it, then learn what became of the order: it may have been filled meanwhile."""
        known = self._state.order(client_id)
        with suppress(Refused, NoAnswer):  # the order itself tells
            await self._ask_off(known.order)
        try:
            told = await self._fate(known, self._lists(self._urgent, known.order), self._urgent)
        except (Refused, NoAnswer):
            told = []
        if not any(isinstance(event, Canceled | Expired) for event in told):
            self._look_up(known.order, Time(self._clock() + DEADLINE))
        return told

    async def _ask_off(self, order: Order) -> None:
        await self._pace.cancel(order.symbol, order.client_id)
        await self._rest.private("CancelOrder", {"cl_ord_id": order.client_id})

    async def _fate(self, known: OrderState, lists: Lists, account: Account) -> list[Event]:
        """What Kraken now says of an order beyond what we know; nothing when it says nothing."""
        if known.venue_id is None:
            info = await lists.find(known.order.client_id)
        else:
            info = await lists.order(known.venue_id)
        return [] if info is None else await self.told(known, info, account)

    async def told(self, known: OrderState, info: OrderFate, account: Account | None = None) -> list[Event]:
        """What an order's own row tells beyond what we know: that it was taken, its fills, its end. The end
        is told only together with all fills that the row counts."""
        client_id, events = known.order.client_id, list[Event]()
        if known.venue_id is None:
            events.append(Accepted(client_id, info.txid, info.opened))
        have = {fill.trade_id for fill in known.fills}
        missing = tuple(txid for txid in info.trades if txid not in have)
        filled = known.filled
        trades = await (account or self.account).trades_named(missing)
        for trade in sorted(trades, key=lambda trade: trade.time):
            # Trades that Kraken tells as one here, and one by one elsewhere, are not counted twice.
            fits = EXACT.add(filled, trade.volume) <= info.executed
            if trade.order_txid == info.txid and trade.txid not in have and fits:
                events.append(fill_of(trade, client_id))
                filled += trade.volume
        if filled >= info.executed:
            if info.status == CANCELED:
                events.append(Canceled(client_id, info.reason or "", info.closed or self._clock()))
            elif info.status == EXPIRED:
                events.append(Expired(client_id, info.closed or self._clock()))
            elif info.status == CLOSED and filled != known.order.quantity:  # a person changed it
                events.append(Canceled(client_id, "filled as amended", info.closed or self._clock()))
        return events

    def _look_up(self, order: Order, deadline: Time) -> None:
        """Search for an order from now on, unless that is under way."""
        leaves = order.client_id in self._state.cancels
        known = self._sought.setdefault(order.client_id, Sought(order, deadline, leaves))
        known.leaves |= leaves
        self._pauses = list(LOOK_AFTER)
        self._asked.set()

    async def _pause(self) -> None:
        """Until the next look; the first ones after something new is sought come soon. Without one it is only
        seen to what is overdue, which asks Kraken nothing."""
        if not (self._sought and self._pauses):
            self._asked.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY if self._sought else OVERDUE / 1000):
                    await self._asked.wait()
        if self._pauses:
            await asyncio.sleep(self._pauses.pop(0))

    async def _is_settled(self, sought: Sought, lists: Lists, asked_at: Time) -> bool:
        """One look at what became of an order, told if it is new; whether no more are needed."""
        name = sought.order.client_id
        known = self._state.find(name)
        if known is None or (known.status in ENDED and (known.venue_id is not None or not known.filled)):
            return True
        told = await self._fate(known, lists, self.account)
        if told:
            self._put(told)
            sought.absent_at = None
            return False
        if known.status not in UNDECIDED:
            if known.status in ENDED:
                return True
            if sought.leaves:  # it rests still: the request was lost
                await self._ask_off(known.order)
            # A fill may be told before the order's own name, by which all else is asked for.
            return not (known.venue_id is None or sought.leaves or self._is_overdue(known))
        if asked_at <= sought.deadline or await self._traded(known, lists):
            return False
        if sought.absent_at is not None and asked_at - sought.absent_at >= CLOSED_ORDERS_LAG:
            self._put([ProvenAbsent(sought.order.client_id, self._clock())])
            return True
        sought.absent_at = sought.absent_at or asked_at
        return False

    def _is_overdue(self, known: OrderState) -> bool:
        """Whether an order that waits here is over there by now, and no stream told of it."""
        expires, waits = known.order.expires, known.status not in ENDED | UNDECIDED
        return waits and expires is not None and self._clock() > expires + OVERDUE

    async def _traded(self, known: OrderState, lists: Lists) -> bool:
        """Whether the account has a trade on the pair, since the order was made, of an order that nobody here
        knows: then it may be ours, and absence is not proven."""
        ours = {
            state.venue_id for states in (self._state.orders, self._state.ended) for state in states.values()
        }
        strange = {
            trade.order_txid
            for trade in await lists.trades()
            if trade.symbol == known.order.symbol and trade.order_txid not in ours
        }
        for txid in sorted(strange):
            if (await lists.order(txid)).cl_ord_id == known.order.client_id:
                return True
        return False

    def _lists(self, account: Account, *orders: Order) -> Lists:
        """A look at Kraken's lists for these orders."""
        only = orders[0].client_id if len(orders) == 1 else None
        return Lists(account, Time(max(0, min(order.time for order in orders) - MARGIN)), only)
