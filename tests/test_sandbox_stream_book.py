"""The book channel, checked by a client that knows nothing but Kraken's guide to it."""

import zlib
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.values import Side
from lotwise.kraken.checksum import Level
from lotwise.kraken.stream import Message, read, write
from lotwise.sandbox.stream_topics import changed_levels
from tests.test_sandbox_stream import BTC, MARKETS, SOL, World, of


class Copy:
    """A client's copy of one book, kept as the guide says: take the levels in order, quantity 0 removes,
    cut to the depth, and compare the checksum over the digits as they came."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
        self.checked = 0

    def take(self, message: Message) -> None:
        assert len(message["data"]) == 1
        book = message["data"][0]
        for name, side in self.sides.items():
            if message["type"] == "snapshot":
                side.clear()
            for level in book[name]:
                if level["qty"] == 0:
                    side.pop(level["price"], None)
                else:
                    side[level["price"]] = level["qty"]
            for price in self.order(name)[self.depth :]:
                del side[price]
        assert book["checksum"] == self.checksum(), "the copy is not the exchange's book"
        self.checked += 1

    def order(self, name: str) -> list[Decimal]:
        return sorted(self.sides[name], reverse=name == "bids")

    def checksum(self) -> int:
        text = ""
        for name in ("asks", "bids"):
            for price in self.order(name)[:10]:
                for number in (price, self.sides[name][price]):
                    text += str(int(format(number, "f").replace(".", "")))
        return zlib.crc32(text.encode("ascii"))


@pytest.mark.parametrize(("symbol", "depth"), [(BTC, 10), (SOL, 25)])
def test_a_copy_kept_by_the_guide_is_the_book(symbol: str, depth: int) -> None:
    world = World()
    world.wait(60_000)
    client, copy = world.connect(), Copy(depth)
    heard = client.say("subscribe", channel="book", symbol=[symbol], depth=depth)
    for _ in range(300):
        heard += client.hear(1000)
    for message in of("book", heard):
        copy.take(message)
    bids, asks = world.house.depth(symbol, depth)
    assert copy.sides == {"bids": dict(bids), "asks": dict(asks)} and copy.checked > 100


def test_ten_thousand_updates_have_the_checksum_of_an_independent_reckoning() -> None:
    world = World()
    world.wait(60_000)
    client = world.connect()
    copies = {BTC: Copy(10), SOL: Copy(10)}
    heard = client.say("subscribe", channel="book", symbol=[BTC, SOL])
    while sum(copy.checked for copy in copies.values()) < 10_000:
        for message in of("book", heard):
            copies[message["data"][0]["symbol"]].take(message)
        heard = client.hear(1000)
        assert client.session.closed is None


def test_a_level_has_the_pairs_decimals_on_the_wire() -> None:
    world = World()
    world.wait(5000)
    client = world.connect()
    lines = client.session.receive(
        '{"method":"subscribe","params":{"channel":"book","symbol":["SOL/USD"]}}', world.now
    )
    book = read(lines[-1])["data"][0]
    for level in book["bids"] + book["asks"]:
        price, quantity = f"{level['price']:f}", f"{level['qty']:f}"
        assert len(price.partition(".")[2]) == 2 and len(quantity.partition(".")[2]) == 8


def test_an_order_of_ours_is_part_of_the_book() -> None:
    world = World()
    world.wait(5000)
    watching, trading = world.connect(), world.connect(private=True)
    copy = Copy(10)
    for message in of("book", watching.say("subscribe", channel="book", symbol=[BTC])):
        copy.take(message)
    best = max(copy.sides["bids"]) + Decimal("0.1")
    trading.say(
        "add_order",
        order_type="limit",
        side="buy",
        order_qty=Decimal("0.01"),
        limit_price=best,
        symbol=BTC,
        token=world.token(),
    )
    for message in of("book", watching.hear()):
        copy.take(message)
    assert copy.sides["bids"][best] == Decimal("0.01")


SIDE = st.dictionaries(st.integers(1, 12), st.integers(1, 3), max_size=12)


@settings(max_examples=300, deadline=None)
@given(SIDE, SIDE, st.integers(1, 6), st.sampled_from(Side))
def test_what_is_told_of_a_side_makes_the_old_view_the_next(
    before: dict[int, int], after: dict[int, int], depth: int, side: Side
) -> None:
    old, new = (view(levels, depth, side) for levels in (before, after))
    told = changed_levels(side, old, new, depth)
    copy = dict(old)
    for price, quantity in told:
        if quantity:
            copy[price] = quantity
        else:
            del copy[price]
    ordered = sorted(copy.items(), reverse=side is Side.BUY)
    assert tuple(ordered[:depth]) == new
    assert len({price for price, _ in told}) == len(told)
    assert not told or old != new
    # Kraken's guide: no quantity 0 comes for a level that fell out of the depth.
    if len(new) == depth:
        assert all(quantity or (price > new[-1][0]) == (side is Side.BUY) for price, quantity in told)


def test_levels_off_the_grid_of_new_rules_are_still_told() -> None:
    world = World(crowd=False)
    far = (Decimal("40000.3"), Decimal("0.12345678")), (Decimal(70_000), Decimal(1))
    world.exchange.show_depth(BTC, far[:1], far[1:], world.now)
    world.exchange.list_market(replace(MARKETS[BTC], tick_size=Decimal(1), lot_step=Decimal("0.0001")))
    book = of("book", world.connect().say("subscribe", channel="book", symbol=[BTC]))[0]["data"][0]
    assert book["bids"] == [{"price": Decimal("40000.3"), "qty": Decimal("0.12345678")}]
    assert write(book["asks"]) == '[{"price":70000,"qty":1.0000}]'


def view(levels: dict[int, int], depth: int, side: Side) -> tuple[Level, ...]:
    ordered = sorted(levels.items(), reverse=side is Side.BUY)[:depth]
    return tuple((Decimal(price), Decimal(quantity)) for price, quantity in ordered)
