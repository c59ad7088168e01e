"""What WebSocket v2 lets a client subscribe to, as one table that both sides read.

Law: a channel, option or value that is not in the table is refused in Kraken's words. Source: Kraken's
documentation of 2026-05-27; the two "not supported" texts were recorded in 2026.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lotwise.kraken.stream import (
    MANY,
    NO_SUCH_CHANNEL,
    Request,
    is_integer,
    missing,
    mistyped,
    unsupported,
)

DEPTHS = (10, 25, 100, 500, 1000)
INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
"""In minutes."""

TRADES, BEST = "trades", "bbo"
"""What makes a ticker speak: each trade, or each change of the best prices."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel: its options with their defaults, and what an acknowledgement repeats of them.

    `told_apart`: the options that tell one subscription from another on the same symbol. `quiet`:
    options that are taken and have no effect here.
    """

    options: Mapping[str, Any]
    told_apart: tuple[str, ...] = ()
    acked: tuple[str, ...] = ("snapshot",)
    symbols: bool = True
    private: bool = False
    quiet: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


CHANNELS: dict[str, Channel] = {
    "ticker": Channel({"event_trigger": TRADES, "snapshot": True}, told_apart=("event_trigger",)),
    "book": Channel({"depth": 10, "snapshot": True}, told_apart=("depth",), acked=("depth", "snapshot")),
    "trade": Channel({"snapshot": False}),
    "ohlc": Channel(
        {"interval": 1, "snapshot": True},
        told_apart=("interval",),
        acked=("interval", "snapshot"),
        warnings=("timestamp is deprecated, use interval_begin",),
    ),
    "instrument": Channel(
        {"snapshot": True},
        symbols=False,
        quiet=("execution_venue", "include_tokenized_assets"),
        warnings=("tick_size is deprecated, use price_increment",),
    ),
    "executions": Channel(
        {"snap_orders": True, "snap_trades": False, "order_status": True, "ratecounter": False},
        acked=("snap_orders", "snap_trades"),
        symbols=False,
        private=True,
        quiet=("rebased", "users", "snapshot", "snapshot_trades"),
    ),
    "balances": Channel({"snapshot": True}, symbols=False, private=True, quiet=("rebased", "users")),
}

CHOICES: dict[str, tuple[tuple[Any, ...], str]] = {
    "depth": (DEPTHS, "Subscription depth not supported"),
    "interval": (INTERVALS, "Subscription ohlc interval not supported"),
    "event_trigger": ((TRADES, BEST), "Subscription event_trigger not supported"),
}
"""The values that an option may have, and what Kraken says to another one."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One thing to listen to. Two are the same when channel, symbol and `told_apart` are: the values of
    the options that the channel's table names so."""

    channel: str
    symbol: str | None
    told_apart: tuple[Any, ...]
    options: Mapping[str, Any] = field(compare=False)


def subscriptions(request: Request) -> list[Subscription]:
    """What a subscribe or unsubscribe request names, in its order, one for each symbol; Refused when it
    names nothing that there is. Whether a symbol is listed and a token good is not asked here."""
    channel = channel_of(request)
    words = {"channel", *channel.options, *channel.quiet}
    words |= {"symbol"} if channel.symbols else set()
    words |= {"token"} if channel.private else set()
    for name in request.params:
        if name not in words:
            raise request.refused(unsupported(name, request.kind))
    options = {name: _option(request, name, default) for name, default in channel.options.items()}
    told_apart = tuple(options[option] for option in channel.told_apart)
    symbols = _symbols(request) if channel.symbols else [None]
    return [Subscription(request.params["channel"], symbol, told_apart, options) for symbol in symbols]


def channel_of(request: Request) -> Channel:
    """The channel that the request names; Refused when there is none of that name."""
    name = request.params.get("channel")
    if name is None:
        raise request.refused(missing("channel"))
    if not isinstance(name, str):
        raise request.refused(mistyped("channel", "string"))
    if name not in CHANNELS:
        raise request.refused(NO_SUCH_CHANNEL)
    return CHANNELS[name]


def acknowledged(subscription: Subscription, subscribed: bool, **beside: Any) -> dict[str, Any]:
    """The result that acknowledges a subscription (or its end)."""
    channel = CHANNELS[subscription.channel]
    repeated = channel.acked if subscribed else channel.told_apart
    result = {"channel": subscription.channel, **{name: subscription.options[name] for name in repeated}}
    if subscription.symbol is not None:
        result["symbol"] = subscription.symbol
    if subscribed and channel.warnings:
        result["warnings"] = channel.warnings
    return result | beside


def subscribe(
    channel: str, symbols: Sequence[str] = (), req_id: int | None = None, **options: Any
) -> Request:
    """The request for a channel, for Kraken; `token` is an option of the private ones."""
    named: dict[str, Any] = {"symbol": list(symbols)} if symbols else {}
    return Request("subscribe", {"channel": channel, **named, **options}, req_id)


def unsubscribe(
    channel: str, symbols: Sequence[str] = (), req_id: int | None = None, **options: Any
) -> Request:
    """The request that ends a subscription."""
    return Request("unsubscribe", subscribe(channel, symbols, **options).params, req_id)


def _option(request: Request, name: str, default: Any) -> Any:
    value = request.params.get(name, default)
    kind, fits = {
        bool: ("boolean", isinstance(value, bool)),
        int: ("integer", is_integer(value)),
        str: ("string", isinstance(value, str)),
    }[type(default)]
    if not fits:
        raise request.refused(mistyped(name, kind))
    choices, words = CHOICES.get(name, ((value,), ""))
    if value not in choices:
        raise request.refused(words)
    return value


def _symbols(request: Request) -> list[str | None]:
    symbols = request.params.get("symbol")
    if symbols is None:
        raise request.refused(missing("symbol"))
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise request.refused(mistyped("symbol", "array of strings"))
    if not symbols or len(symbols) > MANY:
        raise request.refused(missing("symbol"))
    return list(symbols)
