"""Where Kraken is, the client for it, and what to do when it cannot be asked.

Laws: real orders go to Kraken or to a place that was named whole, and what is not Kraken is called by its own
name; one kind of trouble has one sentence and one exit code, whichever command meets it.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import click
import httpx

from lotwise.app.terminal import UNAVAILABLE, UNSAFE, Problem
from lotwise.domain.values import Time
from lotwise.kraken.signature import Credentials
from lotwise.venues.kraken.facts import Obstacle, obstacle_of
from lotwise.venues.kraken.nonces import Nonces
from lotwise.venues.kraken.rest import BASE_URL, NoAnswer, NotSent, Refused, Rest
from lotwise.venues.kraken.stream import PRIVATE_URL, PUBLIC_URL

AGENT = "lotwise"
KRAKEN = "Kraken"
STATUS_PAGE = "status.kraken.com"
Command = TypeVar("Command", bound=Callable[..., Any])


def clock() -> Time:
    """Now, in milliseconds."""
    return Time(time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Place:
    """Kraken's addresses (None), or those of a sandbox. Raises Problem for what can be none."""

    base_url: str | None = None
    ws_url: str | None = None

    def __post_init__(self) -> None:
        for option, url, scheme in (("--base-url", self.base_url, "http"), ("--ws-url", self.ws_url, "ws")):
            if url is not None and not _is_address(url, scheme):
                given = f"{option} {url}" if url else f"{option} is empty (a variable that is not set?)"
                remedy = f"write it like {scheme}://127.0.0.1:8600, or leave both addresses out for Kraken's"
                raise Problem(f"{given} is no address: {remedy}" if url else f"{given}: {remedy}")
        if self.base_url is None and self.ws_url is not None and not _is_krakens(self.ws_url):
            raise Problem("--ws-url without --base-url: orders would go to Kraken; give both, or neither")

    def with_streams(self) -> "Place":
        """The same, where streams and calls reach one exchange; else Problem."""
        at_kraken = [url is None or _is_krakens(url) for url in (self.base_url, self.ws_url)]
        if at_kraken == [False, True]:
            raise Problem("--base-url without --ws-url: prices would come from Kraken; give both, or neither")
        if at_kraken == [True, False]:
            raise Problem("--base-url is Kraken's and --ws-url is not: give both of one place, or neither")
        return self

    @property
    def is_kraken(self) -> bool:
        """Whether calls go to Kraken itself."""
        return self.base_url is None or _is_krakens(self.base_url)

    @property
    def name(self) -> str:
        """What people are told of it: Kraken, or the host that stands in for it."""
        return KRAKEN if self.is_kraken else self.host

    @property
    def host(self) -> str:
        """Where calls go."""
        return urlsplit(self.base_url or BASE_URL).netloc

    @property
    def options(self) -> str:
        """What names it on the command line; "" for Kraken."""
        given = (("--base-url", self.base_url), ("--ws-url", self.ws_url))
        return " ".join(f"{option} {url}" for option, url in given if url is not None)

    @property
    def public_stream(self) -> str:
        """The address of the public WebSocket."""
        return PUBLIC_URL if self.ws_url is None else f"{self._streams}/v2"

    @property
    def private_stream(self) -> str:
        """The address of the private WebSocket: of a sandbox, beside the public one."""
        return PRIVATE_URL if self.ws_url is None else f"{self._streams}/auth/v2"

    @property
    def _streams(self) -> str:
        return (self.ws_url or "").rstrip("/").removesuffix("/v2")


def _is_address(url: str, scheme: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in (scheme, f"{scheme}s") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_krakens(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "kraken.com" or host.endswith(".kraken.com")


def place_options(command: Command) -> Command:
    """--base-url and --ws-url."""
    for option in (
        click.option("--ws-url", metavar="URL", help="WebSocket address of a sandbox: ws://127.0.0.1:8600."),
        click.option("--base-url", metavar="URL", help="REST address of a sandbox. Default: Kraken's."),
    ):
        command = option(command)
    return command


@asynccontextmanager
async def open_rest(
    place: Place, credentials: Credentials | None = None, nonces: Path | None = None
) -> AsyncIterator[Rest]:
    """A client, closed at the end. The environment's proxy is used, redirects are not followed."""
    headers = {"User-Agent": AGENT}
    base = place.base_url or BASE_URL
    async with httpx.AsyncClient(base_url=base, headers=headers, timeout=10.0) as http:
        given = Nonces(nonces, clock)
        try:
            yield Rest(http, clock, credentials, given)
        finally:
            given.close()


class Trouble(NamedTuple):
    """Why the exchange cannot be asked, or says no: what was seen, the remedy, and the exit code."""

    seen: str
    remedy: str
    code: int

    @property
    def problem(self) -> Problem:
        """The end of a command that met it."""
        return Problem(f"{self.seen}: {self.remedy}", self.code)


_REMEDIES = {
    Obstacle.KEY: (
        "does not know this key",
        "was it copied whole, deleted, or has it expired? Make another on Kraken's key page",
        UNSAFE,
    ),
    Obstacle.SECRET: (
        "finds the secret to be another key's",
        "was it copied whole? Give the two that were shown together",
        UNSAFE,
    ),
    Obstacle.PERMISSION: (
        "says that this key or account may not do that",
        "allow it on Kraken's key page, or look at the account there",
        UNSAFE,
    ),
    Obstacle.NONCE: (
        "has heard a later number from this key",
        "does another program use it? Give lotwise a key of its own",
        UNSAFE,
    ),
    Obstacle.CLOSED: (
        "is in maintenance or too busy",
        f"wait until it is online ({STATUS_PAGE})",
        UNAVAILABLE,
    ),
    Obstacle.PACE: ("wants fewer calls", "wait a few minutes; does another program ask it too?", UNAVAILABLE),
    Obstacle.OTHER: ("says no", "see what it says, and ask again", UNAVAILABLE),
}


def trouble(no: Refused | NoAnswer, place: Place) -> Trouble:
    """What a person is told of a call that brought nothing."""
    if isinstance(no, Refused):
        seen, remedy, code = _REMEDIES[obstacle_of(no)]
        return Trouble(f"{place.name} {seen} ({no})", remedy, code)
    where = "" if place.is_kraken else " and the address right (--base-url)"
    if isinstance(no, NotSent):
        return Trouble(f"{place.host} cannot be reached ({no})", f"is the network there{where}?", UNAVAILABLE)
    between = (
        "a proxy or a login page between, or" if place.is_kraken else "the address (--base-url), a proxy, or"
    )
    return Trouble(
        f"{place.host} does not answer as Kraken does ({no})",
        f"look at {between} Kraken itself ({STATUS_PAGE})",
        UNAVAILABLE,
    )
