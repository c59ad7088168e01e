"""HTTP requests and responses as values, and what is in them.

Law: whatever the bytes, reading them gives parameters or Refused with Kraken's words, nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from lotwise.domain.values import NotExact, exact, plain
from lotwise.kraken.rest import Payload

MAX_BODY = 64 * 1024
MAX_FIELDS = 200
MAX_TARGET = 8 * 1024
INVALID_ARGUMENTS = "EGeneral:Invalid arguments"
UNKNOWN_METHOD = "EGeneral:Unknown method"


_JSON = json.JSONEncoder(separators=(",", ":"))


class Refused(Exception):
    """Kraken's words for a request that is not carried out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request: `target` as in its first line, query included."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def header(self, name: str) -> str:
        """A header, whatever the case of its name; "" when it is absent."""
        if name in self.headers:
            return self.headers[name]
        wanted = name.lower()
        return next((value for key, value in self.headers.items() if key.lower() == wanted), "")


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def answer(result: Payload) -> Response:
    """The envelope of a result."""
    return Response(200, dumps({"error": [], "result": result}))


def refusal(text: str, status: int = 200) -> Response:
    """The envelope of an error: HTTP 200, for the request did reach the exchange."""
    return Response(status, dumps({"error": [text]}))


def dumps(payload: Payload) -> bytes:
    """JSON without blanks, as Kraken writes it."""
    return _JSON.encode(payload).encode()


def parameters_of(request: Request, private: bool) -> dict[str, str]:
    """All parameters of a request as text, from its body (a form, or JSON when it says so) and, unless it
    is private, its query, which nothing signs; of a name given twice the last."""
    if len(request.body) > MAX_BODY or len(request.target) > MAX_TARGET:
        raise Refused(INVALID_ARGUMENTS)
    parameters = {} if private else _form(request.target.partition("?")[2])
    if "json" in request.header("content-type").lower():
        return parameters | _json(request.body)
    return parameters | _form(request.body.decode("utf-8", "replace"))


def path_of(target: str) -> str:
    """The path of a request's target."""
    return target.partition("?")[0]


def _form(text: str) -> dict[str, str]:
    if text.count("&") >= MAX_FIELDS:
        raise Refused(INVALID_ARGUMENTS)
    plain = unquote_plus if "%" in text or "+" in text else str
    fields = [part.partition("=") for part in text.split("&") if part]
    return {plain(name): plain(value) for name, _, value in fields}


def _json(body: bytes) -> dict[str, str]:
    try:
        # Numbers stay text: "1.10" must not become another number on its way.
        read = json.loads(body or b"{}", parse_float=_number, parse_int=_number, parse_constant=str)
    except (ValueError, RecursionError):
        raise Refused(INVALID_ARGUMENTS) from None
    if not isinstance(read, dict):
        raise Refused(INVALID_ARGUMENTS)
    parameters: dict[str, str] = {}
    for name, value in read.items():
        if isinstance(value, dict):
            parameters |= {
                f"{name}[{key}]": _text(inner) for key, inner in value.items() if inner is not None
            }
        elif value is not None:
            parameters[name] = _text(value)
    return parameters


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise Refused(INVALID_ARGUMENTS)
    return value


def _number(text: str) -> str:
    # JSON may write 0.00001 as 1e-05, which no form does.
    try:
        return plain(exact(text)) if "e" in text.lower() else text
    except NotExact:
        return text
