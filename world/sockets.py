"""The streams between the client and the sandbox's sessions, in virtual time, and what goes wrong on them.

Laws: what a session says arrives in order, once and whole, unless a trouble strikes; a connection that has
ended brings nothing more; the market moves by the pulse alone, the same for everyone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from lotwise.domain.values import EPOCH, Time
from lotwise.sandbox.core import Core
from lotwise.sandbox.stream import NORMAL, Session
from lotwise.sandbox.stream_house import CoreHouse
from lotwise.sandbox.stream_topics import Hub
from lotwise.venues.kraken.socket import Socket, SocketClosed

PUBLIC, PRIVATE = "public", "private"
STALLS = 20.0
"""Seconds that a stall may last."""


@dataclass(frozen=True, slots=True)
class StreamRates:
    """How often, of 1, a message meets each trouble; `no_connection`: an attempt to connect."""

    stall: float = 0.0
    disconnect: float = 0.0
    lost: float = 0.0
    twice: float = 0.0
    out_of_order: float = 0.0
    garbage: float = 0.0
    half_open: float = 0.0
    no_connection: float = 0.0


CALM = {PUBLIC: StreamRates(), PRIVATE: StreamRates()}
ON_MESSAGES = tuple(name for name in StreamRates.__slots__ if name != "no_connection")


class Streams:
    """All connections to a core. By kind of stream: `rates`, and `heard_at`, when a whole message last came
    to the client. `struck` is told of each trouble: its kind, and the kind of stream."""

    def __init__(
        self, core: Core, now: Callable[[], Time], random: Random, struck: Callable[[str, str], None]
    ) -> None:
        self.rates: Mapping[str, StreamRates] = CALM
        self.now = now
        self.random = random
        self.struck = struck
        self.heard_at: dict[str, Time] = {PUBLIC: EPOCH, PRIVATE: EPOCH}
        self._core = core
        self._house = CoreHouse(core)
        self._hub = Hub(self._house)
        self._open: list[Pipe] = []
        self._opened = 0

    async def connect(self, url: str) -> Socket:
        """Open a connection: the public one or the private one, as the URL is named."""
        await asyncio.sleep(0.1 * self.random.random())
        kind = PRIVATE if url == PRIVATE else PUBLIC
        if self.random.random() < self.rates[kind].no_connection:
            self.struck("no_connection", kind)
            raise SocketClosed("no connection: refused")
        self._opened += 1
        session = Session(self._house, self._hub, kind == PRIVATE, self._opened, self.now())
        pipe = Pipe(self, session, kind)
        self._open.append(pipe)
        pipe.take(session.advance(self.now()))
        return pipe

    def pulse(self, kind: str | None = None) -> None:
        """Let happen what is due by now, and tell the connections (of a kind)."""
        now = self.now()
        self._core.advance(now)
        for pipe in self._open:
            if kind is None or pipe.kind == kind:
                pipe.take(pipe.session.advance(now))
        self._open = [pipe for pipe in self._open if pipe.session.closed is None]

    def cut_all(self) -> None:
        """Every connection ends, as when a client dies."""
        for pipe in self._open:
            pipe.end("the client is gone")


class Pipe:
    """One connection, seen from the client."""

    def __init__(self, streams: Streams, session: Session, kind: str) -> None:
        self.session = session
        self.kind = kind
        self._streams = streams
        self._inbox: deque[str] = deque()
        self._held: list[str] = []
        self._more = asyncio.Event()
        self._still_until = EPOCH
        self._deaf = False

    def take(self, messages: Sequence[str]) -> None:
        """What the exchange says, on its way to the client."""
        for message in messages:
            if self._deaf:
                return
            self._carry(message)
        if self.session.closed is not None:
            self._more.set()

    def end(self, reason: str) -> None:
        """The connection is over."""
        self.session.close(NORMAL, reason)
        self._more.set()

    async def send(self, text: str) -> None:
        self._check()
        self.take(self.session.receive(text, self._streams.now()))

    async def receive(self) -> str:
        streams = self._streams
        while True:
            wait = self._still_until - streams.now()
            if wait > 0:
                await asyncio.sleep(wait / 1000)
            elif self._inbox:
                streams.heard_at[self.kind] = streams.now()
                return self._inbox.popleft()
            else:
                self._check()
                self._more.clear()
                await self._more.wait()

    async def close(self) -> None:
        self.end("the client left")

    def _check(self) -> None:
        if self.session.closed is not None:
            raise SocketClosed(f"connection closed: {self.session.closed.reason}")

    def _carry(self, message: str) -> None:
        """One message, and the trouble it meets."""
        fate, streams = self._fate(), self._streams
        if fate:
            streams.struck(fate, self.kind)
        match fate:
            case "stall":
                self._still_until = Time(streams.now() + int(1000 * STALLS * streams.random.random()))
            case "disconnect":
                self.end("reset")
                return
            case "lost":
                return
            case "out_of_order":
                self._held.append(message)
                return
            case "garbage":
                message = message[: len(message) // 2]
            case "half_open":
                self._deaf = True
                return
        times = 2 if fate == "twice" else 1
        self._inbox.extend([message] * times + self._held)
        self._held.clear()
        self._more.set()

    def _fate(self) -> str:
        dice, rates = self._streams.random.random(), self._streams.rates[self.kind]
        for name in ON_MESSAGES:
            rate = getattr(rates, name)
            if dice < rate:
                return str(name)
            dice -= rate
        return ""
