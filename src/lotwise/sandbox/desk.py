"""The simulated exchange as Kraken's clients see it: pairs and orders under Kraken's names, what clients
told of their orders, their trading counters, and the timers that cancel all.

Laws: the exchange owns what is true of money and orders; here is only what it has no words for, and that
is bounded: of an ended order it is forgotten when newer ones need the room.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import reduce

from lotwise.domain.market import FeeAsset, FeeSchedule, Market, MarketStatus
from lotwise.domain.orders import Order, Rejection, RejectionKind, Status
from lotwise.domain.values import EXACT, Time, exact, is_multiple, steps_down
from lotwise.exchange.accounts import ClosedOrder
from lotwise.exchange.booking import OpenOrder
from lotwise.exchange.exchange import Exchange
from lotwise.kraken import limits
from lotwise.kraken.errors import text_of
from lotwise.kraken.limits import Counter, Verification
from lotwise.kraken.names import asset_from_kraken, asset_to_kraken, pair_names
from lotwise.kraken.rest import Digits, Payload, asset_altname, digits_of
from lotwise.kraken.rest_account import CANCELED, CLOSED, EXPIRED, OPEN, OrderInfo
from lotwise.kraken.rest_orders import Close
from lotwise.sandbox.txids import TxIds
from lotwise.sandbox.wire import INVALID_ARGUMENTS, Refused

UNKNOWN_PAIR = "EQuery:Unknown asset pair"
UNKNOWN_ASSET = "EQuery:Unknown asset"
UNKNOWN_ORDER = "EOrder:Unknown order"
UNAVAILABLE = "EService:Unavailable"
RATE_LIMITED = "EOrder:Rate limit exceeded"
ORDERS_LIMIT = "EOrder:Orders limit exceeded"
TIMED_OUT = "Cancel all orders after timeout"
TAGS_KEPT = 10_000
"""Tags of ended orders are dropped when an account has more than this."""

ZERO = Decimal(0)
_ENDS = {Status.FILLED: CLOSED, Status.CANCELED: CANCELED, Status.EXPIRED: EXPIRED}


@dataclass(frozen=True, slots=True)
class Tag:
    """What a client told of an order that the exchange has no words for."""

    cl_ord_id: str | None = None
    userref: int | None = None
    flags: frozenset[str] = frozenset()


NO_TAG = Tag()


class Desk:
    """One exchange, served in Kraken's words."""

    def __init__(self, exchange: Exchange, seed: int, schedule: FeeSchedule, limited: bool) -> None:
        self.exchange = exchange
        self.schedule = schedule
        self.limited = limited
        self.history_lag = 0
        """Milliseconds by which ClosedOrders and TradesHistory lag behind what happened."""
        self.timers: dict[str, Time] = {}
        self.verifications: dict[str, Verification] = {}
        self._ids = TxIds(seed)
        self._names: dict[str, str] = {}
        self._named: tuple[str, ...] = ()
        self._tags: dict[str, dict[str, Tag]] = {}
        self._counters: dict[tuple[str, str], Counter] = {}
        self._orders = 0
        self._amends = 0

    # Names

    def symbol(self, name: str) -> str:
        """The listed pair of any of Kraken's names, in any case; Refused when there is none."""
        symbols = self.exchange.symbols()
        if symbols != self._named:
            names = (pair_names(symbol) for symbol in symbols)
            self._names = {
                word.upper(): pair.symbol
                for pair in names
                for word in (pair.wsname, pair.altname, pair.rest_key, pair.symbol)
            }
            self._named = symbols
        symbol = self._names.get(name.strip().upper())
        if symbol is None or self.exchange.status(symbol) is MarketStatus.OFFLINE:
            raise Refused(UNKNOWN_PAIR)
        return symbol

    def symbols(self, names: str) -> tuple[str, ...]:
        """The listed pairs of a comma list of names; all of them when it is empty."""
        if names:
            return tuple(dict.fromkeys(self.symbol(name) for name in names.split(",")))
        listed = self.exchange.symbols()
        return tuple(name for name in listed if self.exchange.status(name) is not MarketStatus.OFFLINE)

    def assets(self, names: str = "") -> tuple[str, ...]:
        """Our assets of a comma list of Kraken's; all that are listed when it is empty."""
        pairs = (symbol.split("/") for symbol in self.exchange.symbols())
        listed = dict.fromkeys(asset for pair in pairs for asset in pair)
        if not names:
            return tuple(listed)
        words = {word: asset for asset in listed for word in (asset_to_kraken(asset), asset_altname(asset))}
        asked = [name.strip().upper() for name in names.split(",")]
        if any(name not in words and asset_from_kraken(name) not in listed for name in asked):
            raise Refused(UNKNOWN_ASSET)
        return tuple(dict.fromkeys(words.get(name) or asset_from_kraken(name) for name in asked))

    def market(self, symbol: str) -> Market:
        """The rules in force of a listed pair."""
        market = self.exchange.market(symbol)
        assert market is not None, f"{symbol} is not listed"
        return market

    def digits(self, symbol: str) -> Digits:
        """With how many decimals a listed pair's numbers are told."""
        return digits_of(self.market(symbol))

    def last(self, symbol: str) -> Decimal | None:
        """The price of the pair's last trade, or its best bid before the first."""
        trades = self.exchange.tape(symbol).trades
        if trades:
            return trades[-1].price
        quote = self.exchange.quotes().get(symbol)
        return None if quote is None else quote.bid

    def txid(self, issued: str) -> str:
        """Kraken's id of an order (O12) or trade (T13) of the exchange."""
        return self._ids.txid(issued[0], int(issued[1:]))

    def issued(self, letter: str, txid: str) -> str | None:
        """The exchange's id of Kraken's, or None for a text that is none."""
        number = self._ids.number(letter, txid)
        return None if number is None else f"{letter}{number}"

    def ledger_id(self, number: int) -> str:
        """Kraken's id of a ledger row."""
        return self._ids.txid("L", number)

    def next_amend_id(self) -> str:
        """An id for a change of an order: in the shape of a trade's, and never one of a trade."""
        self._amends += 1
        return self._ids.txid("T", -self._amends)

    # Accounts

    def verification(self, account: str) -> Verification:
        """The account's level."""
        return self.verifications.get(account, Verification.PRO)

    def charge(self, account: str, symbol: str, cost: int, now: Time) -> None:
        """Count what an action costs on a pair; Refused when the account acts too often."""
        if not self.limited:
            return
        counter = self._counters.get((account, symbol), Counter())
        charged = limits.charge(counter, limits.TRADING[self.verification(account)], cost, now)
        if charged is None:
            raise Refused(RATE_LIMITED)
        self._counters[account, symbol] = charged

    def trading_level(self, account: str, symbol: str, now: Time) -> tuple[Decimal, Decimal]:
        """(where the account's counter on a pair stands, its maximum)."""
        allowance = limits.TRADING[self.verification(account)]
        counter = self._counters.get((account, symbol), Counter())
        return limits.level_at(counter, allowance, now), allowance.maximum

    def advance(self, now: Time) -> None:
        """Let everything happen that is due by now, the timers that cancel all in their turn."""
        for due, account in sorted((due, account) for account, due in self.timers.items() if due <= now):
            self.exchange.advance(due)
            self.cancel_all(account, due, TIMED_OUT)
            del self.timers[account]
        self.exchange.advance(now)

    def cancel_all(self, account: str, now: Time, *why: str) -> int:
        """Cancel the account's open orders: how many."""
        waiting = self.exchange.open_orders(account)
        for order in waiting:
            self.exchange.cancel(account, order.order.client_id, now, *why)
        return len(waiting)

    # Orders

    def remember(self, account: str, tag: Tag) -> str:
        """A name for the account's next order, under which its tag is kept."""
        self._orders += 1
        client_id, tags = str(self._orders), self._tags.setdefault(account, {})
        tags[client_id] = tag
        if len(tags) > TAGS_KEPT:
            oldest = next(iter(tags))
            kept = tags.pop(oldest)
            if self.exchange.open_order(account, oldest) is not None:
                tags[oldest] = kept
        return client_id

    def forget(self, account: str, client_id: str) -> None:
        """Drop the tag of an order that was not taken."""
        del self._tags[account][client_id]

    def tag(self, account: str, client_id: str) -> Tag:
        """What the client told of an order; a conditional close has its parent's userref."""
        parent, child, _ = client_id.partition("/")
        tag = self._tags.get(account, {}).get(parent, NO_TAG)
        return replace(tag, cl_ord_id=None, flags=frozenset()) if child else tag

    def open_named(self, account: str, cl_ord_id: str) -> OpenOrder | None:
        """The account's open order with this cl_ord_id."""
        return next(
            (
                waiting
                for waiting in self.exchange.open_orders(account)
                if self.tag(account, waiting.order.client_id).cl_ord_id == cl_ord_id
            ),
            None,
        )

    def open_by_txid(self, account: str, txid: str) -> OpenOrder | None:
        """The account's open order with this txid."""
        issued = self.issued("O", txid)
        return None if issued is None else self.exchange.open_by_id(account, issued)

    def open_by_userref(self, account: str, userref: int) -> list[OpenOrder]:
        """The account's open orders with this userref."""
        return [
            waiting
            for waiting in self.exchange.open_orders(account)
            if self.tag(account, waiting.order.client_id).userref == userref
        ]

    def closed(self, account: str, now: Time) -> Iterator[ClosedOrder]:
        """The account's ended orders that can be looked up by now, newest first."""
        ended = reversed(self.exchange.history(account).closed)
        return (closed for closed in ended if closed.time <= now - self.history_lag)

    def info(self, account: str, waiting: OpenOrder, closed: ClosedOrder | None = None) -> OrderInfo:
        """An order in Kraken's words; `closed` when it has ended."""
        order, tag = waiting.order, self.tag(account, waiting.order.client_id)
        price, price2 = (order.trigger, order.price) if order.type.has_trigger else (order.price, None)
        cost = _sum(fill.cost.number for fill in waiting.fills)
        return OrderInfo(
            self.txid(waiting.venue_id),
            order.symbol,
            order.side,
            order.type,
            order.quantity,
            waiting.accepted,
            OPEN if closed is None else _ENDS[closed.status],
            price,
            price2,
            waiting.filled,
            cost,
            _sum(fill.fee.number for fill in waiting.fills),
            self._average(order.symbol, cost, waiting.filled),
            order.expires,
            None if closed is None else closed.time,
            (closed.why or None) if closed else None,
            _flags(order) | tag.flags & {"nompp"},
            tag.userref,
            tag.cl_ord_id,
            None if waiting.parent is None else self.txid(waiting.parent),
            waiting.triggered,
            _close(waiting),
            tuple(self.txid(fill.trade_id) for fill in waiting.fills),
        )

    def words(self, rejection: Rejection, order: Order) -> str:
        """What Kraken says when an order breaks a rule."""
        if rejection.kind is RejectionKind.INVALID:
            return INVALID_ARGUMENTS
        if rejection.kind is RejectionKind.PAIR_OFFLINE:
            status = self.exchange.status(order.symbol)
            online = status in (MarketStatus.ONLINE, MarketStatus.OFFLINE)
            return UNAVAILABLE if online else f"EService:Market in {status.value} mode"
        if rejection.kind is RejectionKind.TICK:
            return self.off_tick(order.symbol, (order.price, order.trigger)) or text_of(rejection.kind)
        return text_of(rejection.kind)

    def off_tick(self, symbol: str, prices: Iterable[Decimal | None]) -> str | None:
        """What Kraken says to the first of these prices that is not in ticks; None when all are."""
        market, digits = self.market(symbol), self.digits(symbol).price
        wrong = next((price for price in prices if price is not None and not market.on_tick(price)), None)
        if wrong is None:
            return None
        if wrong <= 0 or is_multiple(wrong, Digits.unit(digits)):
            return text_of(RejectionKind.PRICE if wrong <= 0 else RejectionKind.TICK)
        pair = pair_names(symbol).wsname
        return f"EOrder:Invalid price:{pair} price can only be specified up to {digits} decimals."

    def _average(self, symbol: str, cost: Decimal, executed: Decimal) -> Decimal:
        unit = Decimal(1).scaleb(-self.digits(symbol).wire)
        if not executed:
            return ZERO
        return EXACT.multiply(Decimal(steps_down(cost, EXACT.multiply(executed, unit))), unit)

    def state(self) -> Payload:
        """What a restart must not lose beside the exchange's own state, as JSON-able values."""
        return {
            "timers": dict(self.timers),
            "verifications": {account: level.value for account, level in self.verifications.items()},
            "tags": {
                account: {name: [t.cl_ord_id, t.userref, sorted(t.flags)] for name, t in tags.items()}
                for account, tags in self._tags.items()
            },
            "counters": [[*key, str(c.level), c.time] for key, c in self._counters.items()],
            "orders": self._orders,
            "amends": self._amends,
        }

    def restore(self, state: Payload) -> None:
        """Go on from a saved state."""
        self.timers = {account: Time(due) for account, due in state["timers"].items()}
        self.verifications = {name: Verification(level) for name, level in state["verifications"].items()}
        self._tags = {
            account: {name: Tag(given, ref, frozenset(flags)) for name, (given, ref, flags) in tags.items()}
            for account, tags in state["tags"].items()
        }
        self._counters = {
            (account, symbol): Counter(exact(level), Time(time))
            for account, symbol, level, time in state["counters"]
        }
        self._orders, self._amends = state["orders"], state["amends"]


def _flags(order: Order) -> frozenset[str]:
    fee = {None: "fciq", FeeAsset.QUOTE: "fciq", FeeAsset.BASE: "fcib"}[order.fee_asset]
    return frozenset({fee, "post"} if order.post_only else {fee})


def _close(waiting: OpenOrder) -> Close | None:
    closing = waiting.instructions.closing
    if closing is None:
        return None
    if closing.type.has_trigger:
        return Close(closing.type, closing.trigger, closing.price)
    return Close(closing.type, closing.price, None)


def _sum(numbers: Iterator[Decimal]) -> Decimal:
    return reduce(EXACT.add, numbers, ZERO)
