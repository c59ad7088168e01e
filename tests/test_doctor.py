"""`lotwise doctor` against a sandbox: each row with its verdict, its remedy, and the exit code."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lotwise.app import accounts
from lotwise.app.cli import cli
from lotwise.app.kraken import clock
from lotwise.domain.values import Time
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.keys import ALL_PERMISSIONS
from lotwise.sandbox.service import Hosted
from tests.live_sandbox import (
    NOBODY,
    OWN_KEY,
    SECRET,
    add_key,
    keep_books,
    sandbox,
    website,
)

DAY = 86_400_000
Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def made() -> Iterator[Hosted]:
    with sandbox() as exchange:
        yield exchange


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(accounts, "HOME", tmp_path / "home")
    for name in ("KRAKEN_API_KEY", "KRAKEN_API_SECRET"):
        monkeypatch.delenv(name, raising=False)


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
    assert "access-websockets" in rows["key may trade"]["seen"]


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
    assert (code, bad(rows)) == (4, ["status", "key", "pairs"][: len(bad(rows))])
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
        f"{host} does not answer as Kraken does (/0/public/Time: the answer is no JSON (40 bytes)):"
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
