"""Twenty accounts at a sandbox where much goes wrong: nothing is made or lost, and all that can be asked of
it tells one story.

Requests and answers are lost, late, doubled, cut or refused; connections end; the exchange goes into
maintenance, its pairs out of trade, and its rules and fees change.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from lotwise.domain.values import amount
from lotwise.kraken.names import asset_from_kraken
from lotwise.sandbox.faults import Plan
from lotwise.sandbox.keys import ApiKey
from lotwise.sandbox.saving import Store
from lotwise.sandbox.service import Account, Sandbox, begun
from lotwise.sandbox.world import World
from tests.sandbox_fuzz import SEED
from tests.sandbox_traders import (
    ACCOUNTS,
    FAULTS,
    MONEY,
    OPERATIONS,
    SECRET,
    START,
    WINDOW,
    Exchange,
    Trader,
    key_of,
)

HAPPENED = {"orders": 0.3, "trades": 0.1}
"""Of the operations; less would show too little."""


OWN = "of the last trades between two accounts"


def asked_for(state: Path) -> Sandbox:
    money = tuple(amount(f"{number} {asset}") for asset, number in MONEY.items())
    accounts = tuple(Account(f"account-{n}", f"first-{n}", SECRET, money) for n in range(ACCOUNTS))
    world = World(SEED, quotes=("USDT",))
    return Sandbox(accounts, world, 0, Plan(FAULTS), state, rate_limits=False, start=START)


def test_nothing_is_made_or_lost_and_all_that_is_told_agrees(tmp_path: Path, say: list[str]) -> None:
    asyncio.run(traded(tmp_path, say))


async def traded(folder: Path, say: list[str]) -> None:
    began, state = time.perf_counter(), folder / "state"
    async with asked_for(state) as sandbox:
        core = sandbox.admin._core
        for number in range(ACCOUNTS):
            core.add_key(ApiKey(key_of(number), f"account-{number}", nonce_window=WINDOW))
        core.write_whole()
        exchange = Exchange(sandbox, Random(f"operator {SEED}"))
        traders = [Trader(number, exchange) for number in range(ACCOUNTS)]
        async with asyncio.TaskGroup() as group:
            for trader in traders:
                group.create_task(trader.work())
        exchange.heal()
        told = {f"account-{trader.number}": await Told.to(trader) for trader in traders}
        heard = sum((trader.heard for trader in traders), Counter[str]())
        seconds = time.perf_counter() - began
        assert not sandbox.market.done()
        check_sums(exchange)
        for trader in traders:
            assert told[f"account-{trader.number}"].orders.keys() >= set(trader.told)
        for name, each in told.items():
            check_account(each, sandbox.admin.accounts()[name])
        happened = check_truth(told, sandbox.admin.orders(), sandbox.admin.trades())
        check_restart(core.whole(), state, folder / "copy")
    for name, share in HAPPENED.items():
        assert happened[name] >= share * OPERATIONS, happened
    assert happened[OWN] > 5
    say.append(
        f"{OPERATIONS:,} operations by {ACCOUNTS} accounts (seed {SEED}) in {seconds:.0f} s: "
        f"{listed(happened)}; {listed(heard)}; {listed(exchange.changes)}: conserved to the last unit"
    )


def listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))


@dataclass
class Told:
    """What an account is told of itself when all is over."""

    balances: dict[str, Decimal]
    rows: dict[str, Any]
    orders: dict[str, Any]
    trades: dict[str, Any]

    @classmethod
    async def to(cls, trader: Trader) -> "Told":
        """Ask for all there is; what is asked one by one says the same as the lists."""
        rows = await pages(trader, "Ledgers", "ledger")
        orders = (await trader.asked("OpenOrders", trades="true"))["open"]
        orders |= await pages(trader, "ClosedOrders", "closed", trades="true")
        trades = await pages(trader, "TradesHistory", "trades", ledgers="true")
        assert await each(trader, "QueryTrades", "txid", list(trades)) == trades
        assert await each(trader, "QueryLedgers", "id", list(rows)) == rows
        assert await each(trader, "QueryOrders", "txid", list(orders), trades="true") == orders
        owned = {asset_from_kraken(asset): Decimal(n) for asset, n in (await trader.asked("Balance")).items()}
        return cls({asset: n for asset, n in owned.items() if n}, rows, orders, trades)


async def pages(trader: Trader, name: str, field_: str, **more: str) -> dict[str, Any]:
    """All pages of a list."""
    found: dict[str, Any] = {}
    while page := (await trader.asked(name, ofs=len(found), **more))[field_]:
        assert not page.keys() & found.keys()
        found |= page
    return found


async def each(trader: Trader, name: str, parameter: str, ids: list[str], **more: str) -> dict[str, Any]:
    """What is told of each of these."""
    found: dict[str, Any] = {}
    for start in range(0, len(ids), 20):
        found |= await trader.asked(name, **{parameter: ",".join(ids[start : start + 20])}, **more)
    return found


def check_sums(exchange: Exchange) -> None:
    """What all own, what they paid in fees and what strangers gained is what was brought, of each asset."""
    floor = exchange.sandbox.admin._core.exchange
    gained, rounded = floor.strangers()
    for asset, number in MONEY.items():
        ledgers = [floor.ledger(name) for name in floor.accounts()]
        owned = [ledger.total(asset).number for ledger in ledgers]
        fees = [ledger.balance("fees", asset).number for ledger in ledgers]
        strange = gained.get(asset, Decimal(0)) + rounded.get(asset, Decimal(0))
        brought = Decimal(number) * ACCOUNTS + exchange.brought[asset]
        assert sum(owned) + sum(fees) + strange == brought, asset
        assert min(owned) >= 0


def check_account(told: Told, truth: dict[str, Any]) -> None:
    """What an account owns is the sum of its ledger rows, and of each trade's rows the trade."""
    owned: dict[str, Decimal] = {}
    by_reference: dict[str, list[Any]] = {}
    for row in reversed(told.rows.values()):  # told newest first
        asset = asset_from_kraken(row["asset"])
        owned[asset] = owned.get(asset, Decimal(0)) + Decimal(row["amount"]) - Decimal(row["fee"])
        assert Decimal(row["balance"]) == owned[asset]
        by_reference.setdefault(row["refid"], []).append(row)
    owned = {asset: number for asset, number in owned.items() if number}
    assert owned == told.balances
    assert owned == {asset: Decimal(n["total"]) for asset, n in truth.items() if Decimal(n["total"])}
    for txid, trade in told.trades.items():
        sign = 1 if trade["type"] == "buy" else -1
        base, quote = by_reference[txid]
        assert Decimal(base["amount"]) == sign * Decimal(trade["vol"])
        assert Decimal(quote["amount"]) == -sign * Decimal(trade["cost"])
        assert Decimal(trade["fee"]) in (Decimal(base["fee"]), Decimal(quote["fee"]))
        assert set(trade["ledgers"]) == {name for name, row in told.rows.items() if row["refid"] == txid}


def check_truth(
    told: dict[str, Told], orders: list[dict[str, Any]], trades: list[dict[str, Any]]
) -> Counter[str]:
    """Each order and each trade that the operator knows is told to its account as it is, and none else."""
    happened = Counter({"orders": len(orders), "trades": sum(len(each.trades) for each in told.values())})
    assert happened["orders"] == sum(len(each.orders) for each in told.values())
    for order in orders:
        heard = told[order["account"]].orders[order["txid"]]
        assert heard["status"] == order["status"]
        for here, there in (("vol", "volume"), ("vol_exec", "executed"), ("cost", "cost"), ("fee", "fee")):
            assert Decimal(heard[here]) == Decimal(order[there]), (here, order)
        assert heard.get("trades", []) == order["trades"]
        parts = [told[order["account"]].trades[txid] for txid in order["trades"]]
        assert sum_of(parts, "vol") == Decimal(order["executed"])
        assert sum_of(parts, "cost") == Decimal(order["cost"])
        assert {part["ordertxid"] for part in parts} <= {order["txid"]}
        happened[order["status"]] += 1
    heard_of = {
        (name, trade["ordertxid"], Decimal(trade["price"]), Decimal(trade["vol"]))
        for name, each in told.items()
        for trade in each.trades.values()
    }
    for trade in trades:
        sides = [side for side in (trade["taker"], trade["maker"]) if side not in ("crowd", None)]
        for side in sides:
            price, volume = Decimal(trade["price"]), Decimal(trade["volume"])
            assert (side["account"], side["order"], price, volume) in heard_of
        happened[OWN] += len(sides) == 2
    return happened


def sum_of(entries: Iterable[dict[str, Any]], name: str) -> Decimal:
    return sum((Decimal(entry[name]) for entry in entries), Decimal(0))


def check_restart(now: Any, state: Path, copy: Path) -> None:
    """What another process would find comes to the same state, as after a kill."""
    for end in ("", "-wal"):
        Path(f"{copy}{end}").write_bytes(Path(f"{state}{end}").read_bytes())
    with closing(Store(copy)) as store:
        resumed = begun(asked_for(copy), store, START, still=True).whole()
    assert json.dumps(resumed, sort_keys=True) == json.dumps(now, sort_keys=True)
