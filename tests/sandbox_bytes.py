"""HTTP and WebSocket as bytes, for clients that may say anything."""

import asyncio
from asyncio import StreamReader
from base64 import b64encode

from websockets.frames import Opcode

from lotwise.kraken.signature import Credentials, sign


def http(method: str, target: str, body: bytes = b"", more: str = "") -> bytes:
    """The bytes of an HTTP request."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    return f"{method} {target} HTTP/1.1\r\nHost: a\r\n{more}{length}\r\n".encode("latin-1", "replace") + body


def signed(key: Credentials, name: str, nonce: int, body: bytes, kind: str) -> bytes:
    """The bytes of a request for a private endpoint."""
    path = f"/0/private/{name}"
    more = f"API-Key: {key.key}\r\nAPI-Sign: {sign(key.secret, path, str(nonce), body)}\r\n"
    return http("POST", path, body, f"{more}Content-Type: application/{kind}\r\n")


def upgrade(path: str, random_bytes: bytes) -> bytes:
    """The bytes of a request that makes a WebSocket of its connection."""
    more = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    return http("GET", path, more=f"{more}Sec-WebSocket-Key: {b64encode(random_bytes).decode()}\r\n")


async def answer(reader: StreamReader) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def frame(data: str | bytes, opcode: Opcode = Opcode.TEXT, final: bool = True) -> bytes:
    """The bytes of a client's frame, whether it may be or not; its mask changes nothing."""
    body = data.encode("utf-8", "replace") if isinstance(data, str) else data
    length, more = len(body), b""
    if length > 125:
        length, more = (
            (126, length.to_bytes(2, "big")) if length < 65_536 else (127, length.to_bytes(8, "big"))
        )
    return bytes((final << 7 | opcode, 128 | length)) + more + bytes(4) + body


async def heard(reader: StreamReader) -> tuple[Opcode, bytes] | None:
    """The next frame of the server; None at the end of the connection."""
    try:
        first, length = await reader.readexactly(2)
        if length >= 126:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        return Opcode(first & 15), await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
