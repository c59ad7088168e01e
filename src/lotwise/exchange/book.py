"""An order book with price-time priority, in whole ticks and lots.

Laws: the better price goes first, at one price the earlier; less of an order keeps its place, more of it
or another price is a new place; a level's lots are the sum of its orders'; every change of a level has
the next sequence number. The book compares no two sides: who enters it crossing stays there.
"""

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from lotwise.domain.values import EPOCH, Side, Time
from lotwise.exchange.events import Key

CHANGES_KEPT = 10_000
SPREADS_KEPT = 200


class Resting:
    """An order in the book: `owner` names an account's order, None is the anonymous crowd."""

    __slots__ = ("lots", "number", "owner", "price", "side")

    def __init__(self, number: int, owner: Key | None, side: Side, price: int, lots: int) -> None:
        self.number = number
        self.owner = owner
        self.side = side
        self.price = price
        self.lots = lots


class Hit(NamedTuple):
    """So many lots of a resting order were taken at its price."""

    resting: Resting
    lots: int


class LevelChange(NamedTuple):
    """A price level now holds so many lots (0: it is gone)."""

    sequence: int
    side: Side
    price: int
    lots: int
    time: Time


class _Level:
    """The orders at one price, first come first. (A plain dict would scan over those taken before.)"""

    __slots__ = ("lots", "orders", "time")

    def __init__(self) -> None:
        self.orders: OrderedDict[int, Resting] = OrderedDict()
        self.lots = 0
        self.time = EPOCH


class _Half:
    """One side: prices times `sign` in ascending order, so that the best stands last."""

    __slots__ = ("keys", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.keys: list[int] = []
        self.levels: dict[int, _Level] = {}


class OrderBook:
    """The resting orders of one pair; `time` is set by its user and stamps the levels that change."""

    def __init__(self) -> None:
        self.time = EPOCH
        self.sequence = 0
        self._bids, self._asks = _Half(1), _Half(-1)
        self._orders: dict[int, Resting] = {}
        self._changes: deque[LevelChange] = deque(maxlen=CHANGES_KEPT)
        self.spreads: deque[tuple[Time, int, int]] = deque(maxlen=SPREADS_KEPT)
        """(time, best bid, best ask) whenever one of the two changed while there were both."""

    def __contains__(self, number: int) -> bool:
        return number in self._orders

    def __getitem__(self, number: int) -> Resting:
        return self._orders[number]

    def add(self, number: int, owner: Key | None, side: Side, price: int, lots: int) -> Resting:
        """Put an order behind all others of its price. The number must be free, the lots above 0."""
        assert number not in self._orders and lots > 0
        resting = self._orders[number] = Resting(number, owner, side, price, lots)
        half = self._half(side)
        key = price * half.sign
        level = half.levels.get(key)
        if level is None:
            level = half.levels[key] = _Level()
            insort(half.keys, key)
        level.orders[number] = resting
        level.lots += lots
        self._note(side, price, level)
        return resting

    def reduce(self, number: int, lots: int) -> None:
        """Take so many lots off an order, traded or not; it leaves when none are left."""
        resting = self._orders[number]
        half = self._half(resting.side)
        key = resting.price * half.sign
        level = half.levels[key]
        assert 0 < lots <= resting.lots
        resting.lots -= lots
        level.lots -= lots
        if not resting.lots:
            del self._orders[number], level.orders[number]
            if not level.lots:
                del half.levels[key], half.keys[bisect_left(half.keys, key)]
        self._note(resting.side, resting.price, level)

    def cancel(self, number: int) -> None:
        """Take an order off the book."""
        self.reduce(number, self._orders[number].lots)

    def amend(self, number: int, price: int, lots: int) -> None:
        """Change an order: it keeps its place only when no more than its lots go down."""
        resting = self._orders[number]
        if price == resting.price and lots <= resting.lots:
            if lots < resting.lots:
                self.reduce(number, resting.lots - lots)
            return
        self.cancel(number)
        self.add(number, resting.owner, resting.side, price, lots)

    def take(self, side: Side, lots: int, limit: int | None) -> list[Hit]:
        """What an order of this side and limit trades at once, in priority; it does not stay."""
        hits = []
        for resting in self.queue(opposite(side), limit):
            taken = min(lots, resting.lots)
            hits.append(Hit(resting, taken))
            lots -= taken
            if not lots:
                break
        for hit in hits:
            self.reduce(hit.resting.number, hit.lots)
        return hits

    def regrid(self, finer: int, smaller: int) -> None:
        """Count in ticks so many times finer and lots so many times smaller. Whoever followed the
        changes must start again from the whole book."""
        self._changes.clear()
        self.sequence += 1
        for number, (time, bid, ask) in enumerate(self.spreads):
            self.spreads[number] = time, bid * finer, ask * finer
        for half in (self._bids, self._asks):
            half.keys = [key * finer for key in half.keys]
            half.levels = {key * finer: level for key, level in half.levels.items()}
            for level in half.levels.values():
                level.lots *= smaller
        for resting in self._orders.values():
            resting.price *= finer
            resting.lots *= smaller

    def queue(self, side: Side, limit: int | None = None) -> Iterator[Resting]:
        """A side's orders in priority, as far as the limit of who would take them. Not to be used on
        once the book has changed."""
        half = self._half(side)
        worst = None if limit is None else limit * half.sign
        for key in reversed(half.keys):
            if worst is not None and key < worst:
                return
            yield from half.levels[key].orders.values()

    def best(self, side: Side) -> int | None:
        """The best price of a side."""
        half = self._half(side)
        return half.keys[-1] * half.sign if half.keys else None

    def at(self, side: Side, price: int) -> Iterator[Resting]:
        """A side's orders at one price, first come first."""
        half = self._half(side)
        level = half.levels.get(price * half.sign)
        return iter(()) if level is None else iter(level.orders.values())

    def depth(self, side: Side, count: int) -> list[tuple[int, int, Time]]:
        """(price, lots, time of the last change) of the best levels, best first."""
        half = self._half(side)
        best = islice(reversed(half.keys), count)
        return [(key * half.sign, half.levels[key].lots, half.levels[key].time) for key in best]

    def changes(self, since: int) -> list[LevelChange] | None:
        """The changes after a sequence number; None when they are no longer kept."""
        count = self.sequence - since
        if count > len(self._changes):
            return None
        return list(islice(self._changes, len(self._changes) - count, None))

    def put_back(
        self,
        sequence: int,
        time: Time,
        times: Iterable[tuple[Side, int, Time]],
        spreads: Iterable[tuple[Time, int, int]],
    ) -> None:
        """Set what a book that was just filled again remembered of its past."""
        self._changes.clear()
        self.sequence, self.time = sequence, time
        for side, price, changed in times:
            half = self._half(side)
            half.levels[price * half.sign].time = changed
        self.spreads.clear()
        self.spreads.extend(spreads)

    def _half(self, side: Side) -> _Half:
        return self._bids if side is Side.BUY else self._asks

    def _note(self, side: Side, price: int, level: _Level) -> None:
        self.sequence += 1
        level.time = self.time
        self._changes.append(LevelChange(self.sequence, side, price, level.lots, self.time))
        bids, asks = self._bids.keys, self._asks.keys
        if bids and asks:
            last = self.spreads[-1] if self.spreads else None
            if last is None or last[1] != bids[-1] or last[2] != -asks[-1]:
                self.spreads.append((self.time, bids[-1], -asks[-1]))


def opposite(side: Side) -> Side:
    """The side that an order of this side trades with."""
    return Side.SELL if side is Side.BUY else Side.BUY
