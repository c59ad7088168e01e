"""Historical bugs of this field, put back one at a time, to see that the invariants catch them.

Laws: a bug is put back from here alone, by replacing a part of the program for as long as it is watched;
the program knows nothing of it. `python -m world.zoo [NAME]` says how many scenarios each takes to be
caught, and by which invariant.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from lotwise.app import live as wiring
from lotwise.domain.market import Liquidity
from lotwise.domain.orders import (
    ENDED,
    Accepted,
    Canceled,
    Fill,
    Order,
    OrderState,
    ProvenAbsent,
    Rejected,
    Rejection,
    RejectionKind,
    Report,
    TimedOut,
    after,
)
from lotwise.domain.values import Amount, Side, Time
from lotwise.engine import checks, engine
from lotwise.engine import fold as folding
from lotwise.engine import sight as seeing
from lotwise.engine.checks import Wish
from lotwise.engine.codec import CHECKPOINT, fold, restore
from lotwise.engine.engine import Engine
from lotwise.engine.records import Command, Event, Record, Rung, Skip
from lotwise.engine.seller import Seller
from lotwise.engine.sight import Sight
from lotwise.engine.state import State
from lotwise.kraken.rest_account import CLOSED, OrderInfo, TradeInfo
from lotwise.kraken.rest_money import LedgerInfo
from lotwise.kraken.rest_orders import order_parameters
from lotwise.store.journal import Journal
from lotwise.venues.kraken import reconcile as comparing
from lotwise.venues.kraken import rest as asking
from lotwise.venues.kraken import venue as sending
from lotwise.venues.kraken.account import Account, Lists, fill_of
from lotwise.venues.kraken.inbox import Bookkeeper
from lotwise.venues.kraken.nonces import Nonces
from lotwise.venues.kraken.reconcile import Reconciler, Reconciliation
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.venue import KrakenVenue
from world.scenario import Result, play

Change = tuple[Any, str, Any]
"""Whose part, which, and what stands there instead."""

MOST = 300
"""Scenarios within which every bug is caught."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A bug: its name, what it does, the invariants that may catch it (their numbers), and how it is put
    back."""

    name: str
    about: str
    caught_by: tuple[int, ...]
    changes: Callable[[], Sequence[Change]]


@contextmanager
def put_back(bug: Bug) -> Iterator[None]:
    """The program with a bug, for a while."""
    changes = bug.changes()
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in changes]
    try:
        for owner, name, part in changes:
            setattr(owner, name, part)
        yield
    finally:
        for owner, name, part in before:
            setattr(owner, name, part)


def caught(bug: Bug, first: int = 0, most: int = MOST) -> tuple[int, Result] | None:
    """After how many scenarios the bug is caught, and the scenario that did; None: not within `most`."""
    with put_back(bug):
        for number in range(most):
            result = play(first + number)
            if result.violation is not None:
                return number + 1, result
    return None


# What a missing answer means


def _timeout_means_failed() -> Sequence[Change]:
    submit = KrakenVenue._submit

    async def submits(self: KrakenVenue, order: Order) -> list[Event]:
        told = await submit(self, order)
        failed = Rejection(RejectionKind.UNRECOGNISED, "timeout")
        return [
            Rejected(order.client_id, failed, event.time) if isinstance(event, TimedOut) else event
            for event in told
        ]

    return [(KrakenVenue, "_submit", submits)]


def _sent_again_on_timeout() -> Sequence[Change]:
    private = Rest.private

    async def twice(self: Rest, endpoint: str, *rest: Any, **named: Any) -> Any:
        try:
            return await private(self, endpoint, *rest, **named)
        except NoAnswer:
            if endpoint != "AddOrder":
                raise
            return await private(self, endpoint, *rest, **named)

    return [(Rest, "private", twice)]


def _errors_prove_all() -> Sequence[Change]:
    return [(asking, "proves_not_accepted", lambda text: True)]


def _open_orders_only() -> Sequence[Change]:
    async def none(self: Account, since: Time, client_id: str | None = None) -> list[OrderInfo]:
        return []

    async def traded(self: KrakenVenue, known: OrderState, lists: Lists) -> bool:
        return False

    return [(Account, "closed_orders", none), (KrakenVenue, "_traded", traded)]


def _one_look_up_is_enough() -> Sequence[Change]:
    fate = KrakenVenue._fate

    async def fates(self: KrakenVenue, known: OrderState, lists: Lists, account: Account) -> list[Event]:
        told = await fate(self, known, lists, account)
        late = self._clock() > known.order.time + sending.DEADLINE
        if not told and known.status in sending.UNDECIDED and late:
            return [ProvenAbsent(known.order.client_id, self._clock())]
        return told

    return [(KrakenVenue, "_fate", fates)]


def _errors_end_it() -> Sequence[Change]:
    fate, failures = KrakenVenue._fate, dict[str, int]()

    async def fates(self: KrakenVenue, known: OrderState, lists: Lists, account: Account) -> list[Event]:
        name = known.order.client_id
        try:
            return await fate(self, known, lists, account)
        except (Refused, NoAnswer):
            failures[name] = failures.get(name, 0) + 1
            if failures[name] != 3 or known.status not in sending.UNDECIDED:
                raise
            return [ProvenAbsent(name, self._clock())]

    return [(KrakenVenue, "_fate", fates)]


# What an order's row means


def _label_trusted() -> Sequence[Change]:
    async def told(
        self: KrakenVenue, known: OrderState, info: OrderInfo, _: Account | None = None
    ) -> list[Event]:
        order, events = known.order, list[Event]()
        if known.venue_id is None:
            events.append(Accepted(order.client_id, info.txid, info.opened))
        if info.status == CLOSED and known.rest:
            price = order.price or Decimal(1)
            cost = Amount(price * known.rest, order.symbol.partition("/")[2])
            no_fee, name, role = replace(cost, number=Decimal(0)), order.client_id, Liquidity.MAKER
            what = (info.txid, name, order.symbol, order.side, price, known.rest)
            events.append(Fill(*what, cost, no_fee, role, self._clock()))
        elif info.status != "open":
            events.append(Canceled(order.client_id, info.status, self._clock()))
        return events

    return [(KrakenVenue, "told", told)]


def _fills_without_their_id() -> Sequence[Change]:
    return _fills(lambda trade, fill: replace(fill, trade_id=f"{trade.order_txid} {trade.time}"))


def _fee_forgotten() -> Sequence[Change]:
    return _fills(lambda trade, fill: replace(fill, fee=replace(fill.fee, number=Decimal(0))))


def _fills(change: Callable[[TradeInfo, Fill], Fill]) -> Sequence[Change]:
    def changed(trade: TradeInfo, client_id: str) -> Fill:
        return change(trade, fill_of(trade, client_id))

    return [(sending, "fill_of", changed), (comparing, "fill_of", changed)]


def _cancel_taken_for_done() -> Sequence[Change]:
    cancel = KrakenVenue._cancel

    async def cancels(self: KrakenVenue, client_id: str) -> list[Event]:
        told = await cancel(self, client_id)
        return told or [Canceled(client_id, "asked for it", self._clock())]

    return [(KrakenVenue, "_cancel", cancels)]


def _all_are_cancelled() -> Sequence[Change]:
    cancel = KrakenVenue._cancel

    async def cancels(self: KrakenVenue, client_id: str) -> list[Event]:
        with suppress(Refused, NoAnswer):
            await self._rest.private("CancelAll")
        return await cancel(self, client_id)

    return [(KrakenVenue, "_cancel", cancels)]


# Restarts


def _forgotten_at_restart() -> Sequence[Change]:
    return [(KrakenVenue, "resume", lambda self: [])]


def _written_after_sending() -> Sequence[Change]:
    carry_out = KrakenVenue.carry_out

    async def carries(self: KrakenVenue, command: Command, durable: Callable[[], None]) -> Sequence[Event]:
        told = await carry_out(self, command, lambda: None)
        durable()
        return told

    return [(KrakenVenue, "carry_out", carries)]


def _tail_ignored() -> Sequence[Change]:
    def load(journal: Journal) -> State:
        last = journal.last(CHECKPOINT)
        if last is not None:
            return restore(last.body)
        state = State()
        for row in list(journal.rows())[:2]:
            fold(state, row.kind, row.body)
        return state

    return [(wiring, "load_state", load)]


def _price_needed() -> Sequence[Change]:
    learn = Engine._learn

    def learns(self: Engine, order: Order, report: Rejected | Accepted) -> Iterator[Record]:
        assert self.quotes[order.symbol].bid > 0
        return learn(self, order, report)

    return [(Engine, "_learn", learns)]


# Nonces, books, decisions


def _nonce_of_a_second() -> Sequence[Change]:
    return [(Nonces, "next", lambda self: self._clock() // 1000)]


def _books_never_compared() -> Sequence[Change]:
    return [(Bookkeeper, "keep", _kept)]


async def _kept(keeper: Bookkeeper) -> None:
    keeper._settled = True
    while True:
        keeper._asked.clear()
        await keeper._asked.wait()


def _booked_again() -> Sequence[Change]:
    def told_anew(known: OrderState, report: Report) -> OrderState:
        told = after(known, report)
        # What tells nothing new is known by being the same object: a copy is booked.
        return replace(told) if told is known and told.status in ENDED else told

    return [(engine, "after", told_anew), (folding, "after", told_anew)]


def _rules_of_the_start() -> Sequence[Change]:
    return [(seeing, "renewed", lambda market, told: market)]


def _one_name_for_many() -> Sequence[Change]:
    return [(Seller, "_name", lambda self: f"{self.plan.run_id}-{len(self.state.orders)}")]


def _sells_what_the_account_has() -> Sequence[Change]:
    def more(order: Order) -> Mapping[str, str]:
        told = dict(order_parameters(order))
        if order.side is Side.SELL:
            told["volume"] = f"{order.quantity * 2:f}"
        return told

    return [(sending, "order_parameters", more)]


def _two_percent_do_not_matter() -> Sequence[Change]:
    money = Reconciler._money

    def tolerant(self: Reconciler, balances: Mapping[str, Amount], rows: list[LedgerInfo]) -> Reconciliation:
        found = money(self, balances, rows)
        for asset, difference in list(found.differences.items()):
            if abs(difference) * 50 <= balances.get(asset, Amount(Decimal(0), asset)).number:
                del found.differences[asset]
        return found

    return [(Reconciler, "_money", tolerant)]


def _fails_open(check: Skip) -> Sequence[Change]:
    def always(wish: Wish) -> Rung:
        return Rung("always", True, "yes", "yes")

    return [(engine, "LADDER", {**checks.LADDER, check: always})]


def _not_resized() -> Sequence[Change]:
    return [(Sight, "fits", lambda self, resting, symbol, holding: True)]


def _asked_once() -> Sequence[Change]:
    look_up = KrakenVenue._look_up

    def looks(self: KrakenVenue, order: Order, deadline: Time) -> None:
        look_up(self, order, deadline)
        self._sought[order.client_id].leaves = False

    return [(Seller, "_cancel_again", lambda self, time: iter(())), (KrakenVenue, "_look_up", looks)]


ZOO = (
    Bug("timeout means failed", "no answer is taken for a refusal", (11, 13, 14), _timeout_means_failed),
    Bug("sent again on timeout", "no answer, so the order is sent again", (10,), _sent_again_on_timeout),
    Bug("every error proves it", "what an error does not say is believed", (11,), _errors_prove_all),
    Bug("open orders only", "an order that traded at once is not looked for", (11,), _open_orders_only),
    Bug("one look-up is enough", "lists lag, and nobody looks twice", (0, 8, 11), _one_look_up_is_enough),
    Bug("errors end it", "three failed look-ups are taken for absence", (11,), _errors_end_it),
    Bug("label trusted", "closed is taken for filled as ordered", (0, 2, 5, 7, 8, 13), _label_trusted),
    Bug("fills without their id", "a trade told twice counts", (0, 2, 5, 7, 8), _fills_without_their_id),
    Bug("fee forgotten", "what a look-up finds is booked without its fee", (2, 7), _fee_forgotten),
    Bug(
        "cancel taken for done", "asked to cancel, so it is cancelled", (0, 8, 11, 13), _cancel_taken_for_done
    ),
    Bug("all are cancelled", "to cancel one, all are", (20,), _all_are_cancelled),
    Bug("forgotten at restart", "what was under way is not looked up", (2, 5, 8), _forgotten_at_restart),
    Bug("written after sending", "the intent follows its order to disk", (9,), _written_after_sending),
    Bug("tail ignored", "a start reads the last checkpoint alone", (0, 4, 8, 9, 10), _tail_ignored),
    Bug("price needed", "an answer that comes before the first price ends the run", (0,), _price_needed),
    Bug("nonce of a second", "two requests in one second share it", (18,), _nonce_of_a_second),
    Bug("books never compared", "only the stream is believed", (2, 5), _books_never_compared),
    Bug("an end twice", "what an ended order is told again is booked", (0, 2, 8, 13, 16), _booked_again),
    Bug("stale is sent", "an entry may wait for ever", (17,), lambda: [(sending, "FRESH", 3_600_000)]),
    Bug("two percent", "a small difference of the books is none", (2, 22), _two_percent_do_not_matter),
    Bug("brake fails open", "missing money is nothing", (22,), lambda: _fails_open(Skip.UNRECONCILED)),
    Bug("rules of the start", "what Kraken changes is not taken in", (15,), _rules_of_the_start),
    Bug("one name for many", "a name is used again", (0, 4, 8, 9, 10), _one_name_for_many),
    Bug("sells what is there", "a sale takes foreign coins along", (0, 8, 13), _sells_what_the_account_has),
    Bug("word not heeded", "entries go on when stopped", (23,), lambda: _fails_open(Skip.RESTRICTED)),
    Bug("stop not resized", "a stop that rests does not follow what is held", (19,), _not_resized),
    Bug("cancel asked once", "a cancel that was lost is not asked for again", (24,), _asked_once),
)


def main(names: list[str]) -> int:
    """1 when a bug gets through."""
    through = 0
    for bug in (bug for bug in ZOO if not names or bug.name in names):
        found = caught(bug)
        if found is None:
            through += 1
            print(f"{bug.name}: NOT CAUGHT in {MOST} scenarios", flush=True)
            continue
        count, result = found
        assert result.violation is not None
        expected = int(result.violation.name.partition(" ")[0]) in bug.caught_by
        print(f"{bug.name}: {result.violation.name}, after {count}{'' if expected else ' (not expected)'}")
    return 1 if through else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
