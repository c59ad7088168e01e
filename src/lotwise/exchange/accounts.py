"""The books of the accounts, and what each of them may look back upon.

Laws: every change of a balance is an entry that sums to zero and a row that says why; an account's
balance is the sum of its rows (amount less fee); an order's hold covers its trades to the last digit, and
what the decimals of a balance round away is between what is free and the exchange's fees; histories are
bounded, the oldest leave first.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from typing import TypeVar

from lotwise.domain.orders import Fill, Status
from lotwise.domain.values import EXACT, Amount, Side, Time
from lotwise.exchange.booking import Change, OpenOrder, changes
from lotwise.exchange.events import Event
from lotwise.exchange.house import Decimals
from lotwise.ledger import postings
from lotwise.ledger.postings import Entry, Ledger

T = TypeVar("T")

DAY = 86_400_000
VOLUME_DAYS = 30
NO_LEDGER = Ledger()


class RowKind(StrEnum):
    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRADE = "trade"


@dataclass(frozen=True, slots=True)
class Row:
    """One change of what an account owns of an asset: by `amount` less `fee`, to `balance`. Its number is
    unique among all accounts; `reference` is the trade's id, or a word for money that came or left."""

    number: int
    time: Time
    kind: RowKind
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal
    reference: str


@dataclass(frozen=True, slots=True)
class ClosedOrder:
    """An order at its end, and why it ended (nothing to say when it was filled)."""

    order: OpenOrder
    status: Status
    why: str
    time: Time


class Log(deque[T]):
    """The last entries of a list that is counted from 1 on."""

    def __init__(self, kept: int) -> None:
        super().__init__(maxlen=kept)
        self.number = 0

    def add(self, entry: T) -> None:
        """The next entry."""
        self.number += 1
        self.append(entry)

    def since(self, number: int) -> list[tuple[int, T]] | None:
        """The entries after a number, with theirs; None when some of them are no longer kept."""
        count = self.number - number
        if count > len(self):
            return None
        return list(enumerate(islice(self, len(self) - count, None), number + 1))


class History:
    """What one account may look back upon, oldest first."""

    def __init__(self, kept: int) -> None:
        self.events: Log[Event] = Log(kept)
        self.closed: Log[ClosedOrder] = Log(kept)
        self.fills: Log[tuple[str, Fill]] = Log(kept)
        """With the venue id of the order."""
        self.rows: Log[Row] = Log(kept)
        self.days: dict[int, dict[str, Decimal]] = {}
        """Trade costs by day and quote asset."""
        self.owned: dict[str, Decimal] = {}
        """The sums of all rows by asset: what the account owns, free and held."""

    def volume(self, now: Time) -> dict[str, Decimal]:
        """Trade costs per quote asset of this day (UTC) and the 29 before."""
        oldest = now // DAY - VOLUME_DAYS + 1
        sums: dict[str, Decimal] = {}
        for day, costs in self.days.items():
            for asset, cost in costs.items() if day >= oldest else ():
                sums[asset] = EXACT.add(sums.get(asset, Decimal(0)), cost)
        return sums


class Accounts:
    """Every account's ledger and history; `others` and `rounding` are the two strangers on the other side
    of the accounts: the crowd's gain per asset, and what rounding left to nobody."""

    def __init__(self, kept: int, decimals: Decimals | None = None) -> None:
        self.kept = kept
        self.decimals = decimals
        self.ledgers: dict[str, Ledger] = {}
        self.histories: dict[str, History] = {}
        self.others: dict[str, Decimal] = {}
        self.rounding: dict[str, Decimal] = {}
        self.rows_issued = 0

    def ledger(self, account: str) -> Ledger:
        """The books of an account; empty ones when it never had anything."""
        return self.ledgers.get(account, NO_LEDGER)

    def history(self, account: str) -> History:
        """The account's history; an empty one when nothing ever happened."""
        return self.histories.get(account) or History(self.kept)

    def post(self, account: str, entry: Entry) -> None:
        """Book an entry; Overdrawn when it takes what is not there."""
        self.ledgers[account] = postings.post(self.ledger(account), entry)

    def deposit(self, account: str, amount: Amount, now: Time) -> None:
        """Money from outside; a negative amount leaves, or raises Overdrawn."""
        self.post(account, postings.deposit(amount))
        kind = RowKind.DEPOSIT if amount.number >= 0 else RowKind.WITHDRAWAL
        self._row(account, Change(amount.asset, amount.number, Decimal(0)), (now, kind, kind.value))

    def settle(self, account: str, venue_id: str, fill: Fill, with_crowd: bool) -> None:
        """Book a fill on its account and on who stands on the other side."""
        self.post(account, postings.settlement(fill))
        base, quote = fill.symbol.split("/")
        sign = 1 if fill.side is Side.BUY else -1
        value = EXACT.multiply(fill.price, fill.quantity)
        _grow(self.rounding, quote, _signed(sign, EXACT.subtract(fill.cost.number, value)))
        if with_crowd:
            _grow(self.others, base, _signed(-sign, fill.quantity))
            _grow(self.others, quote, _signed(sign, value))
        history = self._own(account)
        history.fills.add((venue_id, fill))
        costs = history.days.setdefault(fill.time // DAY, {})
        _grow(costs, quote, fill.cost.number)
        while len(history.days) > VOLUME_DAYS:
            del history.days[min(history.days)]
        for change in changes(fill):
            entered = self._entered(account, change)
            # What rounds to nothing has no row (a client's notice of 2026-09, rotki #13038).
            if entered.amount or entered.fee:
                self._row(account, entered, (fill.time, RowKind.TRADE, fill.trade_id))

    def tell(self, account: str, event: Event) -> None:
        """Put an event on record."""
        self._own(account).events.add(event)

    def close(self, account: str, closed: ClosedOrder) -> None:
        """Put an order on record at its end."""
        self._own(account).closed.add(closed)

    def _entered(self, account: str, change: Change) -> Change:
        """A change that was posted to the last digit, in the decimals of its asset's balance."""
        if self.decimals is None:
            return change
        asset = change.asset
        entered = change.entered(self.decimals(asset), self.ledger(account).free(asset).number)
        off = Amount(EXACT.subtract(entered.net, change.net), asset)
        if off.number:
            self.post(account, postings.correction(off))
        return entered

    def _row(self, account: str, change: Change, why: tuple[Time, RowKind, str]) -> None:
        history, (now, kind, reference) = self._own(account), why
        self.rows_issued += 1
        _grow(history.owned, change.asset, change.net)
        balance = history.owned.get(change.asset, Decimal(0))
        row = Row(self.rows_issued, now, kind, change.asset, change.amount, change.fee, balance, reference)
        history.rows.add(row)

    def _own(self, account: str) -> History:
        history = self.histories.get(account)
        if history is None:
            history = self.histories[account] = History(self.kept)
        return history


def _grow(sums: dict[str, Decimal], asset: str, number: Decimal) -> None:
    total = EXACT.add(sums.get(asset, Decimal(0)), number)
    if total:
        sums[asset] = total
    else:
        sums.pop(asset, None)


def _signed(sign: int, number: Decimal) -> Decimal:
    return number if sign > 0 else EXACT.minus(number)
