"""All that the exchange keeps of one pair.

Law: what is waiting, sleeping or printed here belongs to this pair alone.
"""

from collections import deque
from decimal import Decimal

from lotwise.domain.market import Market, MarketStatus, Quote
from lotwise.domain.orders import Order, OrderType
from lotwise.domain.values import BadField, Side, Time, require
from lotwise.exchange.book import opposite
from lotwise.exchange.book_matcher import BookMatcher
from lotwise.exchange.crowd import Crowd
from lotwise.exchange.events import Key
from lotwise.exchange.matching import Match, Matcher
from lotwise.exchange.rules import Request
from lotwise.exchange.tape import Print, Tape
from lotwise.exchange.triggers import Triggers


class Pair:
    """The rules in force, what matches its orders, its public trades, and who sleeps. `last` is the price
    that wakes them: that of the last trade, or the bid last shown. `woken` waits to be served."""

    def __init__(self, market: Market, matcher: Matcher) -> None:
        self.market = market
        self.matcher = matcher
        self.status = MarketStatus.ONLINE
        self.tape = Tape()
        self.triggers = Triggers()
        self.last: Decimal | None = None
        self.woken: deque[Key] = deque()
        self.crowd: Crowd | None = None

    def relist(self, market: Market) -> None:
        """Put rules in force."""
        self.market = market
        self.matcher.relist(market)

    def show(self, quote: Quote) -> None:
        """Set the best prices. Nobody wakes."""
        self.matcher.show(quote)
        self.last = quote.bid

    def admit(self, crowd: Crowd) -> None:
        """Let a crowd trade here. Raises BadField where there is no book."""
        require(isinstance(self.matcher, BookMatcher), "matching", f"{self.market.symbol} has no book here")
        self.crowd = crowd

    def request(self, order: Order) -> Request:
        """The order as it comes to this pair's door."""
        return Request(order, self.market, self.matcher.best(opposite(order.side)), self.status)

    def print(self, match: Match, side: Side, type: OrderType, taker: Key | None, now: Time) -> None:
        """Put a trade on the tape, and wake whom its price wakes; but where candles tell what the market
        did, a trade of ours tells nothing."""
        if not self.matcher.prints:
            return
        price, quantity, _ = match.trade
        self.tape.add(Print(self.tape.number + 1, now, price, quantity, side, type, taker, match.maker))
        self.last = price
        self.woken += self.triggers.met(price)

    @property
    def matched_by_book(self) -> BookMatcher:
        """The matcher, where it is a book. Raises BadField where it is not."""
        if isinstance(self.matcher, BookMatcher):
            return self.matcher
        raise BadField("matching", f"{self.market.symbol} has no book here")
