"""Orders on Kraken: sent once, and when no answer proves their fate, looked up until something does.

Laws (docs/live.md): an intent is on disk before its first byte leaves; only an error that proves it means
that an order was not taken; what is unknown stays unknown until evidence ends it: the order is found, or
its deadline has passed and two complete look-ups, `CLOSED_ORDERS_LAG` apart, find nothing anywhere.
Filled quantities come from trades, never from a status.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from lotwise.domain.market import FeeAsset
from lotwise.domain.orders import (
    ENDED,
    Accepted,
    Canceled,
    Expired,
    Order,
    OrderState,
    ProvenAbsent,
    Purpose,
    Rejected,
    Rejection,
    RejectionKind,
    Sent,
    Status,
    TimedOut,
)
from lotwise.domain.values import Time
from lotwise.engine.records import Cancel, Command, Event, Submit
from lotwise.engine.state import State
from lotwise.kraken.errors import rejection_of
from lotwise.kraken.rest_account import CANCELED, EXPIRED, OrderInfo
from lotwise.kraken.rest_orders import order_parameters
from lotwise.venues.kraken.account import Account, fill_of
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest, TooLate

DEADLINE = 5_000
"""Milliseconds after its sending within which Kraken takes an order, or never does."""

CLOSED_ORDERS_LAG = 30_000
"""Assumed bound on how late Kraken's lists of ended orders and trades may be, in milliseconds."""

FRESH = 15_000
"""Milliseconds after its decision within which an entry is sent, or not at all: its price grows old."""

LOOK_AFTER = (2.0, 3.0, 5.0)
LOOK_EVERY = 10.0
"""Seconds between look-ups of an unknown order: the first ones, then each."""

MARGIN = 60_000
"""Milliseconds before an order was made from which on it is searched: clocks may differ."""

UNDECIDED = frozenset({Status.INTENDED, Status.SENT, Status.UNKNOWN})

Put = Callable[[list[Event]], None]


class KrakenVenue:
    """Carries out commands on Kraken. `state` is the engine's, read here and never changed; what is learned
    later is put where the loop takes its events."""

    def __init__(self, rest: Rest, clock: Callable[[], Time], state: State, put: Put) -> None:
        self.account = Account(rest)
        self._rest = rest
        self._clock = clock
        self._state = state
        self._put = put
        self._look_ups: dict[str, asyncio.Task[None]] = {}

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
            if known.status in UNDECIDED:
                if known.status is not Status.UNKNOWN:
                    told.append(TimedOut(client_id, now))
                self._look_up(known.order, Time(now + DEADLINE))
        return told

    async def close(self) -> None:
        """End the look-ups; what they have not learned is unknown at the next start."""
        tasks = list(self._look_ups.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _submit(self, order: Order) -> list[Event]:
        client_id, sent = order.client_id, Sent(order.client_id, self._clock())
        asked = order_parameters(replace(order, fee_asset=order.fee_asset or FeeAsset.QUOTE))
        try:
            latest = Time(order.time + FRESH) if order.purpose is Purpose.ENTRY else None
            told = await self._rest.private("AddOrder", asked, lifetime=DEADLINE, latest=latest)
            venue_id = told["txid"][0]
            if isinstance(venue_id, str) and venue_id:
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
        with suppress(Refused, NoAnswer):  # the order itself tells
            await self._rest.private("CancelOrder", {"cl_ord_id": client_id})
        known = self._state.order(client_id)
        try:
            told = await self._fate(known)
        except (Refused, NoAnswer):
            told = []
        if not any(isinstance(event, Canceled | Expired) for event in told):
            self._look_up(known.order, Time(self._clock() + DEADLINE))
        return told

    async def _fate(self, known: OrderState) -> list[Event]:
        """What Kraken now says of an order beyond what we know; nothing when it says nothing."""
        if known.venue_id is None:
            info = await self._find(known.order)
        else:
            info = await self.account.order(known.venue_id)
        return [] if info is None else await self.told(known, info)

    async def told(self, known: OrderState, info: OrderInfo) -> list[Event]:
        """What an order's own row tells beyond what we know: that it was taken, its fills, its end. The end
        is told only together with all fills that the row counts."""
        client_id, events = known.order.client_id, list[Event]()
        if known.venue_id is None:
            events.append(Accepted(client_id, info.txid, info.opened))
        have = {fill.trade_id for fill in known.fills}
        missing = tuple(txid for txid in info.trades if txid not in have)
        filled = known.filled
        for trade in sorted(await self.account.trades_named(missing), key=lambda trade: trade.time):
            if trade.order_txid == info.txid and trade.txid not in have:
                events.append(fill_of(trade, client_id))
                filled += trade.volume
        if filled >= info.executed:
            if info.status == CANCELED:
                events.append(Canceled(client_id, info.reason or "", info.closed or self._clock()))
            elif info.status == EXPIRED:
                events.append(Expired(client_id, info.closed or self._clock()))
        return events

    async def _find(self, order: Order) -> OrderInfo | None:
        """The order among those that wait and those that ended; None when neither list has it."""
        since = Time(max(0, order.time - MARGIN))
        for infos in (
            await self.account.open_orders(order.client_id),
            await self.account.closed_orders(since, order.client_id),
        ):
            for info in infos:
                if info.cl_ord_id == order.client_id:
                    return info
        return None

    def _look_up(self, order: Order, deadline: Time) -> None:
        """Begin to search for an order, unless that is under way."""
        running = self._look_ups.get(order.client_id)
        if running is None or running.done():
            task = asyncio.get_running_loop().create_task(self._search(order, deadline))
            self._look_ups[order.client_id] = task
            task.add_done_callback(lambda _: self._look_ups.pop(order.client_id, None))

    async def _search(self, order: Order, deadline: Time) -> None:
        """Look until the order's fate is known. Failed look-ups prove nothing, however many."""
        pauses, absent_at = list(LOOK_AFTER), None
        while True:
            await asyncio.sleep(pauses.pop(0) if pauses else LOOK_EVERY)
            known, asked_at = self._state.order(order.client_id), self._clock()
            if known.status in ENDED and (known.venue_id is not None or not known.filled):
                return
            try:
                told = await self._fate(known)
                traded = bool(told) or await self._traded(known)
            except (Refused, NoAnswer):
                continue
            if told:
                self._put(told)
                absent_at = None
            elif known.status not in UNDECIDED:
                return  # it rests, as we know
            elif not traded and asked_at > deadline:
                if absent_at is not None and asked_at - absent_at >= CLOSED_ORDERS_LAG:
                    self._put([ProvenAbsent(order.client_id, self._clock())])
                    return
                absent_at = absent_at or asked_at

    async def _traded(self, known: OrderState) -> bool:
        """Whether the account has a trade on the pair, since the order was made, of an order that nobody here
        knows: then it may be ours, and absence is not proven."""
        ours = {
            state.venue_id for states in (self._state.orders, self._state.ended) for state in states.values()
        }
        since = Time(max(0, known.order.time - MARGIN))
        strange = {
            trade.order_txid
            for trade in await self.account.trades(since)
            if trade.symbol == known.order.symbol and trade.order_txid not in ours
        }
        for txid in sorted(strange):
            if (await self.account.order(txid)).cl_ord_id == known.order.client_id:
                return True
        return False
