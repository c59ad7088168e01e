"""A client's connection to Kraken's WebSocket v2, without the socket.

Laws: no I/O and no clock: text in, time in, text out; whatever comes in is answered in Kraken's words or
ends the connection, and never raises; what one client may make us keep is bounded. A connection is public
or private, as Kraken's two hosts are.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from lotwise.domain.market import MarketStatus
from lotwise.domain.values import Time
from lotwise.kraken.stream import (
    ALREADY_SUBSCRIBED,
    INVALID_SESSION,
    MALFORMED,
    MAX_CHARACTERS,
    NO_SUCH_METHOD,
    NOT_SUBSCRIBED,
    ONE_INTERVAL,
    PRIVATE_ELSEWHERE,
    PUBLIC_ELSEWHERE,
    Malformed,
    Message,
    Refused,
    Request,
    failure,
    pong,
    read,
    request_of,
    success,
    unsupported,
    write,
)
from lotwise.kraken.stream_channels import Subscription, acknowledged, channel_of, subscriptions
from lotwise.kraken.stream_market import HEARTBEAT, status_message
from lotwise.kraken.stream_orders import FIELDS, NOT_YET, Call, calls, result_of, token_of
from lotwise.sandbox.stream_ports import House
from lotwise.sandbox.stream_private import BalancesFeed, ExecutionsFeed, Feed
from lotwise.sandbox.stream_topics import Hub, Topic

HEARTBEAT_AFTER = 1_000
"""Milliseconds of silence on a connection with a subscription."""

IDLE_AFTER = 60_000
"""Milliseconds after which a connection that nothing keeps open is closed; Kraken says about a minute."""

NORMAL, TOO_BIG, OVERLOADED = 1000, 1009, 1013
"""RFC 6455 and its registry: a normal end; a message that is too long; try again later."""

UNKNOWN_PAIR = "Currency pair not supported"
UNKNOWN_ORDER_PAIR = "EQuery:Unknown asset pair"

WORDS = {"EGeneral:Invalid arguments:volume minimum not met": "EOrder:Order minimum not met"}
"""Errors that WebSocket v2 words otherwise than REST."""


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over: close code and reason for the socket."""

    code: int
    reason: str


@dataclass(slots=True)
class _Place:
    """A place in a topic's log."""

    topic: Topic
    number: int


class Session:
    """One connection. `connection` is the number that the status message shows. `receive` and `advance`
    give the messages to send, in order; after `closed` is set they give nothing more."""

    def __init__(self, house: House, hub: Hub, private: bool, connection: int, now: Time) -> None:
        self.closed: Closed | None = None
        self._house, self._hub = house, hub
        self._private, self._connection = private, connection
        self._public: dict[Subscription, _Place] = {}
        self._feeds: dict[Subscription, Feed] = {}
        self._system = ""
        self._sent = self._alive = now

    def receive(self, message: str | bytes, now: Time) -> list[str]:
        """What a frame of the client brings about: first what came before it, then its answers, then what
        follows from it."""
        out = self.advance(now)
        if self.closed is not None:
            return out
        if len(message) > MAX_CHARACTERS:
            self.close(TOO_BIG, "message too long")
            return out
        if not self._private:
            self._alive = now
        answers = [write(answer) for answer in self._answers(message, now)]
        if answers:
            self._sent = now
        return out + answers + self.advance(now)

    def advance(self, now: Time) -> list[str]:
        """What has come up to now: the market's and the account's news, heartbeats, the end."""
        if self.closed is not None:
            return []
        self._house.advance(now)
        out = self._status() + self._news(now)
        if self.closed is not None:
            return out
        subscribed = bool(self._public or self._feeds)
        if subscribed:
            self._alive = now
        if out:
            self._sent = now
        elif subscribed and now - self._sent >= HEARTBEAT_AFTER:
            self._sent = now
            out = [write(HEARTBEAT)]
        if now - self._alive >= IDLE_AFTER:
            self.close(NORMAL, "idle")
        return out

    def close(self, code: int, reason: str) -> None:
        """End the connection: the socket is gone, or must go."""
        if self.closed is None:
            self.closed = Closed(code, reason)
        for subscription in self._public:
            self._hub.leave(subscription)
        self._public.clear()
        self._feeds.clear()

    def _status(self) -> list[str]:
        system = self._house.system()
        if system == self._system:
            return []
        self._system = system
        return [write(status_message(system, self._connection))]

    def _news(self, now: Time) -> list[str]:
        out: list[str] = []
        for place in self._public.values():
            place.topic.advance(now)
            lines = place.topic.lines.since(place.number)
            if lines is None:
                break
            out += lines
            place.number = place.topic.lines.number
        else:
            for feed in self._feeds.values():
                told = feed.advance(now)
                if told is None:
                    break
                out += map(write, told)
            else:
                return out
        self.close(OVERLOADED, "too slow: messages were lost")
        return out

    def _answers(self, message: str | bytes, now: Time) -> list[Message]:
        try:
            request = request_of(read(message))
            return self._method(request)(request, now)
        except Malformed:
            return [failure(Refused(MALFORMED), now, now)]
        except Refused as refused:
            return [failure(refused, now, now)]

    def _method(self, request: Request) -> Callable[[Request, Time], list[Message]]:
        if request.method in FIELDS or request.method in NOT_YET:
            return self._order
        methods = {"ping": self._ping, "subscribe": self._subscribe, "unsubscribe": self._unsubscribe}
        if request.method not in methods:
            raise request.refused(NO_SUCH_METHOD)
        return methods[request.method]

    def _ping(self, request: Request, now: Time) -> list[Message]:
        if request.params:
            raise request.refused(unsupported("params", request.kind))
        return [pong(request, now, now)]

    def _subscribe(self, request: Request, now: Time) -> list[Message]:
        key = self._admit(request, now)
        answers: list[Message] = []
        for subscription in subscriptions(request):
            try:
                answers += self._begin(request, subscription, key, now)
            except Refused as refused:
                answers.append(failure(refused, now, now))
        return answers

    def _begin(self, request: Request, subscription: Subscription, key: str, now: Time) -> list[Message]:
        self._check_symbol(request, subscription)
        if subscription in self._public or subscription in self._feeds:
            raise self._refused(request, subscription, ALREADY_SUBSCRIBED)
        if subscription.channel == "ohlc" and self._matching(subscription, any_name=True):
            raise self._refused(request, subscription, ONE_INTERVAL)
        beside: Message = {}
        if subscription.symbol is None and subscription.channel != "instrument":
            feed = self._feeds[subscription] = self._feed(subscription, key)
            if subscription.channel == "executions":
                beside["maxratecount"] = self._most_requests(key, now)
            told = feed.snapshot(now)
        else:
            topic = self._hub.join(subscription, now)
            self._public[subscription] = _Place(topic, topic.lines.number)
            told = topic.snapshot(now) if subscription.options["snapshot"] else []
        return [success(request, acknowledged(subscription, True, **beside), now, now), *told]

    def _feed(self, subscription: Subscription, key: str) -> Feed:
        if subscription.channel == "executions":
            return ExecutionsFeed(self._house, key, subscription)
        return BalancesFeed(self._house, key, subscription)

    def _unsubscribe(self, request: Request, now: Time) -> list[Message]:
        self._admit(request, now)
        answers: list[Message] = []
        for subscription in subscriptions(request):
            try:
                ended = self._end(request, subscription)
                answers.append(success(request, acknowledged(ended, False), now, now))
            except Refused as refused:
                answers.append(failure(refused, now, now))
        return answers

    def _end(self, request: Request, subscription: Subscription) -> Subscription:
        """End the subscription meant: the very one, or the first on its symbol when no option is given."""
        named = any(option in request.params for option in ("depth", "interval", "event_trigger"))
        found = self._matching(subscription, any_name=not named)
        if not found:
            raise self._refused(request, subscription, NOT_SUBSCRIBED)
        ended = found[0]
        if ended in self._public:
            self._hub.leave(ended)
            del self._public[ended]
        else:
            del self._feeds[ended]
        return ended

    def _matching(self, wanted: Subscription, any_name: bool) -> list[Subscription]:
        return [
            held
            for held in (*self._public, *self._feeds)
            if (held.channel, held.symbol) == (wanted.channel, wanted.symbol) and (any_name or held == wanted)
        ]

    def _admit(self, request: Request, now: Time) -> str:
        """The key of a private request's token, "" for a public one; Refused at the wrong door."""
        if not channel_of(request).private:
            if self._private:
                raise request.refused(PUBLIC_ELSEWHERE)
            return ""
        if not self._private:
            raise request.refused(PRIVATE_ELSEWHERE)
        key = self._house.key_of(token_of(request), now)
        if key is None:
            channel = request.params["channel"]
            raise request.refused(INVALID_SESSION, channel=channel, status="error")
        return key

    def _order(self, request: Request, now: Time) -> list[Message]:
        if not self._private:
            raise request.refused(PRIVATE_ELSEWHERE)
        key = self._house.key_of(token_of(request), now)
        if key is None:
            raise request.refused(INVALID_SESSION)
        symbol = request.params.get("symbol")
        if isinstance(symbol, str) and not self._trades(symbol):
            raise request.refused(UNKNOWN_ORDER_PAIR)
        return [self._carry_out(request, call, key, now) for call in calls(request, now)]

    def _carry_out(self, request: Request, call: Call, key: str, now: Time) -> Message:
        answer = self._house.command(key, call.endpoint, call.parameters, now)
        if isinstance(answer, str):
            return failure(request.refused(WORDS.get(answer, answer)), now, now)
        return success(request, result_of(call, answer), now, now)

    def _check_symbol(self, request: Request, subscription: Subscription) -> None:
        symbol = subscription.symbol
        if symbol is not None and not self._trades(symbol):
            raise self._refused(request, subscription, f"{UNKNOWN_PAIR} {symbol}")

    def _trades(self, symbol: str) -> bool:
        pair = self._house.pair(symbol)
        return pair is not None and pair.status is not MarketStatus.OFFLINE

    def _most_requests(self, key: str, now: Time) -> int:
        symbol = next(iter(self._house.listed()), "")
        return int(self._house.trading_level(key, symbol, now)[1]) if symbol else 0

    @staticmethod
    def _refused(request: Request, subscription: Subscription, words: str) -> Refused:
        beside: dict[str, Any] = {} if subscription.symbol is None else {"symbol": subscription.symbol}
        return request.refused(words, **beside)


class Outbox:
    """The messages that one client's socket has yet to take: at most so many. One that does not take
    them in time is full, and its connection must be closed: Kraken drops slow clients too."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[str] = deque()
        self.full = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, messages: Iterable[str]) -> None:
        """Queue messages; when they do not all fit, the box is full for good and keeps none."""
        for message in messages:
            if self.full or len(self._waiting) == self._most:
                self.full = True
                self._waiting.clear()
                return
            self._waiting.append(message)

    def take(self) -> list[str]:
        """All that waits, oldest first."""
        taken = list(self._waiting)
        self._waiting.clear()
        return taken
