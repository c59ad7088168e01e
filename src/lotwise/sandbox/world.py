"""The exchange that a sandbox begins with: Kraken's pairs under the rules of a day, each with a crowd that
trades around a made-up price or along recorded candles.

Laws: a world is a value: the same world opened at the same time is the same exchange, byte for byte. The
pairs of one base move together. How much is traded, and how far apart the prices stand, is assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any, overload

from lotwise.domain.market import Candle, FeeSchedule, Market, Tier
from lotwise.domain.values import Time, require
from lotwise.exchange.crowd import STEP, Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import Fees, HouseRules, Matching, ladder
from lotwise.exchange.paths import Path, Recorded, Walk
from lotwise.exchange.tape import BARS_KEPT
from lotwise.kraken.fees import FEE_SCHEDULES
from lotwise.kraken.listings import LISTINGS
from lotwise.kraken.reference import reference_price
from lotwise.kraken.rest import asset_decimals
from lotwise.markets import DEFAULT_TIERS, Markets
from lotwise.sandbox.account import DOLLARS
from lotwise.sandbox.history import Past, made_up, share_of, tell
from lotwise.strategies.candles import Candles

LATEST = date.max
"""The day whose rules are the latest known ones."""

VOLATILITY = 0.8
DOLLARS_PER_EURO = 1.16
QUOTES = ("USD", "USDT", "USDC", "EUR")

WARM_UP = 45 * STEP
"""So long the crowds trade before the doors open, so that books are full and every pair has a price."""

# Assumptions, not measurements: quote units an hour, trades an hour, half the spread in hundredths of a
# percent, levels of the crowd on each side. Pairs in other quotes than USD have a part of it.
TABLE = """
BTC   4000000  1800  1   40
ETH   2000000  1500  1   40
SOL    800000  1200  2   30
ADA    150000   900  4   25
DOGE   200000   900  4   25
SHIB    60000   720  8   20
MANA    12000   600  15  15
"""
SHARES = {"USD": 1.0, "USDT": 0.3, "USDC": 0.1, "EUR": 0.5}
HABITS = {base: numbers for base, *numbers in (row.split() for row in TABLE.strip().splitlines())}
OTHERS = ["30000", "720", "8", "20"]
LEAST_TRADES = 720
"""In an hour: every pair has traded before the doors open."""


class UnknownRules(Exception):
    """No pair has known rules on a day: says since when there are some."""


class Tariff:
    """The fees in force, which may change while the exchange runs."""

    def __init__(self, schedule: FeeSchedule) -> None:
        self.schedule = schedule
        self._made: tuple[FeeSchedule, Fees] | None = None

    def __call__(self, account: str, market: Market, volume: Mapping[str, Decimal]) -> Market:
        if self._made is None or self._made[0] is not self.schedule:
            self._made = self.schedule, ladder(self.schedule, DOLLARS)
        return self._made[1](account, market, volume)


@dataclass(frozen=True, slots=True)
class World:
    """rules_on: the day whose rules and fees hold; candles: recorded ones by symbol, which go on when the
    sandbox opens (empty: made-up prices of every pair that has a reference price); history: whether there
    are candles of the time before, made up, or the first half of the recorded ones. Raises UnknownRules."""

    seed: int = 0
    rules_on: date = LATEST
    quotes: tuple[str, ...] = QUOTES
    candles: Mapping[str, Candles] = field(default_factory=dict)
    history: bool = False

    def schedule(self) -> FeeSchedule:
        """The fee ladder of the day."""
        known = [schedule for schedule in FEE_SCHEDULES if schedule.effective <= self.rules_on]
        if not known:
            raise UnknownRules(f"no fees are known before {FEE_SCHEDULES[0].effective}")
        return known[-1]

    def markets(self) -> dict[str, Market]:
        """The pairs and their rules."""
        markets = Markets(LISTINGS, FEE_SCHEDULES, dict.fromkeys(Tier, Decimal(0)), DEFAULT_TIERS)
        wanted = tuple(self.candles) or tuple(
            symbol
            for quote in self.quotes
            for symbol in markets.symbols(quote)
            if reference_price(symbol.partition("/")[0], self.rules_on) is not None
        )
        self.schedule()
        found = (markets.market(symbol, self.rules_on, self.rules_on) for symbol in wanted)
        known = {market.symbol: market for market in found if isinstance(market, Market)}
        if not known:
            first = min((seen[0].observed for seen in map(markets.history.get, wanted) if seen), default=None)
            since = f"they are known from {first} on" if first else f"of {', '.join(wanted)} none are known"
            raise UnknownRules(f"no pair has known rules on {self.rules_on}: {since}")
        return known

    def opened(self, tariff: Tariff, now: Time) -> Exchange:
        """The exchange at its first moment, in which the crowds have traded a little already."""
        start = self.start(now)
        exchange = Exchange(self.markets(), house=house_of(tariff))
        paths = self.paths(start)
        for symbol in exchange.markets():
            base, quote = symbol.split("/")
            path = paths.get(symbol) or self._walk(base, quote, start)
            crowd = Crowd(habits(base, quote), path, Dice(self._seed(symbol)), Time(start + STEP))
            exchange.live(symbol, crowd)
            if self.history:
                self._remember(exchange, symbol, start)
        exchange.advance(now)
        return exchange

    def start(self, opened: Time) -> Time:
        """When the crowds began to trade in a world that was opened then."""
        return Time(opened - opened % STEP - WARM_UP)

    def told(self) -> dict[str, Any]:
        """What tells this world from another, as JSON's kinds of data."""
        candles = {
            symbol: [candles.timeframe, len(candles), int(candles.dates[0])]
            for symbol, candles in sorted(self.candles.items())
        }
        rules = "latest" if self.rules_on == LATEST else str(self.rules_on)
        return {
            "seed": self.seed,
            "rules": rules,
            "quotes": list(self.quotes),
            "market": candles,
            "history": self.history,
        }

    def paths(self, start: Time) -> dict[str, Path]:
        """The recorded prices by symbol, as if those after their history went on at `start`."""
        return {
            symbol: Recorded(Moved(candles, self._moved(candles, start), self._past(candles)), candles.bar)
            for symbol, candles in self.candles.items()
        }

    def _walk(self, base: str, quote: str, start: Time) -> Walk:
        # One path for all pairs of a base: their prices keep together.
        return Walk(self._price(base) * _in(quote), VOLATILITY, Dice(self._seed(base)), start)

    def _price(self, base: str) -> float:
        known = reference_price(base, self.rules_on)
        assert known is not None, f"{base} is listed without a price"
        return float(known[0])

    def _past(self, candles: Candles) -> int:
        """How many of recorded candles are history."""
        return min(BARS_KEPT, len(candles) // 2) if self.history else 0

    def _moved(self, candles: Candles, start: Time) -> int:
        """By how much recorded candles are late, in whole bars, so that bars stay where bars begin."""
        return (start - int(candles.dates[self._past(candles)])) // candles.bar * candles.bar

    def _remember(self, exchange: Exchange, symbol: str, start: Time) -> None:
        base, quote = symbol.split("/")
        tape, market = exchange.tape(symbol), exchange.markets()[symbol]
        if symbol in self.candles:
            candles = self.candles[symbol]
            first = candles.dates[self._past(candles)]
            past = candles.between(Time(0), Time(int(first)))
            if len(past):
                tell(tape, market, Past.of(past, self._moved(candles, start)), 1.0, 1.0)
            return
        shared = _made_up(self._seed(f"past {base}"), self._price(base), start)
        tell(tape, market, shared, _in(quote), share_of(habits(base, quote).turnover))

    def _seed(self, name: str) -> int:
        return int.from_bytes(sha256(f"{self.seed} {name}".encode()).digest()[:8], "big")


def house_of(tariff: Tariff) -> HouseRules:
    """How the exchange is run."""
    return HouseRules(matching=Matching.BOOK, fees=tariff, decimals=asset_decimals)


def habits(base: str, quote: str) -> CrowdSettings:
    """What a pair's crowd does."""
    turnover, trades, spread, levels = map(int, HABITS.get(base, OTHERS))
    share = SHARES.get(quote, 0.1)
    return CrowdSettings(
        turnover=turnover * share,
        trades=max(LEAST_TRADES, int(trades * share)),
        half_spread=spread / 10_000,
        levels=levels,
    )


def _in(quote: str) -> float:
    """What a dollar is in a quote asset."""
    return 1.0 / DOLLARS_PER_EURO if quote == "EUR" else 1.0


@lru_cache(maxsize=16)
def _made_up(seed: int, price: float, start: Time) -> Past:
    return made_up(seed, price, start, VOLATILITY)


@dataclass(frozen=True, slots=True)
class Moved(Sequence[Candle]):
    """Candles from an index on, `by` milliseconds later, each made when it is asked for."""

    candles: Candles
    by: int
    first: int = 0

    def __len__(self) -> int:
        return len(self.candles) - self.first

    @overload
    def __getitem__(self, index: int) -> Candle: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candle]: ...
    def __getitem__(self, index: int | slice) -> Candle | Sequence[Candle]:
        require(isinstance(index, int), "index", "must be a whole number")
        assert isinstance(index, int)
        candle = self.candles.candle(self.first + index)
        return replace(candle, date=Time(candle.date + self.by))
