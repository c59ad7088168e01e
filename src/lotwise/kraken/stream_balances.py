"""Changes of an account's balances on WebSocket v2.

Law: a balance changes by `amount` less `fee`, and each change is a row of the account's ledger. Shapes:
Kraken's documentation of 2026-05-27 and messages recorded in 2024-05.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lotwise.domain.values import Amount, Time
from lotwise.kraken.stream import Message, timestamp
from lotwise.kraken.stream_fields import moment, number, text


@dataclass(frozen=True, slots=True)
class BalanceChange:
    """One row of the ledger: its id, what it belongs to (a trade, a deposit), and the balance after it."""

    ledger_id: str
    reference: str
    time: Time
    kind: str
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal


def balance_row(balance: Amount) -> Message:
    """One asset of the snapshot; all of it lies in the wallet that trades."""
    wallet = {"type": "spot", "id": "main", "balance": balance.number}
    return {
        "asset": balance.asset,
        "asset_class": "currency",
        "balance": balance.number,
        "wallets": [wallet],
    }


def balance_of(row: Mapping[str, Any]) -> Amount:
    """The balance in a row of the snapshot."""
    return Amount(number(row, "balance"), text(row, "asset"))


def change_row(change: BalanceChange) -> Message:
    """One change of a balance."""
    return {
        "ledger_id": change.ledger_id,
        "ref_id": change.reference,
        "timestamp": timestamp(change.time),
        "type": change.kind,
        "asset": change.asset,
        "asset_class": "currency",
        "category": change.kind,
        "wallet_type": "spot",
        "wallet_id": "main",
        "amount": change.amount,
        "fee": change.fee,
        "balance": change.balance,
    }


def change_of(row: Mapping[str, Any]) -> BalanceChange:
    """The change in a row."""
    return BalanceChange(
        text(row, "ledger_id"),
        text(row, "ref_id"),
        moment(row, "timestamp"),
        text(row, "type"),
        text(row, "asset"),
        number(row, "amount"),
        number(row, "fee"),
        number(row, "balance"),
    )
