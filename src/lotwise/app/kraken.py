"""Where Kraken is, and the client for it: shared by the commands that ask it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import httpx

from lotwise.domain.values import Time
from lotwise.kraken.signature import Credentials
from lotwise.venues.kraken.nonces import Nonces
from lotwise.venues.kraken.rest import BASE_URL, Rest
from lotwise.venues.kraken.stream import PRIVATE_URL, PUBLIC_URL

AGENT = "lotwise"
Command = TypeVar("Command", bound=Callable[..., Any])


def clock() -> Time:
    """Now, in milliseconds."""
    return Time(time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class Place:
    """Kraken's addresses, or those of a sandbox."""

    base_url: str = BASE_URL
    ws_url: str | None = None

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


def place_options(command: Command) -> Command:
    """--base-url and --ws-url."""
    for option in (
        click.option("--ws-url", metavar="URL", help="WebSocket address of a sandbox: ws://127.0.0.1:8600."),
        click.option("--base-url", metavar="URL", default=BASE_URL, help="REST address. Default: Kraken's."),
    ):
        command = option(command)
    return command


@asynccontextmanager
async def open_rest(
    place: Place, credentials: Credentials | None = None, nonces: Path | None = None
) -> AsyncIterator[Rest]:
    """A client, closed at the end. The environment's proxy is used, redirects are not followed."""
    headers = {"User-Agent": AGENT}
    async with httpx.AsyncClient(base_url=place.base_url, headers=headers, timeout=10.0) as http:
        given = Nonces(nonces, clock)
        try:
            yield Rest(http, clock, credentials, given)
        finally:
            given.close()
