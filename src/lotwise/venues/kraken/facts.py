"""What has to be known before anything is traded: whether Kraken is open, whose key it is and what it may do,
and the rules, fees and prices of each pair as Kraken tells them now."""

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from lotwise.domain.market import MarketStatus, Quote, split_symbol
from lotwise.domain.orders import RejectionKind
from lotwise.domain.values import BadField, Time
from lotwise.engine.records import Listed
from lotwise.kraken.errors import rejection_of
from lotwise.kraken.fees import SINCE_JULY_2026
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import decimals_of, listing_of, server_time_of, status_of, ticker_of
from lotwise.kraken.rest_money import fees_of
from lotwise.kraken.stream import Malformed
from lotwise.kraken.stream_fields import rows
from lotwise.kraken.stream_market import system_of
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.socket import SocketClosed
from lotwise.venues.kraken.stream import Line

READS = frozenset({"query-funds", "query-open-trades", "query-closed-trades", "query-ledger"})
TRADES = frozenset({"modify-trades", "close-trades"})
STREAMS = "create-ws-token"
"""Kraken's words for what a key may do (GetApiKeyInfo, 2026-03-11; the words of its key page). Most public
clients have this word for the last one, one list has the other."""
ALSO_STREAMS = "access-websockets"

SKEW = 2_000
"""Milliseconds that our clock may be off Kraken's: orders carry a deadline of five seconds."""

ASKED_AT_ONCE = 20
"""Pairs in one AssetPairs or Ticker call: its URL is bounded."""

GREETING_SECONDS = 10.0
ADVISORY_CHARACTERS = 200


class Obstacle(StrEnum):
    """What stands behind Kraken's no to a call, as far as a person can do something about it."""

    KEY = "key"
    SECRET = "secret"
    PERMISSION = "permission"
    NONCE = "nonce"
    CLOSED = "closed"
    PACE = "pace"
    OTHER = "other"


_BEGINNINGS = {
    "EAPI:Invalid key": Obstacle.KEY,
    "EAPI:Invalid signature": Obstacle.SECRET,
    "EAPI:Invalid nonce": Obstacle.NONCE,
    "EService:Throttled": Obstacle.PACE,
    "EService:Deadline elapsed": Obstacle.PACE,
    "EService:": Obstacle.CLOSED,
}
_KINDS = {
    RejectionKind.PERMISSION: Obstacle.PERMISSION,
    RejectionKind.RATE_LIMIT: Obstacle.PACE,
}


def obstacle_of(no: Refused) -> Obstacle:
    """What stands behind a refusal: of several texts, behind the first that is known."""
    for text in no.texts:
        known = next((obstacle for words, obstacle in _BEGINNINGS.items() if text.startswith(words)), None)
        found = known or _KINDS.get(rejection_of(text).kind)
        if found is not None:
            return found
    return Obstacle.OTHER


@dataclass(frozen=True, slots=True)
class System:
    """What SystemStatus tells: Kraken's word for how it is, the maintenance that comes within 72 hours, and
    the incidents that are not over, each in Kraken's own words."""

    status: str
    ahead: tuple[str, ...] = ()
    incidents: tuple[str, ...] = ()


async def system(rest: Rest) -> System:
    """How Kraken is. Raises Refused, NoAnswer. `upcoming_maintenance` and `emergency` may be absent, and the
    form of their entries is not told (Kraken's page of SystemStatus, read in November 2026)."""
    told = await rest.public("SystemStatus")
    if not isinstance(told, dict) or not isinstance(told.get("status"), str):
        raise NoAnswer("SystemStatus: the answer has no status")
    return System(
        told["status"], _advisories(told.get("upcoming_maintenance")), _advisories(told.get("emergency"))
    )


def _advisories(told: object) -> tuple[str, ...]:
    """Each entry in one bounded line: its texts, whatever they are called."""
    lines = []
    for entry in told if isinstance(told, list) else []:
        texts = entry.values() if isinstance(entry, dict) else [entry]
        words = ", ".join(text for text in texts if isinstance(text, str)) or json.dumps(entry, default=str)
        lines.append(" ".join(words.split())[:ADVISORY_CHARACTERS])
    return tuple(lines)


async def greeting(line: Line) -> str:
    """How the exchange says it is, as the first word of a new connection. Raises NoAnswer."""
    try:
        async with asyncio.timeout(GREETING_SECONDS):
            socket = await line.connect(line.url)
            try:
                told = json.loads(await socket.receive(), parse_float=Decimal)
            finally:
                await socket.close()
            return system_of(rows(told, "data")[0])
    except SocketClosed as closed:
        raise NoAnswer(str(closed)) from None
    except TimeoutError:
        raise NoAnswer(f"no greeting within {GREETING_SECONDS:.0f} s") from None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError, Malformed):
        raise NoAnswer("its greeting is not Kraken's") from None


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What a key may do, until when (None: for ever), whether it is bound to addresses, the public number
    of its account ("" where Kraken tells none), and its nonce window: within one above 0 a nonce may come
    twice, and so may an order that the network doubles."""

    permissions: frozenset[str]
    valid_until: Time | None
    address_bound: bool
    account: str = ""
    nonce_window: int = 0

    @property
    def may_withdraw(self) -> bool:
        """Whether it can take money out, or might: a word with "withdraw" that is not known counts."""
        return any("withdraw" in word for word in self.permissions)

    @property
    def lacks(self) -> frozenset[str]:
        """What a live run needs and the key may not."""
        streams = frozenset() if ALSO_STREAMS in self.permissions else {STREAMS}
        return (READS | TRADES | streams) - self.permissions


async def key_info(rest: Rest) -> KeyInfo:
    """What the key may do. Raises Refused, and NoAnswer where the answer does not say it."""
    told = await rest.private("GetApiKeyInfo")
    try:
        permissions = frozenset(str(word) for word in told["permissions"])
        until = int(told.get("validUntil") or 0)
        bound, account = bool(told.get("ipAllowlist")), str(told.get("iban") or "")
        window = int(told.get("nonceWindow") or 0)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAnswer("GetApiKeyInfo: the answer does not say what the key may do") from None
    return KeyInfo(permissions, Time(until * 1000) if until else None, bound, account, window)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Our clock beside Kraken's, in milliseconds: how long the answer took, how far ours is ahead at the
    middle of it, and whether no delay of the answer explains that."""

    took: int
    ahead: int
    wrong: bool


async def clocks(rest: Rest, clock: Callable[[], Time]) -> Clocks:
    """Compare the clocks. Kraken tells whole seconds, cut off, of some moment between our asking and its
    answer. Raises Refused, NoAnswer."""
    before = clock()
    told = await rest.public("Time")
    after = clock()
    try:
        theirs = server_time_of(told)
    except (KeyError, TypeError, ValueError):
        raise NoAnswer("Time: the answer has no time") from None
    wrong = not before - SKEW - 1000 <= theirs <= after + SKEW
    return Clocks(after - before, (before + after) // 2 - theirs, wrong)


async def token(rest: Rest) -> str:
    """A token for a private stream. Raises Refused, NoAnswer."""
    told = await rest.private("GetWebSocketsToken")
    value = told.get("token") if isinstance(told, dict) else None
    if not isinstance(value, str):
        raise NoAnswer("GetWebSocketsToken: the answer has no token")
    return value


async def pairs(rest: Rest, symbols: Iterable[str], now: Time) -> dict[str, Listed]:
    """The rules, status and fees of these pairs, by symbol; absent: Kraken does not list it. Fees are the
    account's (TradeVolume) where a key is at hand that may ask, else those of the lowest tier."""
    wanted = list(symbols)
    told: dict[str, Mapping[str, Any]] = {}
    for first in range(0, len(wanted), ASKED_AT_ONCE):
        told |= await _asset_pairs(rest, wanted[first : first + ASKED_AT_ONCE])
    decimals = await _decimals(rest, told) if told else {}
    fees = await account_fees(rest, list(told))
    today = datetime.fromtimestamp(now / 1000, tz=UTC).date()
    lowest = SINCE_JULY_2026.tiers[0]
    result = {}
    for symbol, row in told.items():
        maker, taker = fees.get(symbol, (lowest.maker_fee, lowest.taker_fee))
        try:
            result[symbol] = Listed(listing_of(row, today, decimals), maker, taker, now, status_of(row))
        except (KeyError, TypeError, ValueError):
            raise NoAnswer(f"AssetPairs: the rules of {symbol} have not Kraken's form") from None
    return result


async def _decimals(rest: Rest, symbols: Iterable[str]) -> dict[str, int]:
    told = await rest.public("Assets")
    try:
        return decimals_of(told, {split_symbol(symbol)[0] for symbol in symbols})
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAnswer("Assets: the answer has not Kraken's form") from None


async def _asset_pairs(rest: Rest, symbols: list[str]) -> dict[str, Mapping[str, Any]]:
    """The rows of these pairs; when one of them is not listed Kraken refuses all, so each is asked alone."""
    names = {symbol: pair_names(symbol) for symbol in symbols}
    try:
        told = await rest.public("AssetPairs", {"pair": ",".join(n.altname for n in names.values())})
    except Refused as no:
        if not any("Unknown asset pair" in text for text in no.texts):
            raise
        if len(symbols) == 1:
            return {}
        alone = [await _asset_pairs(rest, [symbol]) for symbol in symbols]
        return {symbol: row for found in alone for symbol, row in found.items()}
    rows = {row.get("altname"): row for row in told.values()}
    return {symbol: rows[name.altname] for symbol, name in names.items() if name.altname in rows}


async def account_fees(rest: Rest, symbols: list[str]) -> dict[str, tuple[Decimal, Decimal]]:
    """(maker, taker) by symbol, of the account's tier, as far as Kraken confirms it. Raises NoAnswer."""
    if not rest.has_key or not symbols:
        return {}
    names = {symbol: pair_names(symbol) for symbol in symbols}
    try:
        told = await rest.private("TradeVolume", {"pair": ",".join(n.altname for n in names.values())})
    except Refused:
        return {}  # some accounts are refused it now and then (observed in 2026)
    found = {}
    for symbol, name in names.items():
        try:
            found[symbol] = fees_of(told, name.rest_key)
        except (KeyError, TypeError, ValueError, BadField):
            continue  # not told for this pair: the lowest tier is the dearest
    return found


async def listed_in(rest: Rest, bases: Iterable[str], quotes: Iterable[str]) -> dict[str, list[str]]:
    """Which of these coins can be bought with each of these currencies. Raises Refused, NoAnswer."""
    told = await rest.public("AssetPairs")
    try:
        there = {row.get("altname") for row in told.values() if status_of(row) is MarketStatus.ONLINE}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NoAnswer("AssetPairs: the answer has not Kraken's form") from None
    coins = list(bases)
    found = {q: [b for b in coins if b != q and pair_names(f"{b}/{q}").altname in there] for q in quotes}
    return {quote: listed for quote, listed in found.items() if listed}


async def prices(rest: Rest, symbols: Iterable[str], clock: Callable[[], Time]) -> dict[str, Quote]:
    """The best prices of now, of those of these listed pairs that have both. Raises Refused, NoAnswer."""
    wanted, found = list(symbols), dict[str, Quote]()
    for first in range(0, len(wanted), ASKED_AT_ONCE):
        names = [pair_names(symbol) for symbol in wanted[first : first + ASKED_AT_ONCE]]
        told = await rest.public("Ticker", {"pair": ",".join(name.altname for name in names)})
        try:
            for name in names:
                row = told.get(name.rest_key, told.get(name.altname))
                quote = None if row is None else ticker_of(row).quote(name.symbol, clock())
                if quote is not None and 0 < quote.bid < quote.ask:
                    found[name.symbol] = quote
        except (KeyError, TypeError, ValueError, AttributeError, LookupError):
            raise NoAnswer("Ticker: the answer has not Kraken's form") from None
    return found
