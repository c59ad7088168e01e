"""Our books beside Kraken's: missing fills and ends are told, foreign money is set apart, and what is left
unexplained stops entries.

The account may hold money that is not the bot's. For each asset `foreign` is what Kraken has beyond our
books; it changes only by rows of Kraken's ledger that are not of our trades. Where Kraken has less than our
books, the owner took of ours: that is told as money that left, if the rows say so, else as unexplained.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from lotwise.domain.orders import ENDED, Fill, OrderState, Status
from lotwise.domain.values import EXACT, Amount, Time, plain
from lotwise.engine.fold import impossible
from lotwise.engine.records import Compared, Deposited, Event, Reconciled, Unexplained
from lotwise.engine.state import State
from lotwise.kraken.rest_account import LedgerInfo, TradeInfo
from lotwise.venues.kraken.account import fill_of
from lotwise.venues.kraken.venue import CLOSED_ORDERS_LAG, MARGIN, UNDECIDED, KrakenVenue

ZERO = Decimal(0)
OF_TRADES = "trade"
"""The kind of a ledger row that has a trade's id. What is bought and sold in Kraken's app (spend, receive)
is no trade of its lists."""


@dataclass(slots=True)
class Reconciliation:
    """What one comparison found: events to be told; differences by asset (Kraken less our books and what is
    foreign) that no row explains."""

    events: list[Event] = field(default_factory=list)
    differences: dict[str, Decimal] = field(default_factory=dict)
    undecided: bool = False
    """A trade may be of an order whose fate is not known yet: nothing can be said before it is."""


class Reconciler:
    """Compares, as often as it is asked. `state` is the engine's, read here and never changed."""

    def __init__(self, venue: KrakenVenue, state: State, clock: Callable[[], Time]) -> None:
        self._venue = venue
        self._state = state
        self._clock = clock
        self._lies: set[str] = set()
        self._trades: dict[str, TradeInfo] = {}
        self._strangers: set[str] = set()

    async def compare(self) -> Reconciliation:
        """One comparison. Raises Refused, NoAnswer: then nothing is known."""
        since = self._since()
        events = await self._of_orders()
        events += await self._late_trades(since)
        if news := self._news(events):
            return Reconciliation(news)
        balances = await self._venue.account.balances()
        rows = await self._venue.account.ledger(since)
        late = await self._fills_in(rows)
        if news := self._news(late or []):
            return Reconciliation(news)
        if late is None:
            return Reconciliation(undecided=True)
        return self._money(balances, rows)

    def _news(self, events: list[Event]) -> list[Event]:
        """The events without what cannot be and was told before: no look makes it true, and the money says
        what it comes to."""
        news = []
        for event in events:
            lie = isinstance(event, Fill) and impossible(self._state, event) is not None
            if not lie or str(event) not in self._lies:
                news.append(event)
            if lie:
                self._lies.add(str(event))
        return news

    def _since(self) -> Time:
        done = self._state.reconciled
        start = self._state.time if done is None else done.time
        return Time(max(0, start - CLOSED_ORDERS_LAG - MARGIN))

    async def _of_orders(self) -> list[Event]:
        """What Kraken's rows of our open orders tell beyond what we know."""
        account, state = self._venue.account, self._state
        open_now = {info.txid: info for info in await account.open_orders()}
        events: list[Event] = []
        dead = self._dead()
        for info in open_now.values():
            if info.cl_ord_id in dead:
                events += await self._venue.told(dead[info.cl_ord_id], info)
        for known in list(state.orders.values()):
            if known.venue_id is None:
                continue  # undecided: its own look-up goes on
            info = open_now.get(known.venue_id) or await account.order(known.venue_id)
            events += await self._venue.told(known, info)
        return events

    def _dead(self) -> dict[str, OrderState]:
        """The orders that were proven absent, by name: Kraken's lists may have been later than we assume."""
        ended = self._state.ended.items()
        return {name: known for name, known in ended if known.status is Status.DEAD}

    async def _late_trades(self, since: Time) -> list[Event]:
        """Trades of our orders that ended here without them."""
        ended = {known.venue_id: known for known in self._state.ended.values() if known.venue_id is not None}
        events: list[Event] = []
        for trade in await self._venue.account.trades(since):
            known = ended.get(trade.order_txid)
            if known is not None and trade.txid not in {fill.trade_id for fill in known.fills}:
                events.append(fill_of(trade, known.order.client_id))
        return events

    async def _fills_in(self, rows: list[LedgerInfo]) -> list[Event] | None:
        """Trades of ours among these rows that we do not know yet; None when a strange trade may be ours."""
        state, known = self._state, _our_trades(self._state)
        seen = set() if state.reconciled is None else set(state.reconciled.seen)
        strange = {row.refid for row in rows if row.kind == OF_TRADES and row.ledger_id not in seen}
        if state.reconciled is None or not strange - known:
            return []
        trades = await self._named(strange - known)
        orders = {o.venue_id: o for o in (*state.orders.values(), *state.ended.values()) if o.venue_id}
        ours = [fill_of(t, orders[t.order_txid].order.client_id) for t in trades if t.order_txid in orders]
        dead = self._dead()
        pairs = {known.order.symbol for known in dead.values()}
        doubtful = {t.order_txid for t in trades if t.order_txid not in orders and t.symbol in pairs}
        for txid in sorted(doubtful - self._strangers):
            info = await self._venue.account.order(txid)
            if info.cl_ord_id in dead:
                return await self._venue.told(dead[info.cl_ord_id], info)
            if info.cl_ord_id is None or state.find(info.cl_ord_id) is None:
                self._strangers.add(txid)
        if len(ours) < len(trades) and any(o.status in UNDECIDED for o in state.orders.values()):
            return None
        return list[Event](ours)

    async def _named(self, txids: set[str]) -> list[TradeInfo]:
        """Trades by their ids. What a trade was does not change: each is asked for once."""
        self._trades = {txid: trade for txid, trade in self._trades.items() if txid in txids}
        new = tuple(sorted(txids - self._trades.keys()))
        self._trades |= {trade.txid: trade for trade in await self._venue.account.trades_named(new)}
        return [self._trades[txid] for txid in sorted(self._trades)]

    def _money(self, balances: Mapping[str, Amount], rows: list[LedgerInfo]) -> Reconciliation:
        """Kraken's totals against ours, what was foreign before, and what came or went since."""
        state, done, now = self._state, self._state.reconciled, self._clock()
        ours = {asset: state.ledger.total(asset).number for asset in state.ledger.assets()}
        theirs = {asset: amount.number for asset, amount in balances.items()}
        beyond = {
            asset: EXACT.subtract(theirs.get(asset, ZERO), ours.get(asset, ZERO))
            for asset in sorted(ours.keys() | theirs.keys() | (done.foreign.keys() if done else set()))
        }
        result = Reconciliation()
        moved = _foreign_moves(rows, _our_trades(state), done)
        foreign: dict[str, Decimal] = {}
        left: list[Deposited] = []
        for asset, number in beyond.items():
            before = (
                number if done is None and number >= 0 else (done.foreign.get(asset, ZERO) if done else ZERO)
            )
            explained = EXACT.add(before, moved.get(asset, ZERO) if done else ZERO)
            if number != explained:
                result.differences[asset] = EXACT.subtract(number, explained)
            elif number < 0 and EXACT.add(state.ledger.free(asset).number, number) < 0:
                result.differences[asset] = number  # it cannot have left while our books hold it for orders
            elif number < 0:
                left.append(Deposited(Amount(number, asset), now))
            foreign[asset] = max(number, ZERO)
        if not result.differences:
            last = max((row.time for row in rows), default=done.time if done else now)
            seen = tuple(sorted(row.ledger_id for row in rows))
            changed = done is None or foreign != done.foreign or set(seen) - set(done.seen)
            if changed or state.unexplained is not None:
                agreed = Reconciled(foreign, seen, max(last, done.time if done else last))
                result.events.append(Compared(tuple(left), agreed))
        return result


def unexplained(differences: Mapping[str, Decimal], now: Time) -> list[Event]:
    """Differences that stayed, as events."""
    return [
        Unexplained(Amount(number, asset), f"Kraken has {plain(number)} {asset} more than is explained", now)
        if number > 0
        else Unexplained(
            Amount(number, asset), f"Kraken lacks {plain(-number)} {asset} without a reason", now
        )
        for asset, number in sorted(differences.items())
    ]


def _our_trades(state: State) -> set[str]:
    every: list[OrderState] = [*state.orders.values(), *state.ended.values()]
    assert all(known.status in ENDED for known in state.ended.values())
    return {fill.trade_id for known in every for fill in known.fills}


def _foreign_moves(rows: list[LedgerInfo], ours: set[str], done: Reconciled | None) -> dict[str, Decimal]:
    """The sum of the new rows that are not of our trades, by asset; a fee leaves beside the amount."""
    moved: dict[str, Decimal] = {}
    seen = set(done.seen) if done else set()
    for row in rows:
        if row.ledger_id in seen or row.refid in ours:
            continue
        change = EXACT.subtract(row.amount.number, row.fee)
        moved[row.amount.asset] = EXACT.add(moved.get(row.amount.asset, ZERO), change)
    return moved
