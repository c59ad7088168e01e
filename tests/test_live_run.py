"""`lotwise run --live` against a sandbox: what stands in its way is one clear message, the right exit code,
and nothing sent; what it began it goes on with; no secret is ever shown."""

import json
import os
import signal
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Mapping
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any
from urllib.parse import quote

import pytest

from lotwise.app.books import live_state
from lotwise.app.operator import ask
from lotwise.domain.values import EPOCH, amount
from lotwise.engine.codec import encode
from lotwise.engine.records import Deposited, Opened
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.keys import ALL_PERMISSIONS
from lotwise.sandbox.service import Hosted
from lotwise.store.journal import Journal, read
from tests.live_sandbox import (
    ADA,
    KEY,
    NOBODY,
    OWN_KEY,
    SECONDS,
    SECRET,
    SOL,
    add_key,
    keep_books,
    places,
    program,
    running,
    sandbox,
    theirs,
    wait,
    website,
)


@pytest.fixture(scope="module")
def made() -> Iterator[Hosted]:
    with sandbox() as exchange:
        yield exchange


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(mkdtemp(prefix="lw"))
    yield path
    rmtree(path)


NOWHERE = ("--base-url", NOBODY, "--ws-url", NOBODY.replace("http", "ws"))


def live(home: Path, key: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """A live run that is to end by itself, because something stands in its way."""
    asked = ["run", "--live", "--yes", "--preset", "small", "--timeframe", "1m", "--journal", "a.journal"]
    done = program(home, key, *asked, *words)
    assert "Traceback" not in done.stderr
    assert [line[:6] for line in done.stderr.splitlines()].count("Error:") == 1, "one message"
    return done


def nothing_began(home: Path) -> bool:
    """Whether the journal, where one was made at all, has no row."""
    path = home / "a.journal"
    if not path.exists():
        return True
    with Journal(path) as journal:
        return not journal.count


# What stands in the way


@pytest.mark.parametrize(
    ("permissions", "says"),
    [
        (ALL_PERMISSIONS | {Permission.WITHDRAW}, "may withdraw money"),
        (ALL_PERMISSIONS - {Permission.MODIFY}, "lacks modify-trades"),
        (ALL_PERMISSIONS - {Permission.WEBSOCKETS}, "lacks create-ws-token"),
        (frozenset[Permission](), "lacks"),
    ],
)
def test_a_key_that_may_do_too_much_or_too_little_is_refused(
    made: Hosted, home: Path, permissions: frozenset[Permission], says: str
) -> None:
    key = add_key(made, f"may {says}", permissions)
    done = live(home, key, *places(made))
    assert done.returncode == 3 and says in done.stderr
    assert nothing_began(home) and theirs(made) == []


def test_a_key_with_a_nonce_window_is_refused(made: Hosted, home: Path) -> None:
    done = live(home, add_key(made, "window", nonce_window=10_000), *places(made))
    assert done.returncode == 3 and "nonce window of 10000: set it to 0" in done.stderr
    assert nothing_began(home) and theirs(made) == []


def test_a_key_that_is_unknown_is_refused(made: Hosted, home: Path) -> None:
    done = live(home, {"KRAKEN_API_KEY": "revoked", "KRAKEN_API_SECRET": SECRET}, *places(made))
    assert done.returncode == 3 and "EAPI:Invalid key" in done.stderr and nothing_began(home)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ({}, "no KRAKEN_API_KEY and KRAKEN_API_SECRET"),
        ({"KRAKEN_API_KEY": KEY}, "no KRAKEN_API_SECRET"),
        ({"KRAKEN_API_KEY": KEY, "KRAKEN_API_SECRET": "!!"}, "base64"),
        ({**OWN_KEY, "KRAKEN_API_KEY_FILE": "key"}, "both"),
        ({"KRAKEN_API_KEY": KEY, "KRAKEN_API_SECRET_FILE": "nowhere"}, "cannot be read"),
        ({"KRAKEN_API_KEY": KEY, "KRAKEN_API_SECRET_FILE": os.devnull}, "is empty"),
        ({**OWN_KEY, "KRAKEN_API_KEY": "!!\n1"}, "copy it anew"),
        ({**OWN_KEY, "KRAKEN_API_KEY": "!!ä"}, "copy it anew"),
        ({**OWN_KEY, "KRAKEN_API_SECRET": f"!!{SECRET}\u200b"}, "copy it anew"),
    ],
)
def test_no_key_or_half_a_key_is_bad_input(home: Path, key: dict[str, str], says: str) -> None:
    done = live(home, key, *NOWHERE)
    assert done.returncode == 2 and says in done.stderr and "!!" not in done.stderr


def test_a_clock_that_is_off_by_an_hour_is_refused(home: Path) -> None:
    with sandbox() as exchange:
        exchange.do(lambda admin: admin.shift(3600))
        done = live(home, OWN_KEY, *places(exchange))
        assert theirs(exchange) == []
    assert done.returncode == 3 and "our clock is" in done.stderr and nothing_began(home)


def test_nobody_at_the_address_is_unavailable(home: Path) -> None:
    done = live(home, OWN_KEY, *NOWHERE)
    assert done.returncode == 4 and "ConnectError" in done.stderr and nothing_began(home)


def test_a_page_instead_of_an_answer_is_unavailable(home: Path) -> None:
    with website() as url:
        done = live(home, OWN_KEY, "--base-url", url, "--ws-url", url.replace("http", "ws"))
    assert done.returncode == 4 and "no JSON" in done.stderr and nothing_began(home)


def test_another_service_at_the_address_is_unavailable(made: Hosted, home: Path) -> None:
    done = live(home, OWN_KEY, "--base-url", made.admin_url, "--ws-url", made.ws_url)
    assert done.returncode == 4 and nothing_began(home)


def test_maintenance_is_told_and_nothing_is_begun(home: Path) -> None:
    with sandbox() as exchange:
        exchange.do(lambda admin: admin.change(change="system", status="maintenance"))
        done = live(home, OWN_KEY, *places(exchange))
        assert theirs(exchange) == []
    assert done.returncode == 4 and "is in maintenance: wait" in done.stderr and nothing_began(home)


def test_pairs_that_kraken_does_not_list_are_named(made: Hosted, home: Path) -> None:
    (home / "config.json").write_text(json.dumps({"preset": "small", "pairs": ["NOSUCH/USDT"]}))
    done = live(home, OWN_KEY, *places(made))
    assert done.returncode == 4 and "NOSUCH/USDT" in done.stderr and nothing_began(home)


def test_an_account_without_the_stake_is_told_what_it_holds(made: Hosted, home: Path) -> None:
    done = program(
        home, OWN_KEY, "run", "--live", "--yes", "--preset", "usd", "--journal", "a.journal", *places(made)
    )
    assert done.returncode == 4 and "has no USD to" in done.stderr and "3 SOL" in done.stderr


def test_nobody_says_yes_and_nothing_is_begun(made: Hosted, home: Path) -> None:
    words = ["run", "--live", "--preset", "small", "--journal", "a.journal", *places(made)]
    done = program(home, OWN_KEY, *words)
    assert done.returncode == 2 and "(not Kraken) with 100 USDT (0.1 of 1000, live.fraction)" in done.stderr
    assert "there is no terminal to ask; add --yes" in done.stderr
    assert nothing_began(home) and theirs(made) == []


@pytest.mark.parametrize(
    ("mode", "account", "says"),
    [
        ("live", "ffffffffffff", "of another account than the journal's"),
        ("paper on live data", "", "a.journal is of a run in mode paper on live data, and this one is live"),
        ("paper", "", "a.journal is of a run in mode paper"),
    ],
)
def test_a_journal_of_another_account_or_kind_is_refused(
    made: Hosted, home: Path, mode: str, account: str, says: str
) -> None:
    told: dict[str, object] = {"stake_currency": "USDT", "account": account}
    with Journal(home / "a.journal") as journal:
        for record in (Opened("abcd1234", mode, told), Deposited(amount("100 USDT"), EPOCH)):
            journal.append(*encode(record))
        journal.commit()
    done = live(home, OWN_KEY, *places(made))
    assert done.returncode == 3 and says in done.stderr and "--journal" in done.stderr
    assert len(list(read(home / "a.journal"))) == 2 and theirs(made) == []


def rows(path: Path) -> int:
    with Journal(path) as journal:
        return journal.count


def test_other_settings_for_a_run_that_goes_on_are_asked_about(home: Path) -> None:
    with sandbox() as exchange:
        path = home / "live.journal"
        keep_books(exchange, path)
        before = rows(path)
        asked = ["run", "--live", "--preset", "small", "--timeframe", "5m", "--journal", "live.journal"]
        done = program(home, OWN_KEY, *asked, *places(exchange))
    assert "Begun with other settings: timeframe was 1m, is 5m. Go on with these?" in done.stderr
    assert done.returncode == 2 and rows(path) == before


def test_a_run_does_not_begin_beside_another_journal_that_holds_something_of_the_account(home: Path) -> None:
    with sandbox() as exchange:
        (home / "runs").mkdir()
        keep_books(exchange, home / "runs" / "run-001.journal")
        done = program(home, OWN_KEY, "run", "--live", "--yes", "--preset", "small", *places(exchange))
        assert done.returncode == 3, done.stderr
        assert "run-001.journal holds 1 position and 1 order of this account" in done.stderr
        assert "--journal runs/run-001.journal" in done.stderr
        assert not [path for path in (home / "runs").glob("*.journal") if path.name != "run-001.journal"]


def test_what_is_stuck_with_real_orders_is_not_sold_on_paper(home: Path) -> None:
    with sandbox() as exchange:
        path = home / "live.journal"
        keep_books(exchange, path)
    before = rows(path)
    done = program(home, {}, "rescue", SOL, "--yes", "--journal", "live.journal")
    assert done.returncode == 2 and "is of a run with real orders" in done.stderr and rows(path) == before


def test_paper_and_real_orders_do_not_go_together(home: Path) -> None:
    assert "leave one of them out" in live(home, OWN_KEY, "--feed", "kraken", *NOWHERE).stderr


def test_recorded_candles_and_real_orders_do_not_go_together(home: Path) -> None:
    done = live(home, OWN_KEY, "--candles", "somewhere")
    assert done.returncode == 2 and "recorded candles" in done.stderr


# A run that is on


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_cleanly_and_it_says_how_to_go_on(home: Path, sign: signal.Signals) -> None:
    with sandbox() as exchange:
        keep_books(exchange, home / "live.journal")
        with running(exchange, home) as process:
            process.send_signal(sign)
            assert process.wait(SECONDS) == 0
        text = (home / "run.out").read_text()
        assert (
            "Go on with: lotwise run --journal live.journal --preset small" in text
            and "Traceback" not in text
        )
        waiting = [order["pair"] for order in theirs(exchange) if order["status"] == "open"]
        assert ADA in waiting, "orders stay as they are"
        looked = program(home, OWN_KEY, "reconcile", "--journal", "live.journal", *places(exchange))
        assert looked.returncode == 0, looked.stdout + looked.stderr


def test_a_second_run_with_the_same_key_or_on_the_same_account_is_refused(home: Path) -> None:
    with sandbox() as exchange:
        keep_books(exchange, home / "live.journal")
        with running(exchange, home):
            done = live(home, OWN_KEY, *places(exchange))
            assert done.returncode == 3 and "trades with this key" in done.stderr
            other = add_key(exchange, "another")
            done = live(home, other, *places(exchange), "--journal", "live.journal")
            assert done.returncode == 3 and "in use by another run" in done.stderr
            done = live(home, other, *places(exchange))
            assert done.returncode == 3 and "with another one of this account" in done.stderr


def test_it_takes_up_what_it_held_and_what_happened_meanwhile(home: Path) -> None:
    with sandbox() as exchange:
        path = home / "live.journal"
        keep_books(exchange, path)
        asked = {"cl_ord_id": "abcd1234-2"}
        exchange.do(lambda a: a._core.command(KEY, "CancelOrder", asked, a._doors.now()))
        with running(exchange, home) as process:
            wait(lambda: "abcd1234-2" in live_state(path).ended)
            assert SOL in live_state(path).holdings and process.poll() is None


def test_a_stop_is_heeded_though_the_books_cannot_be_compared(home: Path) -> None:
    with sandbox() as exchange:
        path = home / "live.journal"
        keep_books(exchange, path, stop="1.5")
        compared = live_state(path).reconciled
        exchange.do(lambda admin: admin.add_fault(kind="error", on=["Ledgers"]))
        with running(exchange, home) as process:
            wait(lambda: SOL not in live_state(path).holdings)
            assert live_state(path).reconciled == compared and process.poll() is None


def test_no_secret_is_in_output_journal_or_any_file(home: Path) -> None:
    with sandbox() as exchange:
        keep_books(exchange, home / "live.journal")
        shown = []
        with running(exchange, home, python=("-X", "dev", "-W", "ignore")) as process:
            wait(lambda: bool(exchange.do(lambda admin: list(admin._core.keys._tokens))))
            for words in (["doctor", "--preset", "small"], ["reconcile", "--journal", "live.journal"]):
                shown.append(program(home, OWN_KEY, *words, *places(exchange)))
            ask(home / "live.journal", "flatten")
            process.send_signal(signal.SIGABRT)  # no chance to tidy up
            process.wait(SECONDS)
        failed = {**OWN_KEY, "KRAKEN_API_KEY": "revoked"}
        shown.append(live(home, failed, *places(exchange)))
        tokens: list[str] = exchange.do(lambda admin: list(admin._core.keys._tokens))
    assert tokens and any(not done.returncode for done in shown)
    texts: dict[str, Any] = {str(f): f.read_bytes() for f in home.rglob("*") if f.is_file()}
    assert any(str(f).endswith("live.journal") for f in texts) and "run.out" in str(texts.keys())
    texts |= {str(done.args): (done.stdout + done.stderr).encode() for done in shown}
    raw = b64decode(SECRET)
    canaries = [SECRET.encode(), raw, raw.hex().encode(), quote(SECRET).encode(), KEY.encode()]
    canaries += [token.encode() for token in tokens]
    for name, content in texts.items():
        assert not [canary for canary in canaries if canary in content], name
    assert os.environ.get("KRAKEN_API_SECRET") != SECRET
