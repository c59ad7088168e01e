"""Twenty accounts and a crowd: whatever they do, and whatever goes wrong, nothing is made or lost."""

import os
from decimal import Decimal
from random import Random

from lotwise.domain.values import Time
from lotwise.exchange.crowd import Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.paths import Walk
from lotwise.kraken.limits import Verification
from lotwise.sandbox.core import Core, Settings
from tests.sandbox_client import NOW, Client, client, exchange

OPERATIONS = int(os.environ.get("LOTWISE_OPERATIONS", "4000"))
"""`make test` does these; 100,000 take some minutes."""

ACCOUNTS = 20
MONEY = {"USDT": Decimal(5000), "SOL": Decimal(40)}
PRICES = ["90", "99", "99.9", "100", "100.1", "101", "110", "+0.5%", "-0.5%"]


def drawn(random: Random, their: Client, open_orders: list[str]) -> None:
    """One call, sensible or not; some of their requests come twice, some answers are never read."""
    pick = random.choice
    match random.randrange(10):
        case 0 | 1 | 2 | 3 | 4 | 5:
            kind = pick(["limit", "limit", "limit", "market", "stop-loss", "take-profit-limit"])
            order = {
                "pair": "SOLUSDT",
                "type": pick(["buy", "sell"]),
                "ordertype": kind,
                "volume": pick(["0.02", "0.5", "1.23456789", "30", "0.001"]),
                **({} if kind == "market" else {"price": pick(PRICES)}),
                **({"price2": pick(PRICES)} if kind == "take-profit-limit" else {}),
                "oflags": pick(["fciq", "fcib", "post", ""]),
                "timeinforce": pick(["GTC", "GTC", "IOC", "FOK"]),
                "stptype": pick(["cancel-newest", "cancel-oldest", "cancel-both"]),
                **pick([{}, {}, {"close[ordertype]": "limit", "close[price]": pick(["95", "105"])}]),
            }
            told = their.private("AddOrder", **{name: value for name, value in order.items() if value})
            open_orders += told["txid"] if isinstance(told, dict) else []
        case 6 | 7 if open_orders:
            their.private("CancelOrder", txid=open_orders.pop(random.randrange(len(open_orders))))
        case 8 if open_orders:
            their.private(
                "AmendOrder", txid=pick(open_orders), order_qty=pick(["0.5", "2"]), limit_price="99.5"
            )
        case _:
            their.private("CancelAll" if random.random() < 0.02 else "OpenOrders")
    if random.random() < 0.05:  # the network doubles a request: the nonce is old now, nothing may happen
        their.core.handle(their.signed("CancelAll", str(their.nonce), b"nonce=%d" % their.nonce), their.now)


def test_each_asset_sums_to_what_was_brought_and_each_account_is_the_sum_of_its_rows(say: list[str]) -> None:
    random, made = Random(7), Core(exchange(), Settings(seed=7, rate_limits=False))
    made.exchange.live("SOL/USDT", Crowd(CrowdSettings(), Walk(100.0, 0.8, Dice(7), NOW), Dice(8), NOW))
    money = ", ".join(f"{number} {asset}" for asset, number in MONEY.items())
    clients = [client(made, money, f"account-{n}", Verification.PRO) for n in range(ACCOUNTS)]
    waiting: list[list[str]] = [[] for _ in clients]
    now = NOW
    for _ in range(OPERATIONS):
        now = Time(now + random.randrange(400))
        chosen = random.randrange(ACCOUNTS)
        clients[chosen].now = now
        drawn(random, clients[chosen], waiting[chosen])
    owned = {
        a: [made.exchange.ledger(f"account-{n}").total(a).number for n in range(ACCOUNTS)] for a in MONEY
    }
    gained, rounded = made.exchange.strangers()
    fees = {asset: Decimal(0) for asset in MONEY}
    for n in range(ACCOUNTS):
        ledger, history = made.exchange.ledger(f"account-{n}"), made.exchange.history(f"account-{n}")
        for asset in MONEY:
            fees[asset] += ledger.balance("fees", asset).number
            rows = [row for row in history.rows if row.asset == asset]
            assert sum(row.amount - row.fee for row in rows) == ledger.total(asset).number
            assert rows[-1].balance == ledger.total(asset).number
    for asset, brought in MONEY.items():
        strange = gained.get(asset, Decimal(0)) + rounded.get(asset, Decimal(0))
        assert sum(owned[asset]) + fees[asset] + strange == brought * ACCOUNTS, asset
        assert min(owned[asset]) >= 0
    trades = sum(len(made.exchange.history(f"account-{n}").fills) for n in range(ACCOUNTS))
    say.append(f"{OPERATIONS} operations by {ACCOUNTS} accounts: {trades} fills, conserved to the last unit")
    assert trades >= OPERATIONS // 10
