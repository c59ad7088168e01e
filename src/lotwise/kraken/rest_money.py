"""Kraken's REST words for an account's money: ledger rows, balances, fees.

Pure, and used by both sides of the wire, as rest_account.py. Shapes: Kraken's documentation of 2026-05-27 and
real answers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from lotwise.domain.market import FeeSchedule, FeeTier
from lotwise.domain.values import EXACT, Amount, Time, exact
from lotwise.kraken.names import asset_from_kraken, asset_to_kraken, pair_names
from lotwise.kraken.rest import Payload, asset_decimals, fixed, seconds, time_of

ZERO = Decimal(0)
FEE_DIGITS = 4


@dataclass(frozen=True, slots=True)
class LedgerInfo:
    """One change of a balance: what came (below zero: went), the fee taken beside it, what is left."""

    ledger_id: str
    refid: str
    time: Time
    kind: str
    amount: Amount
    fee: Decimal
    balance: Decimal


def ledger_payload(row: LedgerInfo) -> Payload:
    """One row of Ledgers."""
    digits = asset_decimals(row.amount.asset)
    return {
        "refid": row.refid,
        "time": seconds(row.time),
        "type": row.kind,
        "subtype": "",
        "aclass": "currency",
        "asset": asset_to_kraken(row.amount.asset),
        "amount": fixed(row.amount.number, digits),
        "fee": fixed(row.fee, digits),
        "balance": fixed(row.balance, digits),
    }


def ledger_info(ledger_id: str, payload: Mapping[str, Any]) -> LedgerInfo:
    """What one row of Ledgers says."""
    amount = Amount(exact(payload["amount"]), asset_from_kraken(payload["asset"]))
    fee, balance = exact(payload["fee"]), exact(payload["balance"])
    time, kind = time_of(payload["time"]), payload["type"]
    return LedgerInfo(ledger_id, payload["refid"], time, kind, amount, fee, balance)


def balance(totals: Mapping[str, Decimal]) -> Payload:
    """Balance: all of each asset, set aside for orders or not, by Kraken's code."""
    return {asset_to_kraken(asset): fixed(total, asset_decimals(asset)) for asset, total in totals.items()}


def balance_ex(totals: Mapping[str, tuple[Decimal, Decimal]]) -> Payload:
    """BalanceEx: (all, held for orders) of each asset; credit lines are not offered."""
    return {
        asset_to_kraken(asset): {
            "balance": fixed(total, asset_decimals(asset)),
            "hold_trade": fixed(held, asset_decimals(asset)),
        }
        for asset, (total, held) in totals.items()
    }


def balances_of(payload: Mapping[str, Any]) -> dict[str, tuple[Decimal, Decimal]]:
    """(all, held) of each asset in an answer to BalanceEx."""
    told: dict[str, tuple[Decimal, Decimal]] = {}
    for code, row in payload.items():
        asset = asset_from_kraken(code)
        total, held = told.get(asset, (ZERO, ZERO))
        told[asset] = EXACT.add(total, exact(row["balance"])), EXACT.add(held, exact(row["hold_trade"]))
    return told


def trade_balance(equity: Decimal, unexecuted: Decimal) -> Payload:
    """TradeBalance of an account without positions: all of it is equity and free."""
    amounts = dict.fromkeys(("eb", "tb", "e", "mf"), equity) | dict.fromkeys("mncv", ZERO)
    return {name: fixed(number, FEE_DIGITS) for name, number in {**amounts, "uv": unexecuted}.items()}


def trade_volume(volume: Decimal, schedule: FeeSchedule, symbols: tuple[str, ...]) -> Payload:
    """TradeVolume: the 30-day volume in USD and what it makes each pair's fees; none asked for, none told."""
    result: Payload = {"currency": "ZUSD", "volume": fixed(volume, FEE_DIGITS)}
    if not symbols:
        return result
    keys = [pair_names(symbol).rest_key for symbol in symbols]
    for name, rates in (
        ("fees", [tier.taker_fee for tier in schedule.tiers]),
        ("fees_maker", [tier.maker_fee for tier in schedule.tiers]),
    ):
        result[name] = {key: _fee_tier(volume, schedule.tiers, rates) for key in keys}
    return result


def _fee_tier(volume: Decimal, tiers: tuple[FeeTier, ...], rates: list[Decimal]) -> Payload:
    place = max(index for index, tier in enumerate(tiers) if tier.volume <= volume)
    following = place + 1 if place + 1 < len(tiers) else None
    return {
        "fee": _percent(rates[place]),
        "minfee": _percent(min(rates)),
        "maxfee": _percent(max(rates)),
        "nextfee": None if following is None else _percent(rates[following]),
        "tiervolume": fixed(tiers[place].volume, FEE_DIGITS),
        "nextvolume": None if following is None else fixed(tiers[following].volume, FEE_DIGITS),
    }


def _percent(rate: Decimal) -> str:
    return fixed(EXACT.scaleb(rate, 2), FEE_DIGITS)


def fees_of(payload: Mapping[str, Any], rest_key: str) -> tuple[Decimal, Decimal]:
    """(maker, taker) fee rates of a pair as fractions, from TradeVolume; a pair without maker fees pays
    the same for both."""
    taker = exact(payload["fees"][rest_key]["fee"])
    maker = exact(((payload.get("fees_maker") or {}).get(rest_key) or {}).get("fee", taker))
    return EXACT.scaleb(maker, -2), EXACT.scaleb(taker, -2)
