"""One connection to Kraken's WebSocket v2, kept alive.

Laws: each connection begins with fresh subscriptions and so with fresh snapshots; whatever makes its data
doubtful (silence, a refusal, garbage, a gap) ends it, and the next one begins after a pause that no
failure makes too short. What is heard between `connected` and `lost` is complete; nothing else is.
Limits: Kraken bans an address for ten minutes after about 150 connections in ten, and asks for five seconds
between two of them after maintenance (documentation of 2026-05-27).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from typing import Protocol, TypeVar

from lotwise.domain.values import Time, exact
from lotwise.exchange.dice import Dice
from lotwise.kraken.stream import Malformed, Message, Request, answer_of, write
from lotwise.venues.kraken.socket import CLOSE_SECONDS, LARGEST_MESSAGE, WORDS, Connect, Socket, SocketClosed

PUBLIC_URL = "wss://ws.kraken.com/v2"
PRIVATE_URL = "wss://ws-auth.kraken.com/v2"

SILENT_SECONDS = 10.0
"""A heartbeat comes each second in which nothing else does: after so many without any, nobody is there."""

READY_SECONDS = 30.0
CONNECT_SECONDS = 15.0
ANSWER_SECONDS = 10.0
"""For making up the requests (a token may be asked for), for connecting, for all answers to them."""

LEAST_BETWEEN = 5_000
"""Milliseconds from the start of one connection to that of the next."""

STABLE = 60_000
"""A connection that lived for so many milliseconds was no failure."""

FIRST_PAUSE, LONGEST_PAUSE = 1_000, 64_000
"""Milliseconds; each failure doubles the pause."""


Result = TypeVar("Result")


class Lost(Exception):
    """The connection, or what is known by it, is no longer to be trusted: why."""


class Listener(Protocol):
    """Who a stream works for. Its methods are called one at a time, in the order of what happened."""

    async def requests(self) -> Sequence[Request]:
        """The subscriptions of the next connection. Raises Lost when they cannot be had now."""

    def hear(self, message: Message) -> None:
        """A channel's message, heartbeats among them. Raises Malformed or Lost: the connection must go."""

    def connected(self) -> None:
        """All subscriptions have been answered."""

    def refused(self, symbol: str, why: str) -> None:
        """Kraken does not tell this pair anything; the others go on."""

    def lost(self, why: str) -> None:
        """The connection is over, or an attempt has failed. Called once for each."""


@dataclass(frozen=True, slots=True)
class Line:
    """Where and how to connect. `seed` spreads the pauses; `clock` is in milliseconds."""

    url: str
    connect: Connect
    clock: Callable[[], Time]
    seed: int = 0


class Pauses:
    """How long to wait before the next connection: longer after each failure, never so short that Kraken's
    limit of connections comes near, even with several streams from one address."""

    def __init__(self, seed: int) -> None:
        self._dice = Dice(seed)
        self._next = FIRST_PAUSE

    def after(self, lasted: int) -> int:
        """How long to wait after a connection, or an attempt, that lasted so long; in milliseconds. At
        least half of the pause: the other half is chance, so that clients do not come back all at once."""
        if lasted >= STABLE:
            self._next = FIRST_PAUSE
        half = self._next // 2
        self._next = min(2 * self._next, LONGEST_PAUSE)
        return max(half + self._dice.word() % (half + 1), LEAST_BETWEEN - lasted)


class Stream:
    """A line that is connected again for as long as `run` runs."""

    def __init__(self, line: Line, listener: Listener) -> None:
        self._line = line
        self._listener = listener

    async def run(self) -> None:
        """Connect, listen, and begin anew; never ends by itself."""
        pauses = Pauses(self._line.seed)
        while True:
            started = self._line.clock()
            try:
                await self._connection()
            except (Lost, SocketClosed, Malformed) as end:
                self._listener.lost(str(end))
            # A clock that was set back makes no connection long.
            lasted = max(0, self._line.clock() - started)
            await asyncio.sleep(pauses.after(lasted) / 1000)

    async def _connection(self) -> None:
        """One connection from its making to its end, which is always Lost, SocketClosed or Malformed."""
        requests = await _within(READY_SECONDS, self._listener.requests(), "the subscriptions were not ready")
        socket = await _within(CONNECT_SECONDS, self._line.connect(self._line.url), "no connection")
        try:
            talk = _Talk(socket, self._listener)
            await _within(ANSWER_SECONDS, talk.subscribe(requests), "subscriptions were not answered")
            self._listener.connected()
            while True:
                await talk.hear()
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(2 * CLOSE_SECONDS):
                    await socket.close()


class _Talk:
    """What is said on one connection. `_waiting`: the answers yet to come, by request and symbol."""

    def __init__(self, socket: Socket, listener: Listener) -> None:
        self._socket = socket
        self._listener = listener
        self._waiting: set[tuple[int, str | None]] = set()

    async def subscribe(self, requests: Sequence[Request]) -> None:
        """Ask for all, and listen until all is answered: one answer for each symbol of a request."""
        for number, request in enumerate(requests, 1):
            self._waiting |= {(number, symbol) for symbol in request.params.get("symbol", (None,))}
            await self._socket.send(write(replace(request, req_id=number).message()))
        while self._waiting:
            await self.hear()

    async def hear(self) -> None:
        """Take in the next message."""
        message = heard(await self._receive())
        answer = answer_of(message)
        if answer is None:
            self._listener.hear(message)
            return
        told = answer.result if answer.error is None else message
        named = told.get("symbol") if isinstance(told, dict) else None
        symbol = named if isinstance(named, str) else None
        if answer.req_id is not None:
            self._waiting.discard((answer.req_id, symbol))
        if answer.error is not None:
            words = answer.error[:WORDS]
            if symbol is None:
                raise Lost(f"Kraken refused: {words}")
            self._listener.refused(symbol, words)

    async def _receive(self) -> str:
        try:
            async with asyncio.timeout(SILENT_SECONDS):
                return await self._socket.receive()
        except TimeoutError:
            raise Lost(f"silent for {SILENT_SECONDS:g} s") from None


def heard(text: str) -> Message:
    """The message in a text, every number with a point exact; Malformed when it is none. What the exchange
    sends may be longer than what a client may."""
    if len(text) > LARGEST_MESSAGE:
        raise Malformed("the message is too long")
    try:
        message = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {str(error)[:WORDS]}") from None
    if not isinstance(message, dict):
        raise Malformed("no JSON object")
    return message


def _no_number(text: str) -> Decimal:
    raise Malformed(f"{text} is no number")


# Most numbers of a market are told again and again.
_DECODER = json.JSONDecoder(parse_float=lru_cache(maxsize=4096)(exact), parse_constant=_no_number)


async def _within(seconds: float, work: Awaitable[Result], late: str) -> Result:
    """What comes of the work, if it comes in time; Lost otherwise."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise Lost(f"{late} within {seconds:g} s") from None
