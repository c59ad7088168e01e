"""What cannot be used is refused in one clear message with the right exit code, and nothing is lost."""

import gzip
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lotwise.app.cli import cli
from lotwise.engine.codec import CHECKPOINT
from lotwise.store.journal import GENESIS, Journal, chain, read

LOTWISE = [sys.executable, "-m", "lotwise"]
SECONDS = 120
BAD_INPUT, UNSAFE, UNAVAILABLE = 2, 3, 4


@pytest.fixture(autouse=True)
def fresh_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("LOTWISE__") or name == "PYTHONUNBUFFERED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LOTWISE__PAPER__BARS", "120")


def call(*args: str) -> Result:
    result = CliRunner().invoke(cli, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def refusal(*args: str, code: int = BAD_INPUT) -> str:
    """The one message of a command that refuses: no output, no traceback, the right exit code."""
    result = call(*args)
    assert result.exit_code == code, result.output
    assert not result.stdout
    assert result.stderr.startswith(("Error: ", "Usage: "))
    assert "Traceback" not in result.stderr
    message = result.stderr.partition("Error: ")[2]
    assert message.endswith("\n")
    return message.removesuffix("\n")


def one_line(*args: str, code: int = BAD_INPUT) -> str:
    message = refusal(*args, code=code)
    assert "\n" not in message
    return message


# ── options, environment and configuration ──────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["run", "fit"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--preset", "mikro"], "no preset 'mikro'; did you mean micro?"),
        (["--preset", "none of them"], "one of: micro, small"),
        (["--balance", "NaN"], "NaN is not finite"),
        (["--balance", "inf"], "inf is not finite"),
        (["--balance", "-1"], "-1 must be greater than or equal to 0"),
        (["--balance", "1e400"], "1e400 is outside 10^-30 .. 10^30"),
        (["--balance", "abc"], "'abc' is not a number"),
        (["--balance", ""], "'' is not a number"),
        (["--balance", "9" * 200], "a number of 200 characters is too long"),
        (["--config", "absent.json"], "absent.json: cannot be read: No such file or directory"),
    ],
)
def test_an_option_that_cannot_be_is_refused_with_what_is_wrong(
    command: str, options: list[str], words: str
) -> None:
    assert words in one_line(command, *options)
    assert not Path("runs").exists(), "nothing was begun"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--timeframe", "7m"], "'7m' must be '1m', '5m', '15m', '1h', '4h' or '1d'"),
        (["--seed", "-1"], "seed: -1 must be greater than or equal to 0"),
        (["--seed", "1.5"], "1.5 is no whole number"),
        (["--stake", "us d"], "'US D' must match"),
        (["--speed", "2"], "'2' is not one of 'max', '60', '1'"),
        (["--from", "yesterday"], "'yesterday' does not match the format"),
        (["--from", "2030-01-01"], "--from 2030-01-01 leaves no candles; there are some from 2025-07-29"),
        (
            ["--from", "2025-07-31", "--to", "2025-07-30"],
            "2025-07-31 --to 2025-07-30 leaves no candles",
        ),
    ],
)
def test_run_refuses_what_it_cannot_run_on(options: list[str], words: str) -> None:
    assert words in one_line("run", *options)
    assert not Path("runs").exists(), "nothing was begun"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--price", "SOL/USDT"], "--price SOL/USDT: write PAIR=PRICE, such as SOL/USDT=150"),
        (["--price", "SOL/USDT=abc"], "--price SOL/USDT=abc: 'abc' is not a number"),
        (["--price", "SOL/USDT=NaN"], "NaN is not finite"),
        (["--price", "SOL/USDT=-4"], "-4 is not above 0"),
        (["--price", "SOL/USDT=0"], "0 is not above 0"),
        (["--price", "SOL/USDT=1e400"], "1e400 is outside 10^-30 .. 10^30"),
        (["--price", "SOL/USDT=0.001"], "SOL/USDT: a price of 0.001 is below its tick, 0.01"),
        (["--price", "FOO/USDT=1"], "--price FOO/USDT: the pairs asked for are SOL/USDT, ADA/USDT"),
        (["--fixed", "0"], "--fixed: 0 is not above 0"),
        (["--fixed", "two"], "--fixed: 'two' is not a number"),
        (["--target", "5"], "5 is above 1; for 5 % write 0.05"),
        (["--rules", "dated"], "write it as 2025-07-29, or latest or floors"),
    ],
)
def test_fit_refuses_prices_and_sizes_that_cannot_be(options: list[str], words: str) -> None:
    assert words in one_line("fit", *options)


@pytest.mark.parametrize("day", ["nonsense", "2025-13-01"])
def test_fit_refuses_rules_of_no_day(day: str) -> None:
    assert "rules.rules_on" in refusal("fit", "--rules", day)


def test_a_pair_without_known_rules_is_named_and_what_is_known_is_told() -> None:
    message = refusal("run", "--stake", "xyz")
    assert message.startswith("no pair can be traded")
    assert "SOL/XYZ: SOL is known as SOL/USD, SOL/USDT" in message
    assert refusal("fit", "--quote", "XYZ") == message


def test_an_unknown_pair_and_key_in_the_environment_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__PAIRS", "FOO/USDT")
    assert "the built-in market has no FOO/USDT" in one_line("run")
    monkeypatch.setenv("LOTWISE__PAIRS", "SOLUSDT")
    assert "LOTWISE__PAIRS: pairs" in one_line("run")
    monkeypatch.delenv("LOTWISE__PAIRS")
    monkeypatch.setenv("LOTWISE__PAPER__BAR", "10")
    assert "LOTWISE__PAPER__BAR: unknown key; did you mean LOTWISE__PAPER__BARS?" in one_line("fit")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '{\n  "seed": 1,\n  "max_open_trade": 2\n}',
            "config.json:3: max_open_trade: unknown key",
        ),
        ('{\n  "stoploss": 0.03\n}', "config.json:2: stoploss: 0.03 is not between -1 and 0"),
        ('{\n  "target": NaN\n}', "config.json:2: target: NaN is not finite"),
        ('{\n  "seed": 1,\n}', "config.json:3: no valid JSON"),
        ('{"seed": 1, "seed": 2}', "the key 'seed' stands twice (line 1)"),
    ],
)
@pytest.mark.parametrize("command", ["run", "fit"])
def test_a_mistake_in_the_configuration_is_named_by_file_line_and_key(
    command: str, text: str, words: str
) -> None:
    Path("config.json").write_text(text)
    assert words in one_line(command)


# ── candles ─────────────────────────────────────────────────────────────────────────────────────

HEADER = "date,open,high,low,close,volume"
HOUR = 3_600


def bars(count: int) -> list[str]:
    return [f"{1_753_747_200 + n * HOUR},150,151,149,150.5,10" for n in range(count)]


def candle_file(name: str, *rows: str) -> Path:
    folder = Path("candles")
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(f"{row}\n" for row in rows))
    return folder


@pytest.fixture
def only_sol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__PAIRS", "SOL/USDT")


ONE, TWO = bars(2)
BREAKAGES = {
    "empty": ([], ": is empty; it needs the columns date, open"),
    "header alone": ([HEADER], ": has a header and no candles"),
    "no header": ([ONE, TWO], ": lacks the columns date, open"),
    "missing column": ([HEADER.replace("low", "lo"), ONE], ": lacks the columns low (did you mean 'lo'?)"),
    "missing field": ([HEADER, ONE, TWO.removesuffix(",10")], ", line 3: has 5 fields"),
    "no number": ([HEADER, ONE, TWO.replace("151", "up")], ", line 3, field high: 'up' is not a number"),
    "NaN": ([HEADER, ONE, TWO.replace("150.5", "NaN")], ", line 3, field close: 'NaN' is not a number"),
    "negative": ([HEADER, ONE, TWO.replace("149", "-1")], ", line 3, field low: -1 is not above 0"),
    "high below low": ([HEADER, ONE, TWO.replace("151", "1")], ", line 3, field high: 1 is below"),
    "twice": ([HEADER, ONE, TWO, TWO], ", line 4, field date: 2025-07-29T01:00:00Z comes twice"),
    "unsorted": ([HEADER, TWO, ONE], ", line 3, field date: 2025-07-29T00:00:00Z is earlier"),
    "off its grid": ([HEADER, ONE.replace("200,", "201,", 1)], ", line 2, field date: 2025-07-29T00:00:01Z"),
    "no date": ([HEADER, "soon,1,1,1,1,1"], ", line 2, field date: 'soon' is no date"),
    "absurd": ([HEADER, ONE, TWO.replace("150,", "1e900,")], ", line 3, field open: 1e900 is outside"),
}


@pytest.mark.usefixtures("only_sol")
@pytest.mark.parametrize("command", ["run", "fit"])
@pytest.mark.parametrize("breakage", BREAKAGES)
def test_a_broken_candle_file_is_named_with_line_and_field(command: str, breakage: str) -> None:
    rows, words = BREAKAGES[breakage]
    folder = candle_file("SOL_USDT-1h.csv", *rows)
    message = one_line(command, "--candles", str(folder))
    assert message.startswith(f"{folder}/SOL_USDT-1h.csv{words}")
    assert not Path("runs").exists()


@pytest.mark.usefixtures("only_sol")
@pytest.mark.parametrize("command", ["run", "fit"])
def test_a_folder_without_the_candles_is_refused_and_what_is_there_is_told(command: str) -> None:
    assert "No such file or directory" in one_line(command, "--candles", "absent")
    Path("file").touch()
    assert "Not a directory" in one_line(command, "--candles", "file")
    Path("candles").mkdir()
    assert "has no 1h candles SOL/USDT; there is no candle file" in one_line(command, "--candles", "candles")
    candle_file("ADA_USDT-5m.csv", HEADER, *bars(3))
    assert "there is ADA/USDT 5m" in one_line(command, "--candles", "candles")
    candle_file("candles of SOL.csv", HEADER)
    assert "names no pair and timeframe; rename it like SOL_USDT-1h.csv.gz" in one_line(
        command, "--candles", "candles"
    )


@pytest.mark.usefixtures("only_sol")
@pytest.mark.parametrize("command", ["run", "fit"])
def test_a_damaged_gzip_or_parquet_file_is_named(command: str) -> None:
    folder = candle_file("SOL_USDT-1h.csv.gz")
    whole = gzip.compress("\n".join([HEADER, *bars(50)]).encode())
    (folder / "SOL_USDT-1h.csv.gz").write_bytes(whole[: len(whole) // 2])
    assert "SOL_USDT-1h.csv.gz: is a cut off or damaged gzip file" in one_line(
        command, "--candles", "candles"
    )
    (folder / "SOL_USDT-1h.csv.gz").rename(folder / "SOL_USDT-1h.parquet")
    assert "SOL_USDT-1h.parquet: " in one_line(command, "--candles", "candles")


@pytest.mark.usefixtures("only_sol")
def test_gaps_are_told_and_no_reason_to_refuse() -> None:
    folder = candle_file("SOL_USDT-1h.csv", HEADER, *bars(30)[:10], *bars(30)[15:])
    result = call("run", "--candles", str(folder), "--json")
    assert result.exit_code == 0
    assert "note: SOL/USDT lacks 5 bars of 1h" in result.stderr
    assert json.loads(result.stdout)["finished"] is True


# ── journals ────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def journal() -> Path:
    assert call(*RUN).exit_code == 0
    return Path("a.journal")


RUN = ["run", "--journal", "a.journal"]
WHY = ["why", "MANA/USDT", "--journal", "a.journal"]
REPLAY = ["replay", "a.journal"]
EACH = pytest.mark.parametrize("command", [RUN, WHY, REPLAY], ids=lambda command: command[0])


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount, f"changes nothing: {statement}"


@pytest.mark.parametrize("command", [WHY, REPLAY], ids=lambda command: command[0])
def test_a_journal_that_is_not_there_cannot_be_read(command: list[str]) -> None:
    assert one_line(*command).startswith(
        "a.journal: cannot be read (No such file or directory); give the path"
    )
    assert not Path("a.journal").exists()
    default = [word for word in command if word not in ("--journal", "a.journal")]
    assert "there is no journal in ./runs; start one with `lotwise run`" in one_line(*default)


@EACH
def test_a_tampered_journal_is_refused_by_the_number_of_the_row(journal: Path, command: list[str]) -> None:
    change(journal, "UPDATE rows SET body = replace(body, '2.86', '286') WHERE number = 1")
    assert one_line(*command).startswith(
        "a.journal: row 1 is not what was written (the hash chain breaks there)"
    )


@EACH
def test_a_truncated_journal_is_refused(journal: Path, command: list[str]) -> None:
    whole = journal.read_bytes()
    for size in (50, len(whole) // 2, len(whole) - 4096):
        journal.write_bytes(whole[:size])
        message = one_line(*command)
        assert message.startswith("a.journal: ")
        assert message.endswith("restore it from a backup, or start a new one") or "row" in message


@EACH
def test_a_file_that_is_no_journal_is_refused_and_kept(command: list[str]) -> None:
    file = Path("a.journal")
    file.write_text("These are my notes. " * 9)
    assert "file is not a database" in one_line(*command)
    assert file.read_text() == "These are my notes. " * 9
    file.unlink()
    with closing(sqlite3.connect(file)) as db, db:
        db.execute("CREATE TABLE notes(text TEXT)")
    assert "is a database, but no lotwise journal" in one_line(*command)


@EACH
def test_a_journal_of_another_version_is_refused(journal: Path, command: list[str]) -> None:
    with closing(sqlite3.connect(journal)) as db, db:
        db.execute("PRAGMA user_version=2")
    assert "is a journal of version 2; this lotwise reads version 1" in one_line(*command)


def test_a_second_run_on_a_journal_in_use_is_refused_and_readers_are_not(journal: Path) -> None:
    with Journal(journal):
        message = one_line(*RUN, code=UNSAFE)
        assert message == (
            "a.journal: is in use by another run; wait for it to end, or choose another --journal"
        )
        assert call(*REPLAY).exit_code == 0
        assert call(*WHY).exit_code == 0


def forged(path: Path, number: int, kind: str, body: str) -> None:
    """Change a row and hash all rows anew, as somebody who knows how would."""
    rows = [(row.kind, row.body) for row in read(path)]
    rows[number] = (kind, body)
    before = GENESIS
    with closing(sqlite3.connect(path)) as db, db:
        for place, (kind_here, body_here) in enumerate(rows):
            before = chain(before, kind_here, body_here)
            row = (kind_here, body_here, before, place)
            db.execute("UPDATE rows SET kind = ?, body = ?, hash = ? WHERE number = ?", row)


FORGERIES = {
    "an unknown kind": ("Wished", "{}"),
    "no record": ("Deposited", "{}"),
    "too little money": ("Deposited", '{"amount":{"asset":"USDT","number":"0.01"},"time":1753747200000}'),
    "another checkpoint": (CHECKPOINT, '{"hash":"0","state":{}}'),
}


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("command", [RUN, REPLAY], ids=lambda command: command[0])
def test_rows_that_no_run_can_have_written_are_refused(
    journal: Path, command: list[str], forgery: str
) -> None:
    forged(journal, 1, *FORGERIES[forgery])
    message = one_line(*command, code=UNSAFE)
    assert message.startswith("a.journal: ")
    assert "cannot be folded: " in message


def test_replay_says_in_json_how_far_a_journal_is_good(journal: Path) -> None:
    whole = [row.hash for row in read(journal)]
    change(journal, "UPDATE rows SET body = body || ' ' WHERE number = 5")
    result = call(*REPLAY, "--json")
    assert result.exit_code == BAD_INPUT
    told = json.loads(result.stdout)
    assert (told["ok"], told["rows"], told["journal_hash"]) == (False, 5, whole[4])
    assert "row 5 is not what was written" in result.stderr


@pytest.mark.parametrize("at", ["nonsense", "2025-02-30", "", "25:00"])
def test_why_refuses_a_time_that_is_none(journal: Path, at: str) -> None:
    message = one_line(*WHY, "--at", at)
    assert message == f"--at {at} is no time; write it as 2025-03-01T12:00"


def test_why_names_the_pairs_there_are(journal: Path) -> None:
    message = one_line("why", "FOO/USDT", "--journal", "a.journal")
    assert message.startswith("a.journal has no decision on FOO/USDT; it has some on MANA/USDT")


def test_a_journal_cannot_lie_below_a_file_or_be_a_folder() -> None:
    Path("file").write_text("mine")
    Path("folder").mkdir()
    assert "file/a.journal: cannot be written" in one_line("run", "--journal", "file/a.journal")
    assert one_line("run", "--journal", "folder").startswith("folder: SQLite says: unable to open")
    assert Path("file").read_text() == "mine"


# ── streams and disks that fail ─────────────────────────────────────────────────────────────────


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `lotwise` is this one; it fails when any part of a pipe does."""
    names = {"LOTWISE": " ".join(LOTWISE), "PATH": os.environ["PATH"]}
    script = f'set -o pipefail; lotwise() {{ {names["LOTWISE"]} "$@"; }}; {command}'
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=SECONDS)


def test_a_reader_that_leaves_is_no_trouble() -> None:
    for command in ("fit", "fit --json", "run", "config schema"):
        done = shell(f"lotwise {command} | true")
        assert (done.returncode, done.stderr) == (0, ""), command
    done = shell("yes '{}' | head -20000 | lotwise size | head -1")
    assert json.loads(done.stdout)["decision"] == "error"
    assert not done.stderr


def test_closed_streams_are_no_trouble() -> None:
    assert shell("lotwise size <&-").returncode == 0
    assert shell("lotwise fit >&- 2>&-").returncode == 0
    done = shell("lotwise run --journal closed.journal <&- >&-")
    assert (done.returncode, done.stderr) == (0, "")
    assert call("replay", "closed.journal").exit_code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here, which takes nothing")
def test_an_output_that_takes_nothing_is_named() -> None:
    for command in ("fit", "fit --json", "run"):
        done = shell(f"lotwise {command} >/dev/full")
        assert done.returncode == UNAVAILABLE, command
        assert done.stderr == "Error: output: No space left on device\n"


def test_a_disk_that_takes_no_more_ends_the_run_and_keeps_what_was_committed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOTWISE__PAPER__BARS", "600")
    options = "--balance 40 --json"
    full = shell(f"ulimit -f 80; trap '' XFSZ; lotwise run --journal a.journal {options}")
    assert full.returncode == UNAVAILABLE
    assert "free some space and start again: all committed rows are there" in full.stderr
    assert "Traceback" not in full.stderr
    cut = call(*REPLAY, "--json")
    assert call("run", "--journal", "whole.journal", *options.split()).exit_code == 0
    rows = list(read(Path("whole.journal")))
    assert 2 <= json.loads(cut.stdout)["rows"] < len(rows)
    assert call(*RUN, *options.split()).exit_code == 0
    assert list(read(Path("a.journal"))) == rows


# ── a start that fails leaves nothing ───────────────────────────────────────────────────────────


@pytest.mark.parametrize("option", [["--base-url", ""], ["--ws-url", ""], ["--yes"]])
def test_what_is_for_kraken_is_not_passed_over(option: list[str]) -> None:
    assert one_line("run", *option) == "--base-url, --ws-url and --yes are for --live and --feed kraken"


def test_a_start_that_fails_leaves_no_journal_and_takes_none_away(journal: Path) -> None:
    before = list(read(journal))
    assert "holds another run" in one_line(*RUN, "--seed", "2")
    assert list(read(journal)) == before
    assert "KRAKEN_API_KEY" in one_line("run", "--live", "--yes", "--journal", "b.journal")
    assert not Path("b.journal").exists()
