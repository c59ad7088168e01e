"""`lotwise panic` to a run on paper: it does what it is told, needs no key, and nothing of it is at Kraken;
one that does not answer is left alone, for nothing of it is real."""

import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from lotwise.app.books import folded
from lotwise.app.operator import WORDS, listener
from lotwise.engine.records import Trading
from lotwise.engine.state import State
from lotwise.sandbox.service import Hosted
from lotwise.store.journal import Journal
from tests.live_sandbox import (
    ADA,
    LOTWISE,
    NOBODY,
    PAPER,
    SECONDS,
    SOL,
    ending,
    environment,
    keep_paper_books,
    owned,
    places,
    program,
    receipt,
    running,
    sandbox,
    theirs,
    wait,
)


@pytest.fixture(scope="module")
def made() -> Iterator[Hosted]:
    with sandbox() as exchange:
        yield exchange
        assert theirs(exchange) == [] and owned(exchange, "SOL") == 3, "nothing of a paper run reaches Kraken"


@pytest.fixture
def home(made: Hosted) -> Iterator[Path]:
    """Of a run on paper that holds SOL and waits for ADA, and that is not on. A short path: a socket's has at
    most about a hundred characters."""
    path = Path(mkdtemp(prefix="lw"))
    keep_paper_books(made, path / PAPER.journal)
    yield path
    rmtree(path)


def panic(home: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    return program(home, PAPER.key, "panic", *words, "--journal", PAPER.journal)


def state_in(home: Path) -> State:
    return folded(home / PAPER.journal)[1]


def test_orders_are_cancelled_and_later_all_is_sold(made: Hosted, home: Path) -> None:
    with running(made, home, PAPER) as process:
        told = receipt(panic(home, "orders", "--yes", "--json", *places(made)))
        assert (told["by"], told["done"], told["trading"], told["sold"]) == ("the run", True, "halted", [])
        assert [(order["symbol"], order["status"]) for order in told["orders"]] == [(ADA, "canceled")]
        assert [held["symbol"] for held in told["holdings"]] == [SOL]
        told = receipt(panic(home, "flatten", "--yes", "--json", *places(made)))
        assert (told["by"], told["done"], told["trading"]) == ("the run", True, "reducing")
        assert sum(Decimal(fill["quantity"]) for fill in told["sold"]) == Decimal("0.12")
        assert told["holdings"] == [] and process.poll() is None, "the run goes on"
    left = state_in(home)
    assert left.holdings == {} and left.orders == {} and left.ledger.assets() == {"USDT"}


def test_what_was_stopped_stays_so_over_a_restart_until_it_is_lifted(made: Hosted, home: Path) -> None:
    with running(made, home, PAPER):
        assert receipt(panic(home, "entries", "--yes", "--json"))["trading"] == "reducing"
    with running(made, home, PAPER):
        state = state_in(home)
        assert state.trading is Trading.REDUCING and SOL in state.holdings and len(state.orders) == 1
        assert receipt(panic(home, "lift", "--yes", "--json"))["trading"] == "active"
    assert state_in(home).trading is Trading.ACTIVE


def test_a_run_that_does_not_answer_is_left_alone_and_heeds_the_word_when_it_goes_on(
    made: Hosted, home: Path
) -> None:
    with running(made, home, PAPER) as process:
        process.send_signal(signal.SIGSTOP)
        done = panic(home, "orders", "--yes")
        assert done.returncode == 4 and f"(process {process.pid}) does not answer" in done.stderr
        assert process.poll() is None and listener(home / PAPER.journal) == process.pid, "it is not ended"
        process.send_signal(signal.SIGCONT)
        wait(lambda: state_in(home).trading is Trading.HALTED)


@pytest.mark.parametrize("word", WORDS)
def test_of_a_run_that_is_dead_the_journal_is_not_touched(home: Path, word: str) -> None:
    """Nothing of it waits anywhere: it begins where it was, by `lotwise run`."""
    before = (home / PAPER.journal).read_bytes()
    done = panic(home, word, "--base-url", NOBODY)
    assert done.returncode == 4 and "nothing to stop" in done.stderr and "Traceback" not in done.stderr
    assert done.stdout == "", "nothing is told that will not be done, nor asked"
    assert (home / PAPER.journal).read_bytes() == before and not list(home.glob("*.socket"))
    with Journal(home / PAPER.journal):
        pass  # nobody holds it


def test_a_run_killed_at_once_goes_on_with_what_it_held(made: Hosted, home: Path) -> None:
    with running(made, home, PAPER) as process:
        process.kill()
        assert process.wait(SECONDS) == -signal.SIGKILL
    assert panic(home, "flatten", "--yes", *places(made)).returncode == 4
    with running(made, home, PAPER):
        told = receipt(panic(home, "flatten", "--yes", "--json", *places(made)))
        assert told["done"] and told["holdings"] == [] and len(told["sold"]) == 1


def test_a_run_on_candles_that_is_on_has_nothing_to_stop_and_goes_on(tmp_path: Path) -> None:
    words = ["run", "--speed", "1", "--journal", "candles.journal"]
    said = tmp_path / "run.out"
    with said.open("w") as out:
        process = subprocess.Popen(
            [*LOTWISE, *words], cwd=tmp_path, env=environment(tmp_path, {}), stdout=out, stderr=out
        )
        with ending(process):
            wait(lambda: "lotwise, paper" in said.read_text())
            done = program(tmp_path, {}, "panic", "flatten", "--yes", "--journal", "candles.journal")
            assert done.returncode == 2 and "on candles" in done.stderr and "Traceback" not in done.stderr
            assert process.poll() is None
