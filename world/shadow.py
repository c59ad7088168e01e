"""A second book of our orders, kept from the records alone and by other code than the run's own."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from lotwise.domain.orders import (
    ENDED,
    NEXT,
    Accepted,
    Canceled,
    Expired,
    Fill,
    Order,
    ProvenAbsent,
    Rejected,
    Sent,
    Status,
    TimedOut,
)
from lotwise.engine.codec import decode
from lotwise.engine.records import Corrected, Deposited, Lent, Record, Submit
from lotwise.store.journal import Row

REPORTS = (Sent, Accepted, Rejected, Fill, Canceled, Expired, TimedOut, ProvenAbsent)
ZERO = Decimal(0)


@dataclass(slots=True)
class Noted:
    """One order: its state by the table, Kraken's id, its trades."""

    order: Order
    status: Status = Status.INTENDED
    venue_id: str | None = None
    fills: dict[str, Fill] = field(default_factory=dict)

    @property
    def filled(self) -> Decimal:
        """The sum of its trades."""
        return sum((fill.quantity for fill in self.fills.values()), ZERO)


class Shadow:
    """All orders that the journal knows, ended or not; `outside`: money that came or left beside what was
    told of trades, by asset; `transitions` counts which report met which state. Raises KeyError for a step
    that the table has not."""

    def __init__(self, rows: list[Row]) -> None:
        self.orders: dict[str, Noted] = {}
        self.outside: dict[str, Decimal] = {}
        self.transitions: Counter[tuple[str, str]] = Counter()
        kinds = {kind.__name__ for kind in (*REPORTS, Submit, Corrected, Deposited, Lent)}
        for row in rows:
            if row.kind in kinds:
                self.note(decode(row.kind, row.body))
        self.transitions.clear()

    def note(self, record: Record) -> None:
        """Take in the next record."""
        if isinstance(record, Submit):
            self.orders[record.order.client_id] = Noted(record.order)
        elif isinstance(record, Corrected | Deposited | Lent):
            asset = record.amount.asset
            self.outside[asset] = self.outside.get(asset, ZERO) + record.amount.number
        elif isinstance(record, REPORTS):
            self._report(record)

    def live(self) -> dict[str, Noted]:
        """The orders that have not ended."""
        return {name: noted for name, noted in self.orders.items() if noted.status not in ENDED}

    def _report(
        self, report: Sent | Accepted | Rejected | Fill | Canceled | Expired | TimedOut | ProvenAbsent
    ) -> None:
        noted = self.orders[report.client_id]
        if isinstance(report, Fill) and report.trade_id in noted.fills:
            return
        self.transitions[noted.status.value, type(report).__name__] += 1
        noted.status = NEXT[noted.status][type(report)]
        if isinstance(report, Accepted):
            noted.venue_id = report.venue_id
        if isinstance(report, Fill):
            noted.fills[report.trade_id] = report
            if noted.filled == noted.order.quantity:
                noted.status = Status.FILLED
