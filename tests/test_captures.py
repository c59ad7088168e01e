"""Kraken's answers as evidence: nothing of a person in them, and read back by the same words."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner

from lotwise.app import accounts
from lotwise.app.cli import cli
from lotwise.sandbox.service import Hosted
from lotwise.venues.kraken.captures import PRIVATE, PUBLIC, Capture, Redactor, captured, reading
from tests.live_sandbox import KEY, OWN_KEY, SECRET, keep_books, places, sandbox, theirs

PAYLOADS = Path(__file__).resolve().parents[2] / "shared" / "data" / "kraken" / "payloads"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hosted, Path]]:
    """A sandbox whose account has traded, and the folder of a capture of it."""
    folder = tmp_path_factory.mktemp("captures")
    with sandbox() as exchange, pytest.MonkeyPatch.context() as patch:
        patch.setattr(accounts, "HOME", folder / "home")
        patch.chdir(folder)
        keep_books(exchange, folder / "a.journal")
        by_hand = {"ordertype": "limit", "type": "sell", "price": "999999", "volume": "0.55555"}
        asked = {"pair": "XBTUSDT", **by_hand}
        exchange.do(lambda admin: admin._core.command(KEY, "AddOrder", asked, admin._doors.now()))
        done = CliRunner().invoke(
            cli,
            ["doctor", "--preset", "small", "--capture", str(folder / "c"), *places(exchange)],
            env=OWN_KEY,
        )
        assert done.exit_code == 0, done.output
        yield exchange, folder / "c"


def texts(folder: Path) -> dict[str, str]:
    return {file.stem: file.read_text() for file in sorted(folder.glob("*.json"))}


def test_every_answer_is_saved_and_read_back_by_our_words(made: tuple[Hosted, Path]) -> None:
    saved = texts(made[1])
    assert saved.keys() == {*PUBLIC, *PRIVATE}
    for endpoint, text in saved.items():
        name, result = captured(text)
        read, problem = reading(name, result)
        assert (name, problem) == (endpoint, None)
        assert read > 0, f"nothing was there to be read in {endpoint}"


def test_nothing_in_it_names_a_person_an_order_or_other_money(made: tuple[Hosted, Path]) -> None:
    exchange, folder = made
    orders = theirs(exchange)
    secrets = [KEY, SECRET, "abcd1234", "0.77777777", "0.55555", "999999"]
    secrets += [str(order["txid"]) for order in orders]
    secrets += [trade for order in orders for trade in order["trades"]]
    assert len(orders) == 3 and any(order["trades"] for order in orders)
    for name, text in texts(folder).items():
        assert not [word for word in secrets if word in text], name


def test_amounts_of_the_pairs_asked_for_stay_as_they_came(made: tuple[Hosted, Path]) -> None:
    (bought,) = (order for order in theirs(made[0]) if order["pair"] == "SOL/USDT")
    _, closed = captured(texts(made[1])["ClosedOrders"])
    (row,) = closed["closed"].values()
    assert Decimal(row["vol_exec"]) == Decimal(bought["executed"]) > 0
    assert Decimal(row["fee"]) == Decimal(bought["fee"]) > 0
    _, balances = captured(texts(made[1])["BalanceEx"])
    assert Decimal(balances["SOL"]["balance"]) > 3 and Decimal(balances["XXBT"]["balance"]) == 0


def test_equal_ids_stay_equal_across_answers(made: tuple[Hosted, Path]) -> None:
    saved = texts(made[1])
    closed, trades = captured(saved["ClosedOrders"])[1], captured(saved["TradesHistory"])[1]
    (order,), (trade,) = closed["closed"], trades["trades"].values()
    assert trade["ordertxid"] == order
    assert closed["closed"][order]["trades"] == list(trades["trades"])


def test_a_field_that_nobody_knows_is_redacted() -> None:
    row = {
        "status": "open",
        "sender": {"name": "Ann"},
        "email": "a@b.c",
        "number": 7,
        "yes": True,
        "none": None,
    }
    told = Redactor(["SOL/USDT"]).redacted("OpenOrders", {"open": {"OABCDE-FGHIJ-KLMNOP": row}})
    ((name, shown),) = told["open"].items()
    assert name == "OREDAC-TED00-000001" and shown["status"] == "open"
    assert shown["sender"] == {"redacted": 1} and shown["email"] == "redacted-000002"
    assert (shown["number"], shown["yes"], shown["none"]) == (0, True, None)


def test_a_staked_balance_of_a_traded_coin_is_other_money() -> None:
    row = {"balance": "12.5000", "hold_trade": "0.0000"}
    told = Redactor(["SOL/USDT"]).redacted("BalanceEx", {"SOL.F": row, "SOL": row, "ZEUR": row})
    assert [told[code]["balance"] for code in ("SOL.F", "SOL", "ZEUR")] == ["00.0000", "12.5000", "00.0000"]


def test_numbers_are_saved_as_they_came() -> None:
    answer = {"error": [], "result": {"time": Decimal("1795389299.4920"), "text": "a\\u0000b"}}
    text = Capture("Time", {}, answer, 1, None).text()
    assert '"time": 1795389299.4920' in text
    assert json.loads(text)["answer"]["result"]["text"] == "a\\u0000b"
    assert captured(text)[1]["time"] == Decimal("1795389299.4920")


def test_an_answer_that_our_words_do_not_read_is_told_with_its_place() -> None:
    good = {"balance": "1.0", "hold_trade": "0.0"}
    assert reading("BalanceEx", {"SOL": good, "ADA": {"balance": "1.0"}}) == (1, "KeyError: 'hold_trade'")
    read, problem = reading("SystemStatus", {"status": "dancing"})
    assert read == 0 and problem is not None and "dancing" in problem
    assert reading("OpenOrders", [])[1] is not None and reading("TradeVolume", None)[1] is not None


@pytest.mark.skipif(not PAYLOADS.exists(), reason="the payloads are not beside the repository")
@pytest.mark.parametrize(
    ("file", "endpoint"),
    [
        ("http_server_time", "Time"),
        ("http_system_status", "SystemStatus"),
        ("http_asset_pairs", "AssetPairs"),
        ("http_open_orders", "OpenOrders"),
        ("http_closed_orders", "ClosedOrders"),
        ("http_trades_history", "TradesHistory"),
    ],
)
def test_recorded_answers_are_read(file: str, endpoint: str) -> None:
    told = json.loads((PAYLOADS / f"{file}.json").read_text(encoding="utf-8"), parse_float=Decimal)
    read, problem = reading(endpoint, told.get("result", told))
    assert problem is None and read > 0
