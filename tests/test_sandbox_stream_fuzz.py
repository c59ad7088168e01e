"""Whatever a client sends is answered in words or ends the connection: nothing raises, nothing grows."""

from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotwise.domain.values import amount
from lotwise.kraken.stream import MAX_CHARACTERS, Message, read, write
from lotwise.kraken.stream_channels import CHANNELS, DEPTHS, INTERVALS
from lotwise.kraken.stream_orders import FIELDS, NOT_YET
from tests.sandbox_fuzz import CLOSED, REFUSED, RESULT, SEED, Run, broken, junk, strange
from tests.test_sandbox_stream import BTC, SOL, Client, World

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
ASKED = st.tuples(
    st.sampled_from(METHODS) | st.text(max_size=5) | st.integers(),
    st.one_of(PARAMS, LIKELY, JUNK),
    st.none() | st.integers(-(2**70), 2**70) | st.text(max_size=3),
    st.booleans(),
)


def check(client: Client, text: str | bytes) -> list[Message]:
    """Send and see that each answer is a message, and that a failure says why."""
    answers = [read(line) for line in client.session.receive(text, client.world.now)]
    for answer in answers:
        assert "channel" in answer or "method" in answer or answer["success"] is False
        if answer.get("success") is False:
            assert isinstance(answer["error"], str) and answer["error"]
    return answers


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


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ASKED, min_size=1, max_size=4), st.booleans())
def test_no_request_raises(world: World, asked: list[tuple[Any, Any, Any, bool]], private: bool) -> None:
    client, token = world.connect(private), world.token()
    for one in asked:
        check(client, request(one, token))
    world.wait(100)
    client.hear()
    assert client.session.closed is None
    client.session.close(1000, "done")


@settings(max_examples=250, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_text_or_bytes_raise(world: World, text: str | bytes) -> None:
    client = world.connect()
    check(client, text)
    assert client.session.closed is None


@settings(max_examples=150, deadline=None)
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


# At length: seeded, without shrinking

ORDERS: list[Message] = [
    {
        "order_type": "limit",
        "side": "buy",
        "symbol": BTC,
        "order_qty": Decimal("0.01"),
        "limit_price": 59_000,
    },
    {"order_type": "limit", "side": "sell", "symbol": SOL, "order_qty": 1, "limit_price": 151},
    {"order_type": "market", "side": "buy", "symbol": SOL, "order_qty": Decimal("0.5")},
    {"order_type": "market", "side": "sell", "symbol": BTC, "order_qty": Decimal("0.001")},
    {
        "order_type": "stop-loss",
        "side": "sell",
        "symbol": SOL,
        "order_qty": 1,
        "triggers": {"price": -1, "price_type": "pct", "reference": "last"},
    },
]
PUBLIC: list[tuple[str, Message]] = [
    ("ping", {}),
    *(
        (method, {"channel": channel, **({"symbol": [BTC, SOL]} if described.symbols else {})})
        for method in ("subscribe", "unsubscribe")
        for channel, described in CHANNELS.items()
        if not described.private
    ),
]
PRIVATE: list[tuple[str, Message]] = [
    *(
        (method, {"channel": name})
        for method in ("subscribe", "unsubscribe")
        for name in ("executions", "balances")
    ),
    *(("add_order", order) for order in ORDERS * 2),
    ("amend_order", {"order_id": "KNOWN", "order_qty": 2}),
    ("edit_order", {"order_id": "KNOWN", "symbol": SOL, "limit_price": 152}),
    ("cancel_order", {"order_id": ["KNOWN", "OAAAAA-AAAAA-AAAAAA"]}),
    ("cancel_all_orders_after", {"timeout": 60}),
    ("cancel_all", {}),
]
CONNECTIONS = 8


def value(random: Random, depth: int = 3) -> Any:
    """Something plausible, or anything that JSON has."""
    match random.randrange(9):
        case 0:
            return Decimal(random.randrange(-(10**9), 10**12)).scaleb(-random.randrange(12))
        case 1:
            return strange(random)
        case 2:
            return random.choice((-1, 1)) * random.getrandbits(random.randrange(90))
        case 3 if depth:
            return [value(random, depth - 1) for _ in range(random.randrange(3))]
        case 4 if depth:
            return {strange(random, 5): value(random, depth - 1) for _ in range(random.randrange(3))}
        case _:
            return random.choice(PLAUSIBLE)


def known(world: World) -> str:
    """An order of the first account's."""
    waiting = world.exchange.open_orders("ada")
    return world.core.desk.txid(waiting[-1].venue_id) if waiting else "OAAAAA-AAAAA-AAAAAA"


def sayable(random: Random, sound: list[tuple[str, Message]], token: str, order: str) -> str | bytes:
    """A sound request with up to two fields put wrong or strange ones added, or bytes put wrong."""
    if random.random() < 0.02:
        return random.choice(
            (junk(random, 200), strange(random, 200), "[" * 50_000, "x" * (MAX_CHARACTERS + 1))
        )
    method, params = random.choice(sound)
    if method.startswith("cancel_all") and random.random() < 0.9:
        method, params = random.choice(sound)  # or hardly an order would live
    fields: dict[str, Any] = dict(params)
    if sound is PRIVATE and random.random() < 0.95:
        fields["token"] = token
    own = sorted(FIELDS.get(method) or CHANNELS[params.get("channel", "book")].options)
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        fields[random.choice(own if random.random() < 0.7 else NAMES)] = value(random)
    message: Message = {"method": method, **({"params": fields} if fields else {})}
    if random.random() < 0.3:
        message["req_id"] = random.getrandbits(30) if random.random() < 0.9 else value(random)
    if random.random() < 0.03:
        message[random.choice(("method", "params"))] = value(random)
    text = write(message).replace("KNOWN", order)
    return text if random.random() < 0.9 else broken(random, text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(("group", "sound"), [("public", PUBLIC), ("private and trading", PRIVATE)])
def test_a_group_of_methods_answers_whatever_it_is_told(
    group: str, sound: list[tuple[str, Message]], say: list[str]
) -> None:
    world, private = World(kept=200, seed=SEED), sound is PRIVATE
    world.core.desk.limited = False
    with Run(f"WebSocket, {group}", say) as run:
        clients = [world.connect(private) for _ in range(CONNECTIONS)]
        token = world.token()
        while run.unfinished:
            place = run.random.randrange(CONNECTIONS)
            said = sayable(run.random, sound, token, known(world))
            run.ask(said)
            heard = check(clients[place], said)
            answers = [answer for answer in heard if answer.keys() & {"method", "success"}]
            gone = clients[place].session.closed is not None
            assert answers or gone, said
            good = all(answer.get("success", True) for answer in answers)
            run.got(CLOSED if gone else RESULT if good else REFUSED)
            if gone or run.random.random() < 0.03:
                clients[place].session.close(1000, "done")
                clients[place] = world.connect(private)
            if run.requests % 10 == 0:
                _later(world, clients, run.random)
        for client in clients:
            client.session.close(1000, "done")
        assert len(world.hub) == 0


def _later(world: World, clients: list[Client], random: Random) -> None:
    """Time passes, the account is made whole, and everyone is told what happened."""
    world.wait(61_000 if random.random() < 0.01 else random.choice((10, 1_000)))
    for money in map(amount, ("10000 USD", "1 BTC", "100 SOL")):
        lacking = money - world.exchange.ledger("ada").total(money.asset)
        if lacking.number > money.number / 2:
            world.core.deposit("ada", lacking, world.now)
    for client in clients:
        client.hear()
