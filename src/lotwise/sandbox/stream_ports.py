"""What a WebSocket session asks of the exchange behind it: two narrow seams, public and private.

Law: a session knows the exchange through these alone, and its clients by keys: what a token stands for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from lotwise.domain.market import Market, MarketStatus
from lotwise.domain.values import Amount, Time
from lotwise.exchange.events import Event
from lotwise.kraken.checksum import Level
from lotwise.kraken.stream_account import Known
from lotwise.kraken.stream_balances import BalanceChange
from lotwise.kraken.stream_market import Bar, Ticker, Trade


@dataclass(frozen=True, slots=True)
class Listed:
    """A pair's rules in force, and which new orders it takes."""

    market: Market
    status: MarketStatus


class PublicSide(Protocol):
    """What everyone may see. Every number that counts (of book or tape) only ever grows."""

    def advance(self, now: Time) -> None:
        """Let happen what happens up to now; again at the same time it changes nothing."""

    def system(self) -> str:
        """The state of the exchange in Kraken's words."""

    def listed(self) -> Mapping[str, Listed]:
        """Every pair by its symbol."""

    def pair(self, symbol: str) -> Listed | None:
        """One pair; None when there is none of that symbol."""

    def book_number(self, symbol: str) -> int:
        """The number of the last change of the pair's book."""

    def depth(self, symbol: str, count: int) -> tuple[Sequence[Level], Sequence[Level]]:
        """(bids, asks): the best levels of each side, best first."""

    def ticker(self, symbol: str, now: Time) -> Ticker | None:
        """Best prices and the last 24 hours; None as long as a side of the book is empty."""

    def trade_number(self, symbol: str) -> int:
        """The number of the pair's last trade, 0 before the first."""

    def trades(self, symbol: str, after: int) -> list[Trade]:
        """The trades after this number as far as they are kept, oldest first."""

    def bars(self, symbol: str, minutes: int, count: int) -> list[Bar]:
        """The last `count` candles as far as they are kept, oldest first; the last may still grow."""


class PrivateSide(Protocol):
    """What one client may see and do. `key` is what its token stands for."""

    def key_of(self, token: str, now: Time) -> str | None:
        """The key of a valid token; None for any other."""

    def command(
        self, key: str, endpoint: str, parameters: Mapping[str, str], now: Time
    ) -> Mapping[str, Any] | str:
        """Carry out a REST call: its result, or Kraken's error text."""

    def open_orders(self, key: str) -> Sequence[Known]:
        """The account's open orders, oldest first."""

    def last_trades(self, key: str, count: int) -> list[tuple[Known, str]]:
        """The account's last trades, oldest first: the order, and the exec_id of its execution."""

    def event_number(self, key: str) -> int:
        """The number of the last event of the account."""

    def events(self, key: str, after: int) -> list[tuple[int, Event]] | None:
        """The account's events after a number; None when some of them are no longer kept."""

    def known(self, key: str, client_id: str) -> Known | None:
        """The order of an event, open or ended."""

    def exec_id(self, trade_id: str) -> str:
        """Kraken's name of the exchange's trade."""

    def balances(self, key: str) -> Sequence[Amount]:
        """What the account owns of each asset."""

    def row_number(self, key: str) -> int:
        """The number of the last row of the account's ledger."""

    def rows(self, key: str, after: int) -> list[tuple[int, BalanceChange]] | None:
        """The ledger's rows after a number; None when some of them are no longer kept."""

    def trading_level(self, key: str, symbol: str, now: Time) -> tuple[Decimal, Decimal]:
        """(the trading counter of the account on a pair, its maximum)."""


class House(PublicSide, PrivateSide, Protocol):
    """The whole exchange."""
