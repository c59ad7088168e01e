"""The public endpoints: what everyone may see."""

from collections.abc import Callable, Mapping
from itertools import islice

from lotwise.domain.market import Quote
from lotwise.domain.values import Side, Time, round_down
from lotwise.exchange.tape import MINUTE, MINUTES, Bar, Print
from lotwise.kraken import rest
from lotwise.kraken.names import asset_to_kraken, pair_names
from lotwise.kraken.rest import Digits, OhlcRow, Payload, PublicTrade, Summary, TickerInfo
from lotwise.sandbox.calls import Call, invalid
from lotwise.sandbox.desk import UNAVAILABLE, ZERO
from lotwise.sandbox.wire import Refused

DAY = 86_400_000
MAX_LEVELS = 500
MAX_TRADES = 1_000
MAX_SINCE = 10**19
INFO = {
    "info": (),
    "leverage": ("leverage_buy", "leverage_sell"),
    "fees": ("fees", "fees_maker", "fee_volume_currency"),
    "margin": ("margin_call", "margin_stop"),
}
"""What `info` of AssetPairs leaves of each entry; "info" is all of it."""

_EEA = "AT BE BG HR CY CZ DK EE FI FR DE GR HU IE IT LV LT LU MT NL PL PT RO SK SI ES SE IS LI NO"
EEA = frozenset(_EEA.split())
WITHOUT_USDT_FROM = Time(1_742_774_400_000)
"""2025-03-24: from then on clients in the EEA trade no pair with USDT."""


def time(call: Call) -> Payload:
    """Time."""
    return rest.server_time(call.now)


def assets(call: Call) -> Payload:
    """Assets."""
    return {asset_to_kraken(asset): rest.asset_info(asset) for asset in call.desk.assets(call.text("asset"))}


def _shown_as(call: Call, symbol: str) -> str:
    """The name under which an answer stands: Kraken's own, or the one it was asked under when that has a
    slash (two public clients rely on it, 2023 to 2026)."""
    asked = (name.strip() for name in call.text("pair").split(","))
    return next(
        (name for name in asked if "/" in name and call.desk.symbol(name) == symbol),
        pair_names(symbol).rest_key,
    )


def asset_pairs(call: Call) -> Payload:
    """AssetPairs."""
    desk, shown = call.desk, INFO[call.choice("info", tuple(INFO))]
    country = call.text("country_code").partition(":")[0].upper()
    listed: Payload = {}
    for symbol in desk.symbols(call.text("pair")):
        if country in EEA and call.now >= WITHOUT_USDT_FROM and "USDT" in symbol.split("/"):
            continue
        entry = rest.asset_pair(desk.market(symbol), desk.exchange.status(symbol), desk.schedule)
        listed[_shown_as(call, symbol)] = {name: entry[name] for name in shown} if shown else entry
    return listed


def ticker(call: Call) -> Payload:
    """Ticker; of all pairs asked for those that have traded and have best prices."""
    names = call.text("pair")
    shown = {symbol: _ticker(call, symbol) for symbol in call.desk.symbols(names)}
    if names and not all(shown.values()):
        raise Refused(UNAVAILABLE)
    return {
        _shown_as(call, symbol): rest.ticker(info, call.desk.digits(symbol))
        for symbol, info in shown.items()
        if info is not None
    }


def _ticker(call: Call, symbol: str) -> TickerInfo | None:
    book, tape = call.desk.exchange.book(symbol), call.desk.exchange.tape(symbol)
    asks, bids = (book.depth(side, 1) for side in (Side.SELL, Side.BUY))
    if not (asks and bids and tape.trades):
        return None
    ask, bid = ((level.price, level.quantity) for (level,) in (asks, bids))
    last, midnight = tape.trades[-1], Time(call.now - call.now % DAY)
    digits = call.desk.digits(symbol)
    today, day = (tape.statistics(since) for since in (midnight, Time(call.now - DAY)))
    sums = [_summary(bar, last, digits) for bar in (today, day)]
    opened = last.price if today is None else today.open
    return TickerInfo(ask, bid, (last.price, last.quantity), sums[0], sums[1], opened)


def _summary(bar: Bar | None, last: Print, digits: Digits) -> Summary:
    if bar is None:
        return Summary(ZERO, ZERO, 0, last.price, last.price)
    average = round_down(bar.average, digits.unit(digits.wire))
    return Summary(bar.volume, average, bar.count, bar.low, bar.high)


def ohlc(call: Call) -> Payload:
    """OHLC: bars that opened after `since`, the last of them unfinished; a bar without trades stands at
    the close before it."""
    symbol = call.desk.symbol(call.text("pair"))
    minutes = call.whole("interval", 1, 1, max(MINUTES))
    if minutes not in MINUTES:
        raise invalid("interval")
    since, digits = call.whole("since", 0, 0, MAX_SINCE), call.desk.digits(symbol)
    bars = _gapless(call.desk.exchange.tape(symbol).candles(minutes), minutes, call.now)
    rows = [rest.ohlc_row(_row(bar, digits), digits) for bar in bars if bar.time > since * 1000]
    committed = bars[-2].time if len(bars) > 1 else 0
    return {_shown_as(call, symbol): rows, "last": committed // 1000}


def _gapless(bars: list[Bar], minutes: int, now: Time) -> list[Bar]:
    """The last 720 bars and the unfinished one, with those in which nothing traded."""
    if not bars:
        return []
    step, known = minutes * MINUTE, {bar.time: bar for bar in bars}
    newest = max(bars[-1].time, now - now % step)
    oldest = max(bars[0].time, newest - 720 * step)
    before = next((bar for bar in reversed(bars) if bar.time < oldest), bars[0])
    filled: list[Bar] = []
    for at in range(oldest, newest + 1, step):
        close = (filled[-1] if filled else before).close
        filled.append(known.get(Time(at)) or Bar(Time(at), close, close, close, close, ZERO, ZERO, 0))
    return filled


def _row(bar: Bar, digits: Digits) -> OhlcRow:
    average = round_down(bar.average, digits.unit(digits.price)) if bar.count else ZERO
    return OhlcRow(bar.time, bar.open, bar.high, bar.low, bar.close, average, bar.volume, bar.count)


def depth(call: Call) -> Payload:
    """Depth."""
    symbol = call.desk.symbol(call.text("pair"))
    count, digits = call.whole("count", 100, 1, MAX_LEVELS), call.desk.digits(symbol)
    book = call.desk.exchange.book(symbol)
    asks, bids = (
        [rest.Level(level.price, level.quantity, level.time) for level in book.depth(side, count)]
        for side in (Side.SELL, Side.BUY)
    )
    return {_shown_as(call, symbol): rest.depth(asks, bids, digits)}


def trades(call: Call) -> Payload:
    """Trades after the id `since` (nanoseconds), oldest first; without it the newest."""
    symbol = call.desk.symbol(call.text("pair"))
    count, digits = call.whole("count", MAX_TRADES, 1, MAX_TRADES), call.desk.digits(symbol)
    since = call.whole("since", -1, 0, MAX_SINCE) if call.text("since") else None
    told = [_public(trade) for trade in call.desk.exchange.tape(symbol).trades]
    if since is None:
        told = told[-count:]
    else:
        # Ten digits or fewer are seconds, as clients send them too.
        after = since if since >= 10**12 else since * 10**9
        told = list(islice((trade for trade in told if trade.nanoseconds > after), count))
    last = told[-1].nanoseconds if told else since or 0
    return {
        _shown_as(call, symbol): [rest.public_trade(trade, digits) for trade in told],
        "last": str(last),
    }


def _public(trade: Print) -> PublicTrade:
    market = trade.type.value == "market"
    return PublicTrade(trade.price, trade.quantity, trade.time, trade.side is Side.BUY, market, trade.number)


def spread(call: Call) -> Payload:
    """Spread: the best prices since a second, each as it came about."""
    symbol = call.desk.symbol(call.text("pair"))
    since, digits = call.whole("since", 0, 0, MAX_SINCE), call.desk.digits(symbol)
    told = call.desk.exchange.book(symbol).spreads(Time(since * 1000))
    rows = [rest.spread_row(Quote(symbol, time, bid, ask), digits) for time, bid, ask in told]
    return {_shown_as(call, symbol): rows, "last": told[-1][0] // 1000 if told else since}


HANDLERS: Mapping[str, Callable[[Call], Payload]] = {
    "Time": time,
    "Assets": assets,
    "AssetPairs": asset_pairs,
    "Ticker": ticker,
    "OHLC": ohlc,
    "Depth": depth,
    "Trades": trades,
    "Spread": spread,
}
