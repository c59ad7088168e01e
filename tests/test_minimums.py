"""Minimums as people see, carry and correct them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lotwise.app.cli import cli
from lotwise.engine.codec import encode
from lotwise.engine.records import Learned
from lotwise.markets import Evidence
from lotwise.store.journal import Journal, read
from tests.runs import built_in, run_through, settings_of


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, ["minimums", *words])


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.journal"
    settings = settings_of(paper__bars=48)
    with Journal(path) as rows:
        run_through(settings, built_in(settings), rows)
    return path


def test_what_a_file_teaches_is_shown_and_comes_out_again(journal: Path) -> None:
    told = {"SOL/USDT": {"volume": "0.05", "cost": "2.5"}, "ADA/USDT": {"cost": "3"}}
    Path("kraken_learned_minimums.json").write_text(json.dumps(told))
    assert call("import", "--journal", str(journal)).exit_code == 0
    assert call("export", "out.json", "--journal", str(journal)).exit_code == 0
    assert json.loads(Path("out.json").read_text()) == told
    rows = json.loads(call("show", "--journal", str(journal), "--json").stdout)["pairs"]
    sol = next(row for row in rows if row["symbol"] == "SOL/USDT")
    assert (sol["min_quantity"], sol["learned_quantity"], sol["learned_notional"]) == ("0.02", "0.05", "2.5")


def test_a_run_goes_on_with_what_it_was_taught(journal: Path) -> None:
    Path("l.json").write_text('{"SOL/USDT": {"volume": "0.05"}}')
    assert call("import", "l.json", "--journal", str(journal)).exit_code == 0
    settings = settings_of(paper__bars=48)
    with Journal(journal) as rows:
        joined = run_through(settings, built_in(settings), rows)
        market = joined.engine.rules("SOL/USDT", joined.engine.state.time)
    assert str(getattr(market, "min_quantity", None)) == "0.05"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("nonsense", "is no JSON"),
        ("[]", "must hold"),
        ('{"SOL/USDT": {}}', "SOL/USDT: must hold volume, cost or both"),
        ('{"SOL/USDT": {"volum": "1"}}', "SOL/USDT: must hold volume, cost or both"),
        ('{"SOL/USDT": {"volume": "5000"}}', "SOL/USDT: volume: 5000 is absurd"),
        ('{"SOL/USDT": {"volume": "-1"}}', "SOL/USDT: volume: -1 is absurd"),
        ('{"SOL/USDT": {"cost": NaN}}', "SOL/USDT: cost: NaN is not finite"),
        ('{"SOL/USDT": {"cost": true}}', "SOL/USDT: cost: True is not a number"),
        ('{"FOO/USDT": {"cost": "1"}}', "FOO/USDT: no such pair is known"),
    ],
)
def test_an_absurd_file_teaches_nothing(journal: Path, content: str, words: str) -> None:
    before = list(read(journal))
    Path("l.json").write_text(content)
    result = call("import", "l.json", "--journal", str(journal))
    assert result.exit_code == 2 and words in result.stderr
    assert list(read(journal)) == before


def test_what_contradicts_a_listing_is_shown(journal: Path) -> None:
    with Journal(journal) as rows:
        evidence = Evidence(None, settings_of().target, True, 1)  # type: ignore[arg-type]
        rows.append(*encode(Learned("SOL/USDT", evidence, 1)))  # type: ignore[arg-type]
        rows.commit()
    assert "against its listing" in call("learned", "--journal", str(journal)).stdout


@pytest.mark.parametrize(("quote", "pairs", "missing"), [("USDT", 13, ["POL"]), ("USD", 14, [])])
def test_the_portfolio_of_the_original_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quote: str, pairs: int, missing: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = json.loads(call("init", "--quote", quote, "--json").stdout)
    assert (len(told["pairs"]), told["missing"]) == (pairs, missing)
    assert CliRunner().invoke(cli, ["config", "check"]).exit_code == 0
    assert call("init", "--quote", quote).exit_code == 2, "an existing file is kept"
