"""The invariants of a live run, each a named check against what really happened at the exchange.

They are numbered as in docs/reliability.md. What is checked after each list of events is cheap; the rest
is checked each second, each minute, and when all must have converged.
"""

import traceback
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from lotwise.app.live import LiveRun
from lotwise.domain.orders import (
    ENDED,
    PASSING_REJECTIONS,
    SIZE_REJECTIONS,
    Accepted,
    Canceled,
    Expired,
    Fill,
    Order,
    OrderState,
    ProvenAbsent,
    Purpose,
    Rejected,
    Status,
    TimedOut,
    after,
)
from lotwise.domain.values import EPOCH, EXACT, Side, Time
from lotwise.engine.records import (
    Corrected,
    Deposited,
    Event,
    Impossible,
    Listed,
    Panic,
    Record,
    Restricted,
    Submit,
)
from lotwise.engine.sight import EXIT_TRIES
from lotwise.engine.state import State
from lotwise.ledger.positions import Position, after_fill
from lotwise.ledger.postings import HELD
from lotwise.venues.kraken.venue import UNDECIDED
from world.exchange import SYMBOLS, Exchange
from world.holdings import SETTLED_AFTER, STILL_AFTER, unsettled
from world.network import Network
from world.shadow import Noted, Shadow
from world.sockets import PUBLIC, Streams
from world.tape import Disk
from world.truth import ZERO, Taken

KNOWN_WITHIN = 60_000
"""Milliseconds after the last trouble by which all that the exchange knows of ours is known here."""

STALE = 30_000
OLD_PRICES = 45_000
"""Prices are fresh for a moment, and an entry leaves at most 15 s after its moment."""

LATE_MOMENT = 35_000
RULES_TRAVEL = 90_000
"""Milliseconds after a change of the rules in which an order may still go by those before it."""

MISSED_WITHIN = 180_000
"""Milliseconds without trouble after which money that is gone without a reason is missed: the next
comparison, then three that find the same, each of up to half a minute where calls wait for their turn."""

OTHERS_FOLLOW = (Purpose.PROTECTION, Purpose.TAKE_PROFIT)
"""Sales whose refusal leaves another way out: the run goes on to watch."""

AT_THE_NEXT_BAR = (Listed, Panic, ProvenAbsent, Rejected, Restricted, TimedOut)
"""What lets an exit be ordered anew, but not at once."""

FRAMES = 6


class Violation(Exception):
    """An invariant does not hold: which, in which scenario, when, and the facts."""

    def __init__(self, name: str, seed: int, time: Time, facts: Any) -> None:
        super().__init__(f"{name}: seed {seed}, time {time}: {facts}")
        self.name, self.seed, self.time, self.facts = name, seed, time, facts


class Invariants:
    """Watches one scenario. What it raises is a Violation."""

    def __init__(
        self,
        seed: int,
        exchange: Exchange,
        network: Network,
        streams: Streams,
        disk: Disk,
        allotment: Decimal,
    ) -> None:
        self.rules_changed_at = EPOCH
        self.vanished_at: Time | None = None
        self.intents: set[str] = set()
        self.transitions: Counter[tuple[str, str]] = Counter()
        self.fills = 0
        self._seed = seed
        self._exchange, self._truth = exchange, exchange.truth
        self._network, self._streams, self._disk = network, streams, disk
        self._allotment = allotment
        self._shadow = Shadow([])
        self._born = self._told_at = self._asked_at = self._deaf_at = EPOCH
        self._skew = 0
        self._now = EPOCH
        self._durable: set[str] = set()
        self._reckoned: dict[str, Listed] = {}
        self._read_rows = 0
        self._attempts: Counter[str] = Counter()
        self._nonce = -1
        self._refusals: Counter[tuple[str, Purpose | None]] = Counter()

    def violation(self, name: str, now: Time, facts: Any) -> Violation:
        """To be raised; of an error its last frames are the facts."""
        if isinstance(facts, BaseException):
            frames = traceback.extract_tb(facts.__traceback__)[-FRAMES:]
            way = " < ".join(f"{f.filename.rpartition('/')[2]}:{f.lineno} {f.name}" for f in reversed(frames))
            facts = f"{type(facts).__name__}: {facts} [{way}]"
        return Violation(name, self._seed, now, facts)

    # What is told of a life

    def born(self, now: Time, skew: int) -> None:
        """A life begins, with its clock off by so many milliseconds."""
        self._born, self._skew = now, skew

    def took_up(self, run: LiveRun) -> None:
        """A life has read its journal."""
        self.transitions += self._shadow.transitions
        self._shadow = Shadow(self._disk.rows)
        self._same_orders(run.engine.state)

    def sent(self, run: LiveRun | None, endpoint: str, parameters: dict[str, str], now: Time) -> None:
        """A private request leaves."""
        nonce = int(parameters["nonce"])
        self._require("18 nonce rises", nonce > self._nonce, now, f"{nonce} after {self._nonce}")
        self._nonce = nonce
        if endpoint != "AddOrder":
            return
        name = parameters["cl_ord_id"]
        self._attempts[name] += 1
        self._require("9 written before sent", name in self._committed(), now, f"{name} is not on disk")
        self._require("10 one attempt", self._attempts[name] == 1, now, f"{name} was sent again")
        assert run is not None, "an order without a run"
        order = run.engine.state.order(name).order
        self._reckoned[name] = run.engine.state.listed[order.symbol]
        if order.purpose is Purpose.ENTRY:
            self._fresh(order, run, now)
            self._explained(run.engine.state, now)

    def _committed(self) -> set[str]:
        for row in self._disk.rows[self._read_rows :]:
            if row.kind == "Submit":
                self._durable.add(row.body.partition('"client_id":"')[2].partition('"')[0])
            elif row.kind == "Cancel":
                self._asked_at = self._now
        self._read_rows = len(self._disk.rows)
        return self._durable

    # After each list of events

    def after_events(self, run: LiveRun, events: list[Event], records: list[Record], now: Time) -> None:
        """All that is cheap."""
        self._now = now
        self._truth.read()
        for record in records:
            try:
                self._shadow.note(record)
            except KeyError as no:
                raise self.violation("8 along the table", now, f"{record} has no place: {no}") from None
            self._record(run, record, now)
        state = run.engine.state
        self._postings(state)
        self._same_orders(state)
        self._applied_again(state, records)
        self._one_entry_for_a_pair(state)
        self._at_the_exchange()

    def _record(self, run: LiveRun, record: Record, now: Time) -> None:
        if isinstance(record, AT_THE_NEXT_BAR):
            self._told_at = now
        match record:
            case Submit():
                self.intents.add(record.order.client_id)
            case Rejected():
                self._refused(record, now)
            case Accepted():
                self._new_tries(self._shadow.orders[record.client_id].order.symbol)
            case Canceled() | Expired():
                self._ended(record.client_id, now)
            case Listed():
                self._new_tries(record.listing.symbol)  # under new rules
            case Corrected() | Deposited():
                self._new_tries(f"{record.amount.asset}/USDT")  # of what is there
            case Fill():
                self.fills += 1
            case Impossible():
                raise self.violation("8 along the table", now, record)

    def _postings(self, state: State) -> None:
        """1 and 3."""
        sums: dict[str, Decimal] = {}
        live = self._shadow.live()
        for account, number in state.ledger.balances.items():
            name, _, asset = account.rpartition(":")
            sums[asset] = EXACT.add(sums.get(asset, ZERO), number)
            if name == "free" or name.startswith(HELD):
                self._require("3 nothing negative", number >= 0, self._now, (account, number))
            if name.startswith(HELD):
                held = live.get(name.removeprefix(HELD))
                fits = held is not None and number <= held.order.reserve.number
                self._require("3 held is reserved", fits, self._now, (account, number, held))
        self._require("1 postings balance", not any(sums.values()), self._now, sums)

    def _same_orders(self, state: State) -> None:
        """7 and 8: the run's orders are those of the other book."""
        live = self._shadow.live()
        now = self._now
        names = set(state.orders), set(live)
        self._require("8 along the table", names[0] == names[1], now, names)
        for name, known in (*state.orders.items(), *state.ended.items()):
            noted = self._shadow.orders[name]
            same = known.status == noted.status
            self._require("8 along the table", same, now, (known, noted))
            filled = known.filled
            fits = filled == noted.filled and filled <= known.order.quantity
            self._require("7 filled is traded", fits, now, (known, noted))
            whole = (known.status is Status.FILLED) == (filled == known.order.quantity)
            self._require("7 filled is traded", whole, now, known)

    def _applied_again(self, state: State, records: list[Record]) -> None:
        """6: the same report again tells nothing."""
        for record in records:
            if isinstance(record, Fill | Accepted | Canceled | Expired):
                known = state.order(record.client_id)
                again = known if known.status is Status.REJECTED else after(known, record)
                fits = again is known or again.fills == known.fills
                self._require("6 again changes nothing", fits, self._now, (record, known, again))

    def _one_entry_for_a_pair(self, state: State) -> None:
        """12."""
        pairs = Counter(o.order.symbol for o in state.orders.values() if o.order.purpose is Purpose.ENTRY)
        many = [symbol for symbol, count in pairs.items() if count > 1]
        self._require("12 one entry for a pair", not many, self._now, many)

    def _fresh(self, order: Order, run: LiveRun, now: Time) -> None:
        """17: an entry leaves while its prices are fresh."""
        quote, heard = run.engine.quotes.get(order.symbol), now - self._streams.heard_at[PUBLIC]
        now = Time(now + self._skew)  # prices and moments carry the client's own time
        self._require("17 fresh data", quote is not None, now, f"{order.client_id} without prices")
        assert quote is not None
        age = f"{order.client_id}: heard {heard} ms ago, prices {now - quote.time}, moment {now - order.time}"
        fresh = heard <= STALE and now - quote.time <= OLD_PRICES and now - order.time <= LATE_MOMENT
        self._require("17 fresh data", fresh and quote.bid < quote.ask, now, age)

    def _explained(self, state: State, now: Time) -> None:
        """22: nothing is entered while money is missing."""
        self._require("22 entries stop", state.unexplained is None, now, state.unexplained)
        if self.vanished_at is not None and self._exchange.vanished:
            quiet = now - max(self.vanished_at, self._network.last_trouble, self._born)
            facts = (self._exchange.vanished, "gone for", quiet)
            self._require("22 entries stop", quiet <= MISSED_WITHIN, now, facts)

    def _refused(self, told: Rejected, now: Time) -> None:
        """15 and 16, and that it is true (11)."""
        order, kind = self._shadow.orders[told.client_id].order, told.rejection.kind
        deaf = EPOCH < self.rules_changed_at <= self._deaf_at  # what changed may not have been heard of
        changed = now - (self._deaf_at if deaf else self.rules_changed_at) < RULES_TRAVEL
        sendable = kind not in SIZE_REJECTIONS or changed
        self._require("15 sendable", sendable, now, f"{told} of {order}")
        self._require("11 by evidence", told.client_id not in self._truth.ours, now, f"it was taken: {told}")
        if order.side is Side.SELL and kind not in PASSING_REJECTIONS:
            of_it = order.symbol, order.purpose if order.purpose in OTHERS_FOLLOW else None
            self._refusals[of_it] += 1
            few = changed or self._refusals[of_it] <= EXIT_TRIES
            self._require("16 not for ever", few, now, f"{self._refusals[of_it]} sales: {told}")

    def _new_tries(self, symbol: str) -> None:
        for purpose in (None, *OTHERS_FOLLOW):
            self._refusals[symbol, purpose] = 0

    def _ended(self, name: str, now: Time) -> None:
        """11: what is over here is over there."""
        waiting = [there for there, _ in self._truth.open_orders() if there == name]
        self._require("11 by evidence", not waiting, now, f"{name} ended here and waits there")

    # At the exchange

    def _at_the_exchange(self) -> None:
        """4, 11, 13, 14, 20: as it is there."""
        now, truth = self._now, self._truth
        for name, taken in truth.ours.items():
            self._require("4 one order for an intent", len(taken) == 1, now, (name, taken))
            noted = self._shadow.orders.get(name)
            dead = noted is not None and noted.status in (Status.DEAD, Status.REJECTED)
            self._require("11 by evidence", not dead, now, (noted, taken))
        assets = {asset for symbol in SYMBOLS for asset in symbol.split("/")}
        owned = {asset: truth.moved.get(asset, ZERO) for asset in assets}
        owned["USDT"] += self._allotment + self._exchange.rounded + self._dearer()
        # Where the owner took of ours, what was ordered before may be more than is left.
        owned = {asset: number for asset, number in owned.items() if number <= truth.total(asset)}
        for name, waiting in truth.open_orders():
            asset = waiting.held.asset
            if asset not in owned:
                continue
            owned[asset] -= waiting.held.number
            which = "13 sells what is owned" if waiting.order.side is Side.SELL else "14 spends what is free"
            self._require(which, owned[asset] >= 0, now, (name, owned[asset], asset))
        for asset, number in owned.items():
            which = "14 spends what is free" if asset == "USDT" else "13 sells what is owned"
            self._require(which, number >= 0, now, (number, asset))
        for taken_by_hand in truth.hand.values():
            untouched = taken_by_hand.why != "User requested"
            self._require("20 hands off", untouched, now, taken_by_hand)

    def _dearer(self) -> Decimal:
        """What the exchange takes more for purchases where it raised its fees after we had asked for them: no
        stream tells."""
        more = ZERO
        for name, (taken, *_) in self._truth.ours.items():
            order, terms, known = taken.placed.order, taken.placed.terms, self._reckoned[name]
            rise = max(terms.maker_fee - known.maker_fee, terms.taker_fee - known.taker_fee)
            if order.side is Side.BUY and rise > 0:
                more += order.reserve.number * rise + terms.quote_unit
        return more

    def each_beat(self, run: LiveRun, now: Time) -> None:
        """What the exchange may do while nothing is heard; what is held, when all is quiet."""
        self._now = now
        self._committed()
        self._deaf_at = now if now - self._streams.heard_at[PUBLIC] > STALE else self._deaf_at
        if self._truth.read():
            self._at_the_exchange()
        still = now - max(self._truth.last_event, self._asked_at) > STILL_AFTER
        last = max(self._network.last_trouble, self._told_at, self._born)
        if now - last > SETTLED_AFTER and still:
            for name, facts in unsettled(run, self._truth, now):
                raise self.violation(name, now, facts)

    def each_minute(self, run: LiveRun, now: Time) -> None:
        """5, where there was no trouble for long enough."""
        quiet_since = max(self._network.last_trouble, self._born)
        online = self._exchange.core.system_status() == "online"
        if online and now - quiet_since > KNOWN_WITHIN:
            for problem in self._unknown(Time(now - KNOWN_WITHIN)):
                raise self.violation("5 all is known", now, problem)

    def _unknown(self, until: Time) -> Iterator[str]:
        """What the exchange did with our orders until a time that is not known here."""
        for name, (taken, *_) in self._truth.ours.items():
            noted = self._shadow.orders.get(name)
            if noted is None:
                if taken.accepted <= until:  # before that its moment may be under way
                    yield f"{name} is no order of ours"
                continue
            known = noted.venue_id == taken.venue_id or (noted.venue_id is None and noted.status in ENDED)
            if taken.accepted <= until and not known:
                yield f"{name} was taken as {taken.venue_id}: {noted}"
            late = [f for txid, f in taken.fills.items() if f.time <= until and txid not in noted.fills]
            if late:
                yield f"{name} traded: {late}, but {noted}"
            if taken.ended_at is not None and taken.ended_at <= until and noted.status not in ENDED:
                yield f"{name} {taken.ended} there, is {noted.status} here"

    # In the end

    def converged(self, run: LiveRun | None, now: Time) -> None:
        """2, 5, 7, 15: after the healing phase all agree."""
        self._now = now
        self._truth.read()
        alive = run is not None and self._now - self._born > KNOWN_WITHIN
        self._require("0 goes on", alive, now, "no life in the end")
        assert run is not None
        state = run.engine.state
        for problem in self._unknown(Time(now - 5_000)):
            raise self.violation("5 all is known", now, problem)
        open_here = {n: o.status for n, o in state.orders.items() if o.status in UNDECIDED}
        self._require("2 decided", not open_here, now, open_here)
        gone = bool(self._exchange.vanished)
        said = (state.unexplained, self._exchange.vanished)
        self._require("2 explained", gone == (state.unexplained is not None), now, said)
        for name, noted in self._shadow.orders.items():
            self._same_trades(name, noted, self._truth.ours.get(name, []))
            self._in_any_order(name, noted)
        self._same_money(state)
        self.transitions += self._shadow.transitions

    def _same_trades(self, name: str, noted: Noted, taken: list[Taken]) -> None:
        """7: the trades here are those there, to the last unit."""
        there = {txid: fill for each in taken for txid, fill in each.fills.items()}
        here = {txid: (f.quantity, f.price, f.cost, f.fee) for txid, f in noted.fills.items()}
        told = {txid: (f.quantity, f.price, f.cost, f.fee) for txid, f in there.items()}
        self._require("7 filled is traded", here == told, self._now, f"{name}: {here}, there {told}")

    def _in_any_order(self, name: str, noted: Noted) -> None:
        """6: the same trades the other way round give the same order and the same position."""
        fills = list(noted.fills.values())
        states, positions = [], []
        for order in (fills, fills[::-1]):
            state, position = OrderState(noted.order, Status.OPEN), Position(noted.order.symbol)
            for fill in order:
                state = after(state, fill)
                if fill.side is Side.BUY:
                    position = after_fill(position, fill)
            states.append((state.status, state.filled))
            positions.append(position)
        same = states[0] == states[1] and positions[0] == positions[1]
        self._require("6 in any order", same, self._now, (name, states, positions))

    def _same_money(self, state: State) -> None:
        """2: ours and what is foreign make what the exchange has."""
        truth, done = self._truth, state.reconciled
        self._require("2 books agree", done is not None, self._now, "the books were never compared")
        assert done is not None
        for asset in sorted({*state.ledger.assets(), *truth.flows(), *truth.moved}):
            ours = state.ledger.total(asset).number
            should = self._shadow.outside.get(asset, ZERO) + truth.moved.get(asset, ZERO)
            self._require("2 books agree", ours == should, self._now, f"{asset}: {ours}, should be {should}")
            both, there = ours + done.foreign.get(asset, ZERO), truth.total(asset)
            facts = f"{asset}: {ours} and foreign {done.foreign.get(asset)}, there {there}"
            fits = both == there or (asset == "USDT" and bool(self._exchange.vanished))
            self._require("2 books agree", fits, self._now, facts)

    def _require(self, name: str, holds: bool, now: Time, facts: Any) -> None:
        if not holds:
            raise self.violation(name, now, facts)
