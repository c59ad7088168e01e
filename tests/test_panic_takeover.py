"""`lotwise panic` in the place of a run: all that can fail is tried while the run is still there, and when it
fails the run is left as it is."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from shutil import copyfile, rmtree
from tempfile import mkdtemp
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from lotwise.app import accounts
from lotwise.app.accounts import account_name, check_account, lock_of
from lotwise.app.books import folded, live_state
from lotwise.app.cli import cli
from lotwise.app.kraken import clock
from lotwise.app.operator import listener
from lotwise.app.terminal import Problem
from lotwise.domain.orders import Accepted, Sent
from lotwise.domain.values import amount
from lotwise.engine.codec import decode, encode
from lotwise.engine.records import Opened, Submit, Trading
from lotwise.engine.state import State
from lotwise.kraken.signature import credentials
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.keys import ALL_PERMISSIONS, made_up_iban
from lotwise.sandbox.service import Account, Hosted, Sandbox, hosted
from lotwise.store.journal import Journal, read
from lotwise.venues.kraken.facts import key_info
from lotwise.venues.kraken.rest import Rest
from tests.live_sandbox import (
    ADA,
    KEY,
    MONEY,
    NOBODY,
    OWN_KEY,
    SECONDS,
    SECRET,
    SOL,
    add_key,
    keep_books,
    places,
    theirs,
    wait,
)

OTHERS = {"KRAKEN_API_KEY": "KeyOfSomebodyElse000", "KRAKEN_API_SECRET": SECRET}
QUERIES = frozenset(word for word in Permission if word.value.startswith("query"))
NOWHERE = ["--base-url", NOBODY, "--ws-url", "ws://127.0.0.1:9"]


@pytest.fixture(scope="module")
def kept() -> Iterator[tuple[Hosted, Path]]:
    """A sandbox with two accounts, and the home of a run of the first that holds SOL and waits for ADA."""
    names = (("me", KEY), ("somebody else", OTHERS["KRAKEN_API_KEY"]))
    two = tuple(Account(name, key, SECRET, tuple(map(amount, MONEY))) for name, key in names)
    home = Path(mkdtemp(prefix="lw"))  # a socket's path has at most about a hundred characters
    with hosted(Sandbox(accounts=two, rate_limits=False)) as made:
        keep_books(made, home / "kept.journal")
        yield made, home
    rmtree(home)


@pytest.fixture
def run(kept: tuple[Hosted, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hosted, Path]]:
    """A copy of the run's journal, which a test may add to; no run is on."""
    path = kept[1] / "live.journal"
    copyfile(kept[1] / "kept.journal", path)
    monkeypatch.setattr(accounts, "HOME", kept[1] / "home")
    yield kept[0], path
    for file in kept[1].glob("live.journal*"):
        file.unlink()


STUCK = """
import os, socket, sys, time
from pathlib import Path
from lotwise.app import accounts
from lotwise.app.operator import socket_of
from lotwise.kraken.signature import credentials
from lotwise.store.journal import Journal

path, accounts.HOME = Path(sys.argv[1]), Path(sys.argv[2])
key = credentials(os.environ["KRAKEN_API_KEY"], os.environ["KRAKEN_API_SECRET"])
with accounts.lock_of(key), Journal(path):
    line = socket.socket(socket.AF_UNIX)
    line.bind(str(socket_of(path)))
    line.listen()
    time.sleep(600)
"""


@contextmanager
def stuck(path: Path, key: Mapping[str, str] = OWN_KEY) -> Iterator["subprocess.Popen[bytes]"]:
    """Like a run that does not answer any more: it has the journal, the lock of its key and its socket."""
    words = [sys.executable, "-c", STUCK, str(path), str(accounts.HOME)]
    process = subprocess.Popen(words, env={**os.environ, **key})
    try:
        wait(lambda: listener(path) == process.pid)
        yield process
    finally:
        process.kill()
        process.wait(SECONDS)


def panic(run: tuple[Hosted, Path], *words: str, key: Mapping[str, str] = OWN_KEY) -> Result:
    at = () if "--base-url" in words else places(run[0])
    command = ["panic", *words, "--journal", str(run[1]), *at]
    result = CliRunner().invoke(cli, command, env={name: key.get(name) for name in OWN_KEY})
    assert SECRET not in result.output
    return result


def is_left_alone(run: tuple[Hosted, Path], process: "subprocess.Popen[bytes]", told: Result) -> bool:
    said = f"Nothing was done. The run (process {process.pid}) does not answer, and was left as it is.\n"
    assert told.stderr.endswith(said)
    return process.poll() is None and listener(run[1]) == process.pid


def rewritten(path: Path, change: Callable[[Any], Any]) -> None:
    """The same journal, but that its run was told something else."""
    with closing(read(path)) as rows:
        records = [(row.kind, row.body) for row in rows]
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    with Journal(path) as journal:
        for kind, body in records:
            opened = kind == Opened.__name__
            journal.append(*(encode(change(decode(kind, body))) if opened else (kind, body)))
        journal.commit()


def told_else(**changes: Any) -> Callable[[Opened], Opened]:
    return lambda opened: replace(opened, settings={**opened.settings, **changes})


# Nothing is ended that cannot be replaced


def test_a_run_is_replaced_though_its_strategy_is_not_here(run: tuple[Hosted, Path]) -> None:
    rewritten(run[1], told_else(strategy="eager:Eager"))
    with stuck(run[1]) as process:
        told = panic(run, "entries", "--yes", "--json")
        assert told.exit_code == 0, told.stderr
        assert process.wait(SECONDS) == -signal.SIGTERM
    receipt = json.loads(told.stdout)["receipt"]
    assert (receipt["by"], receipt["ended"]) == ("this command", process.pid)
    assert (receipt["done"], receipt["trading"]) == (True, "reducing")
    assert live_state(run[1]).trading is Trading.REDUCING


@pytest.mark.parametrize("which", ["queries only", "of another account", "of nobody", "withdraws"])
def test_a_key_that_will_not_do_ends_nothing(run: tuple[Hosted, Path], which: str) -> None:
    match which:
        case "queries only":
            key, code, says = add_key(run[0], "KeyThatOnlyQueries00", QUERIES), 3, "lacks"
        case "of another account":
            key, code, says = OTHERS, 3, "another account"
        case "of nobody":
            key, code, says = {**OWN_KEY, "KRAKEN_API_KEY": "KeyThatIsNotThere000"}, 3, "Invalid key"
        case _:
            key = add_key(run[0], "KeyThatWithdraws0000", ALL_PERMISSIONS | {Permission.WITHDRAW})
            code, says = 3, "withdraw"
    before = theirs(run[0])
    with stuck(run[1]) as process:
        told = panic(run, "flatten", "--yes", key=key)
        assert is_left_alone(run, process, told)
    assert told.exit_code == code and says in told.stderr
    assert theirs(run[0]) == before and live_state(run[1]).trading is Trading.ACTIVE


@pytest.mark.parametrize(
    ("status", "word", "says"),
    [
        ("maintenance", "orders", "in maintenance"),
        ("cancel_only", "flatten", "lotwise panic orders"),
        ("post_only", "flatten", "no sales at the market"),
    ],
)
def test_while_kraken_would_not_take_it_nothing_is_ended(
    run: tuple[Hosted, Path], status: str, word: str, says: str
) -> None:
    with stuck(run[1]) as process:
        run[0].do(lambda admin: admin.change(change="system", status=status))
        try:
            told = panic(run, word, "--yes")
        finally:
            run[0].do(lambda admin: admin.change(change="system", status="online"))
        assert is_left_alone(run, process, told)
    assert told.exit_code == 4 and says in told.stderr


def test_where_nobody_answers_nothing_is_ended(run: tuple[Hosted, Path]) -> None:
    with stuck(run[1]) as process:
        told = panic(run, "flatten", "--yes", *NOWHERE)
        assert is_left_alone(run, process, told)
    assert told.exit_code == 4


def test_a_run_of_another_version_is_left_alone(run: tuple[Hosted, Path]) -> None:
    rewritten(run[1], told_else(timeframe="a fortnight"))
    with stuck(run[1]) as process:
        told = panic(run, "orders", "--yes")
        assert is_left_alone(run, process, told)
    assert told.exit_code == 3 and "another version" in told.stderr


def test_a_key_with_which_another_run_trades_ends_nothing(run: tuple[Hosted, Path]) -> None:
    key = add_key(run[0], "KeyOfAnotherRun00000")
    with stuck(run[1]) as process, lock_of(credentials(*key.values())):
        told = panic(run, "orders", "--yes", key=key)
        assert is_left_alone(run, process, told)
    assert told.exit_code == 3 and "another run" in told.stderr


def test_without_a_run_a_trouble_says_that_nothing_was_done(run: tuple[Hosted, Path]) -> None:
    told = panic(run, "orders", "--yes", *NOWHERE)
    assert told.exit_code == 4 and "Nothing was done. No run is on." in told.stderr
    with Journal(run[1]):
        pass  # it is nobody's again


# What is done all the same


def test_a_renewed_key_of_the_account_will_do(run: tuple[Hosted, Path]) -> None:
    rewritten(run[1], told_else(account="as the old key was called"))
    with stuck(run[1]) as process:
        told = panic(run, "entries", "--yes", key=add_key(run[0], "KeyThatWasRenewed000"))
        assert told.exit_code == 0, told.stderr
        assert process.wait(SECONDS) == -signal.SIGTERM
    assert f"ended (process {process.pid})" in told.stdout


def test_kraken_is_asked_again_once_the_run_is_ended(run: tuple[Hosted, Path]) -> None:
    """Nobody else watches now: the first trouble is not the last word."""
    busy = {"kind": "error", "on": ["AssetPairs"], "text": "EService:Busy", "skip": 1, "times": 1}
    with stuck(run[1]) as process:
        number = run[0].do(lambda admin: admin.add_fault(**busy))
        told = panic(run, "entries", "--yes")
        run[0].do(lambda admin: admin.remove_fault(number))
        assert process.wait(SECONDS) == -signal.SIGTERM
    assert told.exit_code == 0 and "EService:Busy; once more in 1 s" in told.stderr


def test_the_receipt_says_what_the_bot_owns_and_how_to_go_on(run: tuple[Hosted, Path]) -> None:
    told = panic(run, "entries", "--yes")
    ledger = live_state(run[1]).ledger
    assert f"The bot's balance: 0.12 SOL, {ledger.total('USDT').number.normalize()} USDT." in told.stdout
    assert "MAY ONLY SELL: " in told.stdout and "It stays so until `lotwise panic lift`." in told.stdout


# What is told first


def test_nobody_to_ask_is_said_and_no_is_not_done(run: tuple[Hosted, Path]) -> None:
    nobody = panic(run, "entries")
    assert nobody.exit_code == 2 and "no terminal to ask; add --yes" in nobody.stderr
    command = ["panic", "entries", "--journal", str(run[1]), *places(run[0])]
    no = CliRunner().invoke(cli, command, env=OWN_KEY, input="n\n")
    assert no.exit_code == 3 and "Nothing was done" in no.stderr
    assert live_state(run[1]).trading is Trading.ACTIVE


def test_what_ended_while_no_run_was_on_is_not_told_as_open(run: tuple[Hosted, Path]) -> None:
    preview = json.loads(panic(run, "flatten", "--json").stdout)["preview"]
    assert [cancel["symbol"] for cancel in preview["cancels"]] == [ADA] and preview["unasked"] is None
    name = "abcd1234-7"
    (waiting,) = live_state(run[1]).orders.values()
    asked = {"pair": "ADAUSDT", "type": "buy", "ordertype": "market", "volume": "40", "cl_ord_id": name}
    (txid,) = ask(run[0], "AddOrder", asked)["txid"]
    order = replace(waiting.order, client_id=name)
    intent = Submit(order, 9, live_state(run[1]).entries[waiting.order.client_id])
    add(run[1], intent, Sent(name, order.time))
    add(run[1], Accepted(name, txid, order.time))
    preview = json.loads(panic(run, "flatten", "--json").stdout)["preview"]
    assert [cancel["client_id"] for cancel in preview["cancels"]] == [waiting.order.client_id]
    assert {sale["symbol"]: sale["quantity"] for sale in preview["sales"]} == {ADA: "40", SOL: "0.12"}


def test_where_kraken_was_not_asked_that_is_said(run: tuple[Hosted, Path]) -> None:
    told = panic(run, "orders", *NOWHERE)
    assert "As the journal knows it" in told.stdout and "Cancel abcd1234-2" in told.stdout
    told = panic(run, "orders", key={})
    assert "which may be behind what Kraken has (no KRAKEN_API_KEY" in told.stdout
    with stuck(run[1]):
        assert "As the journal knows" not in panic(run, "orders", key={}).stdout, "a run that is on knows"


# Whose account it is


def of_account(made: Hosted, path: Path, key: Mapping[str, str], state: State | None = None) -> str:
    """What a journal, or another state under its first row, calls the account of a key."""

    async def asked() -> str:
        pair = credentials(*key.values())
        async with httpx.AsyncClient(base_url=made.url) as http:
            rest = Rest(http, clock, pair)
            name = account_name(await key_info(rest), pair)
            told, folds = folded(path)
            return await check_account(name, told, folds if state is None else state, rest)

    return asyncio.run(asked())


def test_the_account_is_proven_by_trades_or_by_orders_and_by_nothing_else(run: tuple[Hosted, Path]) -> None:
    made, path = run
    rewritten(path, told_else(account="as the old key was called"))
    full = live_state(path)
    orders_alone = State(orders=full.orders)
    for state in (full, orders_alone):
        assert of_account(made, path, OWN_KEY, state) == "as the old key was called"
        with pytest.raises(Problem, match="another account"):
            of_account(made, path, OTHERS, state)
    with pytest.raises(Problem, match="another account"):
        of_account(made, path, OWN_KEY, State())


def test_an_order_that_ended_proves_it_too(run: tuple[Hosted, Path]) -> None:
    made, path = run
    rewritten(path, told_else(account="as the old key was called"))
    (known,) = live_state(path).orders.values()
    asked = {"pair": "ADAUSDT", "type": "buy", "ordertype": "limit", "price": "0.1", "volume": "40"}
    (txid,) = ask(made, "AddOrder", {**asked, "cl_ord_id": "abcd1234-6"})["txid"]
    ask(made, "CancelOrder", {"txid": txid})
    ended = replace(known, order=replace(known.order, client_id="abcd1234-6"), venue_id=txid)
    assert of_account(made, path, OWN_KEY, State(ended={"abcd1234-6": ended})) == "as the old key was called"


def test_all_keys_of_an_account_tell_its_number_and_it_is_made_up(run: tuple[Hosted, Path]) -> None:
    mine, others = made_up_iban("me"), made_up_iban("somebody else")
    assert re.fullmatch(r"AA00( [A-Z0-9]{4}){3}", mine) and mine != others, "00 checks no true number"
    for key, number in ((OWN_KEY, mine), (OTHERS, others), (add_key(run[0], "AnotherKeyOfMine0000"), mine)):
        assert asyncio.run(_number(run[0], key)) == number


async def _number(made: Hosted, key: Mapping[str, str]) -> str:
    async with httpx.AsyncClient(base_url=made.url) as http:
        return (await key_info(Rest(http, clock, credentials(*key.values())))).account


def add(path: Path, *records: Any) -> None:
    with Journal(path) as journal:
        for record in records:
            journal.append(*encode(record))
        journal.commit()


def ask(made: Hosted, command: str, asked: dict[str, str]) -> Any:
    return made.do(lambda admin: admin._core.command(KEY, command, asked, admin._doors.now()))
