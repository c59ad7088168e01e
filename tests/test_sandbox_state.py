"""A sandbox with a state file: what was answered is there after any end, kill -9 included."""

import json
import os
import random
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from hashlib import sha256
from http.client import HTTPException
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner

from lotwise.app.cli import cli
from lotwise.domain.market import Market
from lotwise.domain.values import Time
from lotwise.kraken.signature import credentials, sign
from lotwise.sandbox.saving import APPLICATION_ID, FORMAT, StateError, StateInUse, Store
from lotwise.sandbox.service import Account, Hosted, Sandbox, begun, hosted
from lotwise.sandbox.txids import TxIds
from lotwise.sandbox.world import Tariff, World

SECONDS = 10.0
START = Time(1_790_000_000_000)
ME = Account("me", "mine", "c2VjcmV0")


class Signed:
    """A client that signs, at any URL; its nonces go on whatever happens to the other side."""

    def __init__(self, account: Account = ME) -> None:
        self.credentials = credentials(account.key, account.secret)
        self.nonce = 0
        self.url = ""

    def ask(self, name: str, **parameters: object) -> Any:
        """The result; or the error's text."""
        self.nonce += 1
        body = urlencode({"nonce": self.nonce, **parameters}).encode()
        path = f"/0/private/{name}"
        headers = {
            "API-Key": self.credentials.key,
            "API-Sign": sign(self.credentials.secret, path, str(self.nonce), body),
        }
        with urlopen(Request(self.url + path, body, headers), timeout=SECONDS) as response:
            envelope = json.loads(response.read())
        return envelope["error"][0] if envelope["error"] else envelope["result"]

    def buy(self, price: float, **more: object) -> Any:
        order = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "volume": "0.1", "price": price}
        return self.ask("AddOrder", **order, **more)


@contextmanager
def still(path: Path, client: Signed, **more: Any) -> Iterator[Hosted]:
    asked = replace(Sandbox((ME,), speed=0, state=path, rate_limits=False, start=START), **more)
    with hosted(asked) as sandbox:
        client.url = sandbox.url
        yield sandbox


def truth(sandbox: Hosted) -> Any:
    return sandbox.do(lambda admin: [admin.orders(), admin.trades(), admin.accounts()])


def whole(sandbox: Hosted) -> Any:
    return sandbox.do(lambda admin: admin._core.whole())


# Ends and beginnings


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path, client = tmp_path / "state", Signed()
    with still(path, client) as sandbox:
        (waiting,) = client.buy(90, cl_ord_id="mine")["txid"]
        client.ask("AddOrder", pair="ETHUSD", type="sell", ordertype="market", volume="0.1")
        client.ask("CancelAllOrdersAfter", timeout=60)
        sandbox.do(lambda admin: admin.change(change="rules", pair="SOL/USDT", ordermin="0.5"))
        sandbox.do(lambda admin: admin.change(change="fees", maker="1", taker="2"))
        sandbox.do(lambda admin: admin.change(change="pair", pair="ADA/USD", status="offline"))
        sandbox.do(lambda admin: admin.advance(30))
        before, told = whole(sandbox), truth(sandbox)
    with still(path, client) as sandbox:
        assert whole(sandbox) == before
        assert truth(sandbox) == told
        assert client.ask("OpenOrders")["open"][waiting]["cl_ord_id"] == "mine"
        assert client.buy(90) == "EGeneral:Invalid arguments:volume minimum not met"
        client.nonce -= 10
        assert client.ask("Balance") == "EAPI:Invalid nonce"
        client.nonce += 10
        sandbox.do(lambda admin: admin.advance(31))
        assert client.ask("OpenOrders")["open"] == {}


def test_what_follows_a_restart_is_what_would_have_come_without_one(tmp_path: Path) -> None:
    ends = []
    for restarts in (False, True):
        path, client = tmp_path / f"state {restarts}", Signed()
        with still(path, client) as sandbox:
            client.buy(131.9)
            sandbox.do(lambda admin: admin.advance(5))
            if not restarts:
                client.buy(131.8)
                sandbox.do(lambda admin: admin.advance(60))
                ends.append(truth(sandbox))
        if restarts:
            with still(path, client) as sandbox:
                client.buy(131.8)
                sandbox.do(lambda admin: admin.advance(60))
                ends.append(truth(sandbox))
    assert ends[0] == ends[1]


def test_the_inputs_alone_give_the_same_state(tmp_path: Path) -> None:
    # The process is not asked to write the whole state: as after a kill.
    path, client = tmp_path / "state", Signed()
    with still(path, client) as sandbox:
        client.buy(131.9)
        token = client.ask("GetWebSocketsToken")["token"]
        sandbox.do(lambda admin: admin.advance(45))
        sandbox.do(lambda admin: admin.change(change="money", account="me", amount="5 USDT"))
        sandbox.do(lambda admin: admin._core.token_account(token, sandbox.sandbox.admin.advance(0)))
        sandbox.do(lambda admin: admin._core.command("mine", "CancelAll", {}, admin.advance(0)))
        client.buy(90)
        sandbox.do(lambda admin: admin.advance(10))
        before = whole(sandbox)
        # A copy has what another process would find now.
        copy = tmp_path / "copy"
        for end in ("", "-wal"):
            Path(f"{copy}{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    assert resume(copy) == before


def test_after_many_inputs_the_whole_state_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lotwise.sandbox.saving.MOST_INPUTS", 10)
    path, client = tmp_path / "state", Signed()
    with still(path, client) as sandbox:
        for _ in range(5):
            for price in range(80, 90):
                client.buy(price)
            sandbox.do(lambda admin: admin.advance(1))
            time.sleep(0.12)  # the market's own rhythm writes
        store = sandbox.do(lambda admin: admin._core._store)
        assert store is not None
        assert store.inputs < 20


def test_a_market_stands_still_while_nobody_is_there(tmp_path: Path) -> None:
    path, client = tmp_path / "state", Signed()
    with still(path, client) as sandbox:
        (waiting,) = client.buy(90, timeinforce="GTD", expiretm=f"+{3600}")["txid"]
        trades = len(truth(sandbox)[1])
    with still(path, client, speed=1, start=Time(START + 86_400_000)) as sandbox:
        assert len(truth(sandbox)[1]) == trades
        order = client.ask("QueryOrders", txid=waiting)[waiting]
        assert order["status"] == "expired"
        assert order["closetm"] == (START + 3_600_000) / 1000


def test_accounts_may_be_added(tmp_path: Path) -> None:
    path, client = tmp_path / "state", Signed()
    you = Account("you", "yours", "c2VjcmV0")
    with still(path, client):
        client.buy(90)
    with still(path, client, accounts=(ME, you)) as sandbox:
        assert len(client.ask("OpenOrders")["open"]) == 1
        other = Signed(you)
        other.url = sandbox.url
        assert other.ask("Balance")["USDT"] == "1000.00000000"
    with still(path, client, accounts=()) as sandbox:
        assert [account.name for account in sandbox.sandbox.accounts] == ["me", "you"]


# Files


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with still(path, Signed()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_has_one_sandbox_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with still(path, Signed()), pytest.raises(StateInUse, match="in use by another sandbox"):
        Store(path)


def test_another_world_is_refused(tmp_path: Path) -> None:
    path, client = tmp_path / "state", Signed()
    with still(path, client):
        pass
    world = World(seed=7, quotes=("USD", "USDT"))
    with pytest.raises(StateError, match="is of another sandbox"), still(path, client, world=world):
        pass


@pytest.mark.parametrize("junk", [b"no database at all, but long enough to be looked at" * 10, b"x"])
def test_a_file_that_is_no_state_is_refused_and_left_alone(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "state"
    path.write_bytes(junk)
    with pytest.raises(StateError, match="give another --state"):
        Store(path)
    assert path.read_bytes() == junk


def test_a_database_of_someone_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs(x)")
    with pytest.raises(StateError, match="no sandbox's"):
        Store(path)


def bytes_of(path: Path) -> dict[str, bytes]:
    """The file and what SQLite has beside it."""
    return {file.name: file.read_bytes() for file in path.parent.iterdir()}


def left_running(path: Path, copy: Path, *prices: float) -> None:
    """Orders in a file, and in a copy what another process would find now: as after a kill."""
    client = Signed()
    copy.parent.mkdir()
    with still(path, client) as sandbox:
        for price in prices:
            client.buy(price)
            sandbox.do(lambda admin: admin.advance(1))
        for end in ("", "-wal"):
            Path(f"{copy}{end}").write_bytes(Path(f"{path}{end}").read_bytes())


def resume(path: Path) -> Any:
    """The state that another process comes to."""
    with closing(Store(path)) as store:
        return begun(Sandbox((ME,), state=path, rate_limits=False), store, START, still=True).whole()


def of_format(path: Path, number: int) -> None:
    """Say so in the head of a file, where SQLite keeps it."""
    with path.open("r+b") as file:
        file.seek(60)
        file.write(number.to_bytes(4, "big"))


def test_a_state_of_another_format_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "here" / "state"
    left_running(tmp_path / "state", path, 90)
    of_format(path, 99)
    before = bytes_of(path)
    told = CliRunner().invoke(cli, ["sandbox", "--port", "0", "--admin-port", "0", "--state", str(path)])
    assert told.exit_code == 2
    assert f"format 99, written by lotwise {version('lotwise')}" in told.output
    assert f"go on with lotwise {version('lotwise')}, or give another --state" in told.output
    assert bytes_of(path) == before


def test_a_state_from_before_formats_were_told_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE whole(one INTEGER PRIMARY KEY, format INTEGER, state TEXT)")
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
    with pytest.raises(StateError, match="is of format 1, written by an older lotwise"):
        Store(path)


def test_the_version_that_wrote_last_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, client = tmp_path / "state", Signed()
    with still(path, client):
        pass
    with monkeypatch.context() as other:
        other.setattr("lotwise.sandbox.saving.version", lambda _: "9.8.7")
        with still(path, client):
            pass
    with closing(Store(path)) as store:
        assert store.maker == "9.8.7"


def test_code_that_answers_otherwise_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "here" / "state"
    left_running(tmp_path / "state", path, 90, 91)
    right = TxIds.txid
    with monkeypatch.context() as changed:
        changed.setattr(TxIds, "txid", lambda ids, kind, number: right(ids, kind, number + 1))
        with pytest.raises(
            StateError, match=r"answers input 1 \(AddOrder\) otherwise; start and stop it once"
        ):
            resume(path)
    resume(path)  # the code that wrote it goes on


def test_code_that_books_otherwise_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No answer shows it: an order is acknowledged, whatever its fills cost.
    path = tmp_path / "here" / "state"
    left_running(tmp_path / "state", path, 131.9, 131.9)
    right = Tariff.__call__

    def dearer(tariff: Tariff, account: str, market: Market, volume: dict[str, Decimal]) -> Market:
        found = right(tariff, account, market, volume)
        return replace(found, maker_fee=found.taker_fee, taker_fee=found.taker_fee * 2)

    with monkeypatch.context() as changed:
        changed.setattr(Tariff, "__call__", dearer)
        with pytest.raises(StateError, match="comes to other books after"):
            resume(path)
    resume(path)


def edited(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(sql)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with still(path, Signed()):
        pass
    edited(path, "UPDATE whole SET state = replace(state, '1000', '9999')")
    with pytest.raises(StateError, match="is damaged"):
        resume(path)


def test_a_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    # As from code whose format should have been told apart and was not.
    path = tmp_path / "state"
    with still(path, Signed()):
        pass
    with closing(Store(path)) as store:
        state = store.read_whole()
        assert state is not None
        state["exchange"]["pairs"][0]["something"] = state["exchange"]["pairs"][0].pop("crowd")
        store.write_whole(state)
    with pytest.raises(StateError, match="cannot read it"):
        resume(path)


SHAPE = "21af3f8bfba38817"
"""Of the state in a file of this format; another shape is another format."""


def test_a_state_of_another_shape_has_another_format(tmp_path: Path) -> None:
    client, names = Signed(), set[str]()
    with still(tmp_path / "state", client) as sandbox:
        client.buy(90, cl_ord_id="mine", timeinforce="GTD", expiretm="+60")
        client.ask("AddOrder", pair="ETHUSD", type="sell", ordertype="market", volume="0.1")
        client.ask("AddOrder", pair="ETHUSD", type="sell", ordertype="stop-loss", volume="0.1", price="9")
        client.ask("GetWebSocketsToken")
        client.ask("CancelAllOrdersAfter", timeout=60)
        sandbox.do(lambda admin: admin.advance(1))
        collect(whole(sandbox), "", names)
    shape = sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]
    assert (FORMAT, shape) == (2, SHAPE), "raise FORMAT in sandbox/saving.py, then put both here"


def collect(state: Any, path: str, names: set[str]) -> None:
    """The names of all fields; what stands in lists is one."""
    if isinstance(state, dict):
        for name, value in state.items():
            collect(value, f"{path}.{name}", names)
    elif isinstance(state, list):
        for value in state:
            collect(value, f"{path}[]", names)
    else:
        names.add(path)


# kill -9


@contextmanager
def process(path: Path, client: Signed) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "lotwise", "sandbox", "--port", "0", "--admin-port", "0", "--no-limits"]
    command += ["--no-history"]
    running = subprocess.Popen(
        [*command, "--state", str(path), "--account", "me:mine:c2VjcmV0:USDT=100000,SOL=100"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert running.stdout is not None
    try:
        found = re.search(r"http://[\d.:]+", running.stdout.readline())
        assert found is not None
        client.url = found[0]
        yield running
    finally:
        running.kill()
        running.wait(SECONDS)
        running.stdout.close()


def test_what_was_answered_is_there_after_kill_9(tmp_path: Path) -> None:
    path, client, chance = tmp_path / "state", Signed(), random.Random(5)
    placed: list[str] = []
    canceled: set[str] = set()
    for _ in range(4):
        with process(path, client) as running:
            for start in range(0, len(placed), 50):
                asked = placed[start : start + 50]
                known = client.ask("QueryOrders", txid=",".join(asked))
                ended = {txid for txid, order in known.items() if order["status"] == "canceled"}
                assert set(known) == set(asked)
                assert canceled & set(asked) <= ended
            last = time.monotonic() + 0.1 + 0.3 * chance.random()
            with suppress(URLError, ConnectionError, HTTPException):
                for _ in range(1_000):
                    told = client.buy(60 + chance.randrange(30))
                    if isinstance(told, dict):
                        placed += told["txid"]
                    else:
                        assert told == "EOrder:Orders limit exceeded"  # a fast machine gets so far
                    gone = chance.choice(placed)
                    if isinstance(client.ask("CancelOrder", txid=gone), dict):
                        canceled.add(gone)
                    if time.monotonic() > last:
                        # It dies while the next requests are on their way.
                        running.send_signal(signal.SIGKILL)
                pytest.fail("it does not die")
    assert len(placed) > 20
