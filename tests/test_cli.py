"""What a person or a program meets at the command line: words, JSON, exit codes, signals."""

import json
import os
import pty
import re
import select
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import IO, Any

import pytest
from click.testing import CliRunner, Result

from lotwise.app.cli import COMMANDS, cli
from lotwise.engine.codec import encode
from lotwise.engine.records import Opened
from lotwise.store.journal import Journal

LOTWISE = [sys.executable, "-m", "lotwise"]
BARS = 200
SECONDS = 60
D = Decimal
PAIRS = [f"{base}/USDT" for base in ("SOL", "ADA", "DOGE", "SHIB", "MANA")]

REQUEST: dict[str, Any] = {
    "symbol": "SOL/USDT",
    "price": "150.12",
    "free": "2.86",
    "fee_rate": "0.004",
    "fee_asset": "quote",
    "market": {
        "tick_size": "0.01",
        "lot_step": "0.00000001",
        "min_quantity": "0.01",
        "min_notional": "0.5",
        "max_quantity": None,
        "quote_precision": 8,
    },
    "policy": {
        "fraction": "0.95",
        "cap": "10",
        "risk_target": None,
        "floor": "2.5",
        "reserve": "0",
        "stop": "0.02",
        "exit_headroom": "1",
        "raise_to_minimum": True,
    },
}


@pytest.fixture(autouse=True)
def fresh_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder, 80 columns, nothing configured, a short built-in market."""
    monkeypatch.chdir(tmp_path)
    for name in [*os.environ]:
        if name.startswith("LOTWISE__") or name in ("NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("LOTWISE__PAPER__BARS", str(BARS))


def call(*args: str, stdin: str = "") -> Result:
    """The command in this process; anything but an exit is a defect."""
    result = CliRunner().invoke(cli, list(args), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def answer(*args: str) -> Any:
    """The JSON of a command that succeeds: one line on standard output."""
    result = call(*args, "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("\n") == 1
    return json.loads(result.stdout)


def run_whole(path: str, *options: str) -> Any:
    result = answer("run", "--journal", path, *options)
    assert result["finished"] is True
    return result


def hashes(path: str) -> Any:
    replayed = answer("replay", path)
    assert replayed.pop("ok") is True
    return replayed


def is_decimal(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"-?\d+(\.\d*[1-9])?", value) is not None


# ── finding one's way ───────────────────────────────────────────────────────────────────────────

EVERY = [[name] for name in COMMANDS] + [["config", name] for name in ("init", "check", "show", "schema")]


WITHOUT_JSON = ("config", "minimums", "strategy", "sandbox", "export")
"""Groups of commands, a server, and what writes data in formats of its own."""


@pytest.mark.parametrize("command", [[], *EVERY], ids=lambda command: " ".join(command) or "lotwise")
def test_every_command_explains_itself_within_80_columns(command: list[str]) -> None:
    result = call(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert call(*command, "-h").stdout == result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    if command and command[-1] not in WITHOUT_JSON:
        assert "--json" in result.stdout


def test_the_first_help_names_every_command_and_the_exit_codes() -> None:
    told = call("--help").stdout
    assert all(re.search(rf"^  {name} +\w", told, re.M) for name in COMMANDS)
    assert "0 done, 2 bad input or configuration, 3 refused for safety" in told


@pytest.mark.parametrize("name", COMMANDS)
def test_the_one_line_of_the_first_help_is_true_of_a_command_that_is_there(name: str) -> None:
    assert import_module(f"lotwise.app.commands.{name}").command.name == name


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["fitt"], "Did you mean 'fit'?"),
        (["siez"], "Did you mean 'size'?"),
        (["rpelay"], "Did you mean 'replay'?"),
        (["buy"], "One of: size, fit, project, run, why, replay"),
        (["fit", "--balnce", "3"], "'--balance'"),
        (["run", "--sped", "max"], "'--speed'"),
        (["fit", "--preset", "mikro"], "did you mean micro?"),
        (["run", "--speed", "2"], "'max', '60', '1'"),
    ],
)
def test_a_word_that_is_nearly_right_gets_the_right_one(args: list[str], words: str) -> None:
    result = call(*args)
    assert result.exit_code == 2
    assert words in result.stderr
    assert not result.stdout


def test_the_installed_command_and_the_module_say_the_same_version() -> None:
    script = Path(sys.executable).with_name("lotwise")
    if not script.exists():
        pytest.skip("the command is not installed beside this Python")
    starts: list[list[str]] = [LOTWISE, [str(script)]]
    told = {subprocess.check_output([*start, "--version"], text=True, timeout=SECONDS) for start in starts}
    assert len(told) == 1
    assert re.fullmatch(r"lotwise, version \d+\.\d+\.\d+\n", told.pop())


# ── size ────────────────────────────────────────────────────────────────────────────────────────


def lines(*requests: object) -> str:
    return "".join((text if isinstance(text, str) else json.dumps(text)) + "\n" for text in requests)


def test_size_answers_each_line_in_order_with_the_fields_of_its_decision() -> None:
    poor = {**REQUEST, "free": "2.505"}
    result = call("size", stdin=lines(REQUEST, poor))
    assert result.exit_code == 0
    sized, refused = map(json.loads, result.stdout.splitlines())
    assert sized == {
        "decision": "sized",
        "symbol": "SOL/USDT",
        "quantity": "0.01809885",
        "notional": "2.716999362",
        "fee": "0.010868",
        "fee_asset": "quote",
        "debit": "2.72786737",
        "received": "0.01809885",
        "exit_notional": "2.6625218235",
        "bound": "fraction",
    }
    assert list(refused) == ["decision", "symbol", "reason", "needed", "short"]
    assert (refused["decision"], refused["reason"]) == ("refused", "FEES_EXCEED_FREE")
    assert D(refused["needed"]) - D("2.505") == D(refused["short"])
    again = call("size", stdin=lines({**REQUEST, "free": refused["needed"]}))
    assert json.loads(again.stdout)["decision"] == "sized"


def test_size_answers_the_good_lines_beside_the_bad_and_ends_with_2() -> None:
    wrong = {**REQUEST, "fee_rate": "0.0000001"}
    result = call("size", stdin=lines(REQUEST, "no json", "", wrong, {**REQUEST, "prise": "1"}, REQUEST))
    assert result.exit_code == 2
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["decision"] for answer in answers] == ["sized", "error", "error", "error", "sized"]
    assert [(answer["line"], answer["field"]) for answer in answers[1:4]] == [
        (2, ""),
        (4, "fee_rate"),
        (5, "prise"),
    ]
    assert "did you mean 'price'?" in answers[3]["error"]
    assert all(list(answer) == ["decision", "line", "field", "error"] for answer in answers[1:4])
    assert result.stderr == "Error: 3 of the lines are no valid requests; see their answers\n"


def test_size_reads_a_file_and_says_when_there_is_none(tmp_path: Path) -> None:
    Path("orders.jsonl").write_text(lines(REQUEST))
    assert call("size", "orders.jsonl").stdout == call("size", "--json", stdin=lines(REQUEST)).stdout
    missing = call("size", "absent.jsonl")
    assert missing.exit_code == 2
    assert "absent.jsonl" in missing.stderr


def test_size_answers_a_line_before_the_next_is_written() -> None:
    with subprocess.Popen(
        [*LOTWISE, "size"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as size:
        assert size.stdin is not None and size.stdout is not None
        for _ in range(2):
            size.stdin.write(lines(REQUEST))
            size.stdin.flush()
            assert select.select([size.stdout], [], [], SECONDS)[0], "no answer"
            assert json.loads(size.stdout.readline())["decision"] == "sized"


# ── fit and project ─────────────────────────────────────────────────────────────────────────────


def test_fit_under_the_floors_alone_trades_all_five_and_the_fixed_size_none() -> None:
    told = answer("fit", "--rules", "floors", "--balance", "2.86", "--fixed", "2.00")
    pairs = told.pop("pairs")
    assert told.pop("fixed") == {"size": "2", "tradeable": 0}
    assert told == {"balance": "2.86", "quote": "USDT", "rules": "floors", "tradeable": 5, "pays_fees": 5}
    assert [pair["symbol"] for pair in pairs] == PAIRS
    assert [pair["tier"] for pair in pairs] == ["TIER_1", "TIER_1", "MEME", "MEME", "MID_TIER"]
    for pair in pairs:
        assert pair["decision"] == "sized"
        assert D("2.716") < D(pair["notional"]) <= D("2.717")
        assert D(pair["notional"]) <= D(pair["quantity"]) * D(pair["price"])
        assert (pair["reason"], pair["needed"]) == (None, None)


def test_fit_has_the_fields_that_programs_rely_on() -> None:
    told = answer("fit", "--balance", "2.86", "--rules", "2025-07-29")
    top = ["balance", "quote", "rules", "tradeable", "pairs", "fixed"]
    assert [field for field in told if field in top] == top
    assert told["rules"] == "2025-07-29"
    assert told["fixed"] is None
    fields = ["symbol", "tier", "decision", "quantity", "notional", "reason", "needed", "break_even_move"]
    decisions = set()
    for pair in told["pairs"]:
        assert list(pair)[:9] == [*fields, "losses_to_lock_out"]
        decisions.add(pair["decision"])
        given = ("quantity", "notional") if pair["decision"] == "sized" else ("needed",)
        for field in ("quantity", "notional", "needed"):
            assert is_decimal(pair[field]) if field in given else pair[field] is None
        assert is_decimal(pair["break_even_move"])
        assert type(pair["losses_to_lock_out"]) is int
    assert decisions == {"sized", "refused"}, "the rules of that day take some and refuse others"


def test_fit_says_first_when_nothing_should_be_traded_and_what_would_change_it() -> None:
    poor = call("fit", "--balance", "0.10").stdout.splitlines()[0]
    assert poor.startswith("Do not trade: 0.1 USDT fits none of 5 pairs. The least that would do: ")
    cheap = call("fit", "--rules", "floors", "--target", "0.001").stdout
    assert cheap.startswith("Do not trade: no pair pays its fees at a target of 0.1 %. It would take")


def test_fit_shows_whose_prices_and_rules_it_used() -> None:
    told = call("fit", "--price", "SOL/USDT=150").stdout
    assert re.search(r"^SOL/USDT .* 150 ", told, re.M)
    assert re.search(r"^ADA/USDT .* \(0\.395\) ", told, re.M)
    assert "(Price): reference of 2025-11-13, reference of 2026-01-02." in told
    by_pair = {pair["symbol"]: pair for pair in answer("fit", "--price", "SOL/USDT=150")["pairs"]}
    assert by_pair["SOL/USDT"]["priced"] == "given"
    assert by_pair["ADA/USDT"]["priced"] == "reference of 2026-01-02"
    assert all(re.match(r"\d{4}-\d\d-\d\d \(", pair["rules_of"]) for pair in by_pair.values())


def test_project_gives_the_original_figure_before_fees_and_less_after() -> None:
    told = answer("project", "--balance", "2.86", "--trades", "10", "--gain", "0.01")
    assert [field for field in told if field in ("gross", "net", "break_even_move", "monte_carlo")] == [
        "gross",
        "net",
        "break_even_move",
        "monte_carlo",
    ]
    assert list(told["gross"])[:3] == list(told["net"])[:3] == ["final", "profit", "growth"]
    assert all(is_decimal(told["gross"][field]) for field in ("final", "profit", "growth"))
    assert told["gross"]["final"].startswith("3.14")
    assert told["gross"]["profit"].startswith("0.28")
    assert told["gross"]["growth"].startswith("0.099")
    assert D(told["net"]["final"]) < D(told["gross"]["final"])
    assert told["monte_carlo"] is None


def test_project_draws_paths_with_the_fields_that_programs_rely_on() -> None:
    pytest.importorskip("numba")
    plan = ["--balance", "2.86", "--trades", "10", "--gain", "0.01", "--win-rate", "0.5", "--loss", "0.02"]
    told = answer("project", *plan, "--paths", "1000")["monte_carlo"]
    fields = ["median", "p05", "p95", "loss_probability", "lock_out_probability", "lock_out_by_trade"]
    assert [field for field in told if field in fields] == fields
    assert D(told["p05"]) <= D(told["median"]) <= D(told["p95"])
    assert len(told["lock_out_by_trade"]) == 10


# ── run, why and replay ─────────────────────────────────────────────────────────────────────────


def test_run_has_the_fields_that_programs_rely_on() -> None:
    told = run_whole("a.journal")
    assert list(told)[:9] == [
        "trades",
        "orders",
        "size_rejections",
        "skips",
        "equity_start",
        "equity_end",
        "fees_paid",
        "max_drawdown_fraction",
        "journal",
    ]
    assert (told["size_rejections"], told["equity_start"], told["journal"]) == (0, "2.86", "a.journal")
    assert told["orders"] > told["trades"] > 0
    assert all(type(count) is int for count in told["skips"].values())
    for field in ("equity_end", "fees_paid", "max_drawdown_fraction"):
        assert is_decimal(told[field]) and D(told[field]) > 0


def test_run_says_in_plain_lines_what_it_is_and_what_came_of_it() -> None:
    result = call("run")
    assert result.exit_code == 0
    first, *_, last = result.stdout.splitlines()
    assert first.startswith("lotwise, paper: built-in synthetic market, seed 1")
    assert "not a profitable strategy" in first
    assert last == "Journal: runs/run-001.journal"
    assert re.search(r"^Equity 2\.8600 USDT -> \d\.\d{4} USDT .* fees paid", result.stdout, re.M)
    assert re.search(r"^Orders \d+, refused for size 0;", result.stdout, re.M)
    assert "\x1b" not in result.stdout, "plain lines where there is no terminal"
    assert not result.stderr


def test_each_run_without_a_path_gets_its_own_journal_and_the_newest_is_read() -> None:
    first, second = answer("run"), answer("run", "--seed", "2")
    assert [first["journal"], second["journal"]] == ["runs/run-001.journal", "runs/run-002.journal"]
    assert hashes("runs/run-001.journal") != hashes("runs/run-002.journal")
    assert answer("replay") == answer("replay", "runs/run-002.journal")
    symbol = next(pair for pair in PAIRS if call("why", pair).exit_code == 0)
    assert answer("why", symbol)["journal"] == "runs/run-002.journal"
    run_whole("runs/another.journal", "--seed", "3")
    assert answer("replay") == answer("replay", "runs/another.journal")


def test_the_journal_that_is_being_written_is_the_newest() -> None:
    for path in ("runs/a.journal", "runs/b.journal"):
        run_whole(path, "--seed", "2" if "a" in path else "3")
    with Journal(Path("runs/a.journal")) as journal:
        journal.append(*encode(Opened("a", "paper", {})))
        journal.commit()
        os.utime("runs/a.journal", (0, 0))
        os.utime("runs/b.journal", (1, 1))
        assert answer("replay") == answer("replay", "runs/a.journal")


def test_equal_runs_give_equal_hashes_wherever_they_are_kept() -> None:
    run_whole("a.journal")
    run_whole("elsewhere/b.journal")
    told = hashes("a.journal")
    assert told == hashes("elsewhere/b.journal")
    assert list(told) == ["rows", "journal_hash", "state_hash"]
    assert told["rows"] > 10
    assert all(re.fullmatch("[0-9a-f]{64}", told[name]) for name in ("journal_hash", "state_hash"))


def test_a_finished_run_started_again_adds_nothing() -> None:
    first = run_whole("a.journal")
    before = hashes("a.journal")
    result = call("run", "--journal", "a.journal")
    assert result.stdout.startswith("Going on with a.journal after 2025-08-0")
    assert hashes("a.journal") == before
    assert run_whole("a.journal") == first


def test_a_finished_run_that_holds_something_is_worth_as_much_when_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LOTWISE__PAPER__BARS", "216")
    first = run_whole("a.journal", "--balance", "40")
    assert first["positions"], "the run must end with a position"
    assert run_whole("a.journal", "--balance", "40")["equity_end"] == first["equity_end"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--seed", "3"], "seed was 1, is 3"),
        (["--balance", "3"], "dry_run_wallet was 2.86, is 3"),
        (["--preset", "small"], "max_open_trades was 1, is 2"),
        (["--from", "2025-07-30"], "from 2025-07-30"),
    ],
)
def test_a_journal_of_a_run_with_other_settings_is_refused_by_what_differs(
    options: list[str], words: str
) -> None:
    run_whole("a.journal")
    before = hashes("a.journal")
    result = call("run", "--journal", "a.journal", *options)
    assert result.exit_code == 2
    assert "a.journal holds another run" in result.stderr
    assert words in result.stderr
    assert "Give the same options, or another --journal." in result.stderr
    assert hashes("a.journal") == before


def test_why_shows_the_ladder_the_first_no_the_remedy_and_the_counts() -> None:
    skips = run_whole("a.journal")["skips"]
    told = [answer("why", pair, "--journal", "a.journal") for pair in ("ADA/USDT", "SHIB/USDT")]
    assert all(list(found)[:4] == ["symbol", "decision", "repeated", "sized"] for found in told)
    refused = next(found for found in told if found["decision"]["reason"])
    *passed, no = refused["decision"]["rungs"]
    assert all(rung["passed"] for rung in passed)
    assert (no["passed"], bool(no["have"]), bool(no["need"]), bool(no["remedy"])) == (False, True, True, True)
    assert is_decimal(refused["decision"]["price"]) and is_decimal(refused["decision"]["free"])
    assert set(refused["reasons"]) <= set(skips)
    screen = call("why", refused["symbol"].lower(), "--journal", "a.journal").stdout
    assert f"skipped: {refused['decision']['reason']}" in screen.replace("\n", " ").replace("  ", " ")
    assert re.search(rf"^NO +{no['check']} ", screen, re.M)
    assert len(re.findall(r"^yes ", screen, re.M)) == len(passed)
    assert f"What would change it: {no['remedy']}" in screen
    assert re.search(r"^All \d+ decisions on it from", screen, re.M)


def test_why_at_a_time_shows_the_last_decision_until_then() -> None:
    run_whole("a.journal")
    last = answer("why", "ADA/USDT", "--journal", "a.journal")["decision"]
    early = call("why", "ADA/USDT", "--journal", "a.journal", "--at", "2025-07-29")
    assert early.exit_code == 2
    (first,) = re.findall(r"is of (\S+ \S+);", early.stderr)
    at_first = answer("why", "ADA/USDT", "--journal", "a.journal", "--at", first)["decision"]
    assert at_first["number"] < last["number"]
    assert answer("why", "ADA/USDT", "--journal", "a.journal", "--at", "2030-01-01")["decision"] == last


# ── stopping and going on ───────────────────────────────────────────────────────────────────────


@contextmanager
def started(path: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a process of its own; it does not outlive the test."""
    command = [*LOTWISE, "run", "--journal", path, *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        deadline = Timer(SECONDS, process.kill)
        deadline.start()
        try:
            yield process
        finally:
            deadline.cancel()


def wait_for_the_first_moment(stream: IO[str] | None) -> None:
    assert stream is not None
    for line in stream:
        if "equity" in line:
            return
    raise AssertionError("the run has ended early")


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_prints_the_summary_and_the_run_goes_on_to_the_same_end(sign: signal.Signals) -> None:
    with started("a.journal", "--speed", "60") as process:
        wait_for_the_first_moment(process.stdout)
        process.send_signal(sign)
        told, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (0, "")
    assert "Equity 2.8600 USDT -> 2.8600 USDT" in told
    assert told.endswith("Stopped. Go on with: lotwise run --journal a.journal --speed 60\n")
    run_whole("a.journal")
    run_whole("whole.journal")
    assert hashes("a.journal") == hashes("whole.journal")


def test_ctrl_c_with_json_gives_the_summary_so_far() -> None:
    with started("a.journal", "--speed", "60", "--json") as process:
        wait_for_the_first_moment(process.stderr)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert json.loads(told)["finished"] is False


def count_rows(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        try:
            return int(db.execute("SELECT count(*) FROM rows").fetchone()[0])
        except sqlite3.OperationalError:
            return 0  # it is just being made


def test_a_killed_run_goes_on_to_the_same_end_as_one_that_was_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOTWISE__PAPER__BARS", "3000")
    options = ["--balance", "4000", "--preset", "small"]
    with started("killed.journal", *options) as process:
        while count_rows(Path("killed.journal")) < 100:
            assert process.poll() is None, "it was to be killed in mid-run"
            time.sleep(0.002)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    cut = answer("replay", "killed.journal")
    whole = run_whole("whole.journal", *options)
    assert 0 < cut["rows"] < answer("replay", "whole.journal")["rows"]
    rest = run_whole("killed.journal", *options)
    assert {**rest, "journal": ""} == {**whole, "journal": ""}
    assert hashes("killed.journal") == hashes("whole.journal")


# ── on a terminal ───────────────────────────────────────────────────────────────────────────────

COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-7]|38;5;\d+|9[0-7])m")


def on_a_terminal(*args: str, **environment: str) -> bytes:
    """What a terminal of 80 x 24 is sent."""
    terminal, end = pty.openpty()
    size = {"COLUMNS": "80", "LINES": "24"}
    with subprocess.Popen(
        [*LOTWISE, *args], stdin=end, stdout=end, stderr=end, env={**os.environ, **size, **environment}
    ) as process:
        os.close(end)
        told = b"".join(chunks(terminal))
    os.close(terminal)
    assert process.returncode == 0, told.decode()
    return told


def chunks(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(terminal, 65_536)
        except OSError:
            return  # how Linux says that the other end is closed
        if not chunk:
            return
        yield chunk


def test_a_terminal_gets_a_live_view_with_colours_and_no_color_takes_them_away() -> None:
    told = on_a_terminal("run")
    for words in (b"lotwise, paper: built-in synthetic market", b"Latest decisions", b"Position", b"100%"):
        assert words in told
    assert COLOUR.search(told)
    plain = on_a_terminal("run", NO_COLOR="1")
    assert b"Latest decisions" in plain
    assert not COLOUR.search(plain)


def test_fit_has_colours_on_a_terminal_only_and_none_with_no_color() -> None:
    assert COLOUR.search(on_a_terminal("fit"))
    assert not COLOUR.search(on_a_terminal("fit", NO_COLOR="1"))
    assert "\x1b" not in call("fit").stdout
