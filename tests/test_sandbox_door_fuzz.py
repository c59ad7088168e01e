"""Any bytes at the doors of a running sandbox, over its real sockets: answered, or the connection ends."""

import asyncio
import json
import signal
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from base64 import b64encode
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from tempfile import TemporaryFile
from urllib.parse import quote_plus, urlencode, urlsplit

from websockets.frames import Opcode

from lotwise.kraken.signature import credentials
from tests.sandbox_bytes import answer, frame, heard, http, signed, upgrade
from tests.sandbox_fuzz import CLOSED, REFUSED, RESULT, SEED, Run, broken, junk, strange
from tests.test_sandbox_rest_fuzz import SOUND, WORDS
from tests.test_sandbox_stream_fuzz import PRIVATE, PUBLIC, sayable

CLIENTS = 8
"""Connections at a time."""

MOST_SOUND = 12
"""Requests that a connection makes before the one that may end it."""

SECONDS = 10.0
SECRET = b64encode(b"of the fuzz").decode()
NO_ORDER = "OAAAAA-AAAAA-AAAAAA"
COMPLAINTS = {
    "Invalid HTTP request received.",
    "Unsupported upgrade request.",
    "socket.send() raised exception.",
}
"""What a server may say of its clients: the last of those that left while it spoke."""

SERVER_ERROR = 1011
"""RFC 6455: the server cannot go on."""


@dataclass
class Sandbox:
    """A sandbox in a process of its own."""

    process: "subprocess.Popen[str]"
    host: str = ""
    port: int = 0


@contextmanager
def served() -> Iterator[Sandbox]:
    """A sandbox; at its end it has had nothing to complain of."""
    command = [sys.executable, "-m", "lotwise", "sandbox", "--port", "0", "--admin-port", "0"]
    command += ["--no-limits", "--no-history", "--seed", str(SEED)]
    for number in range(CLIENTS):
        command += ["--account", f"a{number}:key{number}:{SECRET}:USDT=10000,USD=10000,SOL=100,BTC=1"]
    with TemporaryFile("w+") as complaints:  # a pipe would be full one day, and the sandbox would wait
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True)
        assert process.stdout is not None
        try:
            there = process.stdout.readline()
            url = urlsplit(next(word for word in there.split() if word.startswith("http://")).rstrip(":,"))
            yield Sandbox(process, url.hostname or "", url.port or 0)
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
            complaints.seek(0)
            assert [line for line in complaints.read().splitlines() if line not in COMPLAINTS] == []
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait(SECONDS)
            process.stdout.close()


@dataclass
class Client:
    """One of the clients, with a key of its own; it connects again and again."""

    number: int
    sandbox: Sandbox
    run: Run
    random: Random = field(init=False)
    nonce: int = 0
    token: str = ""
    asked: list[bytes | str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = Random(f"{self.run.group} {SEED} {self.number}")

    async def connected(
        self, talk: Callable[["Client", StreamReader, StreamWriter], Awaitable[None]]
    ) -> None:
        """Connect and talk, as long as there are requests to make."""
        while self.run.unfinished:
            self.asked.clear()
            try:
                async with asyncio.timeout(SECONDS):
                    await self._connection(talk)
            except Exception as error:
                error.add_note(f"client {self.number} asked, the last first: {self.asked[::-1]!r}"[:4_000])
                raise

    async def _connection(self, talk: "Talk") -> None:
        reader, writer = await asyncio.open_connection(self.sandbox.host, self.sandbox.port)
        try:
            await talk(self, reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def ask(self, request: bytes | str) -> None:
        """The next request of the run."""
        self.asked.append(request)
        self.run.ask(request)

    def signed(self, name: str, body: bytes, kind: str) -> bytes:
        """A request for a private endpoint, signed."""
        return signed(credentials(f"key{self.number}", SECRET), name, self.nonce, body, kind)

    def request(self) -> bytes:
        """A whole HTTP request for what there is, its parameters sound or not."""
        name, parameters = self.random.choice(SOUND)
        pairs = {key: text.replace("KNOWN", NO_ORDER) for key, text in parameters.items()}
        if self.random.random() < 0.5:
            pairs[self.random.choice(list(pairs) or ["pair"])] = self.random.choice(WORDS)
        self.nonce += 1
        query = urlencode(pairs, quote_via=lambda text, *_: quote_plus(text, errors="surrogatepass"))
        # Few orders, and many calls: what an account may look back upon is not what grows here.
        private = name in ("Balance", "Ledgers", "OpenOrders") or self.random.random() < 0.05
        if private:
            return self.signed(name, f"nonce={self.nonce}&{query}".encode(), "x-www-form-urlencoded")
        if self.random.random() < 0.1:
            return http(
                "POST", f"/0/public/{name}", junk(self.random, 300), "Content-Type: application/json\r\n"
            )
        return http("GET", f"/0/public/{name}?{query}"[:4_000])


Talk = Callable[[Client, StreamReader, StreamWriter], Awaitable[None]]
"""What a client does with a connection."""


def together(random: Random, parts: list[bytes]) -> Iterator[bytes]:
    """The bytes of all parts, cut where it pleases the network."""
    whole, start = b"".join(parts), 0
    while start < len(whole):
        end = start + random.choice((1, 100, 5_000, len(whole)))
        yield whole[start:end]
        start = end


# HTTP


async def ask_over_http(client: Client, reader: StreamReader, writer: StreamWriter) -> None:
    """Some whole requests at once, each of which is answered; then bytes that may be anything."""
    random, run = client.random, client.run
    sound = [client.request() for _ in range(random.randrange(MOST_SOUND))]
    for request in sound:
        client.ask(request)
    for piece in together(random, sound):
        writer.write(piece)
    for _ in sound:
        count(run, *await answer(reader))
    last = random.choice(LASTS)(random, client.request())
    client.ask(last)
    with suppress(OSError):
        writer.write(last)
        writer.write_eof()
        told = await reader.read()
        assert b"HTTP/1.1 5" not in told, (last, told)
        run.got(RESULT if b'"result"' in told else REFUSED if b'{"error"' in told else CLOSED)
        return
    run.got(CLOSED)


LASTS: tuple[Callable[[Random, bytes], bytes], ...] = (
    broken,
    broken,
    lambda random, _: junk(random, 3_000),
    lambda random, whole: whole[: random.randrange(len(whole))],
    lambda random, whole: whole.replace(b"HTTP/1.1", random.choice((b"HTTP/1.0", b"HTTP/9.9", b"HTTP"))),
    lambda random, whole: whole.replace(
        b"Host: a", b"Transfer-Encoding: chunked" + b"\r\n\r\n" + junk(random, 50)
    ),
    lambda random, whole: whole.replace(b"Host: a", b"Content-Length: %d" % random.randrange(-9, 10**9)),
    lambda random, whole: whole.replace(b"GET", random.choice((b"HEAD", b"CONNECT", b"OPTIONS", b"\x00"))),
    lambda random, whole: b"GET /" + strange(random, 30).encode("utf-8", "surrogatepass") + whole[3:],
    lambda random, whole: whole.replace(b"Host: a", b"Connection: upgrade\r\nUpgrade: " + junk(random, 10)),
    lambda random, whole: whole.replace(b"Host: a", b"X: " + b"y" * random.randrange(40_000)),
    lambda random, whole: whole.replace(b"Host: a", b"Expect: 100-continue"),
)
"""Of a whole request something that may end the connection."""


def count(run: Run, status: int, body: bytes) -> None:
    """An answer in Kraken's envelope."""
    assert status in (200, 404), (status, body)
    told = json.loads(body)
    assert told["error"] or "result" in told
    run.got(REFUSED if told["error"] else RESULT)


def test_any_bytes_over_http_are_answered_or_end_the_connection(say: list[str]) -> None:
    with served() as sandbox, Run("bytes at the HTTP door", say, sandbox.process.pid) as run:
        asyncio.run(all_clients(sandbox, run, ask_over_http))


async def all_clients(sandbox: Sandbox, run: Run, talk: Talk) -> None:
    """All clients at once; the first that meets a server error ends it."""
    async with asyncio.TaskGroup() as group:
        for number in range(CLIENTS):
            group.create_task(Client(number, sandbox, run).connected(talk))


# WebSocket


async def talk_by_websocket(client: Client, reader: StreamReader, writer: StreamWriter) -> None:
    """Some whole messages, a ping whose answer is awaited, then bytes that may be anything."""
    random, run = client.random, client.run
    private = random.random() < 0.1  # few: what they may look back upon is not what grows here
    if private:
        await get_token(client, reader, writer)
    if not await opened(client, reader, writer, private):
        return
    sound = PRIVATE if private else PUBLIC
    said = [sayable(random, sound, client.token, NO_ORDER) for _ in range(random.randrange(MOST_SOUND))]
    said = [text for text in said if len(text) < 100_000]
    for text in said:
        client.ask(text)
    mark = random.getrandbits(40)
    frames = [frame(text, Opcode.BINARY if isinstance(text, bytes) else Opcode.TEXT) for text in said] + [
        frame(json.dumps({"method": "ping", "req_id": mark}))
    ]
    for piece in together(random, frames):
        writer.write(piece)
    answered = await until_marked(reader, run, mark)
    assert answered >= len(said), said
    last = random.choice(ENDS)(random, frames[0])
    client.ask(last)
    with suppress(OSError):
        writer.write(last + frame(b"\x03\xe8", Opcode.CLOSE))
        writer.write_eof()
        while message := await heard(reader):
            assert message[0] != Opcode.CLOSE or message[1][:2] != SERVER_ERROR.to_bytes(2, "big"), last
    run.got(CLOSED)


async def get_token(client: Client, reader: StreamReader, writer: StreamWriter) -> None:
    """A token, over the connection that becomes a WebSocket."""
    client.nonce += 1
    body = b"nonce=%d" % client.nonce
    writer.write(client.signed("GetWebSocketsToken", body, "x-www-form-urlencoded"))
    status, told = await answer(reader)
    assert status == 200
    client.token = json.loads(told)["result"]["token"]


async def opened(client: Client, reader: StreamReader, writer: StreamWriter, private: bool) -> bool:
    """Whether the connection became a WebSocket; now and then its request is not one."""
    random, run = client.random, client.run
    whole = upgrade("/auth/v2" if private else "/v2", random.randbytes(16))
    if random.random() < 0.9:
        writer.write(whole)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return True
    wrong = broken(random, whole)
    client.ask(wrong)
    with suppress(OSError):
        writer.write(wrong)
        writer.write_eof()
        head = await reader.read()
        assert not head.startswith(b"HTTP/1.1 5"), (wrong, head)
    run.got(CLOSED)
    return False


async def until_marked(reader: StreamReader, run: Run, mark: int) -> int:
    """How many answers there are before that to the marked ping; what is no answer is not counted."""
    answered = 0
    while True:
        message = await heard(reader)
        assert message is not None and message[0] is Opcode.TEXT, message
        told = json.loads(message[1])
        if told.get("method") == "pong" and told.get("req_id") == mark:
            return answered
        if told.keys() & {"method", "success"}:
            answered += 1
            run.got(RESULT if told.get("success", True) else REFUSED)


ENDS: tuple[Callable[[Random, bytes], bytes], ...] = (
    broken,
    broken,
    lambda random, _: junk(random, 3_000),
    lambda random, whole: whole[: random.randrange(len(whole))],
    lambda random, _: frame(junk(random, 100), Opcode.TEXT),
    lambda random, _: frame(junk(random, 200), random.choice((Opcode.PING, Opcode.PONG, Opcode.CLOSE))),
    lambda random, _: b"".join(
        frame(junk(random, 9), Opcode.CONT, False) for _ in range(random.randrange(50))
    ),
    lambda random, _: b"\x81\xff" + (random.getrandbits(64)).to_bytes(8, "big") + junk(random, 50),
    lambda random, _: frame("[" * random.randrange(300_000)),
    lambda random, _: bytes((random.getrandbits(8), random.getrandbits(8))) + junk(random, 200),
    lambda random, _: frame("x" * random.randrange(2_000_000)),
)
"""Of a whole frame something that may end the connection."""


def test_any_bytes_over_websocket_are_answered_or_end_the_connection(say: list[str]) -> None:
    with served() as sandbox, Run("bytes at the WebSocket door", say, sandbox.process.pid) as run:
        asyncio.run(all_clients(sandbox, run, talk_by_websocket))
