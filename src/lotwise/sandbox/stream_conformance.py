"""What of Kraken's WebSocket v2 the sandbox does, as data, and where its reading of Kraken is in doubt.

Law: channels, options, methods and fields are those of the tables that the session works by; a test holds
the rows here against them. Source of what there is at Kraken: its documentation of 2026-05-27.
"""

from lotwise.kraken import stream
from lotwise.kraken.stream_channels import CHANNELS, CHOICES
from lotwise.kraken.stream_orders import DEADLINE_ELAPSED, FIELDS, INVALID
from lotwise.sandbox.conformance import Row, Support
from lotwise.sandbox.stream import HEARTBEAT_AFTER, IDLE_AFTER, UNKNOWN_ORDER_PAIR, UNKNOWN_PAIR, WORDS

_YES, _PARTLY, _NO = Support.YES, Support.PARTLY, Support.NO

CHANNEL_ROWS: tuple[Row, ...] = (
    Row("status", _PARTLY, "on connection and when the system changes; no maintenance is announced ahead"),
    Row("heartbeat", _YES, f"after {HEARTBEAT_AFTER} ms of silence, once there is a subscription"),
    Row("ticker", _YES, "24 hours in whole minutes; nothing as long as a side of the book is empty"),
    Row(
        "book",
        _YES,
        "depths 10, 25, 100, 500 and 1000, with checksum; one update for all changes of a moment",
    ),
    Row("trade", _YES, "the last 50 in the snapshot"),
    Row("ohlc", _YES, "the last 10 candles in the snapshot"),
    Row("instrument", _PARTLY, "spot pairs; nothing is marginable and there is no index"),
    Row("level3", _NO, "refused as an unknown subscription"),
    Row("executions", _YES, "spot orders without icebergs and trailing stops"),
    Row("balances", _YES, "the spot wallet only"),
)

OPTION_ROWS: tuple[Row, ...] = (
    *(Row(f"{name}: {option}", _YES) for name, channel in CHANNELS.items() for option in channel.options),
    *(
        Row(f"{name}: {option}", _PARTLY, "taken, and without effect")
        for name, channel in CHANNELS.items()
        for option in channel.quiet
    ),
)

METHOD_ROWS: tuple[Row, ...] = (
    Row("ping", _YES),
    Row("subscribe", _YES, "at most 2000 symbols; each is acknowledged by itself"),
    Row("unsubscribe", _YES),
    Row("add_order", _YES, "order types as over REST"),
    Row("amend_order", _YES),
    Row("edit_order", _YES),
    Row("cancel_order", _YES, "each order is answered by itself; at most 2000"),
    Row("cancel_all", _YES),
    Row("cancel_all_orders_after", _YES),
    Row("batch_add", _NO, INVALID),
    Row("batch_cancel", _NO, INVALID),
)

_NOT_TAKEN = {
    "margin": "refused as for an account without margin",
    "reduce_only": "no positions",
    "effective_time": "no scheduled orders",
    "display_qty": "no icebergs",
}
_WITHOUT_EFFECT = {"no_mpp", "sender_sub_id"}


def _field(method: str, name: str) -> Row:
    if name in _NOT_TAKEN:
        return Row(f"{method}: {name}", _NO, _NOT_TAKEN[name])
    if name in _WITHOUT_EFFECT:
        return Row(f"{method}: {name}", _PARTLY, "taken, and without effect")
    if name == "triggers":
        return Row(f"{method}: {name}", _PARTLY, "the last trade is the reference, there is no index")
    if (method, name) == ("amend_order", "limit_price_type"):
        return Row(f"{method}: {name}", _PARTLY, "static only: the others belong to trailing stops")
    return Row(f"{method}: {name}", _YES)


FIELD_ROWS: tuple[Row, ...] = tuple(
    _field(method, name) for method, fields in FIELDS.items() for name in fields if name != "token"
)

ERROR_ROWS: tuple[Row, ...] = (
    Row(stream.MALFORMED, _YES),
    Row(stream.NO_SUCH_METHOD, _YES),
    Row(stream.NO_SUCH_CHANNEL, _YES),
    Row(stream.ALREADY_SUBSCRIBED, _YES),
    Row(stream.ONE_INTERVAL, _YES),
    Row(stream.NOT_SUBSCRIBED, _YES),
    Row(stream.PRIVATE_ELSEWHERE, _YES),
    Row(stream.PUBLIC_ELSEWHERE, _YES),
    Row(stream.INVALID_SESSION, _YES),
    Row(f"{UNKNOWN_PAIR} XBT/USD", _YES, "with the pair as it was asked for"),
    Row(UNKNOWN_ORDER_PAIR, _YES, "an order for a pair that is not listed under this name"),
    Row(stream.missing("token"), _YES, "and so for every field that must be there"),
    Row(stream.mistyped("limit_price", "number_float"), _YES, "and so for every field and type"),
    Row(stream.unsupported("price", "add order"), _YES, "and so for every field too many"),
    *(Row(words, _YES) for _, words in CHOICES.values()),
    Row(DEADLINE_ELAPSED, _YES),
    *(Row(words, _YES, f"where REST says {rest}") for rest, words in WORDS.items()),
    Row("Exceeded msg rate", _NO, "the number is not published; no message is refused for its rate"),
)

BEHAVIOUR_ROWS: tuple[Row, ...] = (
    Row("idle connections", _YES, f"closed after {IDLE_AFTER} ms; a private one without subscription too"),
    Row("slow clients", _YES, "closed when messages for them were lost"),
    Row("connection rate limit", _NO, "150 in ten minutes at Kraken"),
    Row(
        "long messages",
        _PARTLY,
        f"closed above {stream.MAX_CHARACTERS} characters; Kraken's limit is not published",
    ),
)

DOUBTS: tuple[str, ...] = (
    "Recorded from the exchange are the texts for an unsupported pair, field, depth or ohlc interval, "
    "the second ohlc interval, a missing token, an invalid session, the wrong host and a number of a "
    "wrong type. Formed after them, or taken from WebSocket v1: Already subscribed, Malformed request, "
    "all other '(s) not found' and 'field must be' texts, and an unsupported event_trigger.",
    "'Unsupported event' was recorded in an answer to a subscribe request whose body is not known; here"
    " it answers an unknown method.",
    "An unknown channel says 'Subscription name invalid', as a public client's notes have it.",
    "A malformed message is answered without a method; Kraken's shape for it is not documented.",
    "A ticker of each event_trigger, and a book of each depth, are subscriptions of their own on one symbol.",
    "unsubscribe without depth, interval or event_trigger ends the first subscription on the symbol.",
    "A subscription to several symbols gives acknowledgement and snapshot of the first, then of the next.",
    "ohlc without interval means 1 minute; its snapshot goes back 10 candles, as one of 2024-05 did.",
    "One message tells all changes of a moment (book), all trades of a moment (trade), and one ticker "
    "after them, where Kraken may send several.",
    "A ticker tells change and vwap cut to the pair's decimals, and nothing while a side of the book is"
    " empty.",
    "An order in the executions snapshot has exec_type new, whatever its status.",
    "A post-only order that would cross is told as pending_new, new and canceled.",
    "With order_status false, trades are told beside new, filled, canceled and expired.",
    "The counter that ratecounter asks for stands in each row as ratecounter, cut to a whole number; "
    "maxratecount is told whether it was asked for or not.",
    "fee_usd_equiv counts USD, USDT and USDC one to one and is left out of pairs with another quote.",
    "avg_price is cut to the pair's decimals.",
    "An order of REST's 'volume minimum not met' is refused here as 'EOrder:Order minimum not met'.",
    "limit_price_type means static unless it is given, for orders and for their conditional close.",
    "validate answers with the client's own names and no order_id.",
    "A deadline outside 0.5 to 60 seconds is an invalid argument; without one nothing lapses, since no "
    "time passes between sending and taking.",
    "A private connection is closed after a minute without a private subscription even if it pings or "
    "trades.",
    "A token opens every private channel, whatever else its key may do; calls ask for their permissions.",
    "has_index is false for every pair, and collateral_value 0 for every asset: there is no margin.",
    "trade_id in executions counts the trades of all pairs, in the trade channel those of one.",
)
"""What documentation and recordings leave open, and how the sandbox took it."""
