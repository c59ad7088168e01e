"""HTTP and WebSocket on loopback, for an application in raw ASGI.

Laws: whatever the bytes, a connection is answered or ends, and what it may make us keep is bounded; the
protocols are uvicorn's, with bounds on what it leaves open: the head of a request, the time it may take,
the number of connections. Nothing here knows of exchanges.
"""

import asyncio
from asyncio import TimerHandle, Transport
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode, Frame

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_HEAD = 32 * 1024
MAX_FRAME = 1024 * 1024
MAX_FRAMES = 4_096
"""A WebSocket message comes in so many parts at most."""

MAX_CONNECTIONS = 4_096
BACKLOG = 2_048
HEAD_SECONDS = 10.0
"""So long a connection may take for the head of its first request, and a request for its head."""

IDLE_SECONDS = 75
STOP_SECONDS = 2.0
TRANSPORT = "lotwise.transport"
"""Where a scope's state holds the connection itself, to be cut."""


class Http(HttpToolsProtocol):
    """A connection that begins with HTTP."""

    _head = 0
    _whole = False
    _timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
        self._timer = self.loop.call_later(HEAD_SECONDS, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._headed()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if not self._whole and self._head > MAX_HEAD and not self.transport.is_closing():
            self.send_400_response("Request head too large.")

    def eof_received(self) -> bool:  # type: ignore[override]
        # Who has said all may still want to hear: the last answer ends the connection.
        cycle = self.cycle
        busy = cycle is not None and not cycle.more_body and not cycle.response_complete
        if busy:
            cycle.keep_alive = False
        return busy

    def on_message_begin(self) -> None:
        self._head, self._whole = 0, False
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)
        super().on_message_begin()
        self.scope["state"][TRANSPORT] = self.transport

    def on_headers_complete(self) -> None:
        self._headed()
        super().on_headers_complete()

    def handle_websocket_upgrade(self) -> None:
        self._headed()
        super().handle_websocket_upgrade()

    def _headed(self) -> None:
        self._whole = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Socket(WebSocketsSansIOProtocol):
    """A connection that became a WebSocket."""

    def handle_connect(self, event: Any) -> None:
        self.app_state = {**self.app_state, TRANSPORT: self.transport}
        super().handle_connect(event)

    async def send(self, message: Any) -> None:
        await self.writable.wait()
        if self.close_sent:
            raise ClientDisconnected  # the protocol has ended it, in its own words
        await super().send(message)

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self.conn.fail(CloseCode.INVALID_DATA)  # says nothing when it is closing already
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) >= MAX_FRAMES:
            self.transport.abort()
        else:
            super().handle_cont(event)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Server:
    """One application on one address, from `begin` on until `stop`."""

    def __init__(self, app: App) -> None:
        self._config = Config(
            app,
            http=Http,
            ws=Socket,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            ws_max_size=MAX_FRAME,
            ws_per_message_deflate=False,
            ws_ping_interval=None,
            timeout_keep_alive=IDLE_SECONDS,
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self.port = 0

    async def begin(self, host: str, port: int) -> None:
        """Listen; port 0 takes a free one. Raises OSError."""
        self._config.load()
        loop = asyncio.get_running_loop()
        # The loop makes the socket itself: on one that it is handed it would leave Nagle's delay on.
        self._server = await loop.create_server(self._connection, host, port, backlog=BACKLOG)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Take no more, let what is under way end, and close."""
        if self._server is None:
            return
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_SECONDS)
        for task in list(self._state.tasks):
            task.cancel()
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        self._server = None

    def _connection(self) -> Http:
        return Http(self._config, self._state, {})


async def answer(send: Send, status: int, body: bytes, kind: str, last: bool = False) -> None:
    """Send a whole HTTP response; `last` closes the connection after it."""
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode())]
    if last:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive, most: int, seconds: float) -> bytes | None:
    """The body of a request, or as much of it as passes `most`; None when the client has left, or is too
    slow."""
    body: bytes = b""
    try:
        async with asyncio.timeout(seconds):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                body += message.get("body", b"")
                if not message.get("more_body", False) or len(body) > most:
                    return body
    except TimeoutError:
        return None


async def cut_off(scope: Scope, receive: Receive) -> None:
    """End a connection without another byte."""
    scope["state"][TRANSPORT].abort()
    # The protocol has to see the end before the application leaves, or it would answer in its place.
    while (await receive())["type"] != "http.disconnect":
        pass
