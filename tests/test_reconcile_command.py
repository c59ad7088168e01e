"""`lotwise reconcile`: ours beside Kraken's, to the last unit, with words for every difference; it changes
nothing, here or there."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lotwise.app import accounts
from lotwise.app.books import live_state
from lotwise.app.cli import cli
from lotwise.app.commands import reconcile as reconciling
from lotwise.domain.orders import ProvenAbsent, Sent, TimedOut
from lotwise.domain.values import amount
from lotwise.engine.codec import encode
from lotwise.engine.records import Deposited, Opened, Submit
from lotwise.kraken.signature import credentials
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.service import Account, Hosted, Sandbox, hosted
from lotwise.store.journal import Journal
from tests.live_sandbox import (
    ADA,
    KEY,
    MONEY,
    NOBODY,
    OWN_KEY,
    SECRET,
    add_key,
    keep_books,
    places,
    sandbox,
    theirs,
    website,
)

QUERIES = frozenset(word for word in Permission if word.value.startswith("query"))


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hosted, Path]]:
    path = tmp_path_factory.mktemp("books") / "live.journal"
    with sandbox() as made:
        keep_books(made, path)
        yield made, path


@pytest.fixture
def books(kept: tuple[Hosted, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Hosted, Path]:
    """The sandbox, and a copy of the journal that a test may add to."""
    monkeypatch.setattr(accounts, "HOME", kept[1].with_name("home"))
    monkeypatch.setattr(reconciling, "PAUSE", 0.0)
    path = tmp_path / "live.journal"
    copyfile(kept[1], path)
    return kept[0], path


def reconcile(path: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["reconcile", "--journal", str(path), *words], env=OWN_KEY)


def told(books: tuple[Hosted, Path]) -> tuple[int, dict[str, Any]]:
    result = reconcile(books[1], "--json", *places(books[0]))
    assert SECRET not in result.output
    return result.exit_code, json.loads(result.stdout)


def add(path: Path, *records: Any) -> None:
    with Journal(path) as journal:
        for record in records:
            journal.append(*encode(record))
        journal.commit()


def test_books_that_agree_are_clean_and_foreign_money_is_set_apart(books: tuple[Hosted, Path]) -> None:
    before, orders = books[1].read_bytes(), theirs(books[0])
    code, found = told(books)
    assert (code, found["clean"]) == (0, True)
    rows = {row["asset"]: row for row in found["assets"]}
    assert rows["BTC"]["foreign"] == rows["BTC"]["kraken"] == "0.77777777" and rows["BTC"]["ours"] == "0"
    assert (rows["SOL"]["foreign"], rows["SOL"]["ours"], rows["SOL"]["kraken"]) == ("3", "0.12", "3.12")
    assert rows["USDT"]["foreign"] == "900" and "not the bot's" in rows["USDT"]["meaning"]
    (order,) = found["orders"]
    assert (order["symbol"], order["here"], order["kraken"], order["meaning"]) == (
        ADA,
        "open",
        "open",
        "agrees",
    )
    assert books[1].read_bytes() == before and theirs(books[0]) == orders, "nothing was changed"


def test_people_read_the_same_in_a_table(books: tuple[Hosted, Path]) -> None:
    result = reconcile(books[1], *places(books[0]))
    assert result.exit_code == 0 and "Everything is explained" in result.stdout
    assert "abcd1234-2" in result.stdout and "0.77777777" in result.stdout


def test_no_number_and_no_meaning_is_cut_however_narrow_the_terminal_is(books: tuple[Hosted, Path]) -> None:
    asked = ["reconcile", "--journal", str(books[1]), *places(books[0])]
    shown = CliRunner().invoke(cli, asked, env={**OWN_KEY, "COLUMNS": "20"}).stdout.splitlines()
    (btc,) = (number for number, line in enumerate(shown) if line.startswith("BTC"))
    assert shown[btc].split() == ["BTC", "0", "0.77777777", "0.77777777", "0"]
    assert shown[btc + 1] == "  agrees; 0.77777777 BTC is not the bot's and stays untouched"
    order = next(
        number for number, line in enumerate(shown) if line.startswith("Order abcd1234-2: buy 40 ADA")
    )
    assert shown[order].endswith("here: open, at Kraken: open") and shown[order + 1] == "  agrees"


def test_with_the_key_of_another_account_nothing_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "HOME", tmp_path / "home")
    names = (("me", KEY), ("somebody else", "KeyOfSomebodyElse111"))
    two = tuple(Account(name, key, SECRET, tuple(map(amount, MONEY))) for name, key in names)
    path = tmp_path / "live.journal"
    with hosted(Sandbox(accounts=two, rate_limits=False)) as made:
        keep_books(made, path)
        command = ["reconcile", "--journal", str(path), *places(made)]
        others = {**OWN_KEY, "KRAKEN_API_KEY": names[1][1]}
        result = CliRunner().invoke(cli, command, env=others)
        assert result.exit_code == 3 and result.stdout == "", "no table that does not add up"
        assert "another account" in result.stderr and "give the key of the run's account" in result.stderr
        queries = add_key(made, "KeyThatOnlyQueries11", QUERIES)
        assert CliRunner().invoke(cli, command, env=queries).exit_code == 0, (
            "a second key of the account will do"
        )


def test_a_key_that_kraken_does_not_know_is_told_with_what_to_do(books: tuple[Hosted, Path]) -> None:
    gone = {**OWN_KEY, "KRAKEN_API_KEY": "KeyThatIsNotThere111"}
    command = ["reconcile", "--journal", str(books[1]), *places(books[0])]
    result = CliRunner().invoke(cli, command, env=gone)
    assert result.exit_code == 3 and "Make another on Kraken's key page" in result.stderr


def test_money_that_is_only_in_our_books_is_not_explained(books: tuple[Hosted, Path]) -> None:
    add(books[1], Deposited(amount("1 USDT"), _end(books[1])))
    code, found = told(books)
    assert (code, found["clean"]) == (3, False)
    (row,) = (row for row in found["assets"] if row["difference"] != "0")
    assert (row["asset"], row["difference"]) == ("USDT", "-1") and "lacks 1 USDT" in row["meaning"]


def test_an_order_whose_fate_is_not_proven_is_not_explained(books: tuple[Hosted, Path]) -> None:
    name, now = "abcd1234-9", _end(books[1])
    add(books[1], _lost(books[1], name), Sent(name, now), TimedOut(name, now))
    code, found = told(books)
    (row,) = (row for row in found["orders"] if row["name"] == name)
    assert code == 3 and (row["here"], row["kraken"]) == ("unknown", "not found")
    assert "not proven" in row["meaning"]
    add(books[1], ProvenAbsent(name, now))
    assert told(books)[0] == 0, "and once it is proven absent all is well again"


def test_an_order_that_arrived_without_our_knowing_is_found(books: tuple[Hosted, Path]) -> None:
    name, now = "abcd1234-8", _end(books[1])
    add(books[1], _lost(books[1], name), Sent(name, now), TimedOut(name, now))
    asked = {"pair": "ADAUSDT", "type": "buy", "ordertype": "limit", "price": "0.1", "volume": "40"}
    _ask(books[0], "AddOrder", {**asked, "cl_ord_id": name})
    try:
        code, found = told(books)
    finally:
        _ask(books[0], "CancelOrder", {"cl_ord_id": name})
    (row,) = (row for row in found["orders"] if row["name"] == name)
    assert code == 0 and (row["kraken"], row["explained"]) == ("open", True) and "adopts" in row["meaning"]


def test_orders_by_hand_are_shown_as_not_ours(books: tuple[Hosted, Path]) -> None:
    asked = {"pair": "XBTUSDT", "type": "sell", "ordertype": "limit", "price": "999999", "volume": "0.1"}
    (txid,) = _ask(books[0], "AddOrder", asked)["txid"]
    try:
        code, found = told(books)
    finally:
        _ask(books[0], "CancelOrder", {"txid": txid})
    (row,) = (row for row in found["orders"] if row["name"] == txid)
    assert (
        code == 0 and (row["here"], row["symbol"]) == ("none", "BTC/USDT") and "untouched" in row["meaning"]
    )


def test_a_cancel_by_hand_is_what_the_run_will_book(books: tuple[Hosted, Path]) -> None:
    with sandbox() as made:
        path = books[1].with_name("other.journal")
        keep_books(made, path)
        _ask(made, "CancelOrder", {"cl_ord_id": "abcd1234-2"})
        code, found = told((made, path))
    (row,) = found["orders"]
    assert (
        code == 0 and (row["here"], row["kraken"]) == ("open", "canceled") and "books that" in row["meaning"]
    )


def test_a_withdrawal_of_the_bots_money_is_told_as_such(books: tuple[Hosted, Path]) -> None:
    with sandbox() as made:
        path = books[1].with_name("other.journal")
        keep_books(made, path)
        made.do(lambda admin: admin.change(change="money", account="me", amount="-910 USDT"))
        code, found = told((made, path))
    (row,) = (row for row in found["assets"] if row["asset"] == "USDT")
    assert code == 0 and row["meaning"] == "10 USDT of the bot's left the account: the run books that"


@pytest.mark.parametrize("place", ["nobody", "page"])
def test_without_an_answer_nothing_is_compared(books: tuple[Hosted, Path], place: str) -> None:
    with website() as page:
        url = page if place == "page" else NOBODY
        result = reconcile(books[1], "--base-url", url)
    assert result.exit_code == 4 and "nothing was compared" in result.stderr


def test_a_paper_run_has_nothing_at_kraken(books: tuple[Hosted, Path], tmp_path: Path) -> None:
    path = tmp_path / "paper.journal"
    add(path, Opened("abcd1234", "paper", {}))
    result = reconcile(path, *places(books[0]))
    assert result.exit_code == 2 and "mode paper" in result.stderr


def test_beside_a_run_with_the_same_key_its_nonces_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "HOME", tmp_path / "home")
    key, path = credentials(KEY, SECRET), tmp_path / "live.journal"
    with sandbox() as made:
        keep_books(made, path)
        with accounts.lock_of(key):
            result = reconcile(path, *places(made))
        assert result.exit_code == 0 and "another key" in result.stderr
        assert not accounts.nonces_of(key).exists()
        result = reconcile(path, *places(made))
        assert result.exit_code == 0 and accounts.nonces_of(key).exists()


def _end(path: Path) -> Any:
    return live_state(path).time


def _lost(path: Path, name: str) -> Submit:
    """The intent of another purchase like the one that waits."""
    state = live_state(path)
    (waiting,) = state.orders.values()
    return Submit(replace(waiting.order, client_id=name), 9, state.entries[waiting.order.client_id])


def _ask(made: Hosted, command: str, asked: dict[str, str]) -> Any:
    return made.do(lambda admin: admin._core.command(KEY, command, asked, admin._doors.now()))
