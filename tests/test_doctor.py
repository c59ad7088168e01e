"""`lotwise doctor` against a sandbox: each row with its verdict, its remedy, and the exit code."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from click.testing import CliRunner

from lotwise.app.cli import cli
from lotwise.app.kraken import clock
from lotwise.domain.values import Time
from lotwise.engine.codec import encode
from lotwise.engine.records import Opened
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.keys import ALL_PERMISSIONS
from lotwise.sandbox.service import Hosted
from lotwise.store.journal import Journal
from tests.live_sandbox import (
    NOBODY,
    OWN_KEY,
    SECRET,
    add_key,
    elsewhere,
    keep_books,
    sandbox,
    website,
)

DAY = 86_400_000
ORDINARY_USER = 65_534
Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def made() -> Iterator[Hosted]:
    with sandbox() as exchange:
        yield exchange


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(tmp_path, monkeypatch)


def doctor(url: str, key: Mapping[str, str] = OWN_KEY, *words: str) -> tuple[int, Rows]:
    """The exit code, and the rows by name. No secret is in what it says."""
    asked = ["doctor", "--preset", "small", "--json", "--base-url", url, *words]
    result = CliRunner().invoke(cli, asked, env=key)
    assert SECRET not in result.output and key.get("KRAKEN_API_SECRET", SECRET) not in result.output
    found = json.loads(result.stdout)["findings"]
    return result.exit_code, {row["check"]: row for row in found}


def seen(rows: Rows, check: str) -> str:
    """A row as the sentence that a run would end with."""
    return f"{rows[check]['seen']}: {rows[check]['remedy']}"


def bad(rows: Rows) -> list[str]:
    return [name for name, row in rows.items() if row["verdict"] == "bad"]


def test_all_is_there_for_a_live_run(made: Hosted) -> None:
    code, rows = doctor(made.url)
    assert (code, bad(rows)) == (0, [])
    fine = {"key given", "disk", "Kraken", "latency", "clock", "status", "key may withdraw", "key may trade"}
    assert all(rows[name]["verdict"] == "fine" for name in fine)
    assert "minimum 0.06 SOL" in rows["SOL/USDT"]["seen"] and "0.4 % / 0.8 %" in rows["SOL/USDT"]["seen"]


def test_every_row_that_is_not_fine_says_what_to_do(made: Hosted) -> None:
    _, rows = doctor(made.url)
    assert rows["key's expiry"]["verdict"] == rows["key's addresses"]["verdict"] == "warning"
    for row in rows.values():
        assert bool(row["remedy"]) == (row["verdict"] != "fine"), row


def test_a_key_that_can_withdraw_is_refused(made: Hosted) -> None:
    key = add_key(made, "withdraws", ALL_PERMISSIONS | {Permission.WITHDRAW})
    code, rows = doctor(made.url, key)
    assert (code, bad(rows)) == (3, ["key may withdraw"])
    assert seen(rows, "key may withdraw") == (
        "this key may withdraw money: make one that cannot; lotwise refuses it"
    )


def test_a_key_that_may_not_trade_is_named_with_what_it_lacks(made: Hosted) -> None:
    key = add_key(made, "reads", ALL_PERMISSIONS - {Permission.MODIFY})
    code, rows = doctor(made.url, key)
    assert (code, bad(rows)) == (3, ["key may trade"])
    assert "modify-trades" in rows["key may trade"]["seen"]


def test_a_key_without_the_streams_is_named_with_what_it_lacks(made: Hosted) -> None:
    code, rows = doctor(made.url, add_key(made, "deaf", ALL_PERMISSIONS - {Permission.WEBSOCKETS}))
    assert (code, bad(rows)) == (3, ["key may trade"])
    assert "create-ws-token" in rows["key may trade"]["seen"]


def test_a_key_with_a_nonce_window_is_refused(made: Hosted) -> None:
    code, rows = doctor(made.url, add_key(made, "window", nonce_window=10_000))
    assert (code, bad(rows)) == (3, ["key's nonce window"])
    assert "a nonce window of 10000" in rows["key's nonce window"]["seen"]


@pytest.mark.parametrize(("days", "verdict"), [(3, "warning"), (30, "fine")])
def test_a_key_that_ends_soon_is_a_warning(made: Hosted, days: int, verdict: str) -> None:
    key = add_key(made, f"ends in {days}", expires=Time(clock() + days * DAY + DAY // 2))
    code, rows = doctor(made.url, key)
    assert code == 0
    assert (rows["key's expiry"]["verdict"], rows["key's expiry"]["seen"]) == (verdict, f"in {days} days")


def test_a_key_that_is_unknown_is_told_in_krakens_words(made: Hosted) -> None:
    code, rows = doctor(made.url, {"KRAKEN_API_KEY": "revoked", "KRAKEN_API_SECRET": SECRET})
    assert (code, bad(rows)) == (3, ["key"])
    assert seen(rows, "key").endswith(
        " does not know this key (EAPI:Invalid key): was it copied whole, deleted, or has it expired?"
        " Make another on Kraken's key page"
    )


def test_a_secret_of_another_key_is_told_in_krakens_words(made: Hosted) -> None:
    other = add_key(made, "another")["KRAKEN_API_SECRET"]
    code, rows = doctor(made.url, {**OWN_KEY, "KRAKEN_API_SECRET": other})
    assert (code, bad(rows)) == (3, ["key"])
    assert seen(rows, "key").endswith(
        " finds the secret to be another key's (EAPI:Invalid signature): was it copied whole?"
        " Give the two that were shown together"
    )


def test_without_a_key_the_rest_is_looked_at_all_the_same(made: Hosted) -> None:
    code, rows = doctor(made.url, {})
    assert (code, bad(rows)) == (2, ["key given"]), "as a run ends without a key"
    assert "KRAKEN_API_KEY" in rows["key given"]["remedy"] and "SOL/USDT" in rows


def test_half_a_key_names_the_half_that_is_missing(made: Hosted) -> None:
    code, rows = doctor(made.url, {"KRAKEN_API_KEY": "half"})
    assert code == 2 and rows["key given"]["remedy"].startswith("no KRAKEN_API_SECRET:")


def test_a_secret_that_can_be_none_is_not_shown(made: Hosted) -> None:
    code, rows = doctor(made.url, {"KRAKEN_API_KEY": "k", "KRAKEN_API_SECRET": "not base64 at all!"})
    assert code == 2 and "base64" in rows["key given"]["remedy"]


def test_a_clock_that_is_off_by_an_hour_is_refused() -> None:
    with sandbox() as exchange:
        exchange.do(lambda admin: admin.shift(3600))
        code, rows = doctor(exchange.url)
    assert (code, bad(rows)) == (3, ["clock"])
    assert rows["clock"]["seen"].startswith(("our clock is -3600", "our clock is -359"))
    assert rows["clock"]["remedy"].startswith("set it (NTP)")


def test_maintenance_is_told_with_where_to_look() -> None:
    with sandbox() as exchange:
        exchange.do(lambda admin: admin.change(change="system", status="maintenance"))
        code, rows = doctor(exchange.url)
    assert (code, bad(rows)) == (4, ["status", "key", "pairs"])
    assert seen(rows, "status").endswith(" is in maintenance: wait until it is online (status.kraken.com)")


def test_a_pair_that_only_cancels_is_a_warning() -> None:
    with sandbox() as exchange:
        exchange.do(lambda admin: admin.change(change="pair", pair="SOL/USDT", status="cancel_only"))
        code, rows = doctor(exchange.url)
    assert code == 0 and rows["SOL/USDT"]["verdict"] == "warning"
    assert rows["SOL/USDT"]["seen"].startswith("cancel_only")


def test_pairs_that_kraken_does_not_list_are_named(made: Hosted, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"pairs": ["SOL/USDT", "NOSUCH/USDT"]}))
    code, rows = doctor(made.url)
    assert code == 0 and rows["pairs"]["verdict"] == "warning" and "NOSUCH/USDT" in rows["pairs"]["seen"]
    config.write_text(json.dumps({"pairs": ["NOSUCH/USDT"]}))
    code, rows = doctor(made.url)
    assert (code, bad(rows)) == (4, ["pairs"])
    assert seen(rows, "pairs") == "Kraken lists none of NOSUCH/USDT: name others in `pairs`"


def test_nobody_at_the_address_is_unavailable() -> None:
    code, rows = doctor(NOBODY)
    assert (code, bad(rows)) == (4, ["Kraken"])
    assert seen(rows, "Kraken") == (
        "127.0.0.1:9 cannot be reached (/0/public/Time: ConnectError: All connection attempts failed):"
        " is the network there and the address right (--base-url)?"
    )


def test_a_page_instead_of_an_answer_is_unavailable() -> None:
    with website() as url:
        code, rows = doctor(url)
    assert (code, bad(rows)) == (4, ["Kraken"])
    host = url.removeprefix("http://")
    assert seen(rows, "Kraken") == (
        f"{host} does not answer as Kraken does (/0/public/Time: the answer is no JSON (43 bytes)):"
        " look at the address (--base-url), a proxy, or Kraken itself (status.kraken.com)"
    )


def test_another_service_at_the_address_is_unavailable(made: Hosted) -> None:
    code, rows = doctor(made.admin_url)
    assert (code, bad(rows)) == (4, ["Kraken"])


def test_a_capture_without_a_key_saves_what_everyone_may_see(made: Hosted, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "captures"
    _, rows = doctor(made.url, {}, "--capture", str(folder))
    assert {file.stem for file in folder.iterdir()} == {"SystemStatus", "Time", "AssetPairs"}
    assert rows["capture AssetPairs"]["verdict"] == "fine"


# What a run would do


def test_money_says_what_a_first_run_could_buy(made: Hosted) -> None:
    code, rows = doctor(made.url)
    assert code == 0 and rows["money"]["verdict"] == "fine"
    assert rows["money"]["seen"].startswith(
        "100 USDT (0.1 of 1000, live.fraction): 5 of 5 pairs can be bought now: SOL/USDT (from "
    )


def test_money_that_fits_no_pair_is_bad_as_the_run_would_say(
    made: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOTWISE__LIVE__FRACTION", "0.001")
    code, rows = doctor(made.url)
    assert (code, bad(rows)) == (4, ["money"])
    assert rows["money"]["seen"].startswith("1 USDT (0.001 of 1000, live.fraction): 0 of 5 pairs can be")
    assert "LOTWISE__LIVE__FRACTION=0.003" in rows["money"]["remedy"]


def test_an_account_without_the_stake_would_not_begin(made: Hosted) -> None:
    code, rows = doctor(made.url, OWN_KEY, "--stake", "USD")
    assert (code, bad(rows)) == (4, ["money"])
    assert seen(rows, "money").endswith(": choose --stake USDT, or deposit USD")


def test_the_streams_are_tried_where_they_are_named(made: Hosted) -> None:
    code, rows = doctor(made.url, OWN_KEY, "--ws-url", made.ws_url)
    assert (code, rows["streams"]["verdict"], rows["streams"]["seen"]) == (0, "fine", "answer")
    code, rows = doctor(made.url, OWN_KEY, "--ws-url", "ws://127.0.0.1:9")
    assert (code, bad(rows)) == (4, ["streams"]) and "--ws-url" in rows["streams"]["remedy"]
    _, rows = doctor(made.url)
    assert seen(rows, "streams") == "not looked at: give --ws-url too, as a run needs it"


def test_fees_are_the_accounts_own_or_said_to_be_assumed(made: Hosted) -> None:
    _, rows = doctor(made.url)
    assert rows["fee tier"]["seen"] == "this account's, as Kraken tells (TradeVolume)"
    _, rows = doctor(made.url, {})
    assert rows["fee tier"]["verdict"] == "warning"
    assert rows["fee tier"]["seen"] == (
        "assumed: the dearest tier's for SOL/USDT, ADA/USDT, DOGE/USDT, SHIB/USDT, MANA/USDT"
    )


def test_the_age_of_the_built_in_rules_is_told() -> None:
    with sandbox() as exchange:
        _, rows = doctor(exchange.url)
        assert rows["rules"]["verdict"] == "fine"
        assert re.fullmatch(
            r"a run reads them at its start, then hears of changes; the built-in ones are of 20\d\d-\d\d-\d\d"
            r" to 20\d\d-\d\d-\d\d, and equal",
            rows["rules"]["seen"],
        )
        exchange.do(lambda admin: admin.change(change="rules", pair="SOL/USDT", ordermin="0.5"))
        _, rows = doctor(exchange.url)
    assert rows["rules"]["verdict"] == "warning"
    assert rows["rules"]["seen"].endswith("; not so now: SOL/USDT")


def test_maintenance_ahead_is_a_row(made: Hosted) -> None:
    _, rows = doctor(made.url)
    assert rows["maintenance ahead"]["seen"] == "none is told for the next 72 hours"


# Which journal


def test_a_run_would_begin_with_the_next_journal(made: Hosted) -> None:
    _, rows = doctor(made.url)
    assert rows["journal"]["seen"] == "a run would begin with runs/run-001.journal"
    assert not Path("runs").exists(), "doctor makes none"


def test_a_journal_that_holds_something_is_not_to_be_forgotten(made: Hosted) -> None:
    Path("runs").mkdir()
    keep_books(made, Path("runs/run-001.journal"))
    code, rows = doctor(made.url)
    assert (code, bad(rows)) == (3, ["journal"]), "a run without --journal would be refused"
    assert seen(rows, "journal") == (
        "runs/run-001.journal holds 1 position and 1 order of this account: go on with it (--journal"
        " runs/run-001.journal), or name a new one with --journal: nobody watches that then"
    )


def test_a_named_journal_is_read_and_its_account_compared(made: Hosted) -> None:
    keep_books(made, Path("a.journal"))
    code, rows = doctor(made.url, OWN_KEY, "--journal", "a.journal")
    assert code == 0
    assert rows["journal"]["seen"] == (
        "a.journal can be read, is of this account, and holds 1 position and 1 order"
    )
    assert " USDT of this run are free: 5 of 5 pairs can be bought now" in rows["money"]["seen"]
    Path("config.json").write_text(json.dumps({"sizing": {"reserve": "99999"}}))
    code, rows = doctor(made.url, OWN_KEY, "--journal", "a.journal")
    assert (code, rows["money"]["verdict"]) == (0, "warning")
    assert " are free: 0 of 5 pairs can be bought now; " in rows["money"]["seen"]
    assert rows["money"]["remedy"] == "it goes on with what it holds and has ordered"


def test_a_named_journal_of_another_account_or_mode_is_refused(made: Hosted) -> None:
    for name, told in (
        ("other", Opened("abcd1234", "live", {"account": "ffffffffffff", "stake_currency": "USDT"})),
        ("paper", Opened("abcd1234", "paper", {})),
    ):
        with Journal(Path(f"{name}.journal")) as journal:
            journal.append(*encode(told))
            journal.commit()
    code, rows = doctor(made.url, OWN_KEY, "--journal", "other.journal")
    assert (code, bad(rows)) == (3, ["journal"])
    assert seen(rows, "journal") == "other.journal is of another account: give its key, or another --journal"
    code, rows = doctor(made.url, OWN_KEY, "--journal", "paper.journal")
    assert (code, bad(rows)) == (3, ["journal"])
    assert seen(rows, "journal") == "paper.journal is of a run in mode paper: give another --journal"


def test_a_journal_that_cannot_be_read_is_told(made: Hosted) -> None:
    Path("notes.journal").write_text("These are my notes. " * 9)
    code, rows = doctor(made.url, OWN_KEY, "--journal", "notes.journal")
    assert (code, bad(rows)) == (2, ["journal"]) and rows["journal"]["remedy"]
    code, rows = doctor(made.url, OWN_KEY, "--journal", "notes.journal/a.journal")
    assert (code, bad(rows)) == (2, ["journal"])


def test_an_empty_file_is_a_journal_to_begin_with_as_it_is_to_a_run(made: Hosted) -> None:
    Path("a.journal").touch()
    code, rows = doctor(made.url, OWN_KEY, "--journal", "a.journal")
    assert (code, rows["journal"]["seen"]) == (0, "a run would begin with a.journal")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user cannot become another one")
def test_a_journal_that_can_be_read_alone_is_refused_as_the_run_would_be(
    made: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TemporaryDirectory() as folder:
        elsewhere(Path(folder), monkeypatch)
        keep_books(made, Path("a.journal"))
        assert doctor(made.url, OWN_KEY, "--journal", "a.journal")[0] == 0
        for file in (Path(folder), *Path(folder).rglob("*")):
            os.chown(file, ORDINARY_USER, -1)
        Path("a.journal").chmod(0o444)
        os.seteuid(ORDINARY_USER)
        try:
            code, rows = doctor(made.url, OWN_KEY, "--journal", "a.journal")
        finally:
            os.seteuid(0)
            monkeypatch.undo()
    assert (code, bad(rows)) == (2, ["journal"])
    assert seen(rows, "journal") == (
        "a.journal cannot be written: choose a folder you may write to with --journal"
    )


def test_a_strategy_that_cannot_be_made_is_refused_as_the_run_would_be(made: Hosted) -> None:
    Path("unmade.py").write_text("import nothing_of_this_name")
    Path("config.json").write_text(json.dumps({"strategy": "unmade:Mine"}))
    code, rows = doctor(made.url)
    assert (code, bad(rows)) == (2, ["strategy"])
    assert "importing unmade raises ModuleNotFoundError" in rows["strategy"]["seen"]
    assert rows["strategy"]["remedy"]


def test_an_old_journal_that_cannot_be_read_keeps_no_run_from_beginning(made: Hosted) -> None:
    Path("runs").mkdir()
    Path("runs/old.journal").write_text("These are my notes. " * 9)
    code, rows = doctor(made.url)
    assert (code, rows["journal"]["verdict"]) == (0, "warning") and rows["journal"]["remedy"]
