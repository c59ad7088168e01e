"""The order book against a slow one that shares no code with it: lists, searched from end to end."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.values import EPOCH, Side, Time
from lotwise.exchange.book import CHANGES_KEPT, OrderBook, opposite

OWNER = ("ann", "a")


@dataclass
class Slow:
    """Orders in one list, each with the moment of its place in the queue."""

    orders: list[dict[str, int]] = field(default_factory=list)
    moment: int = 0

    def add(self, number: int, sign: int, price: int, lots: int) -> None:
        self.moment += 1
        entry = {"number": number, "sign": sign, "price": price, "lots": lots, "since": self.moment}
        self.orders.append(entry)

    def find(self, number: int) -> dict[str, int]:
        return next(order for order in self.orders if order["number"] == number)

    def amend(self, number: int, price: int, lots: int) -> None:
        order = self.find(number)
        if price != order["price"] or lots > order["lots"]:
            self.moment += 1
            order["since"] = self.moment
        order["price"], order["lots"] = price, lots

    def cancel(self, number: int) -> None:
        self.orders.remove(self.find(number))

    def waiting(self, sign: int) -> list[dict[str, int]]:
        """A side (1 buys, -1 sells): the better price first, then the earlier."""
        side = [order for order in self.orders if order["sign"] == sign]
        return sorted(side, key=lambda order: (-sign * order["price"], order["since"]))

    def take(self, sign: int, lots: int, limit: int | None) -> list[tuple[int, int, int]]:
        taken = []
        for order in self.waiting(-sign):
            worse = limit is not None and (order["price"] - limit) * sign > 0
            if lots == 0 or worse:
                break
            part = min(lots, order["lots"])
            taken.append((order["number"], order["price"], part))
            lots -= part
            order["lots"] -= part
        self.orders = [order for order in self.orders if order["lots"]]
        return taken

    def depth(self, sign: int) -> list[tuple[int, int]]:
        levels: dict[int, int] = {}
        for order in self.waiting(sign):
            levels[order["price"]] = levels.get(order["price"], 0) + order["lots"]
        return list(levels.items())


sides = st.sampled_from(Side)
prices = st.integers(1, 12)
lots = st.integers(1, 9)
operations = st.one_of(
    st.tuples(st.just("add"), sides, prices, lots),
    st.tuples(st.just("take"), sides, st.one_of(st.none(), prices), st.integers(1, 30)),
    st.tuples(st.just("cancel"), sides, st.integers(0, 99), lots),
    st.tuples(st.just("amend"), st.integers(0, 99), prices, lots),
)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.lists(operations, max_size=60))
def test_the_book_keeps_price_and_time_priority_as_the_slow_one_does(steps: list[tuple]) -> None:  # type: ignore[type-arg]
    book, slow = OrderBook(), Slow()
    shown: dict[Side, dict[int, int]] = {Side.BUY: {}, Side.SELL: {}}
    followed = 0
    for number, step in enumerate(steps, 1):
        there = [order["number"] for order in slow.orders]
        match step:
            case ("add", side, price, some):
                book.add(number, None, side, price, some)
                slow.add(number, 1 if side is Side.BUY else -1, price, some)
            case ("take", side, limit, some):
                got = [
                    (hit.resting.number, hit.resting.price, hit.lots) for hit in book.take(side, some, limit)
                ]
                assert got == slow.take(1 if side is Side.BUY else -1, some, limit)
            case ("cancel", _, which, _) if there:
                book.cancel(there[which % len(there)])
                slow.cancel(there[which % len(there)])
            case ("amend", which, price, some) if there:
                book.amend(there[which % len(there)], price, some)
                slow.amend(there[which % len(there)], price, some)
        for side, sign in ((Side.BUY, 1), (Side.SELL, -1)):
            levels = [(price, some) for price, some, _ in book.depth(side, 100)]
            assert levels == slow.depth(sign)
            assert book.best(side) == (levels[0][0] if levels else None)
            queue = [(resting.number, resting.lots) for resting in book.queue(side)]
            assert queue == [(order["number"], order["lots"]) for order in slow.waiting(sign)]
        changes = book.changes(followed)
        assert changes is not None
        assert [change.sequence for change in changes] == list(range(followed + 1, book.sequence + 1))
        for change in changes:
            shown[change.side][change.price] = change.lots
        followed = book.sequence
        for side in Side:
            levels = sorted((price, some) for price, some, _ in book.depth(side, 100))
            assert levels == sorted((price, some) for price, some in shown[side].items() if some)


def test_a_level_carries_the_time_of_its_last_change() -> None:
    book = OrderBook()
    book.add(1, None, Side.BUY, 10, 5)
    book.time = Time(7)
    book.add(2, OWNER, Side.BUY, 9, 5)
    assert book.depth(Side.BUY, 2) == [(10, 5, EPOCH), (9, 5, Time(7))]
    assert book[2].owner == OWNER
    assert 3 not in book


def test_changes_that_are_no_longer_kept_are_not_made_up() -> None:
    book = OrderBook()
    for number in range(CHANGES_KEPT):
        book.add(number, None, Side.BUY, 1, 1)
    changes = book.changes(0)
    assert changes is not None
    assert len(changes) == CHANGES_KEPT
    book.cancel(0)
    assert book.changes(0) is None
    assert book.changes(book.sequence) == []


def test_a_finer_grid_keeps_the_queue_and_tells_followers_to_start_again() -> None:
    book = OrderBook()
    for number, price in ((1, 10), (2, 10), (3, 11)):
        book.add(number, None, Side.SELL, price, number)
    book.add(4, None, Side.BUY, 9, 4)
    before = book.sequence
    book.regrid(finer=10, smaller=100)
    assert [(r.number, r.price, r.lots) for r in book.queue(Side.SELL)] == [
        (1, 100, 100),
        (2, 100, 200),
        (3, 110, 300),
    ]
    assert book.best(Side.BUY) == 90
    assert book.changes(before) is None
    assert list(book.spreads)[-1][1:] == (90, 100)
    book.add(5, None, Side.BUY, 95, 1)
    assert book.changes(before + 1) is not None


@pytest.mark.parametrize("side", list(Side))
def test_nothing_is_taken_beyond_the_limit_or_from_an_empty_side(side: Side) -> None:
    book = OrderBook()
    assert book.take(side, 5, None) == []
    book.add(1, None, opposite(side), 10, 5)
    worse = 9 if side is Side.BUY else 11
    assert book.take(side, 5, worse) == []
    assert [hit.lots for hit in book.take(side, 3, 10)] == [3]
    assert [resting.lots for resting in book.at(opposite(side), 10)] == [2]
    assert list(book.at(opposite(side), 11)) == []
