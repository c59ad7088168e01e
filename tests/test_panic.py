"""`lotwise panic`: told first, then done, by the run that is on, or in its place when it does not answer."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import pytest

from lotwise.app.books import live_journal, live_state
from lotwise.app.operator import (
    AGAIN,
    AT_MOST,
    HEARD,
    PATIENCE,
    Operator,
    Unheard,
    ask,
    listener,
    serve,
    socket_of,
)
from lotwise.app.terminal import Problem
from lotwise.domain.values import EPOCH
from lotwise.engine.codec import encode
from lotwise.engine.fold import apply
from lotwise.engine.records import Event, Extent, Opened, Panic, Restricted, Trading
from lotwise.engine.state import State
from lotwise.sandbox.service import Hosted
from lotwise.store.journal import Journal
from lotwise.venues.kraken.inbox import Inbox
from tests.live_sandbox import (
    ADA,
    NOBODY,
    OWN_KEY,
    SECONDS,
    SECRET,
    SOL,
    keep_books,
    owned,
    places,
    program,
    receipt,
    running,
    sandbox,
    theirs,
    wait,
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: a socket's has at most about a hundred characters."""
    made = Path(mkdtemp(prefix="lw"))
    yield made
    rmtree(made)


@pytest.fixture
def kept(home: Path) -> Iterator[tuple[Hosted, Path]]:
    """A sandbox and the home of a run that holds SOL and waits for ADA, and that is not on."""
    with sandbox() as made:
        keep_books(made, home / "live.journal")
        yield made, home


def panic(kept: tuple[Hosted, Path], word: str, *options: str) -> subprocess.CompletedProcess[str]:
    made, home = kept
    done = program(home, OWN_KEY, "panic", word, *options, "--journal", "live.journal", *places(made))
    assert SECRET not in done.stdout + done.stderr
    return done


def waiting(made: Hosted) -> list[str]:
    return [order["pair"] for order in theirs(made) if order["status"] in ("open", "pending")]


# What is told first


def test_without_a_yes_it_is_only_told(kept: tuple[Hosted, Path]) -> None:
    before, journal = theirs(kept[0]), (kept[1] / "live.journal").read_bytes()
    told = panic(kept, "flatten", "--json")
    assert told.returncode == 3 and "Nothing was done" in told.stderr
    preview = json.loads(told.stdout)["preview"]
    (cancel,), (sale,) = preview["cancels"], preview["sales"]
    assert (cancel["symbol"], cancel["side"], sale["symbol"], sale["quantity"]) == (ADA, "buy", SOL, "0.12")
    worth = Decimal(sale["quantity"]) * Decimal(sale["bid"])
    assert Decimal(sale["gets"]) + Decimal(sale["fee"]) == worth and Decimal(sale["fee"]) > 0
    assert theirs(kept[0]) == before and (kept[1] / "live.journal").read_bytes() == journal


def test_each_word_says_what_it_means_and_asks_once(kept: tuple[Hosted, Path]) -> None:
    for word, says in (("entries", "No more entries"), ("orders", "Cancel abcd1234-2"), ("lift", "allowed")):
        told = panic(kept, word)
        assert says in told.stdout and "Do it? [y/N]" in told.stderr
        assert told.returncode == 2 and "no terminal" in told.stderr, "nobody answered"
    assert live_state(kept[1] / "live.journal").trading is Trading.ACTIVE


# Which run is meant


def begin(path: Path, mode: str) -> Path:
    """The journal of a run that has only begun."""
    with Journal(path) as journal:
        journal.append(*encode(Opened("abcd1234", mode, {})))
        journal.commit()
    return path


@contextmanager
def listening(path: Path) -> Iterator[None]:
    """Somebody listens for the owner of a run."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.bind(str(socket_of(path)))
        line.listen()
        yield


def test_without_a_name_the_run_with_real_orders_is_meant_and_said(kept: tuple[Hosted, Path]) -> None:
    made, home = kept
    (home / "runs").mkdir()
    for file in home.glob("live.journal*"):
        file.rename(home / "runs" / file.name)
    for mode in ("paper", "paper on live data"):
        begin(home / "runs" / f"later {mode}.journal", mode)
    told = program(home, OWN_KEY, "panic", "flatten", *places(made))
    assert "runs/live.journal: real orders." in told.stdout and "Sell 0.12 SOL" in told.stdout


def test_the_run_that_is_on_is_meant_and_of_several_none(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    Path("runs").mkdir()
    first, second = (begin(Path("runs", f"{name}.journal"), "live") for name in ("first", "second"))
    begin(Path("runs/other.journal"), "paper on live data")
    assert live_journal() == second, "it was written last"
    with listening(first):
        assert live_journal() == first
        with listening(second), pytest.raises(Problem, match=f"{first}, {second}; name one with --journal"):
            live_journal()


# By the run that is on


def test_the_run_flattens_and_gives_a_receipt(kept: tuple[Hosted, Path]) -> None:
    with running(*kept) as process:
        told = receipt(panic(kept, "flatten", "--yes", "--json"))
        assert process.poll() is None, "the run goes on"
    assert (told["by"], told["done"], told["trading"]) == ("the run", True, "reducing")
    assert [(order["symbol"], order["status"]) for order in told["orders"]] == [(ADA, "canceled")]
    assert sum(Decimal(fill["quantity"]) for fill in told["sold"]) == Decimal("0.12")
    assert told["holdings"] == [] and waiting(kept[0]) == []
    assert owned(kept[0], "SOL") == 3, "what is not the bot's stays"
    assert not socket_of(kept[1] / "live.journal").exists(), "it is taken away at the end"


def test_what_cannot_be_sold_now_is_told_before_and_is_left(
    kept: tuple[Hosted, Path],
) -> None:
    """The minimum was raised above what is held."""
    made, home = kept
    with running(made, home):
        made.do(lambda admin: admin.change(change="rules", pair=SOL, ordermin="5"))
        wait(lambda: live_state(home / "live.journal").listed[SOL].listing.min_quantity == 5)
        told = panic(kept, "flatten", "--yes")
    assert "Keep 0.12 SOL: it cannot be sold now (it is below the minimum of 5 SOL" in told.stdout
    assert "Sell" not in told.stdout and f"SELL {SOL}" not in told.stdout
    assert told.returncode == 3 and told.stdout.rstrip().endswith(
        "NOT all of it: what is still held cannot be sold now."
    )


def test_what_was_stopped_stays_so_over_a_restart_until_it_is_lifted(kept: tuple[Hosted, Path]) -> None:
    with running(*kept):
        assert receipt(panic(kept, "entries", "--yes", "--json"))["trading"] == "reducing"
    with running(*kept):
        state = live_state(kept[1] / "live.journal")
        assert state.trading is Trading.REDUCING and SOL in state.holdings
        assert receipt(panic(kept, "lift", "--yes", "--json"))["trading"] == "active"
    assert live_state(kept[1] / "live.journal").trading is Trading.ACTIVE


# In the place of a run


def test_a_run_that_does_not_answer_is_ended_and_its_work_done(kept: tuple[Hosted, Path]) -> None:
    with running(*kept) as process:
        process.send_signal(signal.SIGSTOP)
        done = panic(kept, "flatten", "--yes")
        assert done.returncode == 0, done.stderr
        assert process.wait(SECONDS) == -signal.SIGKILL, "it could not even end by itself"
        assert f"ended (process {process.pid})" in done.stdout and "No run is on now" in done.stdout
    assert waiting(kept[0]) == [] and owned(kept[0], "SOL") == 3


def test_without_a_run_orders_are_cancelled_and_nothing_is_sold(kept: tuple[Hosted, Path]) -> None:
    told = receipt(panic(kept, "orders", "--yes", "--json"))
    assert (told["by"], told["ended"], told["done"], told["trading"]) == (
        "this command",
        None,
        True,
        "halted",
    )
    assert waiting(kept[0]) == [] and owned(kept[0], "SOL") == Decimal("3.12")
    assert [held["symbol"] for held in told["holdings"]] == [SOL]


def test_orders_by_hand_are_left_alone(kept: tuple[Hosted, Path]) -> None:
    asked = {"pair": "XBTUSDT", "type": "sell", "ordertype": "limit", "price": "999999", "volume": "0.1"}
    kept[0].do(lambda a: a._core.command(OWN_KEY["KRAKEN_API_KEY"], "AddOrder", asked, a._doors.now()))
    assert receipt(panic(kept, "flatten", "--yes", "--json"))["done"]
    assert waiting(kept[0]) == ["BTC/USDT"]


def test_without_a_network_a_run_is_not_replaced(home: Path) -> None:
    with sandbox() as made:
        keep_books(made, home / "live.journal")
    words = ["panic", "flatten", "--yes", "--journal", "live.journal", "--base-url", NOBODY]
    done = program(home, OWN_KEY, *words, "--ws-url", "ws://127.0.0.1:9")
    assert done.returncode == 4 and "Nothing was done" in done.stderr
    assert "the price cannot be asked now" in done.stdout


def test_a_key_that_is_missing_is_told_before_a_run_is_ended(kept: tuple[Hosted, Path]) -> None:
    with running(*kept) as process:
        process.send_signal(signal.SIGSTOP)
        words = ["panic", "orders", "--yes", "--journal", "live.journal", *places(kept[0])]
        done = program(kept[1], {}, *words)
        assert done.returncode == 2 and "KRAKEN_API_KEY" in done.stderr
        assert process.poll() is None


def test_a_journal_held_by_a_stranger_is_not_taken(kept: tuple[Hosted, Path]) -> None:
    with Journal(kept[1] / "live.journal"):
        done = panic(kept, "orders", "--yes")
    assert done.returncode == 3 and "end it by hand" in done.stderr
    assert waiting(kept[0]) == [ADA]


def test_a_run_on_candles_or_on_paper_that_is_not_on_has_nothing_to_stop(home: Path) -> None:
    for mode, code in (("paper", 2), ("paper on live data", 4)):
        path = begin(home / f"{code}.journal", mode)
        done = program(home, OWN_KEY, "panic", "entries", "--yes", "--journal", str(path))
        assert done.returncode == code and "nothing to stop" in done.stderr


# The line itself


def talk(
    home: Path, scenario: Callable[[Path, State], Coroutine[Any, Any, None]], deaf: bool = False
) -> None:
    """An operator with an engine that only folds what it is told (deaf: not even that)."""
    state, inbox, path = State(), Inbox(), home / "a.journal"
    engine: Any = SimpleNamespace(state=state)

    async def main() -> None:
        async def listen() -> None:
            await serve(Operator(engine, inbox, lambda: EPOCH), path, lambda text: said.append(text))

        async def loop() -> None:
            async for events in inbox.occasions(listen()):
                heard.extend(events)
                for event in () if deaf else events:
                    assert isinstance(event, Panic | Restricted)
                    apply(state, event)

        task = asyncio.create_task(loop())
        while not socket_of(path).exists() and not said:
            await asyncio.sleep(0.01)
        try:
            await scenario(path, state)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    said: list[str] = []
    heard: list[Event] = []
    asyncio.run(main())


def test_a_word_becomes_an_event_of_the_run(home: Path) -> None:
    async def scenario(path: Path, state: State) -> None:
        told = await asyncio.to_thread(ask, path, "orders")
        assert told["done"] and state.trading is Trading.HALTED
        assert (await asyncio.to_thread(ask, path, "lift"))["trading"] == "active"

    talk(home, scenario)


def test_only_the_user_himself_can_connect(home: Path) -> None:
    async def scenario(path: Path, _: State) -> None:
        assert stat.S_IMODE(socket_of(path).stat().st_mode) == 0o600
        assert await asyncio.to_thread(listener, path) == os.getpid()

    talk(home, scenario)


@pytest.mark.parametrize("line", [b"panic everything\n", b"hello\n", b"\n", b"\xff\xfe\n", b"x" * 5000, b""])
def test_what_is_no_word_is_answered_or_left_and_does_nothing(home: Path, line: bytes) -> None:
    async def scenario(path: Path, state: State) -> None:
        reader, writer = await asyncio.open_unix_connection(socket_of(path))
        writer.write(line)
        writer.write_eof()
        async with asyncio.timeout(SECONDS):
            answer = await reader.read()
        writer.close()
        assert HEARD.encode() not in answer and state.trading is Trading.ACTIVE
        assert (await asyncio.to_thread(ask, path, "entries"))["done"], "and the next is heard"

    talk(home, scenario)


def test_who_asks_and_leaves_is_obeyed_all_the_same(home: Path) -> None:
    async def scenario(path: Path, state: State) -> None:
        _, writer = await asyncio.open_unix_connection(socket_of(path))
        writer.write(b"panic entries\n")
        await writer.drain()
        writer.close()
        async with asyncio.timeout(SECONDS):
            while state.trading is Trading.ACTIVE:
                await asyncio.sleep(0.01)

    talk(home, scenario)


def test_nobody_there_or_nobody_who_answers_is_unheard_in_time(home: Path) -> None:
    path = home / "b.journal"
    with pytest.raises(Unheard):
        ask(path, Extent.ENTRIES)
    assert listener(path) is None
    with listening(path):
        begun = time.monotonic()
        with pytest.raises(Unheard):
            ask(path, Extent.ENTRIES)
        assert PATIENCE <= time.monotonic() - begun < PATIENCE + 1
        assert listener(path) == os.getpid(), "the system knows who it is all the same"


def test_a_socket_that_cannot_be_made_is_told_and_the_run_goes_on(home: Path) -> None:
    deep = home / ("d" * 120)
    deep.mkdir()
    said: list[str] = []

    async def main() -> None:
        task = asyncio.create_task(
            serve(Operator(engine, Inbox(), lambda: EPOCH), deep / "a.journal", said.append)
        )
        await asyncio.sleep(0.1)
        assert not task.done()
        task.cancel()

    engine: Any = SimpleNamespace(state=State())
    asyncio.run(main())
    (text,) = said
    assert "lotwise panic" in text and str(deep) in text


def test_what_is_not_done_is_asked_for_again_and_the_receipt_says_what_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lotwise.app.operator.AGAIN", AGAIN / 100)
    monkeypatch.setattr("lotwise.app.operator.AT_MOST", AT_MOST / 100)

    async def scenario(path: Path, state: State) -> None:
        told = await asyncio.to_thread(ask, path, "flatten")
        assert (told["done"], told["trading"]) == (False, "active")

    talk(home, scenario, deaf=True)
