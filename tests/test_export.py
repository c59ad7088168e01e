"""A journal as tables: exact, complete, in stable columns; what tax tools read adds up to the same money."""

import csv
import io
import json
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lotwise.app.cli import cli
from lotwise.app.terminal import unwritten
from lotwise.domain.values import EPOCH, amount
from lotwise.engine.codec import encode, fold
from lotwise.engine.records import Deposited
from lotwise.engine.state import State
from lotwise.store.journal import Journal, read
from tests.runs import built_in, run_through, settings_of

D = Decimal


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on the built-in market, from which a little was withdrawn at its end."""
    path = tmp_path_factory.mktemp("export") / "run.journal"
    settings = settings_of(seed=3, dry_run_wallet="40", paper__bars=300)
    with Journal(path) as opened:
        made = run_through(settings, built_in(settings), opened)
        free = made.engine.state.ledger.free("USDT")
        assert free.number > 1
        for record in made.engine.handle(Deposited(amount("-0.5 USDT"), made.engine.state.time)):
            opened.append(*encode(record))
        opened.commit()
    return path


def export(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, ["export", *map(str, words)])


def table(*words: str | Path) -> list[dict[str, str]]:
    result = export(*words)
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def end_of(journal: Path) -> State:
    state = State()
    for row in read(journal):
        fold(state, row.kind, row.body)
    return state


def test_the_columns_are_those_that_are_documented(journal: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "live.md").read_text(encoding="utf-8")
    for words in (["trades"], ["ledger"], ["ledger", "--layout", "tax"]):
        header = export(*words, "--journal", journal).stdout.splitlines()[0]
        assert f"`{header}`" in text, f"docs/live.md does not name the columns of {words}"


def test_every_fill_is_a_row_with_the_numbers_as_booked(journal: Path) -> None:
    rows, state = table("trades", "--journal", journal), end_of(journal)
    assert len(rows) == state.totals.fills > 10
    assert len({row["trade_id"] for row in rows}) == len(rows)
    for row in rows:
        assert row["cost_asset"] == row["symbol"].partition("/")[2]
        off = D(row["price"]) * D(row["quantity"]) - D(row["cost"])
        assert abs(off) < D("0.00001"), "cost is price times quantity, rounded in the exchange's favour"
    earned = sum(D(row["realised_pnl"]) for row in rows if row["side"] == "sell")
    assert earned == state.totals.realised_pnl
    assert all(row["realised_pnl"] == "" for row in rows if row["side"] == "buy")


def test_postings_of_one_reference_sum_to_zero_and_all_of_them_to_what_is_ours(journal: Path) -> None:
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    ours: dict[str, Decimal] = defaultdict(Decimal)
    for row in table("ledger", "--journal", journal):
        sums[row["reference"], row["asset"]] += D(row["amount"])
        if row["account"] == "ours":
            ours[row["asset"]] += D(row["amount"])
            assert D(row["balance"]) == ours[row["asset"]]
    assert sums and not any(sums.values())
    ledger = end_of(journal).ledger
    assert {asset: n for asset, n in ours.items() if n} == {
        asset: ledger.total(asset).number for asset in ledger.assets()
    }


def test_what_tax_tools_read_adds_up_to_the_same_money(journal: Path) -> None:
    moved: dict[str, Decimal] = defaultdict(Decimal)
    rows = table("ledger", "--layout", "tax", "--journal", journal)
    for row in rows:
        for part, sign in (("Received", 1), ("Sent", -1), ("Fee", -1)):
            if row[f"{part} Amount"]:
                moved[row[f"{part} Currency"]] += sign * D(row[f"{part} Amount"])
        assert row["Date"].endswith(" UTC") and len(row["Date"]) == len("2026-01-31 13:00:00 UTC")
    ledger = end_of(journal).ledger
    assert {asset: n for asset, n in moved.items() if n} == {
        asset: ledger.total(asset).number for asset in ledger.assets()
    }
    assert "given to the run" in rows[0]["Description"] and "left" in rows[-1]["Description"]
    trades = table("trades", "--layout", "tax", "--journal", journal)
    assert trades == [row for row in rows if row["TxHash"]], "trades alone have a trade id"


def test_a_paper_run_is_named_as_such_in_what_tax_tools_read(journal: Path) -> None:
    result = export("trades", "--layout", "tax", "--journal", journal)
    assert "nothing of this happened" in result.stderr
    assert all("paper" in line for line in result.stdout.splitlines()[1:])


def test_parquet_has_the_same_texts(journal: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    out = tmp_path / "trades.parquet"
    assert export("trades", "--format", "parquet", "--out", out, "--journal", journal).exit_code == 0
    assert parquet.read_table(out).to_pylist() == table("trades", "--journal", journal)


def test_json_has_the_same_texts(journal: Path) -> None:
    told = json.loads(export("trades", "--json", "--journal", journal).stdout)
    assert [dict(zip(told["columns"], row, strict=True)) for row in told["rows"]] == table(
        "trades", "--journal", journal
    )
    assert export("trades", "--json", "--out", "x.csv", "--journal", journal).exit_code == 2


def test_parquet_without_its_extra_says_what_to_install(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    out = tmp_path / "trades.parquet"
    result = export("trades", "--format", "parquet", "--out", out, "--journal", journal)
    assert result.exit_code == 4 and "lotwise[parquet]" in result.stderr
    assert not out.exists()


def test_a_file_that_is_there_is_left_alone(journal: Path, tmp_path: Path) -> None:
    out = tmp_path / "trades.csv"
    assert export("trades", "--out", out, "--journal", journal).exit_code == 0
    before = out.read_bytes()
    assert export("ledger", "--out", out, "--journal", journal).exit_code == 2
    assert export("ledger", "--out", journal, "--journal", journal).exit_code == 2
    assert out.read_bytes() == before and b"\r\n" in before


def test_a_place_that_cannot_be_written_is_bad_input(journal: Path, tmp_path: Path) -> None:
    result = export("trades", "--out", tmp_path / "no/trades.csv", "--journal", journal)
    assert result.exit_code == 2 and "trades.csv: cannot be written: No such file" in result.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here, which takes nothing")
def test_a_full_disk_is_not_the_users_input() -> None:
    with pytest.raises(OSError) as full, Path("/dev/full").open("wb", buffering=0) as file:
        file.write(b"x")
    assert (unwritten("trades.csv", full.value).exit_code, unwritten("x", PermissionError()).exit_code) == (
        4,
        2,
    )


def test_a_journal_that_is_none_and_parquet_without_a_file_are_refused(tmp_path: Path) -> None:
    result = export("trades", "--journal", tmp_path / "none.journal")
    assert result.exit_code == 2 and "none.journal" in result.stderr
    result = export("trades", "--format", "parquet", "--journal", tmp_path / "none.journal")
    assert result.exit_code == 2 and "--out" in result.stderr


def test_a_journal_of_another_beginning_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "odd.journal"
    with Journal(path) as opened:
        opened.append(*encode(Deposited(amount("1 USDT"), EPOCH)))
        opened.commit()
    assert export("trades", "--journal", path).exit_code == 3
