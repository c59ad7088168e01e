"""The sandbox's core as a WebSocket session sees it.

Law: nothing is known here that the exchange or the core does not own; it is only put into the words that
the stream prints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from lotwise.domain.orders import Fill
from lotwise.domain.values import EXACT, Amount, Side, Time, round_down
from lotwise.exchange.booking import OpenOrder
from lotwise.exchange.events import Event
from lotwise.exchange.tape import Bar as Candle
from lotwise.exchange.tape import Print
from lotwise.kraken.checksum import Level
from lotwise.kraken.stream_account import Execution, Known
from lotwise.kraken.stream_balances import BalanceChange
from lotwise.kraken.stream_market import Bar, Ticker, Trade
from lotwise.sandbox.core import Core
from lotwise.sandbox.stream_ports import Listed

DAY = 86_400_000
PERCENT_UNIT = Decimal("0.01")


class CoreHouse:
    """The seams of `stream_ports` over one core. Raises BadField for an exchange that has no books."""

    def __init__(self, core: Core) -> None:
        self._core, self._desk, self._exchange = core, core.desk, core.exchange
        for symbol in core.exchange.markets():
            core.exchange.book(symbol)

    # Public

    def advance(self, now: Time) -> None:
        """Let happen what happens up to now."""
        self._core.advance(now)

    def system(self) -> str:
        """The state of the exchange."""
        return self._core.system_status()

    def listed(self) -> Mapping[str, Listed]:
        """Every pair with its rules and status."""
        markets = self._exchange.markets()
        return {symbol: Listed(market, self._exchange.status(symbol)) for symbol, market in markets.items()}

    def pair(self, symbol: str) -> Listed | None:
        """One pair."""
        market = self._exchange.market(symbol)
        return None if market is None else Listed(market, self._exchange.status(symbol))

    def book_number(self, symbol: str) -> int:
        """The number of the book's last change."""
        return self._exchange.book(symbol).sequence

    def depth(self, symbol: str, count: int) -> tuple[Sequence[Level], Sequence[Level]]:
        """(bids, asks), best first."""
        book = self._exchange.book(symbol)
        bids, asks = (
            [(level.price, level.quantity) for level in book.depth(side, count)]
            for side in (Side.BUY, Side.SELL)
        )
        return bids, asks

    def ticker(self, symbol: str, now: Time) -> Ticker | None:
        """Best prices and the last 24 hours, in whole minutes."""
        bids, asks = self.depth(symbol, 1)
        if not bids or not asks:
            return None
        tape = self._exchange.tape(symbol)
        day = tape.statistics(Time(now - DAY))
        last = tape.trades[-1].price if tape.trades else bids[0][0]
        best = (*bids[0], *asks[0])
        if day is None:
            nothing = Decimal(0)
            return Ticker(symbol, *best, last, nothing, last, last, last, nothing, nothing, 0, now)
        change = EXACT.subtract(last, day.open)
        percent = _percent(change, day.open)
        return Ticker(
            symbol, *best, last, day.volume, day.average, day.low, day.high, change, percent, day.count, now
        )

    def trade_number(self, symbol: str) -> int:
        """The number of the last trade."""
        return self._exchange.tape(symbol).number

    def trades(self, symbol: str, after: int) -> list[Trade]:
        """The trades after a number, as far as they are kept."""
        return [_trade(symbol, printed) for printed in self._exchange.tape(symbol).since(after)]

    def bars(self, symbol: str, minutes: int, count: int) -> list[Bar]:
        """The last candles."""
        candles = self._exchange.tape(symbol).candles(minutes)[-count:]
        return [_bar(symbol, minutes, candle) for candle in candles]

    # Private

    def key_of(self, token: str, now: Time) -> str | None:
        """The key of a valid token."""
        return self._core.token_account(token, now)

    def command(
        self, key: str, endpoint: str, parameters: Mapping[str, str], now: Time
    ) -> Mapping[str, Any] | str:
        """A REST call."""
        return self._core.command(key, endpoint, parameters, now)

    def open_orders(self, key: str) -> Sequence[Known]:
        """The account's open orders, oldest first."""
        account = self._core.account_of(key)
        return [self._known(account, waiting) for waiting in self._exchange.open_orders(account)]

    def last_trades(self, key: str, count: int) -> list[tuple[Known, str]]:
        """The account's last trades with their orders."""
        fills = list(self._exchange.history(self._core.account_of(key)).fills)[-count:]
        found = ((self.known(key, fill.client_id), fill.trade_id) for _, fill in fills)
        return [(known, self.exec_id(trade_id)) for known, trade_id in found if known is not None]

    def event_number(self, key: str) -> int:
        """The number of the account's last event."""
        return self._exchange.history(self._core.account_of(key)).events.number

    def events(self, key: str, after: int) -> list[tuple[int, Event]] | None:
        """The account's events after a number."""
        return self._exchange.history(self._core.account_of(key)).events.since(after)

    def known(self, key: str, client_id: str) -> Known | None:
        """The order of this client id, open or ended; None when it was never taken, or is forgotten."""
        account = self._core.account_of(key)
        waiting = self._exchange.open_order(account, client_id)
        if waiting is not None:
            return self._known(account, waiting)
        # Whom an event names has ended a moment ago: it is found among the last.
        ended = reversed(self._exchange.history(account).closed)
        found = (closed.order for closed in ended if closed.order.order.client_id == client_id)
        order = next(found, None)
        return None if order is None else self._known(account, order)

    def exec_id(self, trade_id: str) -> str:
        """Kraken's name of a trade."""
        return self._desk.txid(trade_id)

    def balances(self, key: str) -> Sequence[Amount]:
        """What the account owns, free or held."""
        ledger = self._exchange.ledger(self._core.account_of(key))
        return [ledger.total(asset) for asset in sorted(ledger.assets())]

    def row_number(self, key: str) -> int:
        """The number of the ledger's last row."""
        return self._exchange.history(self._core.account_of(key)).rows.number

    def rows(self, key: str, after: int) -> list[tuple[int, BalanceChange]] | None:
        """The ledger's rows after a number."""
        rows = self._exchange.history(self._core.account_of(key)).rows.since(after)
        if rows is None:
            return None
        return [
            (
                number,
                BalanceChange(
                    self._desk.ledger_id(row.number),
                    self._reference(row.reference),
                    row.time,
                    row.kind.value,
                    row.asset,
                    row.amount,
                    row.fee,
                    row.balance,
                ),
            )
            for number, row in rows
        ]

    def trading_level(self, key: str, symbol: str, now: Time) -> tuple[Decimal, Decimal]:
        """(the trading counter, its maximum)."""
        return self._desk.trading_level(self._core.account_of(key), symbol, now)

    def _reference(self, reference: str) -> str:
        issued = reference[:1] == "T" and reference[1:].isdigit()
        return self._desk.txid(reference) if issued else reference

    def _known(self, account: str, waiting: OpenOrder) -> Known:
        tag, closing = self._desk.tag(account, waiting.order.client_id), waiting.instructions.closing
        contingent = None if closing is None else (closing.type, closing.price, closing.trigger)
        return Known(
            waiting.order,
            waiting.terms,
            self._desk.txid(waiting.venue_id),
            waiting.accepted,
            tuple(self._execution(fill) for fill in waiting.fills),
            tag.cl_ord_id,
            tag.userref or 0,
            contingent,
            None if waiting.parent is None else self._desk.txid(waiting.parent),
            waiting.triggered,
        )

    def _execution(self, fill: Fill) -> Execution:
        exec_id = self._desk.txid(fill.trade_id)
        return Execution(replace(fill, trade_id=exec_id), exec_id, int(fill.trade_id[1:]))


def _trade(symbol: str, printed: Print) -> Trade:
    return Trade(
        symbol, printed.side, printed.price, printed.quantity, printed.type, printed.number, printed.time
    )


def _bar(symbol: str, minutes: int, candle: Candle) -> Bar:
    prices = (candle.open, candle.high, candle.low, candle.close)
    return Bar(symbol, minutes, candle.time, *prices, candle.volume, candle.average, candle.count)


def _percent(change: Decimal, whole: Decimal) -> Decimal:
    """change / whole in hundredths of a percent, rounded down."""
    top, under = EXACT.scaleb(change, 4).as_integer_ratio()
    below, over = whole.as_integer_ratio()
    return round_down(EXACT.scaleb(Decimal(top * over // (under * below)), -2), PERCENT_UNIT)
