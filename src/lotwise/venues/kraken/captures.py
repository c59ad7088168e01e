"""Kraken's own answers as evidence: asked read-only, redacted, and read back by the words of `kraken/`.

Laws: nothing is asked that changes anything; in private answers every field that is not known to be harmless
is redacted: ids and names become stand-ins (equal ones stay equal), and the digits of amounts become zeros
unless they are of the pairs asked for. Form, words and times stay: they are the evidence.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from lotwise.domain.values import BadField
from lotwise.kraken.names import asset_from_kraken, pair_names, symbol_from_kraken
from lotwise.kraken.rest import SYSTEM_WORDS, listing_of, server_time_of, status_of
from lotwise.kraken.rest_account import order_info, trade_info
from lotwise.kraken.rest_money import balances_of, fees_of
from lotwise.venues.kraken.rest import Refused, Rest

PUBLIC = ("SystemStatus", "Time", "AssetPairs")
PRIVATE = (
    "GetApiKeyInfo", "BalanceEx", "OpenOrders", "ClosedOrders", "TradesHistory", "TradeVolume",
)  # fmt: skip
OF_PAIRS = ("AssetPairs", "TradeVolume")
WITH_TRADES = ("OpenOrders", "ClosedOrders")

WORDS = frozenset({
    "status", "reason", "type", "ordertype", "pair", "oflags", "misc", "trigger", "maker", "time",
    "opentm", "starttm", "expiretm", "closetm", "leverage", "currency", "permissions", "nonceWindow",
    "validUntil", "queryFrom", "queryTo", "createdTime", "modifiedTime", "count", "trade_id", "minfee",
    "maxfee", "nextfee", "tiervolume", "nextvolume", "fees", "fees_maker", "descr", "open", "closed",
    "trades",
})  # fmt: skip
"""Fields that tell nothing of a person; those that hold others are looked into."""

AMOUNTS = frozenset({
    "vol", "vol_exec", "cost", "fee", "price", "price2", "stopprice", "limitprice", "margin", "balance",
    "hold_trade", "credit", "credit_used", "volume", "order", "close", "avg_price",
})  # fmt: skip
TABLES_OF_IDS = frozenset({"open", "closed", "trades"})
REDACTED = "redacted"


@dataclass(frozen=True, slots=True)
class Capture:
    """One answer: what was asked, what Kraken said (redacted), and how many things of it were read, or the
    problem that our reading of it has."""

    endpoint: str
    asked: Mapping[str, str]
    answer: Mapping[str, Any]
    read: int
    problem: str | None

    def text(self) -> str:
        """As a file: JSON with the numbers as they came."""
        told = {"endpoint": self.endpoint, "asked": dict(self.asked), "answer": self.answer}
        text = json.dumps(told, indent=1, ensure_ascii=True, default=lambda number: f"\0{number}\0")
        return re.sub(r'"\\u0000([^"\\]*)\\u0000"', r"\1", text) + "\n"


async def capture(rest: Rest, endpoint: str, redactor: "Redactor") -> Capture:
    """Ask once, read, redact. An error is an answer too. Raises NoAnswer."""
    names = [pair_names(symbol) for symbol in redactor.symbols]
    asked = {"pair": ",".join(name.altname for name in names)} if endpoint in OF_PAIRS else {}
    if endpoint in WITH_TRADES:
        asked = {"trades": "true"}
    call = rest.public if endpoint in PUBLIC else rest.private
    try:
        result = await call(endpoint, asked)
    except Refused as no:
        return Capture(endpoint, asked, {"error": list(no.texts)}, 0, f"Kraken said {no}")
    read, problem = reading(endpoint, result)
    shown = result if endpoint in PUBLIC else redactor.redacted(endpoint, result)
    return Capture(endpoint, asked, {"error": [], "result": shown}, read, problem)


def captured(text: str) -> tuple[str, Any]:
    """(endpoint, result) of a capture's file; the result is None where Kraken had only errors."""
    told = json.loads(text, parse_float=Decimal)
    return told["endpoint"], told["answer"].get("result")


def reading(endpoint: str, result: Any) -> tuple[int, str | None]:
    """How many things of an answer our words read, and the problem with the first that they do not."""
    read = 0
    try:
        for _ in _READERS[endpoint](result):
            read += 1
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, IndexError) as bad:
        return read, f"{type(bad).__name__}: {str(bad)[:100]}"
    return read, None


def _system(result: Any) -> Iterator[object]:
    if result["status"] not in SYSTEM_WORDS:
        raise BadField("status", f"{result['status']!r} is not a known word")
    yield result["status"]


# Each reads one thing after the other. The day of a listing only labels it.
_READERS: Mapping[str, Callable[[Any], Iterator[object]]] = {
    "SystemStatus": _system,
    "Time": lambda told: iter([server_time_of(told)]),
    "AssetPairs": lambda told: ((listing_of(row, date.min), status_of(row)) for row in told.values()),
    "GetApiKeyInfo": lambda told: (str(word) for word in told["permissions"]),
    "BalanceEx": lambda told: (balances_of({code: row}) for code, row in told.items()),
    "OpenOrders": lambda told: (order_info(txid, row) for txid, row in told["open"].items()),
    "ClosedOrders": lambda told: (order_info(txid, row) for txid, row in told["closed"].items()),
    "TradesHistory": lambda told: (trade_info(txid, row) for txid, row in told["trades"].items()),
    "TradeVolume": lambda told: (fees_of(told, key) for key in told["fees"]),
}


class Redactor:
    """Takes out of private answers what is nobody's business, the same each time. `symbols`: the pairs
    whose amounts stay."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols = tuple(symbols)
        self._assets = frozenset(asset for symbol in self.symbols for asset in symbol.split("/"))
        self._ids: dict[str, str] = {}

    def redacted(self, endpoint: str, result: Any) -> Any:
        """A private answer without anything that names a person, an order or other money."""
        if endpoint == "BalanceEx":
            return {code: self._fields(row, self._ours(code)) for code, row in result.items()}
        return self._fields(result, ours=endpoint != "TradeVolume")

    def _ours(self, code: str) -> bool:
        return "." not in code and asset_from_kraken(code) in self._assets

    def _fields(self, fields: Any, ours: bool) -> Any:
        if not isinstance(fields, dict):
            return self._hidden(fields)
        ours = ours and self._is_ours(fields)
        return {name: self._field(name, value, ours) for name, value in fields.items()}

    def _is_ours(self, fields: Mapping[str, Any]) -> bool:
        """Whether a row is of a pair whose amounts stay; a row that names none decides nothing."""
        descr = fields.get("descr")
        name = descr.get("pair") if isinstance(descr, dict) else fields.get("pair")
        if name is None:
            return True
        try:
            return symbol_from_kraken(str(name)) in self.symbols
        except BadField:
            return False

    def _field(self, name: str, value: Any, ours: bool) -> Any:
        if name in AMOUNTS:
            return value if ours else _zeros(value)
        if name not in WORDS:
            return self._hidden(value)
        if name in TABLES_OF_IDS:
            if isinstance(value, dict):
                return {self._stand_in(key): self._fields(row, ours) for key, row in value.items()}
            return self._hidden(value)
        if isinstance(value, dict):
            tables = name in ("fees", "fees_maker")
            return (
                {key: self._fields(row, True) for key, row in value.items()}
                if tables
                else self._fields(value, ours)
            )
        return value

    def _hidden(self, value: Any) -> Any:
        """A value of a field that is not known to be harmless: its form alone."""
        if isinstance(value, dict):
            return {REDACTED: len(value)}
        if isinstance(value, list):
            return [self._hidden(item) for item in value]
        if isinstance(value, str):
            return self._stand_in(value) if value else ""
        return value if value is None or isinstance(value, bool) else 0

    def _stand_in(self, text: str) -> str:
        """The same for the same text: Kraken's ids keep their form and first letter."""
        if text not in self._ids:
            number = f"{len(self._ids) + 1:06}"
            is_id = re.fullmatch(r"[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{6}", text)
            self._ids[text] = f"{text[0]}REDAC-TED00-{number}" if is_id else f"{REDACTED}-{number}"
        return self._ids[text]


def _zeros(value: Any) -> Any:
    """An amount's form without its number."""
    return re.sub(r"\d", "0", value) if isinstance(value, str) else 0 if value is not None else None
