"""The bars that came before a connection, and whether any is missing between them and what it tells.

REST OHLC gives at most 720 bars of a pair, the last unfinished (Kraken's documentation of 2026-05-27). It is
asked at the start, and again where what a new connection tells first (nine bars in a snapshot recorded
2026-09-10) does not reach back to what is known.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from lotwise.domain.values import EPOCH, Time
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import ohlc_row_of
from lotwise.kraken.stream import Malformed
from lotwise.kraken.stream_market import MINUTE, Bar
from lotwise.venues.kraken.rest import NoAnswer, Refused

BETWEEN_CALLS = 1.0
AFTER_FAILURE = 10.0
"""Seconds to the next call: Kraken takes one public call a second."""


class PublicRest(Protocol):
    """The one call that is made here."""

    async def public(self, endpoint: str, parameters: Mapping[str, str] | None = None) -> Any:
        """The result of a public call. Raises Refused, NoAnswer."""


class History:
    """Asks for each pair's bars until none has a hole. `take` is given each bar; it may raise Malformed."""

    def __init__(
        self, symbols: tuple[str, ...], bar: int, rest: PublicRest, take: Callable[[Bar], None]
    ) -> None:
        self._symbols, self._minutes = symbols, bar // MINUTE
        self._rest, self._take = rest, take
        self._holes = dict.fromkeys(symbols, "is not known yet")
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._begins: dict[str, Time] = {}
        self._ignored: set[str] = set()

    def hole(self, symbol: str) -> str:
        """What is wrong with a pair's history, as the end of a sentence; empty when nothing is."""
        return self._holes.get(symbol, "")

    def hears(self, bar: Bar, newest: Time | None) -> None:
        """A connection tells of a bar; `newest` is the last bar of the pair that was known before."""
        if bar.symbol not in self._begins:
            self._begins[bar.symbol] = bar.begin
            if newest is None or newest < bar.begin:
                self._want(bar.symbol, "has a hole")

    def connected(self) -> None:
        """From here on each bar of a pair that was not told yet is heard: what came before is in the
        history, or nowhere."""
        for symbol in self._symbols:
            if symbol not in self._begins:
                self._begins[symbol] = EPOCH
                self._want(symbol, "has a hole")

    def lost(self) -> None:
        """Nothing is heard until the next connection tells how far back it reaches."""
        self._begins.clear()
        self._ignored.clear()

    def ignore(self, symbol: str) -> None:
        """A pair that Kraken does not know has no history to ask for."""
        self._ignored.add(symbol)

    async def load(self) -> None:
        """Ask once for each pair."""
        for place, symbol in enumerate(self._symbols):
            if place:
                await asyncio.sleep(BETWEEN_CALLS)
            await self._load(symbol)

    async def keep(self) -> None:
        """Ask for what has a hole, one pair after the other; never ends by itself."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            for symbol in self._symbols:
                if symbol in self._holes and symbol not in self._ignored:
                    whole = await self._load(symbol)
                    await asyncio.sleep(BETWEEN_CALLS if whole else AFTER_FAILURE)

    def _want(self, symbol: str, why: str) -> None:
        self._holes[symbol] = why
        self._wanted.set()

    async def _load(self, symbol: str) -> bool:
        """Ask for a pair's bars; whether there is no hole now. One that opens meanwhile stays one."""
        self._holes.pop(symbol, None)
        try:
            asked = {"pair": pair_names(symbol).altname, "interval": str(self._minutes)}
            bars = _bars_told(symbol, self._minutes, await self._rest.public("OHLC", asked))
            for bar in bars:
                self._take(bar)
        except (Refused, NoAnswer, Malformed) as trouble:
            self._want(symbol, f"cannot be had: {trouble}")
            return False
        whole = bool(bars) and bars[-1].begin >= self._begins.get(symbol, EPOCH)
        if not whole:
            self._want(symbol, "has a hole")
        return whole


def _bars_told(symbol: str, minutes: int, told: Any) -> list[Bar]:
    """The bars of an answer to OHLC, oldest first; Malformed when it has not Kraken's form."""
    try:
        (key,) = (name for name in told if name != "last")
        read = [ohlc_row_of(row) for row in told[key]]
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as bad:
        raise Malformed(f"an answer has not Kraken's form: {type(bad).__name__}: {str(bad)[:100]}") from None
    return [
        Bar(symbol, minutes, r.time, r.open, r.high, r.low, r.close, r.volume, r.vwap, r.count) for r in read
    ]
