"""Whatever a client sends is answered in words or ends the connection: nothing raises, nothing grows."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotwise.kraken.stream import Message, read, write
from lotwise.kraken.stream_channels import CHANNELS, DEPTHS, INTERVALS
from lotwise.kraken.stream_orders import FIELDS, NOT_YET
from tests.test_sandbox_stream import BTC, SOL, Client, World

EXAMPLES = int(os.environ.get("LOTWISE_FUZZ", "0"))
"""`make fuzz` asks for many; the suite for a few hundred."""

METHODS = ["ping", "subscribe", "unsubscribe", *FIELDS, *NOT_YET]
NAMES = sorted(
    {"channel", "symbol", "token", "req_id", "orders"}
    | {name for fields in FIELDS.values() for name in fields}
    | {name for channel in CHANNELS.values() for name in (*channel.options, *channel.quiet)}
)
PLAUSIBLE: list[Any] = [
    *CHANNELS,
    *DEPTHS[:2],
    *INTERVALS[:2],
    [BTC],
    [BTC, SOL, "XBT/USD"],
    BTC,
    *(
        "limit",
        "market",
        "stop-loss",
        "take-profit-limit",
        "iceberg",
        "buy",
        "sell",
        "gtc",
        "ioc",
        "GTD",
        "fok",
    ),
    *("static", "pct", "quote", "last", "index", "base", "cancel_both", "trades", "bbo", "all", "mine"),
    *(
        "2026-09-25T18:00:30Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2026-02-30T00:00:00Z",
    ),
    {"price": -5, "price_type": "pct", "reference": "last"},
    {"order_type": "limit", "limit_price": 50_000},
    *(0, 1, -1, 2**31, 2**63, 10**40, True, False, None, [], {}),
]
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
VALUES = st.sampled_from(PLAUSIBLE) | st.decimals(0, 60_000, places=4) | JUNK
PARAMS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=9)
CORE = ("order_type", "side", "symbol", "order_qty", "limit_price")
LIKELY = st.fixed_dictionaries(
    {
        "order_type": st.sampled_from(["limit", "market", "stop-loss-limit"]),
        "side": st.sampled_from(["buy", "sell"]),
        "symbol": st.sampled_from([BTC, SOL]),
        "order_qty": st.sampled_from([1, 0, -1]) | st.decimals(0, 2, places=8),
        "limit_price": st.decimals(0, 80_000, places=2),
    },
    optional={name: VALUES for name in FIELDS["add_order"] if name not in ("token", *CORE)},
)
REQUESTS = st.tuples(
    st.sampled_from(METHODS) | st.text(max_size=5) | st.integers(),
    st.one_of(PARAMS, LIKELY, JUNK),
    st.none() | st.integers(-(2**70), 2**70) | st.text(max_size=3),
    st.booleans(),
)


def check(client: Client, text: str | bytes) -> None:
    """Send and see that each answer is a message, and that a failure says why."""
    for line in client.session.receive(text, client.world.now):
        answer = read(line)
        assert "channel" in answer or "method" in answer or answer["success"] is False
        if answer.get("success") is False:
            assert isinstance(answer["error"], str) and answer["error"]


def request(asked: tuple[Any, Any, Any, bool], token: str) -> str:
    method, params, req_id, with_token = asked
    message: Message = {"method": method, "params": params}
    if req_id is not None:
        message["req_id"] = req_id
    if with_token and isinstance(params, dict):
        message["params"] = {**params, "token": token}
    return write(message)


@pytest.fixture(scope="module")
def world() -> World:
    living = World()
    living.wait(20_000)
    return living


@settings(max_examples=max(300, EXAMPLES), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(REQUESTS, min_size=1, max_size=4), st.booleans())
def test_no_request_raises(world: World, asked: list[tuple[Any, Any, Any, bool]], private: bool) -> None:
    client, token = world.connect(private), world.token()
    for one in asked:
        check(client, request(one, token))
    world.wait(100)
    client.hear()
    assert client.session.closed is None
    client.session.close(1000, "done")


@settings(max_examples=max(300, EXAMPLES), deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_text_or_bytes_raise(world: World, text: str | bytes) -> None:
    client = world.connect()
    check(client, text)
    assert client.session.closed is None


@settings(max_examples=max(200, EXAMPLES), deadline=None)
@given(st.data())
def test_a_broken_request_does_not_raise(world: World, data: st.DataObject) -> None:
    whole = '{"method":"subscribe","params":{"channel":"book","symbol":["BTC/USD"],"depth":10},"req_id":1}'
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    put = data.draw(st.text(max_size=3))
    client = world.connect()
    check(client, whole[:start] + put + whole[end:])
    client.session.close(1000, "done")


def test_what_the_clients_left_behind_is_nothing(world: World) -> None:
    """After the tests above: every client that left is forgotten."""
    assert len(world.hub) == 0


def test_one_request_cannot_ask_for_more_than_its_size_allows() -> None:
    client = World(crowd=False).connect()
    many = write({"method": "subscribe", "params": {"channel": "ticker", "symbol": ["a"] * 50_000}})
    assert sum(map(len, client.session.receive(many, client.world.now))) < 10_000


@pytest.mark.parametrize("depth", [500, 5_000, 30_000])
def test_deep_nesting_is_answered(depth: int) -> None:
    client = World(crowd=False).connect()
    check(client, '{"method":"subscribe","params":' + '{"a":' * depth + "1" + "}" * depth + "}")
    assert client.session.closed is None
