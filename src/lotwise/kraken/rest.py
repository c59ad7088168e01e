"""Kraken's REST words for what everyone may see: numbers, times, pairs, prices, trades.

Pure, and used by both sides of the wire: what writes a payload stands beside what reads it, and reading
what was written gives the same values. Money is text or Decimal, never float; only times and the
percentages of AssetPairs are JSON numbers with a fraction, as Kraken has them. Shapes: Kraken's
documentation of 2026-05-27 and answers of November 2025.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from lotwise.domain.market import FeeSchedule, Listing, Market, MarketStatus, Quote, exponent
from lotwise.domain.values import EXACT, Time, exact, require
from lotwise.kraken.names import asset_from_kraken, asset_to_kraken, pair_names

Payload = dict[str, Any]

WIRE_PRICE_DIGITS = 5
"""Ticker, Depth and Trades show at least so many decimals, whatever the pair's (answers of 2025-11)."""

SYSTEM_WORDS = ("online", "maintenance", "cancel_only", "post_only")


@dataclass(frozen=True, slots=True)
class Digits:
    """How many decimals a pair's prices, quantities and costs have."""

    price: int
    lot: int
    cost: int

    @property
    def wire(self) -> int:
        """The decimals of prices in Ticker, Depth and Trades."""
        return max(self.price, WIRE_PRICE_DIGITS)

    @staticmethod
    def unit(digits: int) -> Decimal:
        """The last of so many decimals."""
        return Decimal(1).scaleb(-digits)


@lru_cache(maxsize=1024)
def digits_of(market: Market) -> Digits:
    """pair_decimals, lot_decimals and cost_decimals of a market."""
    price, lot = (max(0, -exponent(step)) for step in (market.tick_size, market.lot_step))
    return Digits(price, lot, market.quote_precision)


def fixed(number: Decimal, digits: int) -> str:
    """The number with exactly so many decimals, or more where it has them: nothing is rounded away."""
    whole, _, decimals = f"{number:f}".partition(".")
    shown = decimals.rstrip("0").ljust(digits, "0")
    return f"{whole}.{shown}" if shown else whole


def seconds(time: Time) -> float:
    """A time in Kraken's unit; a JSON number with a fraction."""
    return time / 1000


def time_of(unix: Decimal | int | float | str) -> Time:
    """The time, in whole milliseconds, of Kraken's seconds."""
    return Time(int(EXACT.scaleb(exact(str(unix)), 3)))


def rfc3339(time: Time) -> str:
    """Such as 2026-05-05T10:00:00Z; milliseconds only where there are any."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time)
    fraction = f".{time % 1000:03}" if time % 1000 else ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}{fraction}Z"


def time_from_rfc3339(text: str) -> Time | None:
    """The time of an RFC 3339 text with its zone, to the millisecond below; None when it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None
    return Time((moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def server_time(now: Time) -> Payload:
    """Time: whole seconds."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=now)
    text = f"{_DAYS[at.weekday()]}, {at.day:2} {_MONTHS[at.month - 1]} {at:%y %H:%M:%S} +0000"
    return {"unixtime": now // 1000, "rfc1123": text}


def server_time_of(payload: Mapping[str, Any]) -> Time:
    """The exchange's clock."""
    return Time(int(payload["unixtime"]) * 1000)


def system_status(status: str, now: Time) -> Payload:
    """SystemStatus in one of SYSTEM_WORDS."""
    return {"status": status, "timestamp": rfc3339(Time(now - now % 1000))}


# Decimals and display decimals (Assets, 2024 to 2026); what is not named here has the last.
_ASSET_DECIMALS = {
    **dict.fromkeys(("USD", "EUR", "GBP", "CAD", "AUD", "CHF"), (4, 2)),
    **dict.fromkeys(("BTC", "ETH", "SOL", "DOT", "ETC", "REP"), (10, 5)),
    "JPY": (2, 0),
    "DOGE": (8, 2),
    "XLM": (8, 5),
    "USDT": (8, 4),
    "USDC": (8, 4),
}
_OTHER_DECIMALS = (8, 5)


def asset_decimals(asset: str) -> int:
    """With how many decimals Kraken keeps an asset's balance."""
    return _ASSET_DECIMALS.get(asset, _OTHER_DECIMALS)[0]


def asset_altname(asset: str) -> str:
    """XBT of BTC, XDG of DOGE; of any other its own name."""
    return pair_names(f"{asset}/USD").altname.removesuffix("USD")


def asset_info(asset: str) -> Payload:
    """One entry of Assets."""
    decimals, shown = _ASSET_DECIMALS.get(asset, _OTHER_DECIMALS)
    return {
        "aclass": "currency",
        "altname": asset_altname(asset),
        "decimals": decimals,
        "display_decimals": shown,
        "status": "enabled",
    }


def asset_pair(market: Market, status: MarketStatus, schedule: FeeSchedule) -> Payload:
    """One entry of AssetPairs; spot only, so that no leverage is offered."""
    names, digits = pair_names(market.symbol), digits_of(market)
    return {
        "altname": names.altname,
        "wsname": names.wsname,
        "aclass_base": "currency",
        "base": asset_to_kraken(market.base),
        "aclass_quote": "currency",
        "quote": asset_to_kraken(market.quote),
        "lot": "unit",
        "cost_decimals": digits.cost,
        "pair_decimals": digits.price,
        "lot_decimals": digits.lot,
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [[int(tier.volume), percent(tier.taker_fee)] for tier in schedule.tiers],
        "fees_maker": [[int(tier.volume), percent(tier.maker_fee)] for tier in schedule.tiers],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": fixed(market.min_quantity, 0),
        "costmin": fixed(market.min_notional, 0),
        "tick_size": fixed(market.tick_size, 0),
        "status": status.value,
        "execution_venue": "international",
    }


def percent(rate: Decimal) -> float:
    """A rate as a JSON number in percent: a whole number of ppm prints the same as a float."""
    return float(EXACT.scaleb(rate, 2))


def decimals_of(payload: Mapping[str, Mapping[str, Any]], assets: Container[str]) -> dict[str, int]:
    """With how many decimals Kraken keeps the balances of these assets, as Assets tells it."""
    told = {asset_from_kraken(code): row for code, row in payload.items() if "." not in code}
    return {asset: int(row["decimals"]) for asset, row in told.items() if asset in assets}


def listing_of(payload: Mapping[str, Any], read: date, decimals: Mapping[str, int] | None = None) -> Listing:
    """The rules that an entry of AssetPairs lists, as observed on the day it was read. BadField when it
    names no minimum: such a pair (a dark pool's, say) cannot be traded by these rules.

    Of a coin that is kept with fewer `decimals` than a pair's volumes have, what is bought comes rounded, and
    all of it could not be sold (PENGU in 2025-05: 39148.13654 bought, 39148.1365 there, its stop refused;
    Kraken support's advice to freqtrade #11765 is the smaller of the two)."""
    for name in ("wsname", "ordermin"):
        require(name in payload, name, "is missing in AssetPairs")
    base, quote = (asset_from_kraken(part) for part in str(payload["wsname"]).split("/"))
    tick = payload.get("tick_size", Decimal(1).scaleb(-int(payload["pair_decimals"])))
    return Listing(
        f"{base}/{quote}",
        read,
        tick_size=exact(str(tick)),
        lot_step=sellable_step(Decimal(1).scaleb(-int(payload["lot_decimals"])), base, decimals or {}),
        min_quantity=exact(str(payload["ordermin"])),
        min_notional=exact(str(payload.get("costmin", 0))),
        quote_precision=int(payload.get("cost_decimals", WIRE_PRICE_DIGITS)),
    )


def sellable_step(lot_step: Decimal, base: str, decimals: Mapping[str, int]) -> Decimal:
    """The step of quantities that are there in full when they were bought."""
    return max(lot_step, Decimal(1).scaleb(-decimals[base])) if base in decimals else lot_step


def status_of(payload: Mapping[str, Any]) -> MarketStatus:
    """The pair's status in an entry of AssetPairs; "online" where it has none (2021)."""
    return MarketStatus(payload.get("status", "online"))


@dataclass(frozen=True, slots=True)
class Summary:
    """What Ticker tells of a span of time: prices, volume in base, number of trades."""

    volume: Decimal
    vwap: Decimal
    count: int
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class TickerInfo:
    """One pair's Ticker: the best of the book as (price, quantity), the last trade likewise, the sums of
    today (since midnight UTC) and of the last 24 hours, today's opening price."""

    ask: tuple[Decimal, Decimal]
    bid: tuple[Decimal, Decimal]
    last: tuple[Decimal, Decimal]
    today: Summary
    day: Summary
    open: Decimal

    def quote(self, symbol: str, time: Time) -> Quote:
        """Its best prices."""
        return Quote(symbol, time, self.bid[0], self.ask[0])


def ticker(info: TickerInfo, digits: Digits) -> Payload:
    """One entry of Ticker."""
    spans = (info.today, info.day)
    price = digits.wire
    best = {
        side: [fixed(at, price), fixed(quantity.to_integral_value("ROUND_FLOOR"), 0), fixed(quantity, 3)]
        for side, (at, quantity) in (("a", info.ask), ("b", info.bid))
    }
    return {
        **best,
        "c": [fixed(info.last[0], price), fixed(info.last[1], digits.lot)],
        "v": [fixed(span.volume, digits.lot) for span in spans],
        "p": [fixed(span.vwap, price) for span in spans],
        "t": [span.count for span in spans],
        "l": [fixed(span.low, price) for span in spans],
        "h": [fixed(span.high, price) for span in spans],
        "o": fixed(info.open, price),
    }


def ticker_of(payload: Mapping[str, Any]) -> TickerInfo:
    """What an entry of Ticker says."""
    today, day = (_summary(payload, span) for span in (0, 1))
    ask, bid = ((exact(payload[side][0]), exact(payload[side][2])) for side in "ab")
    last = exact(payload["c"][0]), exact(payload["c"][1])
    return TickerInfo(ask, bid, last, today, day, exact(payload["o"]))


def _summary(payload: Mapping[str, Any], span: int) -> Summary:
    volume, vwap, low, high = (exact(payload[name][span]) for name in "vplh")
    return Summary(volume, vwap, payload["t"][span], low, high)


@dataclass(frozen=True, slots=True)
class Level:
    """So much (base) waits at this price since then."""

    price: Decimal
    quantity: Decimal
    time: Time


def depth(asks: Iterable[Level], bids: Iterable[Level], digits: Digits) -> Payload:
    """Depth of one pair, best levels first."""
    return {
        side: [
            [fixed(level.price, digits.wire), fixed(level.quantity, 3), level.time // 1000]
            for level in levels
        ]
        for side, levels in (("asks", asks), ("bids", bids))
    }


def depth_of(payload: Mapping[str, Any]) -> tuple[list[Level], list[Level]]:
    """(asks, bids), best first."""
    asks, bids = (
        [Level(exact(price), exact(quantity), Time(int(at) * 1000)) for price, quantity, at in payload[side]]
        for side in ("asks", "bids")
    )
    return asks, bids


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """A trade of the tape; `number` is the pair's count, `taker_buys` who came, by which order."""

    price: Decimal
    quantity: Decimal
    time: Time
    taker_buys: bool
    by_market_order: bool
    number: int

    @property
    def nanoseconds(self) -> int:
        """Its place in the history: the id that Trades pages by. Trades of one millisecond differ."""
        return self.time * 10**6 + self.number % 10**6


def public_trade(trade: PublicTrade, digits: Digits) -> list[Any]:
    """One row of Trades."""
    return [
        fixed(trade.price, digits.wire),
        fixed(trade.quantity, digits.lot),
        seconds(trade.time),
        "b" if trade.taker_buys else "s",
        "m" if trade.by_market_order else "l",
        "",
        trade.number,
    ]


def public_trade_of(row: Sequence[Any]) -> PublicTrade:
    """What a row of Trades says."""
    price, quantity, time, side, kind, _, number = row
    return PublicTrade(exact(price), exact(quantity), time_of(time), side == "b", kind == "m", int(number))


@dataclass(frozen=True, slots=True)
class OhlcRow:
    """One bar; `time` is its opening. vwap is 0 without trades."""

    time: Time
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    vwap: Decimal
    volume: Decimal
    count: int


def ohlc_row(bar: OhlcRow, digits: Digits) -> list[Any]:
    """One row of OHLC."""
    prices = (bar.open, bar.high, bar.low, bar.close, bar.vwap)
    return [
        bar.time // 1000,
        *(fixed(price, digits.price) for price in prices),
        fixed(bar.volume, digits.lot),
        bar.count,
    ]


def ohlc_row_of(row: Sequence[Any]) -> OhlcRow:
    """What a row of OHLC says."""
    opened, high, low, close, vwap, volume = (exact(value) for value in row[1:7])
    return OhlcRow(Time(int(row[0]) * 1000), opened, high, low, close, vwap, volume, int(row[7]))


def spread_row(quote: Quote, digits: Digits) -> list[Any]:
    """One row of Spread."""
    return [quote.time // 1000, fixed(quote.bid, digits.wire), fixed(quote.ask, digits.wire)]
