"""`lotwise run --live` ended by SIGKILL at random moments, beside a sandbox with faults: no order is lost,
none is doubled, and in the end the books are the exchange's to the last unit.

Both are real processes that speak over loopback. The machine they think they run on has clocks that are
FAST times as fast, so that a minute's bar closes every few seconds; every bound holds in its own time.
LOTWISE_KILLS=200 is the long run (about twenty minutes).
"""

import json
import os
import random
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from urllib.request import Request, urlopen

import pytest

from lotwise.app.terminal import UNAVAILABLE
from lotwise.domain.orders import Accepted, Fill, Status
from lotwise.engine.codec import CHECKPOINT, decode, fold
from lotwise.engine.records import Record, Submit
from lotwise.engine.state import State
from lotwise.store.journal import read
from lotwise.venues.kraken.venue import UNDECIDED
from tests.live_sandbox import (
    KEY,
    LOTWISE,
    OWN_KEY,
    SECONDS,
    SECRET,
    ending,
    environment,
    make_faster,
    wait,
)

KILLS = int(os.environ.get("LOTWISE_KILLS", "6"))
FAST = 20
BAR = 60 * 10**9
"""Nanoseconds, by those clocks."""

STYLES = "taker", "taker", "maker", "maker_then_taker"
LIVES = ((0.3, 2.0), (2.0, 5.0), (5.0, 12.0))[: 2 if KILLS < 20 else 3]
"""Seconds (ours) from start to kill: while it starts, while it learns what became of orders, and (in the long
run) later."""

LEAVING = 0.6
"""Seconds (ours) after a bar's close within which its orders leave."""

CALM = 0.3 if KILLS >= 20 else 0.0
"""Of those, how many wait until the fates of all orders that were cut off before are known."""

JOURNAL = "a.journal"

PAIRS = [f"{base}/USDT" for base in ("SOL", "ADA", "DOGE", "SHIB", "MANA", "BTC", "ETH")]
SETTINGS = {
    "preset": "small",
    "pairs": PAIRS,
    "timeframe": "1m",
    "max_open_trades": len(PAIRS),
    "stoploss": "-0.01",
    "target": "0.03",
    "trailing_stop": "0.0005",
    "max_hold_bars": 1,
    "sizing": {"max_order_size_usdt": "15"},
    "strategy": "eager:Eager",
    "live": {"fraction": "0.5"},
}
STRATEGIES = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np

@dataclass(frozen=True)
class Eager:
    """Wishes to buy at every bar."""
    name: ClassVar[str] = "eager"
    warm_up: ClassVar[int] = 0

    def confidence(self, candles):
        return np.full(len(candles), 0.5)

class Idle(Eager):
    """Wishes nothing."""
    def confidence(self, candles):
        return np.zeros(len(candles))
'''
FAULTS = """
[[fault]]
kind = "answer late"
on = ["AddOrder", "CancelOrder"]
share = 0.5
seconds = 2.0

[[fault]]
kind = "answer lost"
on = ["AddOrder", "CancelOrder"]
share = 0.08

[[fault]]
kind = "request lost"
on = ["AddOrder"]
share = 0.04

[[fault]]
kind = "request late"
on = ["AddOrder"]
share = 0.1
seconds = 3.0

[[fault]]
kind = "request twice"
on = ["AddOrder", "CancelOrder"]
share = 0.1

[[fault]]
kind = "error page"
on = ["AddOrder"]
share = 0.05
carried_out = true

[[fault]]
kind = "answer cut"
on = ["AddOrder", "QueryOrders"]
share = 0.05

[[fault]]
kind = "error"
on = ["OpenOrders", "ClosedOrders", "TradesHistory", "Ledgers", "BalanceEx", "QueryOrders"]
share = 0.05
text = "EService:Unavailable"

[[fault]]
kind = "message lost"
on = ["executions", "ticker"]
share = 0.01

[[fault]]
kind = "disconnect"
on = ["executions"]
share = 0.01
"""


@dataclass(slots=True)
class Exchange:
    """A sandbox in a process of its own."""

    url: str
    operator: str

    @property
    def places(self) -> list[str]:
        return ["--base-url", self.url, "--ws-url", self.url.replace("http", "ws")]

    def ask(self, what: str, method: str = "GET", **said: float) -> Any:
        body = json.dumps(said).encode() if said else None
        with urlopen(Request(f"{self.operator}/{what}", body, method=method), timeout=SECONDS) as told:
            return json.loads(told.read())

    def heal(self) -> Counter[str]:
        """End all faults: how often each kind has struck."""
        struck: Counter[str] = Counter()
        for fault in self.ask("faults"):
            struck[fault["kind"]] += fault["struck"]
            self.ask(f"faults/{fault['number']}", "DELETE")
        return struck

    def orders(self) -> dict[str, list[Any]]:
        """All orders of the account that ever were, by the name that their client gave them."""
        found: dict[str, list[Any]] = {}
        for order in self.ask("orders"):
            found.setdefault(order["cl_ord_id"], []).append(order)
        return found


class Machine:
    """Where both processes run, with clocks that go fast from now on."""

    def __init__(self, home: Path) -> None:
        self.home, self.began = home, time.time_ns()
        self.environment = environment(home, OWN_KEY)
        make_faster(home, FAST, self.began)
        (home / "eager.py").write_text(STRATEGIES)
        (home / "faults.toml").write_text(FAULTS)

    def now(self) -> int:
        """Nanoseconds, by its clocks."""
        return self.began + (time.time_ns() - self.began) * FAST

    def until_close(self) -> float:
        """Seconds (ours) until a bar closes."""
        return (BAR - self.now() % BAR) / FAST / 1e9

    def starts(self, out: str, *words: str) -> subprocess.Popen[bytes]:
        with (self.home / out).open("ab") as file:
            return subprocess.Popen(
                [*LOTWISE, *words], cwd=self.home, env=self.environment, stdout=file, stderr=file
            )

    def trades(self, there: Exchange, **keys: Any) -> subprocess.Popen[bytes]:
        """The live run on its journal, begun or taken up."""
        (self.home / "config.json").write_text(json.dumps({**SETTINGS, **keys}))
        words = ["run", "--live", "--yes", "--config", "config.json", "--journal", JOURNAL]
        return self.starts("run.out", *words, *there.places)

    def does(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command, to its end."""
        return subprocess.run(
            [*LOTWISE, *words], cwd=self.home, env=self.environment, capture_output=True, text=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip

    @contextmanager
    def exchange(self) -> Iterator[Exchange]:
        asked = ["--port", "0", "--admin-port", "0", "--no-limits", "--no-history", "--faults", "faults.toml"]
        account = f"me:{KEY}:{SECRET}:USDT=1000,SOL=3"
        out = self.home / "sandbox.out"
        with ending(self.starts("sandbox.out", "sandbox", *asked, "--account", account)):
            wait(lambda: "\n" in out.read_text())
            there = Exchange(*re.findall(r"http://[\d.]+:\d+", out.read_text().partition("\n")[0]))
            # Its clock began when it began to be built, which takes seconds here.
            there.ask("shift", "POST", seconds=self.now() / 1e9 - there.ask("time")["time"] / 1000)
            yield there


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: a socket's has at most about a hundred characters."""
    made = Path(mkdtemp(prefix="lw"))
    yield made
    rmtree(made)


class Books:
    """What the journal says, read on as it grows: its state, and of each intent the exchange's name for its
    order and its trades."""

    def __init__(self, path: Path) -> None:
        self._path, self._rows = path, 0
        self.state = State()
        self.venue_ids: dict[str, str | None] = {}
        self.trades: dict[str, list[str]] = {}

    def read_on(self) -> None:
        if not self._path.exists():
            return
        with closing(read(self._path, self._rows)) as rows:
            for row in rows:
                self._rows += 1
                fold(self.state, row.kind, row.body)
                if row.kind != CHECKPOINT:
                    self._note(decode(row.kind, row.body))

    def _note(self, record: Record) -> None:
        match record:
            case Submit(order):
                assert order.client_id not in self.venue_ids, "a name is given once"
                self.venue_ids[order.client_id], self.trades[order.client_id] = None, []
            case Accepted():
                self.venue_ids[record.client_id] = record.venue_id
            case Fill():
                self.trades[record.client_id].append(record.trade_id)
            case _:
                pass

    @property
    def intended(self) -> set[str]:
        """Written down as about to be sent, and nothing more."""
        return {name for name, known in self.state.orders.items() if known.status is Status.INTENDED}

    def quiet(self) -> bool:
        """No order is left, and nothing that could be sold."""
        self.read_on()
        return not self.state.orders and all(held.stuck for held in self.state.holdings.values())

    def decided(self) -> bool:
        """No fate is unknown."""
        self.read_on()
        return all(known.status not in UNDECIDED for known in self.state.orders.values())


def kill(machine: Machine, there: Exchange, books: Books, chance: random.Random) -> bool:
    """A life that ends at a random moment; every other one while the orders of a bar leave. False: it ended
    by itself, because the exchange did not answer it at its start."""
    style, rests = chance.choice(STYLES), chance.random() < 0.5
    process = machine.trades(there, entry={"style": style}, stoploss_on_exchange=rests)
    time.sleep(chance.uniform(*chance.choice(LIVES)))
    if chance.random() < 0.5:
        if chance.random() < CALM:
            wait(lambda: books.decided() or process.poll() is not None)
        time.sleep(machine.until_close() + chance.uniform(0, LEAVING))
    alive = process.poll() is None
    process.kill()
    ended = process.wait(SECONDS)
    assert ended == (-signal.SIGKILL if alive else UNAVAILABLE), (machine.home / "run.out").read_text()
    return alive


def end_quietly(machine: Machine, there: Exchange, books: Books) -> None:
    """A run that buys nothing any more, until it knows all and holds nothing."""
    out, title = machine.home / "run.out", "lotwise, live at"
    lives = out.read_text().count(title)
    with ending(machine.trades(there, strategy="eager:Idle")) as process:
        wait(lambda: out.read_text().count(title) > lives)  # one that is still starting ends otherwise
        with suppress(AssertionError):
            wait(books.quiet)
        assert books.quiet(), (books.state.orders, books.state.holdings)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0, (machine.home / "run.out").read_text()
        books.read_on()


def test_orders_are_neither_lost_nor_doubled_by_kills(home: Path, say: list[str]) -> None:
    machine, chance = Machine(home), random.Random(KILLS)
    books, kills, hits, unheard = Books(home / JOURNAL), 0, 0, 0
    with machine.exchange() as there:
        for _ in range(2 * KILLS):
            known = {*books.venue_ids}
            kills += kill(machine, there, books, chance)
            books.read_on()
            cut = books.intended - known
            hits += bool(cut)
            unheard += bool(cut & there.orders().keys())
            if kills == KILLS:
                break
        assert kills == KILLS, (home / "run.out").read_text()
        struck = there.heal()
        end_quietly(machine, there, books)
        looked = machine.does("reconcile", "--journal", JOURNAL, *there.places)
        assert looked.returncode == 0, looked.stdout + looked.stderr
        assert_same(there, books)
    assert machine.does("replay", JOURNAL).returncode == 0
    faults = ", ".join(f"{kind} {count}" for kind, count in sorted(struck.items()))
    orders, trades = len(books.venue_ids), sum(map(len, books.trades.values()))
    say.append(
        f"live kills: {KILLS}, {hits} between an order's commit and its answer, {unheard} of these after the"
        f" exchange took it; {orders} orders, {trades} trades; 0 lost, 0 doubled; faults: {faults}"
    )


def assert_same(there: Exchange, books: Books) -> None:
    """Each order and trade of ours at the exchange is in our books once, and every unit agrees."""
    theirs = there.orders()
    theirs.pop(None, None)  # type: ignore[call-overload]
    assert all(len(orders) == 1 for orders in theirs.values()), "one order for an intent"
    assert theirs.keys() <= books.venue_ids.keys(), "every order has its intent"
    for name, (order,) in theirs.items():
        assert sorted(books.trades[name]) == sorted(order["trades"]), name
        # A trade alone tells that its order was taken.
        assert books.venue_ids[name] == order["txid"] or (not books.venue_ids[name] and order["trades"]), name
    heard_of = {name for name, txid in books.venue_ids.items() if txid or books.trades[name]}
    assert heard_of == theirs.keys(), "what was told of an order is so"
    foreign = books.state.reconciled.foreign if books.state.reconciled else {}
    for asset, held in there.ask("accounts")["me"].items():
        mine = books.state.ledger.total(asset).number
        assert mine + foreign.get(asset, 0) == Decimal(held["total"]), asset
    assert books.state.unexplained is None
