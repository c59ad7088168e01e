"""The socket under the streams: text out, text in, and one way to end.

Law: whatever goes wrong below is SocketClosed with a reason, and nothing is sent or received after it.
Kraken proves that a connection lives by heartbeats in the stream itself, so the WebSocket protocol's own
pings are off (Kraken's documentation of 2026-05-27).
"""

from collections.abc import Awaitable, Callable
from logging import getLogger
from typing import Protocol

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as open_connection
from websockets.exceptions import ConnectionClosed, WebSocketException

LARGEST_MESSAGE = 8_000_000
"""Bytes. The instrument snapshot of all 1,460 pairs is below one million."""

OPEN_SECONDS = 10.0
CLOSE_SECONDS = 2.0
WAITING_MESSAGES = 64
"""So many messages wait unread before the network must."""

SILENT = getLogger("lotwise.stream")
"""Logs nothing: the library's debug lines show frames, and a subscription's holds the token."""
SILENT.disabled = True

WORDS = 200
"""Characters of a foreign reason that are shown."""


class SocketClosed(Exception):
    """The connection is over, or never came to be: why, in words for people."""


class Socket(Protocol):
    """One connection."""

    async def send(self, text: str) -> None:
        """Send a message. Raises SocketClosed."""

    async def receive(self) -> str:
        """The next message; cancelling loses none. Raises SocketClosed."""

    async def close(self) -> None:
        """End the connection, if it is not over; never raises for what the other side does."""


Connect = Callable[[str], Awaitable[Socket]]
"""Opens a connection to a URL, or raises SocketClosed."""


class WebSocket:
    """A connection of the `websockets` library."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    async def receive(self) -> str:
        try:
            message = await self._connection.recv()
        except ConnectionClosed as closed:
            raise _closed(closed) from None
        if isinstance(message, bytes):
            raise SocketClosed("a binary message came; Kraken sends text")
        return message

    async def close(self) -> None:
        await self._connection.close()


async def connect(url: str) -> Socket:
    """Open a connection; the proxy of the environment is used, as for REST. Raises SocketClosed."""
    try:
        return WebSocket(
            await open_connection(
                url,
                open_timeout=OPEN_SECONDS,
                close_timeout=CLOSE_SECONDS,
                ping_interval=None,
                max_size=LARGEST_MESSAGE,
                max_queue=WAITING_MESSAGES,
                compression=None,
                user_agent_header="lotwise",
                logger=SILENT,
            )
        )
    except (OSError, EOFError, ValueError, WebSocketException) as trouble:
        words = " ".join(str(trouble).split())[:WORDS] or type(trouble).__name__
        raise SocketClosed(f"no connection: {words}") from None


def _closed(closed: ConnectionClosed) -> SocketClosed:
    return SocketClosed(f"connection closed: {' '.join(str(closed).split())[:WORDS]}")
