"""The simulated exchange: it keeps accounts, takes orders, matches them and books what happened.

Laws: deterministic (time is handed in, ids are counted, equal times go by acceptance); every change of a
balance is an entry that sums to zero; what is free and what is held never go below zero; whatever happens
to an order is told to its account. How orders trade is their pair's matcher's affair.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any, Self

from lotwise.domain.market import Candle, Market, MarketStatus, Quote
from lotwise.domain.orders import Accepted, Fill, Order, Rejection, Report
from lotwise.domain.values import EPOCH, EXACT, Amount, Side, Time, require, round_down
from lotwise.exchange.accounts import History
from lotwise.exchange.amending import amend, replace_order
from lotwise.exchange.book_matcher import BookMatcher
from lotwise.exchange.book_view import BookView
from lotwise.exchange.booking import OpenOrder, hold
from lotwise.exchange.candle_matcher import (
    CandleMatcher,
    closing_quote,
    touch_quote,
    trades_within,
    wake_price,
)
from lotwise.exchange.crowd import Crowd
from lotwise.exchange.depth import Levels, lay_depth
from lotwise.exchange.events import ON_REQUEST, PLAIN, Amendment, Instructions, Key, Told
from lotwise.exchange.floor import Floor
from lotwise.exchange.house import CANDLES, HouseRules, Matching
from lotwise.exchange.pairs import Pair
from lotwise.exchange.paths import Path
from lotwise.exchange.rules import not_open
from lotwise.exchange.saving import load, save
from lotwise.exchange.tape import Tape
from lotwise.ledger import postings
from lotwise.ledger.postings import FREE, Entry, Ledger

NEVER = Time(2**63)


class Exchange:
    """Accounts, open orders and the listed pairs.

    Where candles are all that is known, `slippage` (a fraction) worsens what trades at once and `spread` (a
    fraction) sets the ask above the bid after a candle. `issued` counts the ids given out before: a
    restored exchange goes on from there. Raises BadField for a symbol that is not listed and for prices
    that cannot be.
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        slippage: Decimal = Decimal("0.001"),
        spread: Decimal = Decimal(0),
        issued: int = 0,
        house: HouseRules = CANDLES,
    ) -> None:
        require(0 <= slippage < 1, "slippage", "must be a fraction from 0 to below 1")
        require(0 <= spread < 1, "spread", "must be a fraction from 0 to below 1")
        self._slippage = slippage
        self._spread = spread
        self._floor = Floor(house, issued)
        self._step = EPOCH
        """No crowd moves before."""
        for market in markets.values():
            self.list_market(market)

    @property
    def issued(self) -> int:
        """How many ids of orders and trades were given out."""
        return self._floor.issued

    # Pairs

    def list_market(self, market: Market) -> None:
        """Put a pair's rules and fees in force; orders that wait keep those they were accepted under."""
        pairs, symbol = self._floor.pairs, market.symbol
        if symbol in pairs:
            pairs[symbol].relist(market)
        elif self._floor.house.matching is Matching.BOOK:
            pairs[symbol] = Pair(market, BookMatcher(market))
        else:
            pairs[symbol] = Pair(market, CandleMatcher(market, self._slippage))

    def markets(self) -> dict[str, Market]:
        """The rules in force of each pair."""
        return {symbol: pair.market for symbol, pair in self._floor.pairs.items()}

    def symbols(self) -> tuple[str, ...]:
        """All listed pairs."""
        return tuple(self._floor.pairs)

    def market(self, symbol: str) -> Market | None:
        """The rules in force of a pair; None when it is not listed."""
        pair = self._floor.pairs.get(symbol)
        return None if pair is None else pair.market

    def set_status(self, symbol: str, status: MarketStatus) -> None:
        """Say which new orders a pair takes; cancelling always works."""
        self._floor.pair(symbol).status = status

    def status(self, symbol: str) -> MarketStatus:
        """Which new orders a pair takes."""
        return self._floor.pair(symbol).status

    def quote(self, quote: Quote) -> None:
        """Set the best prices of a pair. Nothing is matched."""
        pair = self._floor.pair(quote.symbol)
        require(0 < quote.bid <= quote.ask, "quote", f"bid {quote.bid} and ask {quote.ask} of {quote.symbol}")
        pair.show(quote)

    def quotes(self) -> dict[str, Quote]:
        """The best prices of each pair that has any."""
        shown = {symbol: pair.matcher.quote() for symbol, pair in self._floor.pairs.items()}
        return {symbol: quote for symbol, quote in shown.items() if quote is not None}

    def book(self, symbol: str) -> BookView:
        """A pair's book as the public sees it. Raises BadField where there is none."""
        return BookView(self._floor.pair(symbol).matched_by_book)

    def affordable(self, symbol: str, side: Side, cost: Decimal) -> Decimal:
        """The base that a market order of this side trades by the book for so much quote, fees aside, cut
        to lots. Raises BadField where there is no book."""
        pair = self._floor.pair(symbol)
        return round_down(BookView(pair.matched_by_book).reach(side, cost), pair.market.lot_step)

    def tape(self, symbol: str) -> Tape:
        """A pair's public trades."""
        return self._floor.pair(symbol).tape

    # Accounts

    def accounts(self) -> tuple[str, ...]:
        """All accounts that ever had anything."""
        return tuple(self._floor.accounts.ledgers)

    def ledger(self, account: str) -> Ledger:
        """The books of an account; empty ones when it never had anything."""
        return self._floor.accounts.ledger(account)

    def history(self, account: str) -> History:
        """What the account may look back upon."""
        return self._floor.accounts.history(account)

    def volume(self, account: str, now: Time) -> dict[str, Decimal]:
        """The account's trade costs of 30 days by quote asset."""
        return self.history(account).volume(now)

    def strangers(self) -> tuple[dict[str, Decimal], dict[str, Decimal]]:
        """What the crowd has gained from the accounts by asset, and what rounding left to nobody."""
        return dict(self._floor.accounts.others), dict(self._floor.accounts.rounding)

    def deposit(self, account: str, amount: Amount, now: Time = EPOCH) -> None:
        """Bring money in; a negative amount leaves, or raises Overdrawn."""
        self._floor.accounts.deposit(account, amount, now)

    # Orders

    def open_orders(self, account: str) -> tuple[OpenOrder, ...]:
        """The account's open orders in order of acceptance."""
        return tuple(waiting for (owner, _), waiting in self._floor.open.items() if owner == account)

    def open_order(self, account: str, client_id: str) -> OpenOrder | None:
        """The account's open order of this name."""
        return self._floor.open.get((account, client_id))

    def open_by_id(self, account: str, venue_id: str) -> OpenOrder | None:
        """The account's open order of this venue id."""
        key = self._floor.keys.get(venue_id)
        return None if key is None or key[0] != account else self._floor.open[key]

    def count_open(self, account: str, symbol: str) -> int:
        """How many orders of the account are open on a pair."""
        return self._floor.counts[account, symbol]

    def check(self, account: str, order: Order, instructions: Instructions = PLAIN) -> Rejection | None:
        """Why `accept` would refuse this order now, or None. Changes nothing."""
        weighed = self._floor.weigh(account, order, instructions)
        return weighed if isinstance(weighed, Rejection) else None

    def accept(
        self, account: str, order: Order, now: Time, instructions: Instructions = PLAIN
    ) -> list[Report]:
        """Take an order or reject it: [Rejected], or [Accepted, ...] with what followed at once for this
        account; others hear theirs in their histories."""
        self._floor.now = max(self._floor.now, now)
        self._floor.place(account, order, instructions)
        self._floor.follow_up()
        return self._heard_by(account)

    def cancel(self, account: str, client_id: str, now: Time, why: str = ON_REQUEST) -> list[Report]:
        """Take an order off the book; nothing to report when none of that name is open."""
        key = account, client_id
        if key not in self._floor.open:
            return []
        self._floor.now = max(self._floor.now, now)
        self._floor.cancel(key, why)
        return self._heard_by(account)

    def amend(
        self, account: str, client_id: str, amendment: Amendment, now: Time
    ) -> Rejection | list[Report]:
        """Change an open order: why not, or what followed at once; the change itself stands in the
        account's history."""
        key = account, client_id
        if key not in self._floor.open:
            return not_open(client_id)
        self._floor.now = max(self._floor.now, now)
        refused = amend(self._floor, key, amendment)
        self._floor.follow_up()
        return self._heard_by(key[0]) if refused is None else refused

    def replace(
        self, account: str, client_id: str, order: Order, now: Time, instructions: Instructions = PLAIN
    ) -> Rejection | list[Report]:
        """Put an order in the place of an open one: why not, and the old one stays; or
        [Canceled, Accepted, ...]."""
        key = account, client_id
        if key not in self._floor.open:
            return not_open(client_id)
        self._floor.now = max(self._floor.now, now)
        refused = replace_order(self._floor, key, order, instructions)
        self._floor.follow_up()
        return self._heard_by(account) if refused is None else refused

    # Time

    def advance(self, now: Time) -> list[Told]:
        """Let time pass: orders expire and the crowds trade, each at its own time."""
        while self._step <= now:
            crowds = [pair for pair in self._floor.pairs.values() if pair.crowd is not None]
            due = min((pair.crowd.due for pair in crowds if pair.crowd is not None), default=NEVER)
            if due > now:
                self._step = due
                break
            self._floor.expire_until(due)
            self._floor.now = max(self._floor.now, due)
            for pair in crowds:
                self._floor.crowd_steps(pair, due)
        self._floor.expire_until(now)
        self._floor.now = max(self._floor.now, now)
        return self._floor.heard()

    def settle(self, candle: Candle, now: Time) -> list[Told]:
        """What a candle did to the orders that waited from its opening on, as (account, report).

        `now` is the candle's close and stamps every report. Orders that expire at or before the opening
        do so first; then the orders match, by acceptance; then those expire whose time ends by `now`; then
        the close becomes the quote. How a candle matches, and why so: see candle_matcher.
        """
        floor, pair = self._floor, self._floor.pair(candle.symbol)
        floor.now = max(floor.now, now)
        closing = closing_quote(candle, pair.market, self._spread, now)
        self._expire_due(candle.symbol, candle.date)
        share = floor.house.volume_share
        left = None if share is None else EXACT.multiply(candle.volume, share)
        for key, waiting in self._waiting(candle.symbol):
            if waiting.accepted > candle.date:
                continue
            if waiting.sleeps:
                price = wake_price(waiting, candle)
                if price is not None:
                    pair.matcher.show(touch_quote(price, waiting.order.side, pair.market, now))
                    floor.wake(key)
                continue
            for trade in trades_within(waiting, candle, left):
                floor.fill(key, trade, with_crowd=True)
                left = None if left is None else EXACT.subtract(left, trade.quantity)
        self._expire_due(candle.symbol, now)
        self.quote(closing)
        floor.follow_up()
        return floor.heard()

    def close(self, candle: Candle, now: Time) -> None:
        """Let the close of a candle be the best prices of its pair. Nothing is matched."""
        self.quote(closing_quote(candle, self._floor.pair(candle.symbol).market, self._spread, now))

    def expire(self, now: Time) -> list[Told]:
        """End the orders of all pairs whose time is over, whether or not their pair trades."""
        self._floor.now = max(self._floor.now, now)
        for symbol in dict.fromkeys(waiting.order.symbol for waiting in self._floor.open.values()):
            self._expire_due(symbol, now)
        return self._floor.heard()

    # Markets that live

    def live(self, symbol: str, crowd: Crowd) -> None:
        """Let a crowd trade on a pair from the crowd's next step on. Raises BadField where there is no
        book."""
        self._floor.pair(symbol).admit(crowd)
        self._step = EPOCH

    def show_depth(self, symbol: str, bids: Levels, asks: Levels, now: Time) -> list[Told]:
        """Let the crowd's liquidity be this recorded book, as (price, quantity) in any order; orders of
        accounts keep their place, and trade with what now crosses them."""
        pair = self._floor.pair(symbol)
        matcher = pair.matched_by_book
        matcher.book.time = self._floor.now = max(self._floor.now, now)
        lay_depth(matcher, bids, asks, partial(self._floor.crowd_takes, pair))
        return self._floor.heard()

    # Saving and putting back

    def state(self) -> dict[str, Any]:
        """Everything, as JSON's kinds of data."""
        return save(self._floor, self._slippage, self._spread)

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        house: HouseRules = CANDLES,
        paths: Mapping[str, Path] | None = None,
    ) -> Self:
        """The exchange that gave this state, as exactly as if it had never been away. `house` is given
        again, and so are `paths`, by symbol, that were not made up. Raises ValueError."""
        floor, slippage, spread = load(state, house, paths or {})
        exchange = cls({}, slippage, spread, house=house)
        exchange._floor = floor
        return exchange

    def restore(self, account: str, balances: Iterable[Amount], orders: Iterable[OpenOrder]) -> None:
        """Put back, unchecked, what an account owns in all (free and held) and its waiting orders.

        With these for each account, the last quotes and `issued`, the exchange goes on as if it had never
        stopped. The account must not exist yet; past fees and trades are not brought back. Raises
        ValueError for a venue id of another make, Overdrawn when the orders hold more than there is.
        """
        floor = self._floor
        require(account not in floor.accounts.ledgers, "account", f"{account} exists already")
        for amount in balances:
            self.deposit(account, amount)
        for waiting in orders:
            order = replace(waiting.order, reserve=hold(waiting.order, waiting.terms))
            restored = replace(waiting, order=order)
            entry = Entry(postings.move(restored.held, FREE, postings.held(order.client_id)))
            floor.accounts.post(account, entry)
            floor.enter((account, order.client_id), restored)
            if restored.sleeps:
                floor.sleep((account, order.client_id))
        floor.open = dict(sorted(floor.open.items(), key=lambda item: item[1].number))
        for key, waiting in floor.open.items():
            if not waiting.sleeps:
                matcher = floor.pair(waiting.order.symbol).matcher
                matcher.leave(waiting, floor.now)
                matcher.rest(key, waiting, floor.now)

    def _expire_due(self, symbol: str, due: Time) -> None:
        for key, waiting in self._waiting(symbol):
            if waiting.order.expires is not None and waiting.order.expires <= due:
                self._floor.expire(key, self._floor.now)

    def _waiting(self, symbol: str) -> list[tuple[Key, OpenOrder]]:
        return [(key, waiting) for key, waiting in self._floor.open.items() if waiting.order.symbol == symbol]

    def _heard_by(self, account: str) -> list[Report]:
        return [report for owner, report in self._floor.heard() if owner == account]


def issued_in(report: Report) -> int:
    """The number of the id that this report gives out (0: none); the highest of all reports of a
    journal is the `issued` to restore an exchange with."""
    match report:
        case Accepted(venue_id=given) | Fill(trade_id=given):
            return int(given[1:])
        case _:
            return 0
