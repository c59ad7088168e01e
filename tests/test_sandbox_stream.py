"""Kraken's WebSocket v2 as the sandbox speaks it, over a real exchange with a living market."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pytest

from lotwise.domain.market import Market, MarketStatus
from lotwise.domain.values import BadField, Time, amount
from lotwise.exchange.crowd import Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching
from lotwise.exchange.paths import Walk
from lotwise.kraken.signature import credentials
from lotwise.kraken.stream import Message, read, timestamp, write
from lotwise.sandbox.core import Core, Settings
from lotwise.sandbox.keys import ApiKey, made_up_key
from lotwise.sandbox.stream import Outbox, Session
from lotwise.sandbox.stream_house import CoreHouse
from lotwise.sandbox.stream_topics import Hub

START = Time(1_790_359_200_000)
BTC, SOL = "BTC/USD", "SOL/USD"
MARKETS = {
    symbol: Market(
        symbol,
        Decimal(tick),
        Decimal("0.00000001"),
        Decimal(least),
        Decimal("0.5"),
        5,
        Decimal("0.004"),
        Decimal("0.008"),
    )
    for symbol, tick, least in ((BTC, "0.1", "0.00005"), (SOL, "0.01", "0.06"))
}
PRICES = {BTC: 60_000.0, SOL: 150.0}


class World:
    """An exchange with a crowd on each pair, one account with a key, and clients that connect to it."""

    def __init__(self, crowd: bool = True, kept: int = 10_000, seed: int = 7) -> None:
        self.exchange = Exchange(MARKETS, house=HouseRules(Matching.BOOK, kept=kept))
        self.core = Core(self.exchange, Settings(seed=seed))
        self.now = START
        for number, (symbol, price) in enumerate(PRICES.items() if crowd else ()):
            dice = Dice(seed + number)
            path = Walk(price, 0.8, dice, self.now)
            self.exchange.live(symbol, Crowd(CrowdSettings(), path, dice, self.now))
        self.keys = [self._account(name, number) for number, name in enumerate(("ada", "bob"))]
        self.house = CoreHouse(self.core)
        self.hub = Hub(self.house)
        self.connections = 0

    def _account(self, name: str, number: int) -> str:
        self.core.open_account(name)
        key, secret = made_up_key(1, number)
        self.core.add_key(ApiKey(credentials(key, secret), name))
        for money in ("10000 USD", "1 BTC", "100 SOL"):
            self.core.deposit(name, amount(money), START)
        return key

    def token(self, account: int = 0) -> str:
        answer = self.core.command(self.keys[account], "GetWebSocketsToken", {}, self.now)
        assert isinstance(answer, dict)
        return str(answer["token"])

    def connect(self, private: bool = False) -> "Client":
        self.connections += 1
        return Client(self, Session(self.house, self.hub, private, self.connections, self.now))

    def wait(self, milliseconds: int) -> None:
        self.now = Time(self.now + milliseconds)
        self.core.advance(self.now)


class Client:
    """One connection; `say` and `hear` give the messages that came."""

    def __init__(self, world: World, session: Session) -> None:
        self.world, self.session = world, session

    def say(self, method: str, req_id: int | None = None, **params: Any) -> list[Message]:
        fields: Message = {"method": method} | ({"params": params} if params else {})
        return self.send(write(fields if req_id is None else {**fields, "req_id": req_id}))

    def send(self, text: str | bytes) -> list[Message]:
        return [read(line) for line in self.session.receive(text, self.world.now)]

    def hear(self, after: int = 0) -> list[Message]:
        self.world.wait(after)
        return [read(line) for line in self.session.advance(self.world.now)]


@pytest.fixture
def world() -> World:
    return World()


def channels(messages: Iterable[Message]) -> list[str]:
    return [str(message.get("channel", message.get("method"))) for message in messages]


def of(channel: str, messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if message.get("channel") == channel]


def error(messages: Iterable[Message]) -> str:
    failed = [message for message in messages if message.get("success") is False]
    assert len(failed) == 1
    return str(failed[0]["error"])


# The connection


def test_a_connection_begins_with_the_status(world: World) -> None:
    status = world.connect().hear()
    assert channels(status) == ["status"]
    assert status[0]["data"][0]["system"] == "online" and status[0]["data"][0]["connection_id"] == 1


def test_a_change_of_the_system_is_told_once(world: World) -> None:
    client = world.connect()
    client.hear()
    world.core.set_system_status("post_only")
    assert [message["data"][0]["system"] for message in client.hear(1)] == ["post_only"]
    assert client.hear(1) == []


def test_a_ping_is_answered_with_its_number_and_times(world: World) -> None:
    answer = world.connect().say("ping", 42)[-1]
    assert answer == {
        "method": "pong",
        "req_id": 42,
        "time_in": "2026-09-25T18:00:00.000000Z",
        "time_out": "2026-09-25T18:00:00.000000Z",
    }


def test_a_ping_takes_no_parameters(world: World) -> None:
    words = "Unsupported field: 'params' for the given msg type: ping"
    assert error(world.connect().say("ping", x=1)) == words


def test_heartbeats_come_each_second_of_silence_and_only_to_subscribers() -> None:
    still = World(crowd=False)
    silent, listening = still.connect(), still.connect()
    listening.say("subscribe", channel="instrument")
    silent.hear()
    told = [(silent.hear(), listening.hear(500)) for _ in range(6)]
    assert [channels(heard) for _, heard in told] == [[], ["heartbeat"]] * 3
    assert all(not heard for heard, _ in told)


def test_an_idle_connection_is_closed_after_a_minute(world: World) -> None:
    client = world.connect()
    world.wait(30_000)
    client.say("ping")
    client.hear(59_999)
    assert client.session.closed is None
    client.hear(1)
    assert client.session.closed is not None and client.session.closed.code == 1000
    assert client.say("ping") == [] and client.hear(1) == []


def test_a_subscription_keeps_a_connection_open(world: World) -> None:
    client = world.connect()
    client.say("subscribe", channel="trade", symbol=[BTC])
    client.hear(200_000)
    assert client.session.closed is None


def test_a_private_connection_needs_a_private_subscription(world: World) -> None:
    asking, listening = world.connect(private=True), world.connect(private=True)
    listening.say("subscribe", channel="balances", token=world.token())
    for _ in range(7):
        world.wait(10_000)
        asking.say("ping")
        listening.hear()
    assert asking.session.closed is not None and listening.session.closed is None


def test_a_message_that_is_too_long_ends_the_connection(world: World) -> None:
    client = world.connect()
    client.send(" " * 300_000)
    assert client.session.closed is not None and client.session.closed.code == 1009


def test_text_that_is_no_message_is_answered_and_the_connection_goes_on(world: World) -> None:
    client = world.connect()
    for text in ("nonsense", "[]", b"\xff\xff", '{"method":"ping"'):
        assert error(client.send(text)) == "Malformed request"
    assert channels(client.say("ping")) == ["pong"]


# Subscribing


def test_each_symbol_is_acknowledged_by_itself_with_the_requests_number(world: World) -> None:
    world.wait(2000)
    client = world.connect()
    answers = [
        m for m in client.say("subscribe", 5, channel="book", symbol=[BTC, "XBT/USD", SOL]) if "method" in m
    ]
    assert [(answer["success"], answer["req_id"]) for answer in answers] == [(True, 5), (False, 5), (True, 5)]
    assert answers[0]["result"] == {"channel": "book", "depth": 10, "snapshot": True, "symbol": BTC}
    assert (answers[1]["error"], answers[1]["symbol"]) == ("Currency pair not supported XBT/USD", "XBT/USD")


def test_a_snapshot_follows_its_acknowledgement_unless_it_is_not_wanted(world: World) -> None:
    world.wait(2000)
    client = world.connect()
    client.hear()
    heard = client.say("subscribe", channel="ticker", symbol=[BTC, SOL])
    assert channels(heard) == ["subscribe", "ticker", "subscribe", "ticker"]
    assert channels(client.say("subscribe", channel="book", symbol=[BTC], snapshot=False)) == ["subscribe"]


def test_the_same_subscription_is_refused_a_second_time(world: World) -> None:
    client = world.connect()
    client.say("subscribe", channel="ticker", symbol=[BTC])
    again = client.say("subscribe", channel="ticker", symbol=[BTC])
    assert error(again) == "Already subscribed"
    client.say("subscribe", channel="ohlc", symbol=[BTC], interval=5)
    other = client.say("subscribe", channel="ohlc", symbol=[BTC], interval=1)
    assert error(other) == "Already subscribed to one ohlc interval on this symbol"


def test_two_depths_of_one_book_are_two_subscriptions(world: World) -> None:
    world.wait(60_000)
    client = world.connect()
    client.say("subscribe", channel="book", symbol=[BTC])
    deep = client.say("subscribe", channel="book", symbol=[BTC], depth=25)
    assert len(of("book", deep)[0]["data"][0]["bids"]) > 10


def test_an_ended_subscription_is_silent(world: World) -> None:
    client = world.connect()
    client.say("subscribe", channel="ticker", symbol=[BTC], event_trigger="bbo")
    client.hear(10_000)
    ended = client.say("unsubscribe", 3, channel="ticker", symbol=[BTC])
    assert ended[-1]["result"] == {"channel": "ticker", "event_trigger": "bbo", "symbol": BTC}
    assert client.hear(59_000) == [] and len(world.hub) == 0
    assert error(client.say("unsubscribe", channel="ticker", symbol=[BTC])) == "Subscription Not Found"


def test_each_door_sends_away_what_belongs_to_the_other(world: World) -> None:
    public, private = world.connect(), world.connect(private=True)
    elsewhere = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
    assert error(public.say("subscribe", channel="executions", token="x")) == elsewhere
    assert error(public.say("cancel_all", token="x")) == elsewhere
    assert error(private.say("subscribe", channel="ticker", symbol=[BTC])) == (
        "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"
    )


def test_a_private_channel_needs_a_valid_token(world: World) -> None:
    client = world.connect(private=True)
    assert error(client.say("subscribe", channel="executions")) == "Token(s) not found"
    refused = client.say("subscribe", channel="executions", token="x")[-1]
    assert (refused["error"], refused["channel"], refused["status"]) == (
        "ESession:Invalid session",
        "executions",
        "error",
    )
    assert error(client.say("add_order", token="x")) == "ESession:Invalid session"


def test_an_unknown_method_is_refused(world: World) -> None:
    assert error(world.connect().say("dance")) == "Unsupported event"


def test_a_pair_that_is_gone_takes_no_new_listeners_and_lets_the_old_ones_go(world: World) -> None:
    client = world.connect()
    client.say("subscribe", channel="trade", symbol=[SOL])
    world.exchange.set_status(SOL, MarketStatus.OFFLINE)
    assert error(world.connect().say("subscribe", channel="trade", symbol=[SOL])) == (
        "Currency pair not supported SOL/USD"
    )
    assert client.say("unsubscribe", channel="trade", symbol=[SOL])[-1]["success"]


def test_an_exchange_without_books_has_no_stream() -> None:
    candles = Exchange(MARKETS, house=HouseRules(Matching.CANDLE))
    with pytest.raises(BadField):
        CoreHouse(Core(candles))


# Market data


def test_instruments_tell_every_pair_and_later_what_changed(world: World) -> None:
    client = world.connect()
    data = of("instrument", client.say("subscribe", channel="instrument"))[0]["data"]
    assert [pair["symbol"] for pair in data["pairs"]] == [BTC, SOL]
    assert [asset["id"] for asset in data["assets"]] == ["BTC", "USD", "SOL"]
    assert data["pairs"][1]["qty_min"] == Decimal("0.06") and data["pairs"][0]["price_increment"] == Decimal(
        "0.1"
    )
    world.exchange.set_status(SOL, MarketStatus.CANCEL_ONLY)
    update = of("instrument", client.hear(1))[0]
    assert update["type"] == "update" and update["data"]["assets"] == []
    assert [(pair["symbol"], pair["status"]) for pair in update["data"]["pairs"]] == [(SOL, "cancel_only")]


def test_trades_come_once_each_in_the_order_of_their_numbers(world: World) -> None:
    world.wait(30_000)
    client = world.connect()
    heard = client.say("subscribe", channel="trade", symbol=[BTC], snapshot=True)
    for _ in range(60):
        heard += client.hear(1000)
    messages = of("trade", heard)
    assert messages[0]["type"] == "snapshot" and {message["type"] for message in messages[1:]} == {"update"}
    told = [row["trade_id"] for message in messages for row in message["data"]]
    last = world.exchange.tape(BTC).number
    assert told == list(range(told[0], last + 1)) and len(told) > 10


def test_a_ticker_speaks_on_trades_and_agrees_with_book_and_tape(world: World) -> None:
    world.wait(60_000)
    client = world.connect()
    client.say("subscribe", channel="ticker", symbol=[BTC])
    spoken = 0
    for _ in range(60):
        before = world.exchange.tape(BTC).number
        heard = of("ticker", client.hear(1000))
        assert len(heard) == (world.exchange.tape(BTC).number > before)
        spoken += len(heard)
        for message in heard:
            row, book = message["data"][0], world.exchange.book(BTC)
            (bids, asks) = world.house.depth(BTC, 1)
            assert (row["bid"], row["bid_qty"]) == bids[0] and (row["ask"], row["ask_qty"]) == asks[0]
            assert row["last"] == world.exchange.tape(BTC).trades[-1].price and book.sequence
            assert row["low"] <= row["vwap"] <= row["high"]
    assert spoken > 5


def test_a_ticker_of_best_prices_speaks_when_they_change(world: World) -> None:
    world.wait(60_000)
    client = world.connect()
    client.say("subscribe", channel="ticker", symbol=[BTC], event_trigger="bbo")
    for _ in range(60):
        before = world.house.depth(BTC, 1)
        assert len(of("ticker", client.hear(1000))) == (world.house.depth(BTC, 1) != before)


def test_candles_grow_with_trades_and_the_next_one_makes_the_last_final(world: World) -> None:
    world.wait(120_000)
    client = world.connect()
    heard = client.say("subscribe", channel="ohlc", symbol=[BTC], interval=1)
    for _ in range(180):
        heard += client.hear(1000)
    told = {row["interval_begin"]: row for message in of("ohlc", heard) for row in message["data"]}
    bars = {timestamp(bar.time, digits=9): bar for bar in world.exchange.tape(BTC).candles(1)}
    assert len(told) >= 4
    for begin, row in told.items():
        bar = bars[begin]
        assert (row["open"], row["high"], row["low"], row["close"]) == (
            bar.open,
            bar.high,
            bar.low,
            bar.close,
        )
        assert (row["volume"], row["trades"]) == (bar.volume, bar.count)


def test_equal_worlds_speak_equal_bytes_however_often_they_are_asked() -> None:
    def said(steps: int) -> list[str]:
        world = World()
        world.wait(5000)
        client = world.connect()
        for channel in ("book", "trade"):
            client.say("subscribe", channel=channel, symbol=[BTC])
        return [write(message) for _ in range(steps) for message in client.hear(1000)]

    assert said(30) == said(30)


# Slow clients


def test_a_client_that_falls_behind_is_dropped(world: World) -> None:
    world.hub = Hub(world.house, kept=10)
    slow, quick = world.connect(), world.connect()
    for client in (slow, quick):
        client.say("subscribe", channel="book", symbol=[BTC])
    for _ in range(30):
        quick.hear(1000)
    slow.hear()
    assert quick.session.closed is None and len(world.hub) == 1
    assert slow.session.closed is not None and slow.session.closed.code == 1013


def test_a_client_whose_account_forgot_its_events_is_dropped() -> None:
    forgetful = World(kept=4)
    slow = forgetful.connect(private=True)
    slow.say("subscribe", channel="balances", token=forgetful.token())
    for _ in range(5):
        forgetful.core.deposit("ada", amount("1 USD"), forgetful.now)
    slow.hear()
    assert slow.session.closed is not None and slow.session.closed.code == 1013


def test_an_outbox_that_is_not_emptied_in_time_is_full_for_good() -> None:
    box = Outbox(3)
    box.put(["a", "b"])
    assert box.take() == ["a", "b"] and not box.full
    box.put(["c", "d", "e", "f"])
    assert box.full and len(box) == 0
    box.put(["g"])
    assert box.take() == []
