"""A stream that is kept alive: against the sandbox's own session over a socket in memory, in virtual time."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from lotwise.domain.values import Time
from lotwise.kraken.stream import Malformed, Message, Request
from lotwise.kraken.stream_channels import subscribe
from lotwise.sandbox.stream import Session
from lotwise.venues.kraken.socket import LARGEST_MESSAGE, Socket, SocketClosed, connect
from lotwise.venues.kraken.stream import (
    LEAST_BETWEEN,
    LONGEST_PAUSE,
    PRIVATE_URL,
    PUBLIC_URL,
    Line,
    Lost,
    Pauses,
    Stream,
    heard,
)
from tests.test_sandbox_stream import BTC, SOL, START, World

Result = TypeVar("Result")

POLL = 0.25
"""Seconds between two looks of the socket at the session."""


# Virtual time


class _Selector(selectors.SelectSelector):
    """Waits no real time."""

    def __init__(self, begin: float) -> None:
        super().__init__()
        self.now = begin

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen"
        self.now += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time, in seconds from `begin` on, passes at once."""

    def __init__(self, begin: float = 0.0) -> None:
        self._virtual = _Selector(begin)
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def clock() -> Time:
    """Milliseconds of the running loop, from the sandbox's start on."""
    return Time(START + int(asyncio.get_running_loop().time() * 1000 + 0.5))


def virtually(work: Coroutine[Any, Any, Result], begin: float = 0.0) -> Result:
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(begin)) as runner:
        return runner.run(work)


async def for_seconds(seconds: float, *work: Coroutine[Any, Any, None]) -> None:
    """Let work go on for a time, and end it; what it raises is raised."""
    tasks = [asyncio.ensure_future(one) for one in work]
    done, _ = await asyncio.wait(tasks, timeout=seconds)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError):
            await task
    assert not done


# The sandbox at the other end


class SandboxSocket:
    """A connection to a session of the sandbox."""

    def __init__(self, sandbox: "Sandbox", session: Session) -> None:
        self.sandbox, self.world, self.session = sandbox, sandbox.world, session
        self.said: list[str] = []
        self._inbox: list[str] = []

    async def send(self, text: str) -> None:
        self._check()
        self.said.append(text)
        self.world.now = clock()
        self._inbox += self.session.receive(text, self.world.now)

    async def receive(self) -> str:
        while not self._inbox:
            self._check()
            self.world.now = clock()
            self._inbox += self.session.advance(self.world.now)
            if not self._inbox:
                await asyncio.sleep(POLL)
        return self._inbox.pop(0)

    async def close(self) -> None:
        self.session.close(1000, "bye")
        self.sandbox.ended.append(clock())

    def _check(self) -> None:
        if self.session.closed is not None:
            raise SocketClosed(f"connection closed: {self.session.closed.reason}")


class Faulty:
    """A socket on which something goes wrong: `change` is asked about each message that comes and gives
    what is received in its place; None: nothing is."""

    def __init__(self, socket: Socket, change: Callable[[str], str | None]) -> None:
        self._socket, self._change = socket, change

    async def send(self, text: str) -> None:
        await self._socket.send(text)

    async def receive(self) -> str:
        while (text := self._change(await self._socket.receive())) is None:
            pass
        return text

    async def close(self) -> None:
        await self._socket.close()


Change = Callable[[str], str | None]


class Sandbox:
    """Connects to a world. `faults`: what goes wrong on the connections to come, one after the other;
    broken: from when until when there is no way to it."""

    def __init__(self, world: World, *faults: Change | None) -> None:
        self.world = world
        self.faults = list(faults)
        self.times: list[Time] = []
        self.sockets: list[SandboxSocket] = []
        self.ended: list[Time] = []
        self.broken = Time(0), Time(0)

    async def connect(self, url: str) -> Socket:
        if self.broken[0] <= clock() < self.broken[1]:
            raise SocketClosed("no connection: unreachable")
        self.times.append(clock())
        self.world.now = clock()
        socket = SandboxSocket(self, self.world.connect(private=url == PRIVATE_URL).session)
        self.sockets.append(socket)
        change = self.faults.pop(0) if self.faults else None
        return socket if change is None else Faulty(socket, change)

    def line(self, url: str = PUBLIC_URL) -> Line:
        return Line(url, self.connect, clock, seed=5)


def after(count: int, change: Change) -> Change:
    """A fault that begins after so many messages."""
    seen = 0

    def changed(text: str) -> str | None:
        nonlocal seen
        seen += 1
        return text if seen <= count else change(text)

    return changed


def cut(text: str) -> str | None:
    raise SocketClosed("connection closed: 1006")


def silence(text: str) -> str | None:
    return None


def without(part: str, times: int = 1) -> Change:
    """The first messages with these characters are lost."""
    left = times

    def change(text: str) -> str | None:
        nonlocal left
        if part not in text or not left:
            return text
        left -= 1
        return None

    return change


class Ear:
    """Remembers what it hears."""

    def __init__(self, *requests: Request) -> None:
        self._requests = requests
        self.told: list[str] = []
        self.messages: list[Message] = []
        self.ends: list[str] = []
        self.deaf: dict[str, str] = {}

    async def requests(self) -> Sequence[Request]:
        return self._requests

    def hear(self, message: Message) -> None:
        self.messages.append(message)
        self.told.append(" ".join(str(message[name]) for name in ("channel", "type") if name in message))

    def connected(self) -> None:
        self.told.append("CONNECTED")

    def refused(self, symbol: str, why: str) -> None:
        self.deaf[symbol] = why

    def lost(self, why: str) -> None:
        self.told.append("LOST")
        self.ends.append(why)


def listen(ear: Ear, sandbox: Sandbox, seconds: float, url: str = PUBLIC_URL) -> None:
    virtually(for_seconds(seconds, Stream(sandbox.line(url), ear).run()))


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ear() -> Ear:
    return Ear(subscribe("ticker", [BTC, SOL]), subscribe("instrument"))


# A connection


def test_snapshots_come_first_then_the_connection_counts_then_the_updates(world: World, ear: Ear) -> None:
    world.wait(5_000)
    listen(ear, Sandbox(world), 20)
    assert ear.told[:4] == ["status update", "ticker snapshot", "ticker snapshot", "CONNECTED"]
    assert ear.told[4] == "instrument snapshot" and "ticker update" in ear.told
    assert not ear.ends and not ear.deaf


def test_each_request_has_a_number_of_its_own(world: World, ear: Ear) -> None:
    sandbox = Sandbox(world)
    listen(ear, sandbox, 1)
    assert [heard(text)["req_id"] for text in sandbox.sockets[0].said] == [1, 2]


def test_a_quiet_market_is_not_silence(ear: Ear) -> None:
    listen(ear, Sandbox(World(crowd=False)), 120)
    assert ear.told.count("heartbeat") >= 100 and not ear.ends


def test_a_connection_that_falls_silent_is_given_up_and_begun_anew(world: World, ear: Ear) -> None:
    sandbox = Sandbox(world, after(20, silence))
    listen(ear, sandbox, 60)
    assert ear.ends == ["silent for 10 s"]
    again = ear.told[ear.told.index("LOST") :]
    assert again[:4] == ["LOST", "status update", "ticker snapshot", "ticker snapshot"]
    assert again[4] == "CONNECTED" and len(sandbox.times) == 2
    assert sandbox.sockets[0].session.closed is not None


def test_a_cut_connection_is_begun_anew_at_once_when_it_had_lasted(world: World, ear: Ear) -> None:
    sandbox = Sandbox(world, after(100, cut))
    listen(ear, sandbox, 300)
    assert ear.ends == ["connection closed: 1006"]
    first, second = sandbox.times
    assert second - first > 60_000 and sandbox.ended[0] + 1_000 >= second
    assert ear.told.count("CONNECTED") == 2


@pytest.mark.parametrize(
    "text", ["nonsense", "[1]", '{"channel":"ticker","data":[{"bid":NaN}]}', "1e9999999"]
)
def test_garbage_ends_the_connection(world: World, ear: Ear, text: str) -> None:
    listen(ear, Sandbox(world, after(10, lambda _: text)), 30)
    assert len(ear.ends) == 1 and ear.told.count("CONNECTED") == 2


def test_an_answer_that_never_comes_ends_the_attempt(world: World, ear: Ear) -> None:
    listen(ear, Sandbox(world, without('"channel":"instrument","snapshot"')), 40)
    assert ear.ends == ["subscriptions were not answered within 10 s"]
    assert ear.told.count("CONNECTED") == 1


def test_a_pair_that_is_not_there_is_refused_alone(world: World) -> None:
    ear = Ear(subscribe("ticker", [BTC, "XBT/USD"]))
    listen(ear, Sandbox(world), 10)
    assert ear.deaf == {"XBT/USD": "Currency pair not supported XBT/USD"}
    assert "CONNECTED" in ear.told and not ear.ends


def test_a_refused_subscription_ends_the_connection(world: World) -> None:
    ear = Ear(subscribe("balances", token="stale"))
    listen(ear, Sandbox(world), 20, PRIVATE_URL)
    assert "CONNECTED" not in ear.told
    assert ear.ends[0] == "Kraken refused: ESession:Invalid session" and len(ear.ends) > 1


def test_requests_that_are_not_ready_in_time_end_the_attempt(world: World) -> None:
    class Slow(Ear):
        async def requests(self) -> Sequence[Request]:
            await asyncio.sleep(3600)
            return ()

    ear, sandbox = Slow(), Sandbox(world)
    listen(ear, sandbox, 35)
    assert ear.ends == ["the subscriptions were not ready within 30 s"] and not sandbox.times


def test_who_listens_may_end_the_connection(world: World) -> None:
    class Doubtful(Ear):
        def hear(self, message: Message) -> None:
            super().hear(message)
            if len(self.messages) == 5:
                raise Lost("that cannot be")

    ear = Doubtful(subscribe("ticker", [BTC]))
    listen(ear, Sandbox(world), 60)
    assert ear.ends == ["that cannot be"] and ear.told.count("CONNECTED") == 2


def test_an_error_of_the_listener_is_not_taken_for_a_broken_line(world: World) -> None:
    class Broken(Ear):
        def hear(self, message: Message) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        listen(Broken(subscribe("ticker", [BTC])), Sandbox(world), 60)


def test_who_ends_the_stream_closes_its_socket(world: World, ear: Ear) -> None:
    sandbox = Sandbox(world)
    listen(ear, sandbox, 5)
    assert sandbox.sockets[0].session.closed is not None and not ear.ends


# Pauses


def test_attempts_in_vain_come_ever_more_slowly_and_never_faster_than_every_five_seconds() -> None:
    times: list[Time] = []

    async def nobody(url: str) -> Socket:
        times.append(clock())
        raise SocketClosed("no connection: refused")

    ear = Ear()
    virtually(for_seconds(3600, Stream(Line(PUBLIC_URL, nobody, clock), ear).run()))
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert min(gaps) >= LEAST_BETWEEN
    assert LONGEST_PAUSE // 2 <= gaps[-1] <= LONGEST_PAUSE and max(gaps) <= LONGEST_PAUSE
    assert len(ear.ends) == len(times) and set(ear.ends) == {"no connection: refused"}


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.sampled_from([0, 1, 4_999, 5_000, 59_999, 60_000, 70_000]), max_size=200),
)
def test_whatever_happens_two_streams_stay_far_below_krakens_limit_of_connections(
    seed: int, lasting: list[int]
) -> None:
    pauses, now, starts = Pauses(seed), 0, list[int]()
    for lasted in lasting:
        starts.append(now)
        now += lasted + pauses.after(lasted)
    assert all(later - earlier >= LEAST_BETWEEN for earlier, later in pairwise(starts))
    for start in starts:
        assert 2 * sum(start <= other < start + 600_000 for other in starts) <= 120


def test_the_same_seed_makes_the_same_pauses() -> None:
    def pauses(seed: int) -> list[int]:
        made = Pauses(seed)
        return [made.after(5_000) for _ in range(8)]

    assert pauses(3) == pauses(3) != pauses(4)


# Messages


def test_an_exchanges_message_may_be_longer_than_a_clients() -> None:
    row = '{"symbol":"BTC/USD","price_increment":0.1}'
    long = '{"channel":"instrument","data":[' + ",".join([row] * 20_000) + "]}"
    assert len(heard(long)["data"]) == 20_000


def test_what_is_too_long_is_not_read() -> None:
    with pytest.raises(Malformed, match="too long"):
        heard(" " * (LARGEST_MESSAGE + 1))


# The socket


def over_the_wire(
    server: Callable[[ServerConnection], Awaitable[None]], client: Callable[[Socket], Awaitable[Result]]
) -> Result:
    """What a client makes of a real server on this machine."""

    async def both() -> Result:
        async with serve(server, "127.0.0.1", 0) as running, asyncio.timeout(10):
            port = next(iter(running.sockets)).getsockname()[1]
            socket = await connect(f"ws://127.0.0.1:{port}")
            try:
                return await client(socket)
            finally:
                await socket.close()

    return asyncio.run(both())


def test_a_socket_sends_and_receives_text() -> None:
    async def echo(connection: ServerConnection) -> None:
        async for text in connection:
            await connection.send(f"{text!s} too")

    async def client(socket: Socket) -> str:
        await socket.send("me")
        return await socket.receive()

    assert over_the_wire(echo, client) == "me too"


def test_a_receive_that_is_given_up_loses_no_message() -> None:
    async def late(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("here")
        await connection.wait_closed()

    async def client(socket: Socket) -> str:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.02):
                await socket.receive()
        await socket.send("go")
        return await socket.receive()

    assert over_the_wire(late, client) == "here"


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (None, "1001 \\(going away\\) maintenance"),
        (b"bytes", "binary"),
        ("x" * (LARGEST_MESSAGE + 1), "1009"),
    ],
)
def test_what_ends_a_socket_is_told(message: str | bytes | None, words: str) -> None:
    async def server(connection: ServerConnection) -> None:
        if message is None:
            await connection.close(1001, "maintenance")
        else:
            await connection.send(message)
            await connection.wait_closed()

    async def client(socket: Socket) -> None:
        with pytest.raises(SocketClosed, match=words):
            await socket.receive()
        if message is None:
            with pytest.raises(SocketClosed):
                await socket.send("too late")

    over_the_wire(server, client)


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1", "ws://127.0.0.1:port", "http://127.0.0.1", "nonsense", "ws://", "ws://[::"]
)
def test_a_url_that_leads_nowhere_is_no_connection(url: str) -> None:
    async def attempt() -> None:
        with pytest.raises(SocketClosed, match="no connection"):
            await connect(url)

    asyncio.run(attempt())


def test_a_server_that_speaks_no_websocket_is_no_connection() -> None:
    async def html(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy")
        await writer.drain()
        writer.close()

    async def attempt() -> None:
        server = await asyncio.start_server(html, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(SocketClosed, match="HTTP 503"):
                await connect(f"ws://127.0.0.1:{port}")

    asyncio.run(attempt())
