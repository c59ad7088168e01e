"""The doors of a sandbox: HTTP and WebSocket requests into the core, answers and news out, faults between.

Laws: all that comes in meets the exchange at one time after another; a fault is decided in faults.py and
only carried out here; a client that does not take what is sent to it in time is dropped.
"""

import asyncio
from collections import deque
from collections.abc import Sequence

from lotwise.domain.values import Time
from lotwise.exchange.crowd import STEP
from lotwise.kraken.stream import Malformed, Refused, failure, read, request_of, write
from lotwise.sandbox.clock import Clock
from lotwise.sandbox.faults import (
    Due,
    Fault,
    Faults,
    Kind,
    cut,
    is_answer,
    name_of,
    page,
    with_bad_checksum,
)
from lotwise.sandbox.saving import KeptCore
from lotwise.sandbox.server import TRANSPORT, Receive, Scope, Send, answer, body_of, cut_off
from lotwise.sandbox.stream import NORMAL, Outbox, Session
from lotwise.sandbox.stream_house import CoreHouse
from lotwise.sandbox.stream_topics import Hub
from lotwise.sandbox.wire import MAX_BODY, Request, Response, refusal

BODY_SECONDS = 10.0
PULSE_SECONDS = 0.1
"""So often the market moves at least."""

BREATH_SECONDS = 0.005
"""News that come closer together than this are told together."""

MOST_WAITING = 20_000
"""Messages that may wait for one client."""

PUBLIC_PATHS = ("/v2",)
PRIVATE_PATHS = ("/auth/v2",)
"""Kraken has two hosts for them, ws and ws-auth; here the second is a folder."""

HEADERS = (b"api-key", b"api-sign", b"content-type")


class Doors:
    """One exchange, open to clients. `changes`: in order, so many seconds from now."""

    def __init__(self, core: KeptCore, clock: Clock, faults: Faults, changes: Sequence[Due] = ()) -> None:
        self.core, self.clock, self.faults = core, clock, faults
        self._began = clock.now()
        self._changes = deque(changes)
        self._house = CoreHouse(core)
        self._hub = Hub(self._house)
        self._connections: set[Connection] = set()
        self._opened = 0
        self._news = asyncio.Event()
        self._stopping = asyncio.Event()

    def now(self) -> Time:
        """The time; what was to change until then has changed."""
        now = self.clock.now()
        while self._changes and self._began + self._changes[0].at * 1000 <= now:
            due = self._changes.popleft()
            self.core.change(due.change, Time(self._began + int(due.at * 1000)))
        return now

    async def live(self, stepping: bool = False) -> None:
        """Let time pass, and tell everyone what it brings, until `stop`. `stepping`: a step at a time, as
        fast as the machine can."""
        while not self._stopping.is_set():
            if stepping:
                self.clock.move(STEP)
            self.pulse()
            if self.core.is_long:
                self.core.write_whole()
            await asyncio.sleep(0 if stepping else BREATH_SECONDS)
            if not stepping:
                await self._heard_of()

    def pulse(self) -> None:
        """Let happen what is due, and tell everyone."""
        self._news.clear()
        now = self.now()
        self.core.advance(now)
        for connection in list(self._connections):
            connection.put(connection.session.advance(now))

    def stop(self) -> None:
        """End `live`, and every pause that a fault makes."""
        self._stopping.set()
        self._news.set()

    async def _heard_of(self) -> None:
        try:
            async with asyncio.timeout(PULSE_SECONDS):
                await self._news.wait()
        except TimeoutError:
            pass

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    # HTTP

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await body_of(receive, MAX_BODY, BODY_SECONDS)
        if body is None:
            await cut_off(scope, receive)
            return
        request = _request(scope, body)
        private = request.target.startswith("/0/private/")
        name = scope["path"].rpartition("/")[2]
        fault = self.faults.on_request(name, self.now(), private, True)
        if fault is None:
            response = self._handled(request)
        else:
            struck = await self._struck(request, fault)
            if struck is None:
                await cut_off(scope, receive)
                return
            response = struck
        kind = response.headers["Content-Type"]
        await answer(send, response.status, response.body, kind, len(body) > MAX_BODY)

    def _handled(self, request: Request) -> Response:
        response = self.core.handle(request, self.now())
        if self._connections:
            self._news.set()
        return response

    async def _struck(self, request: Request, fault: Fault) -> Response | None:
        """The answer to a request that a fault strikes; None when there is none."""
        kind = fault.kind
        if kind is Kind.REQUEST_LOST:
            return None
        if kind is Kind.ERROR:
            return refusal(fault.text)
        broken = Response(fault.status, page(fault.status), {"Content-Type": "text/html"})
        if kind is Kind.ERROR_PAGE and not fault.carried_out:
            return broken
        if kind is Kind.REQUEST_LATE:
            await self.pause(fault.seconds)
        response = self._handled(request)
        if kind is Kind.REQUEST_TWICE:
            response = self._handled(request)
        if kind is Kind.ANSWER_LOST:
            return None
        if kind is Kind.ANSWER_LATE:
            await self.pause(fault.seconds)
        if kind is Kind.ANSWER_CUT:
            return Response(response.status, cut(response.body), response.headers)
        return broken if kind is Kind.ERROR_PAGE else response

    async def pause(self, seconds: float) -> None:
        """Wait, but not beyond `stop`."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    # WebSocket

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        path = scope["path"].rstrip("/")
        if path not in PUBLIC_PATHS + PRIVATE_PATHS:
            return await send({"type": "websocket.close", "code": NORMAL})
        self._opened += 1
        session = Session(self._house, self._hub, path in PRIVATE_PATHS, self._opened, self.now())
        connection = Connection(session, scope, send, self)
        await send({"type": "websocket.accept"})
        self._connections.add(connection)
        connection.put(session.advance(self.now()))
        writing = asyncio.create_task(connection.write())
        try:
            while (message := await receive())["type"] == "websocket.receive":
                text = message.get("text")
                await self._received(connection, message["bytes"] if text is None else text)
        finally:
            self._connections.discard(connection)
            session.close(NORMAL, "the client left")
            connection.put([])
            await writing

    async def _received(self, connection: "Connection", text: str | bytes) -> None:
        fault = None
        if self.faults:
            fault = self.faults.on_request(_method(text), self.now(), connection.private, False)
        kind = None if fault is None else fault.kind
        if kind is Kind.REQUEST_LOST:
            return
        if fault is not None and kind is Kind.ERROR:
            connection.put([_error(text, fault.text, self.now())])
            return
        if fault is not None and kind is Kind.REQUEST_LATE:
            await self.pause(fault.seconds)
        messages = connection.session.receive(text, self.now())
        if kind is Kind.REQUEST_TWICE:
            messages += connection.session.receive(text, self.now())
        if fault is not None and kind is Kind.ANSWER_LATE:
            await self.pause(fault.seconds)
        if kind is Kind.ANSWER_LOST:
            messages = [message for message in messages if not is_answer(message)]
        connection.put(messages)
        self._news.set()


class Connection:
    """One WebSocket client: its session, and what waits for its socket."""

    def __init__(self, session: Session, scope: Scope, send: Send, doors: Doors) -> None:
        self.session = session
        self.private = scope["path"].rstrip("/") in PRIVATE_PATHS
        self._transport: asyncio.Transport = scope["state"][TRANSPORT]
        self._send = send
        self._doors = doors
        self._outbox = Outbox(MOST_WAITING)
        self._more = asyncio.Event()
        self._held: list[str] = []

    def put(self, messages: Sequence[str]) -> None:
        """Have these sent, and the connection ended when its session is over."""
        if messages:
            self._outbox.put(messages)
        if self._outbox.full:
            self._transport.abort()
        if messages or self.session.closed:
            self._more.set()

    async def write(self) -> None:
        """Send what waits until the session is over or the client gone."""
        try:
            while True:
                await self._more.wait()
                self._more.clear()
                for message in self._outbox.take():
                    await self._out(message)
                closed = self.session.closed
                if closed is not None and not len(self._outbox):
                    end = {"type": "websocket.close", "code": closed.code, "reason": closed.reason}
                    return await self._send(end)
        except OSError:
            return None  # the client is gone; its reader sees it too

    async def _out(self, message: str) -> None:
        faults = self._doors.faults
        fault = faults.on_message(name_of(message), self._doors.now()) if faults else None
        kind = None if fault is None else fault.kind
        if kind is Kind.OUT_OF_ORDER:
            self._held.append(message)
            return
        if kind is Kind.DISCONNECT:
            self._transport.abort()
            return
        if fault is not None and kind is Kind.STALL:
            await self._doors.pause(fault.seconds)
        if kind is Kind.BAD_CHECKSUM:
            message = with_bad_checksum(message)
        times = {Kind.MESSAGE_LOST: 0, Kind.MESSAGE_TWICE: 2}.get(kind, 1) if kind else 1
        for text in [message] * times + self._held:
            await self._send({"type": "websocket.send", "text": text})
        self._held.clear()


def _request(scope: Scope, body: bytes) -> Request:
    target = scope["raw_path"].decode("latin-1")
    if scope["query_string"]:
        target += "?" + scope["query_string"].decode("latin-1")
    headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"] if name in HEADERS}
    return Request(scope["method"], target, headers, body)


def _method(text: str | bytes) -> str:
    """The method of a request, "" of what is none."""
    try:
        method = read(text).get("method")
    except Malformed:
        return ""
    return method if isinstance(method, str) else ""


def _error(text: str | bytes, words: str, now: Time) -> str:
    """An answer that refuses whatever a request asks."""
    try:
        refused = request_of(read(text)).refused(words)
    except Malformed:
        refused = Refused(words)
    except Refused as already:
        refused = already
    return write(failure(refused, now, now))
