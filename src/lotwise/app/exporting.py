"""A journal as tables for other programs: trades, double-entry ledger rows, and what tax tools read.

Laws: every cell is text, and every number the exact decimal that was booked; columns are only ever added
at the end. Times are UTC: 2026-01-31T13:00:00Z, with milliseconds where there are any.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lotwise.app.terminal import UNAVAILABLE, Problem
from lotwise.domain.orders import Fill, OrderState
from lotwise.domain.values import EXACT, Amount, Side, Time, plain
from lotwise.engine.codec import decode, fold
from lotwise.engine.records import Corrected, Deposited, Lent
from lotwise.engine.state import State
from lotwise.kraken.rest import rfc3339
from lotwise.ledger.postings import OURS, Posting, correction, deposit, settlement
from lotwise.store.journal import Row

TRADES = (
    "time", "symbol", "side", "quantity", "price", "cost", "cost_asset", "fee", "fee_asset", "liquidity",
    "realised_pnl", "purpose", "trade_id", "order_id", "client_id",
)  # fmt: skip
LEDGER = ("time", "kind", "account", "asset", "amount", "balance", "reference")
TAX = (
    "Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency", "Fee Amount",
    "Fee Currency", "Net Worth Amount", "Net Worth Currency", "Label", "Description", "TxHash",
)  # fmt: skip
"""The columns of Koinly's universal file (its help pages of 2025), which most tax tools read or map."""

OWN = "ours"
"""The account of all that is ours, whether free or set aside for an order."""


@dataclass(frozen=True, slots=True)
class Table:
    """Named columns and rows of as many texts."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Booked:
    """A trade, what the exchange booked of one otherwise than told, or a move of money to or from outside, as
    it was booked. number: its row in the journal; order and earned (in quote, fees included): of a trade."""

    number: int
    what: Fill | Corrected | Deposited | Lent
    order: OrderState | None = None
    earned: Decimal = Decimal(0)


def booked(rows: Iterable[Row]) -> Iterator[Booked]:
    """All that moved money, in the order of the journal. Raises Unfoldable."""
    state = State()
    for row in rows:
        before = state.totals.realised_pnl
        fold(state, row.kind, row.body)
        if row.kind not in (Fill.__name__, Corrected.__name__, Deposited.__name__, Lent.__name__):
            continue
        record = decode(row.kind, row.body)
        if isinstance(record, Fill):
            earned = EXACT.subtract(state.totals.realised_pnl, before)
            yield Booked(row.number, record, state.order(record.client_id), earned)
        elif isinstance(record, Corrected | Deposited | Lent):
            yield Booked(row.number, record)


def trades(moves: Iterable[Booked]) -> Table:
    """One row for each fill. realised_pnl is empty for a purchase."""
    rows = []
    for move in moves:
        fill, order = move.what, move.order
        if not isinstance(fill, Fill):
            continue
        assert order is not None, f"{fill} is of no order"
        earned = plain(move.earned) if fill.side is Side.SELL else ""
        numbers = plain(fill.quantity), plain(fill.price), *_cells(fill.cost), *_cells(fill.fee)
        names = fill.trade_id, order.venue_id or "", fill.client_id
        head = rfc3339(fill.time), fill.symbol, fill.side.value
        rows.append((*head, *numbers, fill.liquidity.value, earned, order.order.purpose.value, *names))
    return Table(TRADES, rows)


def ledger(moves: Iterable[Booked]) -> Table:
    """One row for each posting: those of one reference sum to zero in each asset. balance: what is ours of
    the asset after it; empty for accounts that are not ours."""
    totals: dict[str, Decimal] = {}
    rows = []
    for move in moves:
        what, time = move.what, rfc3339(move.what.time)
        if isinstance(what, Fill):
            kind, reference, entry = "trade", what.trade_id, settlement(what)
        elif isinstance(what, Corrected):
            kind, reference, entry = "correction", what.trade_id, correction(what.amount)
        else:
            kind = "deposit" if what.amount.number > 0 else "withdrawal"
            reference, entry = f"row-{move.number}", deposit(what.amount)
        for posting in entry.postings:
            if posting.amount.number:
                rows.append((time, kind, *_posted(posting, totals), reference))
    return Table(LEDGER, rows)


def _posted(posting: Posting, totals: dict[str, Decimal]) -> tuple[str, str, str, str]:
    """(account, asset, amount, balance) of a posting; `totals`: what is ours, kept up to date."""
    number, asset = posting.amount.number, posting.amount.asset
    if not posting.account.startswith(OURS):
        return posting.account, asset, plain(number), ""
    totals[asset] = EXACT.add(totals.get(asset, Decimal(0)), number)
    return OWN, asset, plain(number), plain(totals[asset])


def tax(moves: Iterable[Booked], paper: bool) -> Table:
    """One row for each trade and each move to or from outside: what was given, what came, the fee beside
    both. The first move of a run is what it was given to trade with. What came of a trade otherwise than
    told is a row of its own."""
    note = "made up: a paper run" if paper else "lotwise on Kraken"
    rows = []
    for number, move in enumerate(moves):
        what, nothing = move.what, ("", "")
        date = _date(what.time)
        if isinstance(what, Fill):
            base = Amount(what.quantity, what.symbol.partition("/")[0])
            sent, got = (what.cost, base) if what.side is Side.BUY else (base, what.cost)
            fee = _cells(what.fee) if what.fee.number else nothing
            words = f"{what.side.value} {what.symbol} ({note})"
            rows.append((date, *_cells(sent), *_cells(got), *fee, *nothing, "", words, what.trade_id))
            continue
        came = what.amount.number > 0
        sides = (nothing, _cells(what.amount)) if came else (_cells(-what.amount), nothing)
        words = f"{_words(what, number)} ({note})"
        rows.append((date, *sides[0], *sides[1], *nothing, *nothing, "", words, ""))
    return Table(TAX, rows)


def _words(move: Corrected | Deposited | Lent, number: int) -> str:
    """What a move of money is called; number: 0 is a run's first."""
    came = move.amount.number > 0
    if isinstance(move, Corrected):
        return f"{'less' if came else 'more'} taken for trade {move.trade_id} than told"
    if isinstance(move, Lent):
        return f"came for trade {move.trade_id}, whose fee rose"
    return "given to the run" if not number else "came" if came else "left"


def _cells(amount: Amount) -> tuple[str, str]:
    return plain(amount.number), amount.asset


def _date(time: Time) -> str:
    """Such as 2026-01-31 13:00:00 UTC."""
    return f"{rfc3339(time)[:19].replace('T', ' ')} UTC"


def csv_text(table: Table) -> str:
    """The table as CSV: a header, comma, lines ended as RFC 4180 has them."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return text.getvalue()


def parquet_bytes(table: Table) -> bytes:
    """The table as Parquet, every column text. Problem where pyarrow is not installed."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise Problem("parquet needs pyarrow: pip install 'lotwise[parquet]'", UNAVAILABLE) from None
    kind: Any = pyarrow.string()
    columns = {
        name: pyarrow.array([row[place] for row in table.rows], kind)
        for place, name in enumerate(table.columns)
    }
    sink = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), sink)
    return sink.getvalue()
