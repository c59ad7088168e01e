"""The seam between an exchange and what it knows of a market: candles, or a whole book.

Laws: a matcher says what an order would trade (`meet`) without changing anything; the exchange books it
and tells the matcher what became of it. A matcher never sees money.
"""

from decimal import Decimal
from functools import reduce
from typing import NamedTuple, Protocol

from lotwise.domain.market import Market, Quote
from lotwise.domain.orders import Order
from lotwise.domain.values import EXACT, Side, Time
from lotwise.exchange.booking import OpenOrder, Trade
from lotwise.exchange.events import Key, SelfTrade


class Arrival(NamedTuple):
    """So much of an account's order that would trade now, under these terms."""

    account: str
    order: Order
    quantity: Decimal
    terms: Market
    self_trade: SelfTrade


class Match(NamedTuple):
    """A trade of the arriving order: with an account's waiting order, or (None) with the crowd. `number` is
    the matcher's own name of what waited."""

    trade: Trade
    maker: Key | None = None
    number: int = 0


class Meeting(NamedTuple):
    """What an arriving order would trade, in order. `crosses`: it reaches the other side at all;
    `displaced`: own orders in its way that must be cancelled; `stopped`: so must its rest."""

    matches: tuple[Match, ...] = ()
    crosses: bool = False
    displaced: tuple[Key, ...] = ()
    stopped: bool = False

    @property
    def trades(self) -> list[Trade]:
        """The trades alone."""
        return [match.trade for match in self.matches]

    @property
    def quantity(self) -> Decimal:
        """How much it trades in all, in base."""
        return reduce(EXACT.add, (match.trade.quantity for match in self.matches), Decimal(0))


class Matcher(Protocol):
    """What is known of one pair's market. `prints`: the trades made here are the market's."""

    prints: bool

    def relist(self, market: Market) -> None:
        """The pair's rules have changed."""

    def quote(self) -> Quote | None:
        """The best prices; None as long as a side has none."""

    def best(self, side: Side) -> Decimal | None:
        """The best price of those who buy or sell; None when nobody does."""

    def show(self, quote: Quote) -> None:
        """These are the best prices. Raises BadField where they come from a book."""

    def meet(self, arrival: Arrival) -> Meeting:
        """What this order would trade now. Changes nothing."""

    def trade(self, match: Match, now: Time) -> None:
        """The match was booked."""

    def rest(self, key: Key, waiting: OpenOrder, now: Time) -> None:
        """The rest of an order waits from now on, behind all others of its price."""

    def shrink(self, waiting: OpenOrder, now: Time) -> None:
        """The waiting order's rest is less now, and it keeps its place."""

    def leave(self, waiting: OpenOrder, now: Time) -> None:
        """The order waits no longer, if it did."""
