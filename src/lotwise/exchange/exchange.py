"""The simulated exchange: it keeps accounts, takes orders, matches them and books what happened.

Laws: deterministic (time is handed in, ids are counted, equal times go by acceptance); every change of a
balance is an entry that sums to zero; what is free and what is held never go below zero.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal

from lotwise.domain.market import Candle, Market, Quote
from lotwise.domain.orders import Accepted, Canceled, Expired, Fill, Order, Rejected, Rejection, Report
from lotwise.domain.values import Amount, Time, require
from lotwise.exchange.booking import OpenOrder, Trade, hold, is_immediate, terms_for
from lotwise.exchange.candle_matcher import closing_quote, trades_at_once, trades_within
from lotwise.exchange.rules import Request, broken_rule, name_in_use, short_of_funds, unknown_pair
from lotwise.ledger import postings
from lotwise.ledger.postings import FREE, Entry, Ledger

POST_ONLY_CROSSED = "Post only order"
"""Kraken accepts such an order, then cancels it with these words (observed 2026-07 to 2026-09)."""

NOT_AT_ONCE = "Not filled at once"
ON_REQUEST = "User requested"

Key = tuple[str, str]
"""Account and client id: what names an open order."""


class Exchange:
    """Accounts, open orders and the best prices of each listed pair.

    `slippage` (a fraction) worsens what trades at once; `spread` (a fraction) sets the ask above the bid
    after a candle. `issued` counts the ids given out before: a restored exchange goes on from there.
    Raises BadField for a symbol that is not listed and for prices that cannot be.
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        slippage: Decimal = Decimal("0.001"),
        spread: Decimal = Decimal(0),
        issued: int = 0,
    ) -> None:
        require(0 <= slippage < 1, "slippage", "must be a fraction from 0 to below 1")
        require(0 <= spread < 1, "spread", "must be a fraction from 0 to below 1")
        self._markets = {market.symbol: market for market in markets.values()}
        self._slippage = slippage
        self._spread = spread
        self._issued = issued
        self._quotes: dict[str, Quote] = {}
        self._ledgers: dict[str, Ledger] = {}
        self._open: dict[Key, OpenOrder] = {}  # in order of acceptance

    @property
    def issued(self) -> int:
        """How many ids of orders and trades were given out."""
        return self._issued

    def list_market(self, market: Market) -> None:
        """Put a pair's rules and fees in force; orders that wait keep those they were accepted under."""
        self._markets[market.symbol] = market

    def quote(self, quote: Quote) -> None:
        """Set the best prices of a pair. Nothing is matched."""
        self._listed(quote.symbol)
        require(0 < quote.bid <= quote.ask, "quote", f"bid {quote.bid} and ask {quote.ask} of {quote.symbol}")
        self._quotes[quote.symbol] = quote

    def quotes(self) -> dict[str, Quote]:
        """The best prices of each pair that has any."""
        return dict(self._quotes)

    def close(self, candle: Candle, now: Time) -> None:
        """Let the close of a candle be the best prices of its pair. Nothing is matched."""
        self.quote(closing_quote(candle, self._listed(candle.symbol), self._spread, now))

    def ledger(self, account: str) -> Ledger:
        """The books of an account; empty ones when it never had anything."""
        return self._ledgers.get(account, Ledger())

    def open_orders(self, account: str) -> tuple[OpenOrder, ...]:
        """The account's waiting orders in order of acceptance."""
        return tuple(waiting for (owner, _), waiting in self._open.items() if owner == account)

    def deposit(self, account: str, amount: Amount) -> None:
        """Bring money in; a negative amount leaves, or raises Overdrawn."""
        self._post(account, postings.deposit(amount))

    def check(self, account: str, order: Order) -> Rejection | None:
        """Why `accept` would refuse this order now, or None. Changes nothing."""
        market = self._markets.get(order.symbol)
        if market is None:
            return unknown_pair(order.symbol)
        if (account, order.client_id) in self._open:
            return name_in_use(order.client_id)
        broken = broken_rule(Request(order, market, self._quotes.get(order.symbol)))
        if broken is not None:
            return broken
        needed = hold(order, terms_for(order, market), self._trades_at_once(order))
        return short_of_funds(needed, self.ledger(account).free(needed.asset))

    def accept(self, account: str, order: Order, now: Time) -> list[Report]:
        """Take an order or reject it: [Rejected], or [Accepted, ...] with what followed at once."""
        rejection = self.check(account, order)
        if rejection is not None:
            return [Rejected(order.client_id, rejection, now)]
        key = account, order.client_id
        terms, trades = terms_for(order, self._listed(order.symbol)), self._trades_at_once(order)
        taken = OpenOrder(replace(order, reserve=hold(order, terms, trades)), terms, self._issue("O"), now)
        self._post(account, postings.reserve(taken.order))
        self._open[key] = taken
        accepted = Accepted(order.client_id, taken.venue_id, now)
        if order.expires is not None and order.expires <= now:
            return [accepted, self._expire(key, now)]
        if order.post_only and trades:
            return [accepted, self._cancel(key, POST_ONLY_CROSSED, now)]
        reports: list[Report] = [accepted, *(self._fill(key, trade, now) for trade in trades)]
        if key in self._open and is_immediate(order):
            reports.append(self._cancel(key, NOT_AT_ONCE, now))
        return reports

    def cancel(self, account: str, client_id: str, now: Time) -> list[Report]:
        """Take an order off the book; nothing to report when none of that name is open."""
        key = account, client_id
        return [self._cancel(key, ON_REQUEST, now)] if key in self._open else []

    def settle(self, candle: Candle, now: Time) -> list[tuple[str, Report]]:
        """What a candle did to the orders that waited from its opening on, as (account, report).

        `now` is the candle's close and stamps every report. Orders that expire at or before the opening
        do so first; then the orders match, by acceptance; then those expire whose time ends by `now`; then
        the close becomes the quote. How a candle matches, and why so: see candle_matcher.
        """
        closing = closing_quote(candle, self._listed(candle.symbol), self._spread, now)
        reports = self._expire_due(candle.symbol, candle.date, now)
        for key, waiting in self._waiting(candle.symbol):
            if waiting.accepted <= candle.date:
                reports += [(key[0], self._fill(key, trade, now)) for trade in trades_within(waiting, candle)]
        reports += self._expire_due(candle.symbol, now, now)
        self.quote(closing)
        return reports

    def expire(self, now: Time) -> list[tuple[str, Report]]:
        """End the orders of all pairs whose time is over, whether or not their pair trades."""
        symbols = dict.fromkeys(waiting.order.symbol for waiting in self._open.values())
        return [told for symbol in symbols for told in self._expire_due(symbol, now, now)]

    def restore(self, account: str, balances: Iterable[Amount], orders: Iterable[OpenOrder]) -> None:
        """Put back, unchecked, what an account owns in all (free and held) and its waiting orders.

        With these for each account, the last quotes and `issued`, the exchange goes on as if it had never
        stopped. The account must not exist yet; past fees and trades are not brought back. Raises
        ValueError for a venue id of another make, Overdrawn when the orders hold more than there is.
        """
        require(account not in self._ledgers, "account", f"{account} exists already")
        for amount in balances:
            self.deposit(account, amount)
        for waiting in orders:
            order = replace(waiting.order, reserve=hold(waiting.order, waiting.terms))
            restored = replace(waiting, order=order)
            self._post(account, Entry(postings.move(restored.held, FREE, postings.held(order.client_id))))
            self._open[account, order.client_id] = restored
        self._open = dict(sorted(self._open.items(), key=lambda item: _number(item[1].venue_id)))

    def _fill(self, key: Key, trade: Trade, now: Time) -> Fill:
        waiting = self._open[key]
        fill = waiting.book(trade, self._issue("T"), now)
        self._post(key[0], postings.settlement(fill))
        self._open[key] = replace(waiting, fills=(*waiting.fills, fill))
        if not self._open[key].rest:
            self._end(key)
        return fill

    def _cancel(self, key: Key, why: str, now: Time) -> Canceled:
        self._end(key)
        return Canceled(key[1], why, now)

    def _expire(self, key: Key, now: Time) -> Expired:
        self._end(key)
        return Expired(key[1], now)

    def _expire_due(self, symbol: str, due: Time, now: Time) -> list[tuple[str, Report]]:
        return [
            (key[0], self._expire(key, now))
            for key, waiting in self._waiting(symbol)
            if waiting.order.expires is not None and waiting.order.expires <= due
        ]

    def _end(self, key: Key) -> None:
        ended = self._open.pop(key)
        self._post(key[0], postings.release(self.ledger(key[0]), ended.order))

    def _waiting(self, symbol: str) -> list[tuple[Key, OpenOrder]]:
        return [(key, waiting) for key, waiting in self._open.items() if waiting.order.symbol == symbol]

    def _trades_at_once(self, order: Order) -> list[Trade]:
        market = self._listed(order.symbol)
        return trades_at_once(order, market, self._quotes.get(order.symbol), self._slippage)

    def _listed(self, symbol: str) -> Market:
        require(symbol in self._markets, "symbol", f"{symbol} is not listed")
        return self._markets[symbol]

    def _post(self, account: str, entry: Entry) -> None:
        self._ledgers[account] = postings.post(self.ledger(account), entry)

    def _issue(self, letter: str) -> str:
        self._issued += 1
        return f"{letter}{self._issued}"


def issued_in(report: Report) -> int:
    """The number of the id that this report gives out (0: none); the highest of all reports of a
    journal is the `issued` to restore an exchange with."""
    match report:
        case Accepted(venue_id=given) | Fill(trade_id=given):
            return _number(given)
        case _:
            return 0


def _number(given: str) -> int:
    return int(given[1:])
