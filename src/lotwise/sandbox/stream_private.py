"""Private channels of WebSocket v2: what one subscription hears of its account.

Law: the messages of one subscription are numbered from 1 on without a gap, one event to each.
"""

from dataclasses import replace
from typing import Protocol, assert_never

from lotwise.domain.orders import Accepted, Canceled, Expired, Fill, Rejected
from lotwise.domain.values import Time
from lotwise.exchange.events import Amended, Event, Triggered
from lotwise.kraken import stream_balances
from lotwise.kraken.stream import Message
from lotwise.kraken.stream_account import (
    ALWAYS_TOLD,
    ExecType,
    Known,
    change_row,
    order_row,
    past_trade_row,
    trade_row,
)
from lotwise.kraken.stream_channels import Subscription
from lotwise.kraken.stream_market import Kind, message
from lotwise.sandbox.stream_ports import PrivateSide

SNAPSHOT_TRADES = 50
"""Kraken's documentation of 2026-05-27."""


class Feed(Protocol):
    """One private subscription."""

    def snapshot(self, now: Time) -> list[Message]:
        """How things stand; nothing when the subscription wants none."""

    def advance(self, now: Time) -> list[Message] | None:
        """What came since; None when some of it is lost, and the client must go."""


class ExecutionsFeed:
    """Orders and trades of one account."""

    def __init__(self, side: PrivateSide, key: str, subscription: Subscription) -> None:
        self._side, self._key, self._options = side, key, subscription.options
        self._number = side.event_number(key)
        self._sequence = 0

    def snapshot(self, now: Time) -> list[Message]:
        rows: list[Message] = []
        if self._options["snap_orders"]:
            rows += [
                order_row(known, ExecType.NEW, known.accepted) for known in self._side.open_orders(self._key)
            ]
        if self._options["snap_trades"]:
            for known, exec_id in self._side.last_trades(self._key, SNAPSHOT_TRADES):
                rows.append(past_trade_row(known, known.before(exec_id)[-1]))
        wanted = self._options["snap_orders"] or self._options["snap_trades"]
        return [self._tell(Kind.SNAPSHOT, rows)] if wanted else []

    def advance(self, now: Time) -> list[Message] | None:
        events = self._side.events(self._key, self._number)
        if events is None:
            return None
        told: list[Message] = []
        for self._number, event in events:
            known = self._side.known(self._key, event.client_id)
            if known is None:
                continue
            rows = [row for row in self._rows(known, event) if self._wanted(row)]
            told += [self._tell(Kind.UPDATE, [self._counted(row, known, now)]) for row in rows]
        return told

    def _rows(self, known: Known, event: Event) -> list[Message]:
        match event:
            case Accepted():
                fresh = replace(known, executions=())
                incoming = order_row(fresh, ExecType.PENDING_NEW, event.time)
                return [incoming, change_row(fresh, ExecType.NEW, event.time)]
            case Fill():
                return self._filled(known, self._side.exec_id(event.trade_id), event.time)
            case Canceled():
                return [change_row(known, ExecType.CANCELED, event.time, event.why)]
            case Expired():
                return [change_row(known, ExecType.EXPIRED, event.time)]
            case Amended():
                now_reads = replace(known, order=event.order, amended=True)
                return [change_row(now_reads, ExecType.AMENDED, event.time, "User requested")]
            case Triggered():
                return [change_row(replace(known, triggered=True), ExecType.STATUS, event.time)]
            case Rejected():
                # Kraken's answer says it; the channel does not.
                return []
            case _:
                assert_never(event)

    def _filled(self, known: Known, exec_id: str, time: Time) -> list[Message]:
        so_far = replace(known, executions=known.before(exec_id))
        rows = [trade_row(so_far, so_far.executions[-1])]
        if so_far.filled == so_far.order.quantity:
            rows.append(change_row(so_far, ExecType.FILLED, time))
        return rows

    def _wanted(self, row: Message) -> bool:
        return self._options["order_status"] or row["exec_type"] in ALWAYS_TOLD

    def _counted(self, row: Message, known: Known, now: Time) -> Message:
        if not self._options["ratecounter"]:
            return row
        level, _ = self._side.trading_level(self._key, known.order.symbol, now)
        return {**row, "ratecounter": int(level)}

    def _tell(self, kind: Kind, rows: list[Message]) -> Message:
        self._sequence += 1
        return message("executions", kind, rows, sequence=self._sequence)


class BalancesFeed:
    """Balances of one account, and each row of its ledger."""

    def __init__(self, side: PrivateSide, key: str, subscription: Subscription) -> None:
        self._side, self._key, self._options = side, key, subscription.options
        self._number = side.row_number(key)
        self._sequence = 0

    def snapshot(self, now: Time) -> list[Message]:
        if not self._options["snapshot"]:
            return []
        rows = [stream_balances.balance_row(balance) for balance in self._side.balances(self._key)]
        return [self._tell(Kind.SNAPSHOT, rows)]

    def advance(self, now: Time) -> list[Message] | None:
        changes = self._side.rows(self._key, self._number)
        if changes is None:
            return None
        told: list[Message] = []
        for self._number, change in changes:
            told.append(self._tell(Kind.UPDATE, [stream_balances.change_row(change)]))
        return told

    def _tell(self, kind: Kind, rows: list[Message]) -> Message:
        self._sequence += 1
        return message("balances", kind, rows, sequence=self._sequence)
