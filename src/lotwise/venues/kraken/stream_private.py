"""An account's stream: what becomes of our orders, as it happens.

Laws: a row that carries neither a client id of ours nor Kraken's id of an order of ours is not ours,
whatever it tells; a number missing in `sequence` ends the connection, since a fill may be missing with it.
What happened while nobody listened is not told here: the snapshot holds the open orders and the last 50
trades, all else is for reconciliation.
Shapes: Kraken's documentation of 2026-05-27; a snapshot's number was 1 (recorded 2026-04-11) and 120
(2024-05-18), so it is where counting begins, whatever it is.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lotwise.domain.orders import Accepted, Canceled, Expired, Fill
from lotwise.domain.values import BadField
from lotwise.engine.records import Event
from lotwise.kraken.stream import Malformed, Message, Request
from lotwise.kraken.stream_account import ExecType, OrderStatus, report_of
from lotwise.kraken.stream_balances import BalanceChange, balance_of, change_of
from lotwise.kraken.stream_channels import subscribe
from lotwise.kraken.stream_fields import rows, whole, word
from lotwise.kraken.stream_market import Kind
from lotwise.venues.kraken.rest import NoAnswer, Refused
from lotwise.venues.kraken.stream import Line, Lost, Stream

OPEN = frozenset({OrderStatus.PENDING_NEW, OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED})


@dataclass(frozen=True, slots=True)
class AccountOutlet:
    """Where an account's stream tells, and what it asks. ours: the client id of an order of ours, by that id
    and Kraken's; a row may have the latter alone (Kraken's documentation: updates may leave the first out);
    moved: a row of the account's ledger, whoever caused it; `connected` and `lost` as of a stream."""

    put: Callable[[list[Event]], None]
    ours: Callable[[object, object], str | None]
    moved: Callable[[BalanceChange], None] = lambda change: None
    connected: Callable[[], None] = lambda: None
    lost: Callable[[str], None] = lambda why: None


class PrivateStream:
    """Executions and balances of one account, while `run` runs. `token` gives a fresh token for each
    connection; `foreign` counts the rows about orders that are not ours."""

    def __init__(self, line: Line, token: Callable[[], Awaitable[str]], outlet: AccountOutlet) -> None:
        self.foreign = 0
        self._token = token
        self._outlet = outlet
        self._stream = Stream(line, self)
        self._sequences: dict[str, int] = {}

    async def run(self) -> None:
        """Listen and tell; never ends by itself."""
        await self._stream.run()

    async def requests(self) -> Sequence[Request]:
        try:
            token = await self._token()
        except (Refused, NoAnswer) as trouble:
            raise Lost(f"no token: {trouble}") from None
        return [
            subscribe("executions", snap_orders=True, snap_trades=True, order_status=True, token=token),
            subscribe("balances", snapshot=True, token=token),
        ]

    def connected(self) -> None:
        self._outlet.connected()

    def refused(self, symbol: str, why: str) -> None:
        raise Lost(f"{symbol}: {why}")

    def lost(self, why: str) -> None:
        self._sequences.clear()
        self._outlet.lost(why)

    def hear(self, message: Message) -> None:
        channel = message.get("channel")
        if channel not in ("executions", "balances"):
            return
        kind = word(message, "type", Kind)
        self._count(channel, kind, whole(message, "sequence"))
        if channel == "executions":
            told = self._reports(kind, rows(message, "data"))
            if told:
                self._outlet.put(told)
            return
        for row in rows(message, "data"):
            if kind is Kind.SNAPSHOT:
                balance_of(row)
            else:
                self._outlet.moved(change_of(row))

    def _count(self, channel: str, kind: Kind, number: int) -> None:
        before = self._sequences.get(channel)
        if before is None and kind is not Kind.SNAPSHOT:
            raise Lost(f"{channel} do not begin with a snapshot")
        if before is not None and number != before + 1:
            raise Lost(f"{channel} have a gap: {number} came after {before}")
        self._sequences[channel] = number

    def _reports(self, kind: Kind, told: Sequence[Mapping[str, Any]]) -> list[Event]:
        events: list[Event] = []
        for row in told:
            client_id = self._outlet.ours(row.get("cl_ord_id"), row.get("order_id"))
            if client_id is None:
                self.foreign += 1
                continue
            report = _report(kind, {**row, "cl_ord_id": client_id})
            if report is not None:
                events.append(report)
        return events


def _report(kind: Kind, row: Mapping[str, Any]) -> Accepted | Fill | Canceled | Expired | None:
    """What a row reports. An open order in a snapshot is one that Kraken holds, whatever happened to it
    last: a stop that waits was told as pending_new there (recorded 2024-05-18)."""
    if kind is Kind.SNAPSHOT and "exec_id" not in row and word(row, "order_status", OrderStatus) in OPEN:
        row = {**row, "exec_type": ExecType.NEW.value}
    try:
        return report_of(row)
    except BadField as bad:
        raise Malformed(str(bad)) from None
