"""What everyone may hear on WebSocket v2: status, instruments, tickers, books, trades and candles.

Laws: what writes a message stands beside what reads it, and reading what was written gives the same
values; prices and quantities have exactly the pair's decimals, because the book's checksum runs over
them. Shapes: Kraken's documentation of 2026-05-27 and messages recorded in September 2026.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, Inexact
from enum import StrEnum
from functools import lru_cache
from typing import Any

from lotwise.domain.market import Listing, Market, MarketStatus, split_symbol
from lotwise.domain.orders import OrderType
from lotwise.domain.values import EXACT, Side, Time, round_down
from lotwise.kraken.checksum import Level, book_checksum
from lotwise.kraken.rest import Digits, asset_info, digits_of, sellable_step
from lotwise.kraken.stream import Message, timestamp
from lotwise.kraken.stream_fields import moment, number, rows, text, whole, word

MINUTE = 60_000
SERVICE_VERSION = "2.0.10"
"""Seen 2026-09-25."""

HEARTBEAT: Message = {"channel": "heartbeat"}


class Kind(StrEnum):
    """Whether a message tells how things stand or what has changed."""

    SNAPSHOT = "snapshot"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Ticker:
    """The best prices of a pair and its last 24 hours; `change` is of `last`, `change_percent` in percent."""

    symbol: str
    bid: Decimal
    bid_quantity: Decimal
    ask: Decimal
    ask_quantity: Decimal
    last: Decimal
    volume: Decimal
    vwap: Decimal
    low: Decimal
    high: Decimal
    change: Decimal
    change_percent: Decimal
    trades: int
    time: Time


@dataclass(frozen=True, slots=True)
class Trade:
    """One public trade; side and type are the taker's, `number` counts the trades of the pair."""

    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    type: OrderType
    number: int
    time: Time


@dataclass(frozen=True, slots=True)
class Bar:
    """One candle, finished or not: it is final only when the next one begins."""

    symbol: str
    minutes: int
    begin: Time
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Decimal
    trades: int


@dataclass(frozen=True, slots=True)
class BookChange:
    """Levels of a book, best first in a snapshot; quantity 0 takes a level away. `checksum` is that of
    the whole book after it."""

    symbol: str
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]
    checksum: int
    time: Time


@dataclass(frozen=True, slots=True)
class Printer:
    """Prints the numbers of one pair with exactly its decimals; with more only where a number has more,
    as those of a pair whose steps have grown."""

    digits: Digits
    price_unit: Decimal
    lot: Decimal

    def price(self, number: Decimal) -> Decimal:
        """A price."""
        return _printed(number, self.price_unit)

    def quantity(self, number: Decimal) -> Decimal:
        """A quantity."""
        return _printed(number, self.lot)

    def average(self, number: Decimal) -> Decimal:
        """A price that need not lie on the grid, cut to its decimals: it is shown, not traded at."""
        return round_down(number, self.price_unit)

    def levels(self, levels: Iterable[Level]) -> tuple[Level, ...]:
        """Prices and quantities of one side of a book."""
        return tuple((self.price(price), self.quantity(quantity)) for price, quantity in levels)


def _printed(number: Decimal, unit: Decimal) -> Decimal:
    try:
        return number.quantize(unit, context=EXACT)
    except Inexact:
        return number


@lru_cache(maxsize=1024)
def printer_of(market: Market) -> Printer:
    """The printer of a market's numbers."""
    digits = digits_of(market)
    return Printer(digits, Decimal(1).scaleb(-digits.price), Decimal(1).scaleb(-digits.lot))


def message(channel: str, kind: Kind, data: Any, **beside: Any) -> Message:
    """A channel's message."""
    return {"channel": channel, "type": kind.value, "data": data, **beside}


def status_message(system: str, connection: int) -> Message:
    """The state of the exchange, told on connection and when it changes."""
    data = {
        "version": SERVICE_VERSION,
        "system": system,
        "api_version": "v2",
        "connection_id": connection,
        "upcoming_maintenance": [],
        "emergency": [],
    }
    return message("status", Kind.UPDATE, [data])


def system_of(row: Mapping[str, Any]) -> str:
    """The state of the exchange in a status row, in Kraken's word."""
    return text(row, "system")


def ticker_row(ticker: Ticker, printer: Printer) -> Message:
    """The data of one ticker message."""
    return {
        "symbol": ticker.symbol,
        "bid": printer.price(ticker.bid),
        "bid_qty": printer.quantity(ticker.bid_quantity),
        "ask": printer.price(ticker.ask),
        "ask_qty": printer.quantity(ticker.ask_quantity),
        "last": printer.price(ticker.last),
        "volume": printer.quantity(ticker.volume),
        "vwap": printer.average(ticker.vwap),
        "low": printer.price(ticker.low),
        "high": printer.price(ticker.high),
        "change": printer.price(ticker.change),
        "change_pct": round_down(ticker.change_percent, Decimal("0.01")),
        "trades": ticker.trades,
        "timestamp": timestamp(ticker.time),
    }


def ticker_of(row: Mapping[str, Any]) -> Ticker:
    """The ticker in a row; `trades` is 0 where it is not told (before 2026)."""
    return Ticker(
        text(row, "symbol"),
        bid=number(row, "bid"),
        bid_quantity=number(row, "bid_qty"),
        ask=number(row, "ask"),
        ask_quantity=number(row, "ask_qty"),
        last=number(row, "last"),
        volume=number(row, "volume"),
        vwap=number(row, "vwap"),
        low=number(row, "low"),
        high=number(row, "high"),
        change=number(row, "change"),
        change_percent=number(row, "change_pct"),
        trades=whole(row, "trades") if "trades" in row else 0,
        time=moment(row, "timestamp"),
    )


def trade_row(trade: Trade, printer: Printer) -> Message:
    """One public trade in a trade message."""
    return {
        "symbol": trade.symbol,
        "side": trade.side.value,
        "price": printer.price(trade.price),
        "qty": printer.quantity(trade.quantity),
        "ord_type": trade.type.value,
        "trade_id": trade.number,
        "timestamp": timestamp(trade.time),
    }


def trade_of(row: Mapping[str, Any]) -> Trade:
    """The public trade in a row."""
    return Trade(
        text(row, "symbol"),
        word(row, "side", Side),
        number(row, "price"),
        number(row, "qty"),
        word(row, "ord_type", OrderType),
        whole(row, "trade_id"),
        moment(row, "timestamp"),
    )


def bar_row(bar: Bar, printer: Printer) -> Message:
    """One candle in an ohlc message; its deprecated `timestamp` is the end of the interval."""
    return {
        "symbol": bar.symbol,
        "open": printer.price(bar.open),
        "high": printer.price(bar.high),
        "low": printer.price(bar.low),
        "close": printer.price(bar.close),
        "trades": bar.trades,
        "volume": printer.quantity(bar.volume),
        "vwap": printer.average(bar.vwap),
        "interval_begin": timestamp(bar.begin, digits=9),
        "interval": bar.minutes,
        "timestamp": timestamp(Time(bar.begin + bar.minutes * MINUTE)),
    }


def bar_of(row: Mapping[str, Any]) -> Bar:
    """The candle in a row."""
    return Bar(
        text(row, "symbol"),
        whole(row, "interval"),
        moment(row, "interval_begin"),
        number(row, "open"),
        number(row, "high"),
        number(row, "low"),
        number(row, "close"),
        number(row, "volume"),
        number(row, "vwap"),
        whole(row, "trades"),
    )


def book_row(change: BookChange) -> Message:
    """The data of one book message; the levels have the wire's digits already."""
    return {
        "symbol": change.symbol,
        "bids": [{"price": price, "qty": quantity} for price, quantity in change.bids],
        "asks": [{"price": price, "qty": quantity} for price, quantity in change.asks],
        "checksum": change.checksum,
        "timestamp": timestamp(change.time),
    }


def book_of(row: Mapping[str, Any]) -> BookChange:
    """The levels in a row, with the digits they had."""
    return BookChange(
        text(row, "symbol"),
        _levels(row, "bids"),
        _levels(row, "asks"),
        whole(row, "checksum"),
        moment(row, "timestamp"),
    )


def snapshot_of(symbol: str, bids: Sequence[Level], asks: Sequence[Level], time: Time) -> BookChange:
    """A whole book, best levels first, with its checksum."""
    return BookChange(symbol, tuple(bids), tuple(asks), book_checksum(asks, bids), time)


def pair_row(market: Market, status: MarketStatus) -> Message:
    """One pair of the instrument channel; spot only, so that none is marginable."""
    printer = printer_of(market)
    digits = printer.digits
    # A pair that is gone has a word of Kraken's own.
    listed = "delisted" if status is MarketStatus.OFFLINE else status.value
    return {
        "symbol": market.symbol,
        "base": market.base,
        "quote": market.quote,
        "status": listed,
        "qty_precision": digits.lot,
        "qty_increment": printer.quantity(market.lot_step),
        "price_precision": digits.price,
        "cost_precision": digits.cost,
        "marginable": False,
        "has_index": False,
        "cost_min": market.min_notional,
        "tick_size": printer.price(market.tick_size),
        "price_increment": printer.price(market.tick_size),
        "qty_min": market.min_quantity,
    }


def listing_of(row: Mapping[str, Any], observed: date, decimals: Mapping[str, int] | None = None) -> Listing:
    """The rules of a pair as its row tells them on a day; decimals as in rest.listing_of."""
    symbol = text(row, "symbol")
    return Listing(
        symbol,
        observed,
        tick_size=number(row, "price_increment"),
        lot_step=sellable_step(number(row, "qty_increment"), split_symbol(symbol)[0], decimals or {}),
        min_quantity=number(row, "qty_min"),
        min_notional=number(row, "cost_min"),
        quote_precision=whole(row, "cost_precision"),
    )


def status_of(row: Mapping[str, Any]) -> MarketStatus:
    """Which new orders a pair takes; OFFLINE for every word that means none and is not ours."""
    known = text(row, "status")
    return MarketStatus(known) if known in set(MarketStatus) else MarketStatus.OFFLINE


def decimals_of(data: Mapping[str, Any], assets: Container[str]) -> dict[str, int]:
    """With how many decimals Kraken keeps those of these assets that the instrument channel tells of."""
    told = rows(data, "assets") if "assets" in data else ()
    return {row["id"]: whole(row, "precision") for row in told if row.get("id") in assets}


def asset_row(asset: str) -> Message:
    """One asset of the instrument channel."""
    info = asset_info(asset)
    return {
        "id": asset,
        "status": info["status"],
        "precision": info["decimals"],
        "precision_display": info["display_decimals"],
        "borrowable": False,
        "collateral_value": Decimal("0.00"),
    }


def _levels(row: Mapping[str, Any], name: str) -> tuple[Level, ...]:
    return tuple((number(level, "price"), number(level, "qty")) for level in rows(row, name))
