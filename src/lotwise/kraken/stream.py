"""Kraken's WebSocket v2: its text, its requests and its answers, as both sides of the wire write them.

Laws: a number on the wire is an exact decimal on both sides, never a float; whatever a client sends is a
Request or raises Refused with the words that Kraken answers. Sources: Kraken's documentation of
2026-05-27, and answers recorded in public clients' tests (2024-05 to 2026-09); a text of which neither
is known is named in `sandbox/stream_conformance.py`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, TypeGuard

from lotwise.domain.values import Time, exact

Message = dict[str, Any]
"""One JSON object: texts, booleans, integers, Decimals, lists and objects."""

MAX_CHARACTERS = 262_144
"""Room for a subscription to every pair many times over; a longer message is not read."""

MANY = 2_000
"""How many symbols or orders one request may name: more than there are pairs."""

PRIVATE_ELSEWHERE = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
PUBLIC_ELSEWHERE = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"
"""Recorded 2026-09-25."""

INVALID_SESSION = "ESession:Invalid session"
"""Recorded 2026-09-25: the answer to a token that is none."""

ALREADY_SUBSCRIBED = "Already subscribed"
ONE_INTERVAL = "Already subscribed to one ohlc interval on this symbol"
"""The second is recorded (2026-07); the first is Kraken's text of WebSocket v1."""

NOT_SUBSCRIBED = "Subscription Not Found"
NO_SUCH_CHANNEL = "Subscription name invalid"
NO_SUCH_METHOD = "Unsupported event"
MALFORMED = "Malformed request"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Malformed(ValueError):
    """The text is no message of this protocol."""


class Refused(Exception):
    """A request that Kraken answers with an error: its words, and the fields that come with them."""

    def __init__(self, error: str, **beside: Any) -> None:
        super().__init__(error)
        self.error = error
        self.beside = beside


def read(text: str | bytes) -> Message:
    """The message in a frame, every number with a point exact; Malformed when it is none."""
    if len(text) > MAX_CHARACTERS:
        raise Malformed("the message is too long")
    try:
        # Numbers beyond all sense, nesting beyond the interpreter and bytes that are no UTF-8 end here.
        if isinstance(text, bytes):
            text = text.decode(json.detect_encoding(text), "surrogatepass")
        message = _JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    if not isinstance(message, dict):
        raise Malformed("no JSON object")
    return message


def write(value: Any) -> str:
    """A message as text; a Decimal is printed as a plain number with all its digits."""
    match value:
        case str():
            return quoted(value)
        case Decimal():
            # To ask for a plain number takes twice the time, and nearly all are.
            text = str(value)
            return f"{value:f}" if "E" in text else text
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case None:
            return "null"
        # What is asked for as a dict or a list is found at once, as an abstract kind is not.
        case dict() | Mapping():
            return "{" + ",".join([f"{quoted(key)}:{write(item)}" for key, item in value.items()]) + "}"
        case list() | Sequence():
            return "[" + ",".join([write(item) for item in value]) + "]"
        case _:
            raise TypeError(f"{value!r} has no place in a message")


def _number(text: str) -> Decimal:
    number = exact(text)
    # `exact` gives every zero one shape; on the wire 0.00000000 has digits of its own.
    return number if number else Decimal(text)


def _no_number(text: str) -> Decimal:
    raise Malformed(f"{text} is no number")


_JSON = json.JSONDecoder(parse_float=_number, parse_constant=_no_number)


def timestamp(time: Time, digits: int = 6) -> str:
    """A time as RFC 3339 in UTC with so many digits of a second (0 to 9); ours are milliseconds."""
    fraction = f".{time % 1000:03d}".ljust(digits + 1, "0")[: digits + 1] if digits else ""
    return f"{_second(time // 1000)}{fraction}Z"


@lru_cache(maxsize=1024)
def _second(unix: int) -> str:
    return (_EPOCH + timedelta(seconds=unix)).strftime("%Y-%m-%dT%H:%M:%S")


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks: its method, the parameters, and the number by which it knows the answer."""

    method: str
    params: Mapping[str, Any] = field(default_factory=dict)
    req_id: int | None = None

    @property
    def kind(self) -> str:
        """The method as Kraken's errors name it."""
        return self.method.replace("_", " ")

    def refused(self, error: str, **beside: Any) -> Refused:
        """The refusal of this request in Kraken's words; `beside` are the fields that come with them."""
        echo = {} if self.req_id is None else {"req_id": self.req_id}
        return Refused(error, **beside, method=self.method, **echo)

    def message(self) -> Message:
        """The request as it is sent."""
        message: Message = {"method": self.method}
        if self.params:
            message["params"] = dict(self.params)
        if self.req_id is not None:
            message["req_id"] = self.req_id
        return message


def request_of(message: Message) -> Request:
    """The request in a message; Refused when its frame is not one."""
    method, params, req_id = message.get("method"), message.get("params", {}), message.get("req_id")
    if method is None or not isinstance(method, str):
        raise Refused(missing("method") if method is None else mistyped("method", "string"))
    request = Request(method, params, req_id if is_integer(req_id) else None)
    if req_id is not None and request.req_id is None:
        raise request.refused(mistyped("req_id", "integer"))
    for name in message:
        if name not in ("method", "params", "req_id"):
            raise request.refused(unsupported(name, request.kind))
    if not isinstance(params, dict):
        raise request.refused(mistyped("params", "object"))
    return request


def is_integer(value: Any) -> TypeGuard[int]:
    """Whether a value of a message is a whole number of 64 bits (a JSON true is none)."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def missing(name: str) -> str:
    """Kraken's words for a field that is not there ("Token(s) not found", recorded 2024-05)."""
    return f"{name.capitalize()}(s) not found"


def mistyped(name: str, kind: str) -> str:
    """Kraken's words for a field of another type ("Limit_price field must be a number_float", 2024-10)."""
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{name.capitalize()} field must be {article} {kind}"


def unsupported(name: str, kind: str) -> str:
    """Kraken's words for a field too many (recorded 2024-05 and 2025-05; `kind` is the method in words)."""
    return f"Unsupported field: '{name}' for the given msg type: {kind}"


def success(request: Request, result: Any, time_in: Time, time_out: Time) -> Message:
    """The answer to a request that was carried out."""
    fields = {"method": request.method, "req_id": request.req_id, "result": result, "success": True}
    return _answer(fields, time_in, time_out)


def failure(refused: Refused, time_in: Time, time_out: Time) -> Message:
    """The answer to a request that was not."""
    return _answer({"error": refused.error, **refused.beside, "success": False}, time_in, time_out)


def pong(request: Request, time_in: Time, time_out: Time) -> Message:
    """The answer to a ping."""
    return _answer({"method": "pong", "req_id": request.req_id}, time_in, time_out)


@dataclass(frozen=True, slots=True)
class Answer:
    """What Kraken answered to a request: a result, or the words of its error."""

    method: str | None
    req_id: int | None
    result: Any
    error: str | None


def answer_of(message: Message) -> Answer | None:
    """The answer in a message; None when it is a channel's message. Anything but success is a failure."""
    if "channel" in message and "method" not in message:
        return None
    method, req_id, error = message.get("method"), message.get("req_id"), message.get("error")
    failed = message.get("success") is not True and method != "pong"
    return Answer(
        method if isinstance(method, str) else None,
        req_id if is_integer(req_id) else None,
        message.get("result"),
        str(error or "no reason given") if failed else None,
    )


def _answer(fields: Message, time_in: Time, time_out: Time) -> Message:
    known = {name: value for name, value in fields.items() if value is not None}
    return {**known, "time_in": timestamp(time_in), "time_out": timestamp(time_out)}
