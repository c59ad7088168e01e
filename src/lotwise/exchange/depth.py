"""A recorded book as the crowd's liquidity.

Laws: what the crowd offers afterwards is the recorded book, less what accounts' orders in its way took;
accounts' orders keep their place: what a level loses leaves from behind, what it gains comes last.
"""

from collections.abc import Iterable
from decimal import Decimal

from lotwise.domain.orders import OrderType
from lotwise.domain.values import Side, require
from lotwise.exchange.book import Resting
from lotwise.exchange.book_matcher import BookMatcher
from lotwise.exchange.crowd import Take, Taking, join

Levels = Iterable[tuple[Decimal, Decimal]]
"""(price, quantity), on the pair's grid."""


def lay_depth(matcher: BookMatcher, bids: Levels, asks: Levels, take: Take) -> None:
    """Bring the crowd's orders to these levels. Raises BadField for a book that crosses itself."""
    wanted = {
        side: {matcher.ticks(price): matcher.lots(quantity) for price, quantity in levels}
        for side, levels in ((Side.BUY, bids), (Side.SELL, asks))
    }
    best_bid, best_ask = max(wanted[Side.BUY], default=None), min(wanted[Side.SELL], default=None)
    crossed = best_bid is not None and best_ask is not None and best_bid >= best_ask
    require(not crossed, "depth", f"the best bid of {matcher.symbol} is not below the best ask")
    for side, levels in wanted.items():
        _withdraw(matcher, side, levels)
    for side, levels in wanted.items():
        for price in sorted(levels, reverse=side is Side.BUY):
            _supply(matcher, Taking(side, levels[price], price, OrderType.LIMIT), take)


def _withdraw(matcher: BookMatcher, side: Side, wanted: dict[int, int]) -> None:
    at_price: dict[int, list[Resting]] = {}
    for resting in matcher.book.queue(side):
        if resting.owner is None:
            at_price.setdefault(resting.price, []).append(resting)
    for price, waiting in at_price.items():
        surplus = sum(resting.lots for resting in waiting) - wanted.get(price, 0)
        for resting in reversed(waiting):
            if surplus > 0:
                less = min(surplus, resting.lots)
                matcher.book.reduce(resting.number, less)
                surplus -= less


def _supply(matcher: BookMatcher, wanted: Taking, take: Take) -> None:
    side, lots, price, _ = wanted
    lots -= sum(there.lots for there in matcher.book.at(side, price) if there.owner is None)
    join(matcher, wanted._replace(lots=lots), take)
