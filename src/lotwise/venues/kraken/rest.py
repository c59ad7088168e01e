"""Kraken's REST API as a client: one request, one answer, and no second try.

The errors are split by what one may safely do next:

    Refused     Kraken answered with errors; whether they prove that nothing was done, the error says
    NoAnswer    no answer that proves anything: timeout, reset, HTTP 5xx, a body that is no answer
      NotSent   it cannot have reached Kraken: no connection was made
        TooLate   it was not even tried: its turn came too late

Law: a request leaves once. Whoever wants it again must first learn what became of it.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import httpx

from lotwise.domain.values import Time
from lotwise.kraken.errors import proves_not_accepted
from lotwise.kraken.limits import REST, Allowance, Counter, Verification, charge
from lotwise.kraken.rest import rfc3339
from lotwise.kraken.signature import Credentials, sign
from lotwise.venues.kraken.nonces import Nonces

BASE_URL = "https://api.kraken.com"
TIMEOUT = 10.0
"""Seconds for a whole request."""

LARGEST_ANSWER = 16_000_000
"""Bytes. AssetPairs of all 1,460 pairs is about 2 million."""

COSTS = {"Ledgers": 2, "QueryLedgers": 2, "TradesHistory": 2, "QueryTrades": 2, "ClosedOrders": 2}
"""What a private call adds to the counter of its key, where it is not 1; cautious where sources differ."""

UNCOUNTED = frozenset({"AddOrder", "CancelOrder", "AmendOrder", "EditOrder"})
USED_FRACTION = Decimal("0.8")
"""Of the counter's maximum; the rest is a reserve for what an exit waits for."""

Result = Any
Parameters = Mapping[str, str]


class NoAnswer(Exception):
    """No answer that proves anything: the request may have been carried out, or may yet be."""


class NotSent(NoAnswer):
    """No connection was made: the request has not reached Kraken."""


class TooLate(NotSent):
    """It was not sent, because what it was for is over."""


class Refused(Exception):
    """Kraken's errors, in its own words."""

    def __init__(self, texts: tuple[str, ...]) -> None:
        super().__init__(", ".join(texts))
        self.texts = texts

    @property
    def nothing_was_done(self) -> bool:
        """Whether the errors prove it."""
        return all(proves_not_accepted(text) for text in self.texts)


class Rest:
    """Public and private calls. Private ones go one after the other, so that nonces arrive in order, and
    wait where the key's counter would rise above its share; `clock` is in milliseconds."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        clock: Callable[[], Time],
        credentials: Credentials | None = None,
        nonces: Nonces | None = None,
        level: Verification = Verification.STARTER,
    ) -> None:
        self._http = http
        self._clock = clock
        self._credentials = credentials
        self._nonces = nonces or Nonces(None, clock)
        self._whole = REST[level]
        self._allowance = replace(self._whole, maximum=self._whole.maximum * USED_FRACTION)
        self._counter = Counter()
        self._turns = asyncio.Lock()
        self._one_at_a_time = asyncio.Lock()

    @property
    def has_key(self) -> bool:
        """Whether private calls can be made."""
        return self._credentials is not None

    async def public(self, endpoint: str, parameters: Parameters | None = None) -> Result:
        """The result of a public call. Raises Refused, NoAnswer."""
        return await self._answer(
            self._http.build_request("GET", f"/0/public/{endpoint}", params=dict(parameters or {}))
        )

    async def private(
        self,
        endpoint: str,
        parameters: Parameters | None = None,
        lifetime: int | None = None,
        latest: Time | None = None,
        urgent: bool = False,
    ) -> Result:
        """The result of a private call, signed; Kraken is to take it within `lifetime` milliseconds of its
        sending or not at all; after `latest` it is not sent any more; what is urgent passes all others, and
        may use the reserve of the counter. Raises Refused, NoAnswer."""
        assert self._credentials is not None, "a private call needs a key"
        await self._pace(endpoint, urgent)  # outside the lock: an order does not wait for a look-up's turn
        async with self._one_at_a_time:
            if latest is not None and self._clock() > latest:
                raise TooLate(f"{endpoint}: its turn came {self._clock() - latest} ms too late")
            nonce, path = str(self._nonces.next()), f"/0/private/{endpoint}"
            until = {} if lifetime is None else {"deadline": rfc3339(Time(self._clock() + lifetime))}
            body = urlencode({"nonce": nonce, **(parameters or {}), **until}).encode()
            headers = {
                "API-Key": self._credentials.key,
                "API-Sign": sign(self._credentials.secret, path, nonce, body),
                "Content-Type": "application/x-www-form-urlencoded",
            }
            return await self._answer(self._http.build_request("POST", path, content=body, headers=headers))

    async def _pace(self, endpoint: str, urgent: bool) -> None:
        """Wait until the counter has room, each call in its turn: cheap ones do not pass a dear one for ever.
        Placing and cancelling orders does not count there."""
        if endpoint not in UNCOUNTED:
            async with nullcontext() if urgent else self._turns:
                while not self._charge(COSTS.get(endpoint, 1), self._whole if urgent else self._allowance):
                    await asyncio.sleep(0.25 if urgent else 1.0)

    def _charge(self, cost: int, allowance: Allowance) -> bool:
        counter = charge(self._counter, allowance, cost, self._clock())
        self._counter = counter or self._counter
        return counter is not None

    async def _answer(self, request: httpx.Request) -> Result:
        try:
            async with asyncio.timeout(TIMEOUT):
                response = await self._http.send(request, stream=True)
                try:
                    body = await _bounded(response)
                finally:
                    await response.aclose()
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as trouble:
            raise NotSent(_words(request, trouble)) from None
        except (httpx.HTTPError, TimeoutError) as trouble:
            raise NoAnswer(_words(request, trouble)) from None
        if response.status_code != 200:
            raise NoAnswer(f"{request.url.path}: HTTP {response.status_code}")
        return _result(request, body)


async def _bounded(response: httpx.Response) -> bytes:
    parts, size = [], 0
    async for part in response.aiter_bytes():
        size += len(part)
        if size > LARGEST_ANSWER:
            raise httpx.DecodingError(f"more than {LARGEST_ANSWER} bytes")
        parts.append(part)
    return b"".join(parts)


def _result(request: httpx.Request, body: bytes) -> Result:
    """What the envelope holds."""
    try:
        told = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise NoAnswer(f"{request.url.path}: the answer is no JSON ({len(body)} bytes)") from None
    errors = told.get("error") if isinstance(told, dict) else None
    if not isinstance(errors, list) or not all(isinstance(text, str) for text in errors):
        raise NoAnswer(f"{request.url.path}: the answer has not Kraken's form")
    grave = tuple(text for text in errors if not text.startswith("W"))
    if grave:
        raise Refused(grave)
    if "result" not in told:
        raise NoAnswer(f"{request.url.path}: the answer has no result")
    return told["result"]


def _words(request: httpx.Request, trouble: Exception) -> str:
    """The trouble in one line, without anything of the request but its path."""
    return f"{request.url.path}: {type(trouble).__name__}: {' '.join(str(trouble).split())[:200]}"
