"""The network between the client and the sandbox's core: latency, and whatever can go wrong on the way.

Law: a request that has left goes its own way: whether its sender waits, gives up or dies, it arrives, late
or not at all, as the dice have it.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cache
from random import Random
from typing import Any
from urllib.parse import parse_qsl, urlencode

import httpx

from lotwise.domain.values import EPOCH, Time
from lotwise.sandbox.core import Core
from lotwise.sandbox.wire import Request, Response, path_of, refusal


@dataclass(frozen=True, slots=True)
class Rates:
    """How often, of 1, a request meets each trouble; latency in seconds. twice: it arrives twice; resent:
    so it does, and the answer to the first is lost."""

    request_lost: float = 0.0
    answer_lost: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    resent: float = 0.0
    server_error: float = 0.0
    garbage: float = 0.0
    refused: float = 0.0
    banned: float = 0.0
    latency: float = 0.05


TROUBLES = tuple(name for name in Rates.__slots__ if name != "latency")

HANGS = 3600.0
"""Seconds that a lost message stays away: longer than any client waits."""

LATEST = 90.0
"""Seconds that a late message may be late by."""

BAN = 20_000
"""Milliseconds that a ban lasts."""

LOCKOUT = "EGeneral:Temporary lockout"
MUTATING = frozenset({"AddOrder", "CancelOrder"})

Sent = Callable[[str, dict[str, str]], None]
"""Told of each private request as it leaves: the endpoint and its parameters."""


@dataclass(slots=True)
class Network(httpx.AsyncBaseTransport):
    """Carries requests to a core by its own dice. `troubles` counts what went wrong, by kind and endpoint;
    `mutating` how much of it met calls that change something; `arrived` is called after each private
    request that reached the core. `mutating_rates`: other rates for calls that change something."""

    core: Core
    now: Callable[[], Time]
    random: Random
    rates: Rates = Rates()
    mutating_rates: Rates | None = None
    troubles: Counter[str] = field(default_factory=Counter)
    mutating: int = 0
    last_trouble: Time = EPOCH
    sent: Sent = lambda endpoint, parameters: None
    arrived: Callable[[], None] = lambda: None
    banned_until: Time = EPOCH

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        target, headers = request.url.raw_path.decode(), dict(request.headers.items())
        response = await self.carry(Request(request.method, target, headers, await request.aread()))
        return httpx.Response(response.status, content=response.body, request=request)

    async def carry(self, request: Request) -> Response:
        """There and back. Raises httpx.ConnectError, httpx.ReadError."""
        path = path_of(request.target)
        endpoint = path.rpartition("/")[2]
        fate = self._fate(path)
        if fate:
            self.strike(fate, endpoint)
        if "/private/" in path:
            self.sent(endpoint, dict(parse_qsl(request.body.decode())))
        if fate == "refused":
            raise httpx.ConnectError("connection refused")
        if fate == "request_lost":
            await asyncio.sleep(HANGS)
        if fate == "banned":
            self.banned_until = Time(self.now() + BAN)
        loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()
        delay = (LATEST if fate == "late" else self.rates.latency) * self.random.random()
        loop.call_later(delay, self._arrive, request, answer)
        if fate == "late":
            await asyncio.sleep(HANGS)
        response: Response = await answer
        if fate in ("twice", "resent"):
            again = self._answer(request)
            response = again if fate == "resent" else response
        await asyncio.sleep(self.rates.latency * self.random.random())
        if fate == "answer_lost":
            raise httpx.ReadError("connection reset")
        if fate == "server_error":
            return Response(502, b"<html>502 Bad Gateway</html>")
        if fate == "garbage":
            return Response(200, response.body[: len(response.body) // 2])
        return response

    def strike(self, kind: str, name: str) -> None:
        """Count a trouble."""
        self.troubles[f"{kind} {name}"] += 1
        self.mutating += name in MUTATING
        self.last_trouble = self.now()

    def _fate(self, path: str) -> str:
        """At most one trouble for each request."""
        if "/private/" not in path and "/public/" not in path:
            return ""
        mutates = path.rpartition("/")[2] in MUTATING
        rates = self.mutating_rates if mutates and self.mutating_rates is not None else self.rates
        dice = self.random.random()
        for name in TROUBLES:
            rate = getattr(rates, name)
            if dice < rate:
                return str(name)
            dice -= rate
        return ""

    def _arrive(self, request: Request, answer: "asyncio.Future[Response]") -> None:
        response = self._answer(request)
        if not answer.done():
            answer.set_result(response)

    def _answer(self, request: Request) -> Response:
        private = "/private/" in request.target
        if private and self.now() < self.banned_until:
            self.last_trouble = self.now()
            return refusal(LOCKOUT)
        response = self.core.handle(request, self.now())
        if private:
            self.arrived()
        return response


class Client(httpx.AsyncClient):
    """One life's way to the network, without what httpx does for a real wire: the dead send and hear
    nothing."""

    def __init__(self, network: Network, is_dead: Callable[[], bool]) -> None:
        super().__init__(transport=network)
        self._network = network
        self._is_dead = is_dead

    def build_request(self, method: str, url: httpx.URL | str, **asked: Any) -> httpx.Request:
        return _Asked(method, str(url), **asked)

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        assert isinstance(request, _Asked)
        if not self._is_dead():
            response = await self._network.carry(request.whole)
        if self._is_dead():
            await asyncio.Event().wait()
        return _Answered(response)


class _Asked(httpx.Request):
    """What a client asks, as the exchange will read it."""

    def __init__(self, method: str, path: str, **asked: Any) -> None:
        self.url = _address(path)
        query = urlencode(asked.get("params", {}))
        target = f"{path}?{query}" if query else path
        self.whole = Request(method, target, asked.get("headers", {}), asked.get("content", b""))


class _Answered(httpx.Response):
    """What came back, all at once."""

    def __init__(self, response: Response) -> None:
        self.status_code = response.status
        self._body = response.body

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        yield self._body

    async def aclose(self) -> None:
        """Nothing is open."""


@cache
def _address(path: str) -> httpx.URL:
    return httpx.URL(f"http://sandbox{path}")
