"""Our books beside Kraken's: missing fills and ends are told, foreign money is set apart, and what is left
unexplained stops entries.

The account may hold money that is not the bot's. For each asset `foreign` is what Kraken has beyond our
books; it changes only by rows of Kraken's ledger that are not of our trades. Where Kraken has less than our
books, the owner took of ours: that is told as money that left, if the rows say so, else as unexplained. What
is unexplained of one asset is no reason to forget what became of another.

A trade is told with its pair's decimals, but its rows have those of the assets (4 of EUR), and its fee may be
taken otherwise than told: what the rows of a trade of ours come to beside what was booked is told as well.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import reduce

from lotwise.domain.market import split_symbol
from lotwise.domain.orders import ENDED, Fill, OrderState, Status
from lotwise.domain.values import EXACT, Amount, Time, plain
from lotwise.engine.fold import impossible
from lotwise.engine.records import Compared, Corrected, Deposited, Event, Reconciled, Unexplained
from lotwise.engine.state import State
from lotwise.kraken.rest import asset_decimals
from lotwise.kraken.rest_account import TradeInfo
from lotwise.kraken.rest_money import LedgerInfo
from lotwise.ledger.postings import OURS, settlement
from lotwise.venues.kraken.account import fill_of, of_strangers
from lotwise.venues.kraken.rest import NoAnswer, Refused
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
    hasty: bool = False
    """A row, or a trade of ours, may be of later than the balances: another look is needed."""


class Reconciler:
    """Compares, as often as it is asked. `state` is the engine's, read here and never changed."""

    def __init__(self, venue: KrakenVenue, state: State, clock: Callable[[], Time]) -> None:
        self._venue = venue
        self._state = state
        self._clock = clock
        self._hasty = False
        self._lies: set[str] = set()
        self._trades: dict[str, TradeInfo] = {}
        self._untold: dict[str, Time] = {}
        self._strangers: set[str] = set()

    async def compare(self) -> Reconciliation:
        """One comparison. Raises Refused, NoAnswer: then nothing is known."""
        since = Time(max(0, self._known_until() - CLOSED_ORDERS_LAG - MARGIN))
        events, untold = await self._of_orders()
        if news := self._news(events):
            return Reconciliation(news)
        if untold is not None:
            raise untold
        if news := self._news(await self._late_trades(since)):
            return Reconciliation(news)
        known = _our_trades(self._state)
        sure = self._hasty or self._state.reconciled is None
        before = await self._venue.account.ledger(since) if sure else None
        balances = await self._venue.account.balances()
        rows = await self._venue.account.ledger(since)
        if before is not None and before != rows:
            return Reconciliation(undecided=True, hasty=True)  # what came between is in one of the two only
        late = await self._fills_in(rows)
        if news := self._news(late or []):
            return Reconciliation(news)
        if late is None:
            return Reconciliation(undecided=True)
        found = self._money(balances, rows)
        self._hasty = found.hasty and not sure
        moved = _our_trades(self._state) != known  # ours are of later than the balances
        return Reconciliation(undecided=True, hasty=True) if self._hasty or moved else found

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

    def _known_until(self) -> Time:
        """Rows are read from a while before this on. It only rises: what the comparison before did not read
        would be taken for new."""
        done = self._state.reconciled
        return self._state.time if done is None else done.time

    async def _of_orders(self) -> tuple[list[Event], Refused | NoAnswer | None]:
        """What Kraken's rows of our open orders tell beyond what we know; and why it did not tell of one, if
        so: its list of those that ended may be late, which is no reason to forget what became of others."""
        account, state = self._venue.account, self._state
        open_now = {info.txid: info for info in await account.open_orders()}
        events, untold = list[Event](), None
        dead = self._dead()
        for info in open_now.values():
            if info.cl_ord_id in dead:
                events += await self._venue.told(dead[info.cl_ord_id], info)
        for known in list(state.orders.values()):
            if known.venue_id is None:
                continue  # its own look-up goes on
            try:
                info = open_now.get(known.venue_id) or await account.order(known.venue_id)
                events += await self._venue.told(known, info)
            except (Refused, NoAnswer) as no:
                untold = no
        return events, untold

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
        undecided = any(o.status in UNDECIDED for o in state.orders.values())
        if (not ours and self._is_untold(strange - known)) or (len(ours) < len(trades) and undecided):
            return None
        return list[Event](ours)

    async def _named(self, txids: set[str]) -> list[TradeInfo]:
        """Trades by their ids. What a trade was does not change: each is asked for until it is told."""
        self._trades = {txid: trade for txid, trade in self._trades.items() if txid in txids}
        new = tuple(sorted(txids - self._trades.keys()))
        self._trades |= {trade.txid: trade for trade in await self._told(new)}
        return [self._trades[txid] for txid in sorted(self._trades)]

    async def _told(self, txids: tuple[str, ...]) -> list[TradeInfo]:
        """Those of these trades that Kraken knows by now; for one that it does not it may refuse all."""
        try:
            return await self._venue.account.trades_named(txids)
        except Refused as no:
            if not of_strangers(no):
                raise
        return [trade for txid in txids for trade in await self._told((txid,))] if len(txids) > 1 else []

    def _is_untold(self, txids: set[str]) -> bool:
        """Whether the list of trades may only be late with one of these; in the end it is none of ours."""
        now = self._clock()
        self._untold = {txid: self._untold.get(txid, now) for txid in txids - self._trades.keys()}
        return any(now - since <= CLOSED_ORDERS_LAG + MARGIN for since in self._untold.values())

    def _money(self, balances: Mapping[str, Amount], rows: list[LedgerInfo]) -> Reconciliation:
        """Kraken's totals against ours. What is explained is told though something else is not: a coin that
        left must not be sold."""
        whole = found = self._money_but(frozenset(), balances, rows)
        apart = frozenset(found.differences)
        while found.differences and self._state.reconciled is not None:
            found = self._money_but(apart, balances, rows)
            apart |= found.differences.keys()
        return replace(found, differences=whole.differences)

    def _money_but(
        self, apart: frozenset[str], balances: Mapping[str, Amount], rows: list[LedgerInfo]
    ) -> Reconciliation:
        """Of all assets but those apart: what was foreign before, and what came or went since. The rows of
        those apart, and of trades of them, are left for later."""
        state, done, now = self._state, self._state.reconciled, self._clock()
        later = _rows_of(apart, rows, state)
        corrected, moved = _moves([row for row in rows if row.ledger_id not in later], state, now)
        ours = {asset: state.ledger.total(asset).number for asset in state.ledger.assets()}
        free = {asset: state.ledger.free(asset).number for asset in ours}
        for told in corrected:
            _grow(ours, told.amount)
            _grow(free, told.amount)
        theirs = {asset: amount.number for asset, amount in balances.items()}
        beyond = {
            asset: EXACT.subtract(theirs.get(asset, ZERO), ours.get(asset, ZERO))
            for asset in sorted(ours.keys() | theirs.keys() | (done.foreign.keys() if done else set()))
        }
        result = Reconciliation()
        foreign: dict[str, Decimal] = {}
        left: list[Deposited] = []
        for asset, number in beyond.items():
            before = (
                number if done is None and number >= 0 else (done.foreign.get(asset, ZERO) if done else ZERO)
            )
            explained = EXACT.add(before, moved.get(asset, ZERO) if done else ZERO)
            if asset in apart:
                foreign[asset] = before
                continue
            if asset not in ours:  # what comes and goes of a coin that we never had is not ours to explain
                result.hasty |= number != explained and bool(moved.get(asset))
            elif number != explained:
                result.differences[asset] = EXACT.subtract(number, explained)
            elif number < 0 and EXACT.add(free[asset], number) < 0:
                result.differences[asset] = number  # it cannot have left while our books hold it for orders
            elif number < 0:
                left.append(Deposited(Amount(number, asset), now))
            foreign[asset] = max(number, ZERO)
        if not result.differences:
            last = max([self._known_until(), *(row.time for row in rows)])
            if later:  # they are to be read again
                last = max(self._known_until(), min(later.values()))
            known = set(done.seen) if done else set[str]()
            seen = {row.ledger_id for row in rows if row.ledger_id not in later or row.ledger_id in known}
            changed = done is None or foreign != done.foreign or seen - known
            if changed or (state.unexplained is not None and not apart):
                agreed = Reconciled(foreign, tuple(sorted(seen)), last, tuple(sorted(apart)))
                result.events.append(Compared(tuple(left), agreed, tuple(corrected)))
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


def _rows_of(apart: frozenset[str], rows: list[LedgerInfo], state: State) -> dict[str, Time]:
    """The rows of these assets, and of our trades of them, by their ids: when they were written."""
    if not apart:
        return {}
    pairs = {fill.trade_id: split_symbol(fill.symbol) for fill in _our_fills(state)}
    return {
        row.ledger_id: row.time
        for row in rows
        if not apart.isdisjoint((row.amount.asset, *pairs.get(row.refid, ())))
    }


def _our_fills(state: State) -> list[Fill]:
    every = (*state.orders.values(), *state.ended.values())
    return [fill for known in every for fill in known.fills]


def _our_trades(state: State) -> set[str]:
    assert all(known.status in ENDED for known in state.ended.values())
    return {fill.trade_id for fill in _our_fills(state)}


def _moves(rows: list[LedgerInfo], state: State, now: Time) -> tuple[list[Corrected], dict[str, Decimal]]:
    """What the rows that are new say: what our trades came to beside what was booked, what came before what
    went; and by asset the sum of all that is not of our trades. Where a trade took more than is free here,
    Kraken gave what is foreign: it lets nobody have what our orders hold there."""
    seen = set(state.reconciled.seen) if state.reconciled else set[str]()
    fills = {fill.trade_id: fill for fill in _our_fills(state)}
    foreign, trades = dict[str, Decimal](), dict[str, Fill]()
    for row in rows:
        if row.ledger_id in seen:
            continue
        fill = fills.get(row.refid)
        if fill is not None and row.amount.asset in split_symbol(fill.symbol):
            trades[row.refid] = fill
        else:
            _grow(foreign, _net(row))
    beside: list[tuple[Amount, str]] = []
    for trade_id, fill in trades.items():
        of_it, units = [row for row in rows if row.refid == trade_id], _units(state, fill.symbol)
        beside += [(amount, trade_id) for amount in _beside(fill, of_it, units)]
    corrected, free = list[Corrected](), dict[str, Decimal]()
    for amount, trade_id in sorted(beside, key=lambda found: (-found[0].number, found[1])):
        there = free.setdefault(amount.asset, state.ledger.free(amount.asset).number)
        ours = Amount(max(amount.number, EXACT.minus(there)), amount.asset)
        _grow(free, ours)
        _grow(foreign, amount - ours)
        if ours.number:
            corrected.append(Corrected(ours, trade_id, now))
    return corrected, foreign


def _units(state: State, symbol: str) -> dict[str, Decimal]:
    """The least amount of each asset of a pair that a balance changes by."""
    units = {asset: Decimal(1).scaleb(-asset_decimals(asset)) for asset in split_symbol(symbol)}
    if symbol in state.listed:  # its step knows how many decimals are kept (kraken/rest.py)
        base = split_symbol(symbol)[0]
        units[base] = max(units[base], state.listed[symbol].listing.lot_step)
    return units


def _beside(fill: Fill, rows: list[LedgerInfo], units: Mapping[str, Decimal]) -> list[Amount]:
    """What the rows of a trade come to beyond what was booked for it (below zero: less), of base and quote;
    nothing is known where a row is missing. What rounds to nothing has none (rotki #13038, 2026-09)."""
    found = []
    for asset in split_symbol(fill.symbol):
        there = [_net(row) for row in rows if row.amount.asset == asset]
        here = [p.amount for p in settlement(fill).postings if p.account.startswith(OURS)]
        here = [amount for amount in here if amount.asset == asset]
        if not there and any(2 * abs(amount.number) > units[asset] for amount in here):
            return []
        found.append(_sum(there, asset) - _sum(here, asset))
    return found


def _net(row: LedgerInfo) -> Amount:
    """What a row changed; a fee leaves beside the amount."""
    return row.amount - Amount(row.fee, row.amount.asset)


def _sum(amounts: Iterable[Amount], asset: str) -> Amount:
    return reduce(Amount.__add__, amounts, Amount(ZERO, asset))


def _grow(sums: dict[str, Decimal], amount: Amount) -> None:
    sums[amount.asset] = EXACT.add(sums.get(amount.asset, ZERO), amount.number)
