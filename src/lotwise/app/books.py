"""Our books beside Kraken's, as rows for people: each asset, each order, and what a difference means.

Law: nothing is changed, here or there. The comparison itself is that of a run (venues/kraken/reconcile.py).
"""

from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from lotwise.app.journals import RUNS, newest_journal
from lotwise.app.kraken import Place
from lotwise.app.operator import listener
from lotwise.app.terminal import Problem
from lotwise.app.wire import LIVE
from lotwise.domain.orders import Fill, OrderState
from lotwise.domain.values import EXACT, Amount, Time, plain
from lotwise.engine.codec import Unfoldable, decode, fold
from lotwise.engine.fold import apply, impossible, lent
from lotwise.engine.records import Compared, Opened
from lotwise.engine.state import State
from lotwise.kraken.rest_account import OPEN, OrderFate
from lotwise.store.journal import JournalError, read
from lotwise.venues.kraken.account import Account
from lotwise.venues.kraken.reconcile import Reconciler
from lotwise.venues.kraken.rest import Rest
from lotwise.venues.kraken.venue import MARGIN, KrakenVenue

ROUNDS = 6
"""Comparisons of one look: each may book fills that the next one needs."""

ZERO = Decimal(0)
NONE_THERE = "not found"


@dataclass(frozen=True, slots=True)
class AssetRow:
    """One asset: ours and Kraken's totals, what of Kraken's is not the bot's, what nothing explains."""

    asset: str
    ours: Decimal
    kraken: Decimal
    foreign: Decimal
    difference: Decimal
    meaning: str


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order that is open here or there. name: ours, or Kraken's where it is not ours."""

    name: str
    symbol: str
    side: str
    quantity: Decimal
    since: Time
    here: str
    kraken: str
    explained: bool
    meaning: str


@dataclass(slots=True)
class Books:
    """What one look found. compared: whether the money was; not while a trade or a row is too new for it."""

    assets: list[AssetRow] = field(default_factory=list)
    orders: list[OrderRow] = field(default_factory=list)
    compared: bool = True

    @property
    def clean(self) -> bool:
        """Whether everything is explained."""
        return (
            self.compared
            and all(not row.difference for row in self.assets)
            and all(row.explained for row in self.orders)
        )


def folded(path: Path) -> tuple[Opened, State]:
    """What the run of a journal was told, and what its rows fold to, read beside its writer. Raises
    JournalError, Unfoldable."""
    state, told = State(), None
    with closing(read(path)) as rows:
        for row in rows:
            if row.kind == Opened.__name__:
                told = decode(row.kind, row.body)
            fold(state, row.kind, row.body)
    if not isinstance(told, Opened):
        raise Unfoldable("a journal begins with what its run was told")
    return told, state


def live_journal() -> Path:
    """Of the journals in ./runs the newest with real orders, and where there is none, the newest; Problem
    when there is no journal, or several runs with real orders are on."""
    live = [path for path in RUNS.glob("*.journal") if _is_live(path)]
    on = sorted(str(path) for path in live if listener(path) is not None)
    if len(on) > 1:
        raise Problem(f"{len(on)} runs with real orders are on: {', '.join(on)}; name one with --journal")
    return Path(on[0]) if on else newest_journal(live)


def _is_live(path: Path) -> bool:
    """Whether a journal tells that its orders are real; one that cannot be read does not."""
    with suppress(JournalError, Unfoldable, LookupError, ValueError), closing(read(path)) as rows:
        first = next(iter(rows), None)
        told = None if first is None else decode(first.kind, first.body)
        return isinstance(told, Opened) and told.mode == LIVE
    return False


def live_books(path: Path) -> tuple[Opened, State]:
    """What the run of a live journal was told, and what it folds to; Problem when its orders were not real.
    Raises JournalError, Unfoldable."""
    told, state = folded(path)
    if told.mode != LIVE:
        raise Problem(f"{path} is of a run in mode {told.mode}: Kraken has nothing of it")
    return told, state


def live_state(path: Path) -> State:
    """What a live journal folds to, as `live_books`."""
    return live_books(path)[1]


def going_on(path: Path, place: Place) -> str:
    """The words with which a live run takes up its journal again."""
    return " ".join(filter(None, (f"lotwise run --live --journal {path}", place.options)))


async def asked_after(state: State, account: Account) -> dict[str, OrderFate]:
    """What Kraken knows now of the orders that are open in our books, by client id; those without Kraken's id
    are left out. One call, and one for each that is open no more. Raises Refused, NoAnswer."""
    waiting = {info.txid: info for info in await account.open_orders()} if state.orders else {}
    return {
        name: waiting.get(known.venue_id) or await account.order(known.venue_id)
        for name, known in state.orders.items()
        if known.venue_id is not None
    }


class _Account(Account):
    """Remembers the balances that were compared."""

    told: dict[str, Amount]

    async def balances(self) -> dict[str, Amount]:
        self.told = await super().balances()
        return self.told


async def compared(state: State, rest: Rest, clock: Callable[[], Time]) -> Books:
    """One look. What Kraken knows beyond our books is folded into `state`, which is the caller's alone.
    Raises Refused, NoAnswer."""
    orders = list(state.orders.values())
    venue = KrakenVenue(rest, clock, state, lambda _: None)
    venue.account = account = _Account(rest)
    reconciler = Reconciler(venue, state, clock)
    left: dict[str, Decimal] = {}
    corrected: dict[str, Decimal] = {}
    foreign = dict(state.reconciled.foreign) if state.reconciled else {}
    for _ in range(ROUNDS):
        found = await reconciler.compare()
        reports = [event for event in found.events if not isinstance(event, Compared)]
        for event in found.events:
            if isinstance(event, Compared):
                left = {moved.amount.asset: moved.amount.number for moved in event.left}
                foreign = event.agreed.foreign
                for told in event.corrected:
                    asset, number = told.amount.asset, told.amount.number
                    corrected[asset] = EXACT.add(corrected.get(asset, ZERO), number)
            elif not isinstance(event, Fill) or impossible(state, event) is None:
                if isinstance(event, Fill) and (more := lent(state, event)) is not None:
                    apply(state, more)
                apply(state, event)  # type: ignore[arg-type]
        if not reports and not found.hasty:
            break
    books = Books(orders=await _orders(orders, state, account), compared=not found.undecided)
    if found.undecided:
        return books
    assets = sorted(state.ledger.assets() | account.told.keys() | found.differences.keys())
    for asset in assets:
        ours, theirs = state.ledger.total(asset).number, account.told.get(asset, Amount(ZERO, asset)).number
        difference = found.differences.get(asset, ZERO)
        other = foreign.get(asset, ZERO)
        words = _meaning(asset, difference, other, left.get(asset, ZERO))
        if asset in corrected:
            words += (
                f"; {plain(corrected[asset])} {asset} of trades came otherwise than told: the run books it"
            )
        books.assets.append(AssetRow(asset, ours, theirs, other, difference, words))
    return books


def _meaning(asset: str, difference: Decimal, foreign: Decimal, left: Decimal) -> str:
    if difference > 0:
        return (
            f"Kraken has {plain(difference)} {asset} that neither our books nor its ledger explain:"
            " entries stop until it is known where it came from"
        )
    if difference < 0:
        return (
            f"Kraken lacks {plain(-difference)} {asset} and its ledger does not say why: entries stop; was"
            " it withdrawn, sold by hand, or is this the journal of another account?"
        )
    if left:
        return f"{plain(-left)} {asset} of the bot's left the account: the run books that"
    if foreign:
        return f"agrees; {plain(foreign)} {asset} is not the bot's and stays untouched"
    return "agrees"


async def _orders(before: list[OrderState], state: State, account: Account) -> list[OrderRow]:
    """The orders that were open here when we looked, and those that are open at Kraken."""
    theirs = {info.txid: info for info in await account.open_orders()}
    rows, known_there = [], {known.venue_id for known in (*state.orders.values(), *state.ended.values())}
    for known in before:
        rows.append(await _ours(known, state, account, theirs))
    names = {known.order.client_id for known in before}
    for info in theirs.values():
        if info.txid not in known_there and info.cl_ord_id not in names:
            words = "not the bot's: it stays untouched"
            head = info.txid, info.symbol, info.side.value, info.volume, info.opened
            rows.append(OrderRow(*head, "none", info.status, True, words))
    return rows


async def _ours(before: OrderState, state: State, account: Account, theirs: dict[str, OrderFate]) -> OrderRow:
    order, now = before.order, state.order(before.order.client_id)
    info = theirs.get(before.venue_id or "")
    if before.venue_id is None:
        info = await _named(order.client_id, order.time, account)
    elif info is None:
        info = await account.order(before.venue_id)
    head = order.client_id, order.symbol, order.side.value, order.quantity, order.time, before.status.value
    if info is None:
        words = "its fate is not proven yet: the run looks it up until it is; its funds stay reserved"
        return OrderRow(*head, NONE_THERE, False, words)
    if before.venue_id is None:
        return OrderRow(*head, info.status, True, "it arrived: the run adopts it at its next look")
    if info.status == OPEN and now == before:
        return OrderRow(*head, info.status, True, "agrees")
    return OrderRow(*head, info.status, True, "Kraken knows more: the run books that at its next look")


async def _named(client_id: str, made: Time, account: Account) -> OrderFate | None:
    """An order by our name for it, among those that wait and those that ended."""
    since = Time(max(0, made - MARGIN))
    waiting = await account.open_orders(client_id)
    ended = await account.closed_orders(since, client_id)
    return next((info for info in (*waiting, *ended) if info.cl_ord_id == client_id), None)
