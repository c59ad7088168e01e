"""`python -m benchmarks.sandbox`: how fast the sandbox is, beside a bare endpoint of the same server.

The server has a process of its own; the clients, eight of them, are in this one. Pairs are a signed
AddOrder and the CancelOrder of what it placed. Nothing passes or fails here but a subscriber that misses a
message.
"""

import asyncio
import gc
import json
import resource
import statistics
import sys
import time
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from lotwise.domain.values import Time
from lotwise.kraken.signature import Credentials, credentials, sign
from lotwise.sandbox.server import Receive, Scope, Send, Server, answer, body_of
from lotwise.sandbox.service import Account, Sandbox, begun

CLIENTS = 8
SECONDS = 1.0
ROUNDS = 7
"""Each figure is measured so long, in so many turns with its peer, so that a busy machine slows both."""

SUBSCRIBERS = 1_000
STEPS = 30
LONG = 1_000_000
SPENT = b"spent\n"
CONSTANT = b'{"error":[],"result":{"count":1}}'
ACCOUNTS = tuple(Account(f"a{number}", f"key{number}", "c2VjcmV0") for number in range(CLIENTS))
ORDER = {"ordertype": "limit", "type": "buy", "pair": "SOLUSDT", "volume": "0.1", "price": "90"}
MEGABYTE = 1024 * 1024


def say(name: str, figure: str, beside: str = "") -> None:
    print(f"{name:<46}{figure:>22}  {beside}", flush=True)


def sandbox() -> Sandbox:
    return Sandbox(ACCOUNTS, speed=0, rate_limits=False, start=Time(1_790_000_000_000))


# The server's process


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """The least that an application can do: take what comes, and answer a constant."""
    if scope["type"] == "http":
        await body_of(receive, MEGABYTE, SECONDS)
        return await answer(send, 200, CONSTANT, "application/json")
    await receive()
    await send({"type": "websocket.accept"})
    while (await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": CONSTANT.decode()})
    return None


async def serve() -> None:
    """Serve the sandbox and the bare endpoint; each line that is read says how many seconds to advance, or
    asks for the processor time spent so far."""
    raise_limit()
    reader = StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    constant = Server(bare)
    await constant.begin("127.0.0.1", 0)
    async with sandbox() as running:
        port = int(running.url.rpartition(":")[2])
        print(json.dumps([port, constant.port]), flush=True)
        while line := await reader.readline():
            if line == SPENT:
                print(time.process_time(), flush=True)
            else:
                running.admin.advance(float(line))
    await constant.stop()


def raise_limit() -> None:
    """Room for all the sockets of a thousand subscribers."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Process, int, int]]:
    command = [sys.executable, "-m", "benchmarks.sandbox", "serve"]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    ports = json.loads(await process.stdout.readline())
    try:
        yield process, ports[0], ports[1]
    finally:
        process.stdin.close()
        await process.wait()


# Clients


@dataclass
class Rest:
    """One connection of HTTP, and what it signs with."""

    reader: StreamReader
    writer: StreamWriter
    key: Credentials
    nonce: int = 0

    async def ask(self, name: str, parameters: dict[str, str]) -> Any:
        self.nonce += 1
        body = urlencode({"nonce": self.nonce, **parameters}).encode()
        path = f"/0/private/{name}"
        signature = sign(self.key.secret, path, str(self.nonce), body)
        self.writer.write(
            f"POST {path} HTTP/1.1\r\nHost: a\r\nAPI-Key: {self.key.key}\r\nAPI-Sign: {signature}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        told = json.loads(await self.reader.readexactly(length))
        assert not told["error"], told
        return told["result"]


@dataclass
class Socket:
    """One WebSocket connection."""

    reader: StreamReader
    writer: StreamWriter
    token: str = ""

    async def begin(self, path: str) -> None:
        self.writer.write(
            f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        assert b" 101 " in await self.reader.readuntil(b"\r\n\r\n")

    def say(self, message: dict[str, Any]) -> None:
        text = json.dumps(message).encode()
        size = len(text)
        length = bytes([0x80 | size]) if size < 126 else bytes([0xFE]) + size.to_bytes(2, "big")
        self.writer.write(b"\x81" + length + b"\0\0\0\0" + text)

    async def hear(self) -> bytes:
        size = (await self.reader.readexactly(2))[1]
        if size > 125:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
        return await self.reader.readexactly(size)

    async def ask(self, method: str, params: dict[str, Any]) -> Any:
        self.say({"method": method, "params": {**params, "token": self.token}})
        return json.loads(await self.hear())["result"]


@dataclass
class Measured:
    """Rounds of all clients in so many seconds, how long each request took, and the seconds of processor
    time that all of them cost the server."""

    rounds: int = 0
    latencies: list[float] = field(default_factory=list)
    spent: float = 0.0

    @property
    def cost(self) -> float:
        """Microseconds of the server's processor time for one request."""
        return self.spent / len(self.latencies) * 1_000_000

    @property
    def p99(self) -> float:
        return sorted(self.latencies)[len(self.latencies) * 99 // 100]


Round = Callable[[Measured], Awaitable[None]]


async def spent(process: Process) -> float:
    """Seconds of processor time that the server has taken."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(SPENT)
    return float(await process.stdout.readline())


async def measured(process: Process, rounds: list[Round]) -> Measured:
    """All clients at once, each one round after another."""
    found = Measured(spent=-await spent(process))
    end = time.perf_counter() + SECONDS

    async def client(round_: Round) -> None:
        while time.perf_counter() < end:
            await round_(found)
            found.rounds += 1

    await asyncio.gather(*map(client, rounds))
    found.spent += await spent(process)
    return found


async def timed(found: Measured, asked: Awaitable[Any]) -> Any:
    start = time.perf_counter()
    told = await asked
    found.latencies.append(time.perf_counter() - start)
    return told


def rest_pair(client: Rest) -> Round:
    async def pair(found: Measured) -> None:
        placed = await timed(found, client.ask("AddOrder", ORDER))
        await timed(found, client.ask("CancelOrder", {"txid": placed["txid"][0]}))

    return pair


def rest_constants(client: Rest) -> Round:
    async def pair(found: Measured) -> None:
        await timed(found, client.ask("AddOrder", ORDER))
        await timed(found, client.ask("CancelOrder", {"txid": "OAAAAA-AAAAA-AAAAAA"}))

    return pair


def socket_pair(client: Socket, constant: bool) -> Round:
    order = {"order_type": "limit", "side": "buy", "symbol": "SOL/USDT", "order_qty": 0.1, "limit_price": 90}

    async def pair(found: Measured) -> None:
        placed = await timed(found, client.ask("add_order", order))
        txid = "OAAAAA-AAAAA-AAAAAA" if constant else placed["order_id"]
        await timed(found, client.ask("cancel_order", {"order_id": [txid]}))

    return pair


async def orders() -> None:
    """Pairs over REST and over WebSocket, each beside the same requests answered by a constant."""
    async with served() as (process, port, bare_port), AsyncExitStack() as stack:

        async def opened(to: int) -> tuple[StreamReader, StreamWriter]:
            reader, writer = await asyncio.open_connection("127.0.0.1", to, limit=MEGABYTE)
            stack.callback(writer.close)
            return reader, writer

        keys = [credentials(account.key, account.secret) for account in ACCOUNTS]
        rests = [Rest(*await opened(port), key) for key in keys]
        bares = [Rest(*await opened(bare_port), key) for key in keys]
        sockets, idle = [], []
        for rest in rests:
            token = (await rest.ask("GetWebSocketsToken", {}))["token"]
            sockets.append(Socket(*await opened(port), token))
            idle.append(Socket(*await opened(bare_port), token))
            await sockets[-1].begin("/auth/v2")
            await sockets[-1].hear()
            await idle[-1].begin("/v2")
        for name, ours, theirs in (
            ("REST", [rest_pair(rest) for rest in rests], [rest_constants(rest) for rest in bares]),
            (
                "WebSocket",
                [socket_pair(socket, False) for socket in sockets],
                [socket_pair(socket, True) for socket in idle],
            ),
        ):
            await measured(process, ours)  # the first one warms up
            turns = [(await measured(process, ours), await measured(process, theirs)) for _ in range(ROUNDS)]
            pairs = statistics.median(pair.rounds / SECONDS for pair, _ in turns)
            constants = statistics.median(constant.rounds / SECONDS for _, constant in turns)
            share = statistics.median(pair.rounds / constant.rounds for pair, constant in turns)
            p99 = statistics.median(pair.p99 for pair, _ in turns)
            cost, least = (statistics.median(turn[place].cost for turn in turns) for place in (0, 1))
            say(
                f"sandbox: AddOrder and CancelOrder over {name}",
                f"{pairs:,.0f} pairs/s",
                f"{share:.0%} of {constants:,.0f} pairs of constants (aim 40 %), "
                f"p99 {p99 * 1000:.1f} ms, {CLIENTS} clients",
            )
            say("  what a request costs the server", f"{cost:,.0f} us", f"{least:,.0f} us a constant one")


async def subscribers() -> None:
    """A thousand listen to one ticker while the market moves; all hear the same."""
    raise_limit()
    async with served() as (process, port, _), AsyncExitStack() as stack:
        listeners = []
        for _ in range(SUBSCRIBERS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            stack.callback(writer.close)
            listeners.append(Socket(reader, writer))
            await listeners[-1].begin("/v2")
            ticker = {"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo"}
            listeners[-1].say({"method": "subscribe", "params": ticker})
        heard = [0] * SUBSCRIBERS
        last = [time.perf_counter()] * SUBSCRIBERS

        async def listen(number: int) -> None:
            while True:
                message = await listeners[number].hear()
                if b'"type":"update"' in message and b'"ticker"' in message:
                    heard[number] += 1
                    last[number] = time.perf_counter()

        listening = [asyncio.create_task(listen(number)) for number in range(SUBSCRIBERS)]
        await asyncio.sleep(2)
        assert process.stdin is not None
        spreads = []
        for _ in range(STEPS):
            start = time.perf_counter()
            process.stdin.write(b"1\n")
            await asyncio.sleep(0.5)
            if max(last) > start:
                spreads.append(max(last) - start)
        for task in listening:
            task.cancel()
        lost = sum(max(heard) - count for count in heard)
        say(
            f"sandbox: {SUBSCRIBERS:,} subscribers on one ticker",
            f"{lost} lost",
            f"of {max(heard) * SUBSCRIBERS:,} messages; all have one after "
            f"{statistics.median(spreads) * 1000:.0f} ms (median)",
        )
        assert lost == 0, "a subscriber missed a message"


# The core alone


def start_up() -> None:
    async def once() -> float:
        start = time.perf_counter()
        async with Sandbox():
            return time.perf_counter() - start

    each = statistics.median(asyncio.run(once()) for _ in range(7))
    say("sandbox: from nothing to serving", f"{each:.3f} s", "(aim under 0.3 s)")


def core(count: int) -> None:
    """Orders on the core alone, and what they leave in memory; a tenth of them fill what is kept."""
    made = begun(sandbox(), None, Time(1_790_000_000_000), still=True)
    now, place = made.time, {**ORDER, "pair": "SOL/USDT"}

    def work(orders: int) -> float:
        nonlocal now
        start = time.perf_counter()
        for number in range(orders):
            now = Time(now + 10)
            key = ACCOUNTS[number % CLIENTS].key
            told = made.command(key, "AddOrder", place, now)
            assert not isinstance(told, str), told
            assert not isinstance(made.command(key, "CancelOrder", {"txid": told["txid"][0]}, now), str)
        return orders / (time.perf_counter() - start)

    work(count // 10)
    before = resident()
    rate = work(count - count // 10)
    after = resident()
    say("sandbox: AddOrder and CancelOrder, core alone", f"{rate:,.0f} pairs/s", "while the market moves")
    say(
        f"sandbox: memory after {count:,} orders",
        f"{after / MEGABYTE:,.0f} MB",
        f"{before / MEGABYTE:,.0f} MB after a tenth of them",
    )


def resident() -> int:
    """Bytes of memory that this process has now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main(count: int = LONG) -> None:
    start_up()
    asyncio.run(orders())
    asyncio.run(subscribers())
    core(count)


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else LONG)
