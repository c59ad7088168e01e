"""The network between the client and the sandbox's core: latency, and whatever can go wrong on the way."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import httpx

from lotwise.domain.values import Time
from lotwise.sandbox.core import Core
from lotwise.sandbox.wire import Request, Response


@dataclass(frozen=True, slots=True)
class Rates:
    """How often, of 1, a request meets each trouble; latency in seconds."""

    request_lost: float = 0.0
    answer_lost: float = 0.0
    late: float = 0.0
    twice: float = 0.0
    server_error: float = 0.0
    garbage: float = 0.0
    refused: float = 0.0
    latency: float = 0.05


HANGS = 3600.0
"""Seconds that a lost message stays away: longer than any client waits."""

LATEST = 30.0
"""Seconds that a late message may be late by."""


@dataclass(slots=True)
class Network(httpx.AsyncBaseTransport):
    """Carries requests to a core by its own dice. `reached` counts mutating calls by body, as they came in:
    what the client sent once must be counted once, unless the network doubled it."""

    core: Core
    now: Callable[[], Time]
    random: Random
    rates: Rates = Rates()
    troubles: Counter[str] = field(default_factory=Counter)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        fate = self._fate(request.url.path)
        if fate:
            self.troubles[f"{fate} {request.url.path.rpartition('/')[2]}"] += 1
        if fate == "refused":
            raise httpx.ConnectError("connection refused", request=request)
        await asyncio.sleep(self.rates.latency * self.random.random())
        if fate == "request_lost":
            await asyncio.sleep(HANGS)
        if fate == "late":
            asyncio.get_running_loop().call_later(LATEST * self.random.random(), self._answer, request, body)
            await asyncio.sleep(HANGS)
        response = self._answer(request, body)
        if fate == "twice":
            response = self._answer(request, body)
        await asyncio.sleep(self.rates.latency * self.random.random())
        if fate == "answer_lost":
            raise httpx.ReadError("connection reset", request=request)
        if fate == "server_error":
            return httpx.Response(502, content=b"<html>502 Bad Gateway</html>", request=request)
        if fate == "garbage":
            return httpx.Response(200, content=response.body[: len(response.body) // 2], request=request)
        return httpx.Response(response.status, content=response.body, request=request)

    def _fate(self, path: str) -> str:
        """At most one trouble for each request."""
        if "/private/" not in path and "/public/" not in path:
            return ""
        dice, names = self.random.random(), Rates.__slots__
        for name in names:
            rate = 0.0 if name == "latency" else getattr(self.rates, name)
            if dice < rate:
                return str(name)
            dice -= rate
        return ""

    def _answer(self, request: httpx.Request, body: bytes) -> Response:
        target = request.url.raw_path.decode()
        headers = dict(request.headers.items())
        return self.core.handle(Request(request.method, target, headers, body), self.now())
