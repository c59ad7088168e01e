"""The start of a run on Kraken: it says where, with how much and what that can buy; what stands in its way is
one sentence with the remedy and the exit code of its kind; and nothing is sent or left behind."""

import asyncio
import json
import os
import pty
import re
import select
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import httpx
import pytest
from click.testing import CliRunner, Result

from lotwise.app import accounts
from lotwise.app.allotment import reach, remedy, share_of
from lotwise.app.books import live_state
from lotwise.app.cli import cli
from lotwise.app.findings import Verdict, system_found
from lotwise.app.kraken import Place, clock, open_rest, trouble
from lotwise.app.live import live_settings, rules_of
from lotwise.app.rules import LATEST, known_markets
from lotwise.app.secrets import load_credentials
from lotwise.app.settings import Settings
from lotwise.app.terminal import Problem
from lotwise.app.wire import plan_of
from lotwise.domain.market import Listing, Market, Quote
from lotwise.domain.sizing import Sized
from lotwise.domain.values import EPOCH, Amount, amount
from lotwise.engine.codec import encode
from lotwise.engine.plan import exit_role
from lotwise.engine.records import Deposited, Listed, Opened
from lotwise.kraken.reference import reference_price
from lotwise.kraken.signature import credentials
from lotwise.research.fit import fit
from lotwise.sandbox.service import Account, Hosted, Sandbox, hosted
from lotwise.store.journal import Journal, read
from lotwise.venues.kraken.facts import System, key_info, system
from lotwise.venues.kraken.rest import NoAnswer, NotSent, Refused, Rest
from tests.live_sandbox import (
    KEY,
    LIVE,
    LOTWISE,
    NOBODY,
    OWN_KEY,
    SECONDS,
    SECRET,
    SOL,
    elsewhere,
    environment,
    keep_books,
    places,
    running,
    sandbox,
    theirs,
    website,
)
from tests.runs import settings_of


def key_of(name: str) -> dict[str, str]:
    return {"KRAKEN_API_KEY": f"CanaryKeyOf{name}", "KRAKEN_API_SECRET": SECRET}


@pytest.fixture(scope="module")
def made() -> Iterator[Hosted]:
    """Accounts of all sizes."""
    money = {"micro": "2.86 USDT", "fifty": "50 USDT", "euro": "120 EUR", "dollar": "120 USD"}
    told = [Account(n, key_of(n)["KRAKEN_API_KEY"], SECRET, (amount(m),)) for n, m in money.items()]
    own = Account("me", KEY, SECRET, tuple(map(amount, ("1000 USDT", "3 SOL"))))
    with hosted(Sandbox(accounts=(own, *told), rate_limits=False)) as exchange:
        yield exchange


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(tmp_path, monkeypatch)


def start(key: Mapping[str, str], *words: str, says: str = "", paper: bool = False) -> Result:
    """A run that ends before it begins."""
    kind = ["--feed", "kraken"] if paper else ["--live"]
    asked = ["run", *kind, "--preset", "small", "--timeframe", "1m", *words]
    result = CliRunner().invoke(cli, asked, env=dict(key), input=says)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def error(result: Result, code: int) -> str:
    """The one sentence of a start that was refused, and nothing left of it."""
    assert result.exit_code == code, result.output
    assert not list(Path("runs").glob("*.journal"))
    said = f"\n{result.stderr}"
    assert said.count("\nError: ") == 1 and "Traceback" not in said
    sentence = said.partition("\nError: ")[2].removesuffix("\n")
    assert "\n" not in sentence
    return sentence


# What the money can buy


def listings_of(settings: Settings) -> dict[str, Listed]:
    """Kraken's rules as they were last seen."""
    markets, found = known_markets(settings), {}
    for symbol in settings.pairs:
        listing = markets.listing(symbol, LATEST)
        assert isinstance(listing, Listing)
        found[symbol] = Listed(listing, Decimal("0.004"), Decimal("0.008"), EPOCH)
    return found


def quotes_of(settings: Settings) -> dict[str, Quote]:
    """Prices as they were last seen."""
    found = {}
    for symbol in settings.pairs:
        known = reference_price(symbol.partition("/")[0], LATEST)
        assert known is not None
        found[symbol] = Quote(symbol, EPOCH, known[0], known[0] * Decimal("1.001"))
    return found


def by_fit(settings: Settings, money: Amount) -> set[str]:
    """The pairs that fit, as `lotwise fit` asks."""
    plan, rules = plan_of(settings, ""), rules_of(listings_of(settings), settings.sizing.fee_asset)
    roles, found = (settings.entry.style.first, exit_role(settings.stoploss_on_exchange)), set()
    for symbol, quote in quotes_of(settings).items():
        market = rules(symbol, EPOCH)
        assert isinstance(market, Market)
        answer = fit(market, quote.bid, money, plan.policies[symbol], roles)
        if isinstance(answer.size, Sized):
            found.add(symbol)
    return found


@pytest.mark.parametrize("money", ["0.00000001", "2.5", "2.86", "5", "8.7", "25", "1000"])
def test_what_fits_is_what_lotwise_fit_says(money: str) -> None:
    settings = live_settings(settings_of("small"))
    held = amount(f"{money} USDT")
    found = reach(settings, listings_of(settings), quotes_of(settings), held)
    assert set(found.fits) == by_fit(settings, held)
    assert found.fits or found.reasons


def test_the_least_amount_of_each_pair_is_exact() -> None:
    settings = live_settings(settings_of("small"))
    listings, quotes, unit = listings_of(settings), quotes_of(settings), Decimal("0.00000001")
    for symbol, least in reach(settings, listings, quotes, amount("1 USDT")).least.items():
        assert least is not None
        assert symbol in by_fit(settings, Amount(least, "USDT"))
        assert symbol not in by_fit(settings, Amount(least - unit, "USDT"))


@pytest.mark.parametrize(
    ("available", "fraction", "says"),
    [
        ("2.86", "0.1", "with live.fraction ([0-9.]+) [A-Z/]+ fits .LOTWISE__LIVE__FRACTION=[0-9.]+.$"),
        (
            "1",
            "0.1",
            "fits with ([0-9.]+) USDT in the account and live.fraction 1, or with ([0-9.]+) USDT and",
        ),
        ("1", "1", "fits with ([0-9.]+) USDT in the account and live.fraction 1$"),
    ],
)
def test_the_remedy_is_enough_and_a_little_less_is_not(available: str, fraction: str, says: str) -> None:
    settings = live_settings(settings_of("small"))
    listings, quotes = listings_of(settings), quotes_of(settings)

    def fits(of: Decimal, share: Decimal) -> bool:
        return bool(reach(settings, listings, quotes, Amount(share_of(of, share), "USDT")).fits)

    has, share = Decimal(available), Decimal(fraction)
    found = reach(settings, listings, quotes, Amount(share_of(has, share), "USDT"))
    assert not found.fits
    told = re.search(says, remedy(found, share, has))
    assert told, remedy(found, share, has)
    if has > 2:
        enough, step = Decimal(told[1]), Decimal("0.001")
        assert fits(has, enough) and not fits(has, enough - step)
    else:
        for number, with_share in zip(told.groups(), (Decimal(1), share), strict=False):
            least, step = Decimal(number), Decimal("0.0001")
            assert fits(least, with_share) and not fits(least - 2 * step, with_share)


def test_where_no_amount_would_do_the_remedy_is_another() -> None:
    settings = live_settings(settings_of("small", sizing__max_order_size_usdt="1"))
    found = reach(settings, listings_of(settings), quotes_of(settings), amount("500 USDT"))
    assert not found.fits and found.needed is None
    assert remedy(found, Decimal(1), Decimal(500)) == (
        "no amount would do; it takes a higher sizing.max_order_size_usdt"
    )


def test_the_question_says_where_how_much_and_what_that_can_buy(made: Hosted) -> None:
    result = start(key_of("fifty"), *places(made), says="n\n")
    host, number = made.url.removeprefix("http://"), "[0-9.]+"
    assert re.fullmatch(
        rf"Real orders at {host} \(not Kraken\) with 5 USDT \(0.1 of 50, live.fraction\): 2 of 5 pairs can be"
        rf" bought now: SHIB/USDT \(from {number}\), MANA/USDT \(from {number}\); SOL/USDT needs {number};"
        rf" ADA/USDT needs {number}; DOGE/USDT needs {number}. Begin\? \[y/N\]: "
        r"(n\n)?Error: nothing was begun\n",
        result.stderr,
    ), result.stderr
    assert result.exit_code == 3 and not list(Path("runs").glob("*.journal")) and not theirs(made)


def test_the_question_counts_the_headroom_that_real_orders_have(
    made: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked() -> Decimal:
        told = re.search(
            r"SOL/USDT needs ([0-9.]+);", start(key_of("fifty"), *places(made), says="n\n").stderr
        )
        assert told
        return Decimal(told[1])

    with_headroom = asked()
    monkeypatch.setenv("LOTWISE__SIZING__EXIT_HEADROOM", "1.0")
    assert Decimal("1.05") < with_headroom / asked() < Decimal("1.15")


def test_an_allotment_that_fits_no_pair_is_refused_with_what_would(
    made: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    sentence = error(start(key_of("micro"), "--yes", *places(made)), 4)
    assert sentence.startswith("0.286 USDT (0.1 of 2.86, live.fraction): 0 of 5 pairs can be bought now; ")
    told = re.search(
        r": with live.fraction ([0-9.]+) (SHIB|MANA)/USDT fits \(LOTWISE__LIVE__FRACTION=\1\)$", sentence
    )
    assert told, sentence
    monkeypatch.setenv("LOTWISE__LIVE__FRACTION", told[1])
    result = start(key_of("micro"), *places(made), says="n\n")
    assert result.exit_code == 3 and " pairs can be bought now: SHIB/USDT (from " in result.stderr
    monkeypatch.setenv("LOTWISE__LIVE__FRACTION", str(Decimal(told[1]) - Decimal("0.001")))
    error(start(key_of("micro"), "--yes", *places(made)), 4)


@pytest.mark.parametrize(
    ("name", "what"),
    [("dollar", "120 USD): choose --stake USD, or deposit USDT"), ("euro", "120 EUR): deposit USDT")],
)
def test_an_account_without_the_stake_is_told_which_currency_to_use(
    made: Hosted, name: str, what: str
) -> None:
    """In euros this exchange lists none of the coins."""
    sentence = error(start(key_of(name), "--yes", *places(made)), 4)
    assert sentence == f"the account has no USDT to trade with (it holds {what}"


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("dollar", "choose --stake USD, which the account holds"),
        ("fifty", "choose --stake USDT, which the account holds"),
        ("euro", "choose --stake USD"),
    ],
)
def test_where_kraken_lists_none_of_the_pairs_it_is_told_which_currency_to_use(
    made: Hosted, name: str, what: str
) -> None:
    sentence = error(start(key_of(name), "--yes", "--stake", "CHF", *places(made)), 4)
    assert sentence == (
        "Kraken lists none of SOL/CHF, ADA/CHF, DOGE/CHF, SHIB/CHF, MANA/CHF: it lists 5 of them in USD, 5 of"
        f" them in USDT; {what}"
    )


def test_a_pair_that_kraken_does_not_list_is_said_and_not_asked_for(made: Hosted, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"preset": "small", "pairs": ["NOSUCH/USDT", "SOL/USDT"]}))
    result = start(OWN_KEY, *places(made), says="n\n")
    assert "Kraken lists none of NOSUCH/USDT: the run goes without; take them out of `pairs`" in result.stdout
    question = result.stderr.partition("Real orders")[2]
    assert "1 of 1 pairs can be bought now: SOL/USDT" in question and "NOSUCH" not in question


def test_balance_is_not_passed_over(made: Hosted) -> None:
    assert error(start(OWN_KEY, "--yes", "--balance", "2", *places(made)), 2) == (
        "--balance is what a run on paper starts with; how much of the account a live run may touch is"
        " live.fraction, such as LOTWISE__LIVE__FRACTION=0.5 (and `lotwise doctor` says what that can buy)"
    )


@pytest.mark.parametrize("option", [["--seed", "3"], ["--no-skip"], ["--speed", "60"]])
def test_what_is_of_recorded_candles_is_not_passed_over(made: Hosted, option: list[str]) -> None:
    assert error(start(OWN_KEY, "--yes", *option, *places(made)), 2) == (
        "--candles, --from, --to, --speed, --seed and --no-skip are for recorded candles and the built-in"
        " market; leave them out"
    )


# Who says yes


def test_without_a_terminal_nobody_is_asked_and_that_is_said(made: Hosted) -> None:
    result = start(OWN_KEY, *places(made))
    assert error(result, 2) == "nothing was done: there is no terminal to ask; add --yes"


ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_ctrl_c_at_the_question_begins_nothing(made: Hosted, tmp_path: Path) -> None:
    """On a terminal of its own, as a person has it."""
    words = [*LOTWISE, "run", "--live", "--preset", "small", *places(made)]
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *words],
        cwd=tmp_path, env=environment(tmp_path, OWN_KEY), stdin=its, stdout=its, stderr=its,
        start_new_session=True,
    )  # fmt: skip
    os.close(its)
    try:
        said = b""
        while b"Begin? [y/N]" not in said:
            assert select.select([ours], [], [], SECONDS)[0], said
            said += os.read(ours, 10_000)
        for _ in range(5):  # pressed just before it is read, it is not heard: as on any terminal
            os.write(ours, b"\x03")
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
                break
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert not list((tmp_path / "runs").glob("*.journal")) and not theirs(made)


# Where


@pytest.mark.parametrize(
    ("base", "ws", "says"),
    [
        (
            "",
            "ws://127.0.0.1:8600",
            "--base-url is empty (a variable that is not set?): write it like http://127.0.0.1:8600, or leave"
            " both addresses out for Kraken's",
        ),
        (
            "http://127.0.0.1:8600",
            "",
            "--ws-url is empty (a variable that is not set?): write it like ws://127.0.0.1:8600, or leave"
            " both addresses out for Kraken's",
        ),
        (
            "127.0.0.1:8600",
            "ws://127.0.0.1:8600",
            "--base-url 127.0.0.1:8600 is no address: write it like http://127.0.0.1:8600, or leave both"
            " addresses out for Kraken's",
        ),
        (
            "http://127.0.0.1:8600",
            "http://127.0.0.1:8600",
            "--ws-url http://127.0.0.1:8600 is no address: write it like ws://127.0.0.1:8600, or leave both"
            " addresses out for Kraken's",
        ),
        (
            None,
            "ws://127.0.0.1:8600",
            "--ws-url without --base-url: orders would go to Kraken; give both, or neither",
        ),
        (
            "http://127.0.0.1:8600",
            None,
            "--base-url without --ws-url: prices would come from Kraken; give both, or neither",
        ),
        (
            "https://api.kraken.com",
            "ws://127.0.0.1:8600",
            "--base-url is Kraken's and --ws-url is not: give both of one place, or neither",
        ),
        (
            "http://127.0.0.1:8600",
            "wss://ws.kraken.com",
            "--base-url without --ws-url: prices would come from Kraken; give both, or neither",
        ),
    ],
)
@pytest.mark.parametrize("paper", [False, True])
def test_addresses_that_are_not_whole_are_refused(
    base: str | None, ws: str | None, says: str, paper: bool
) -> None:
    given = [("--base-url", base), ("--ws-url", ws)]
    words = [word for option, url in given if url is not None for word in (option, url)]
    assert error(start(OWN_KEY, *words, paper=paper), 2) == says


@pytest.mark.parametrize(
    ("base", "ws", "name"),
    [
        (None, None, "Kraken"),
        ("https://api.kraken.com", None, "Kraken"),
        ("https://api.kraken.com", "wss://ws.kraken.com/v2", "Kraken"),
        ("http://127.0.0.1:8600", "ws://127.0.0.1:8600", "127.0.0.1:8600"),
        ("https://kraken.com.example.org", "wss://example.org", "kraken.com.example.org"),
    ],
)
def test_only_krakens_own_host_is_called_kraken(base: str | None, ws: str | None, name: str) -> None:
    assert Place(base, ws).with_streams().name == name


def test_title_and_end_name_the_place_that_is_not_kraken(made: Hosted) -> None:
    home = Path(mkdtemp(prefix="lw"))
    try:
        kind = replace(LIVE, options=(*LIVE.options, "--json"))
        with running(made, home, kind):
            pass
        text, host = (home / "run.out").read_text(), made.url.removeprefix("http://")
    finally:
        rmtree(home)
    assert f"lotwise, live at {host}, not Kraken: SOL/USDT" in text
    assert (
        f"Stopped. All of it was at {host}, not Kraken. Go on with: lotwise run --journal live.journal"
        f" --preset small --timeframe 1m --live --yes --base-url {made.url} --ws-url {made.ws_url} --json\n"
    ) in text
    assert f'"exchange": "{host}"' in text
    assert f"Real orders at {host} (not Kraken) with 100 USDT" in text, "what --yes said yes to"


# What stands in the way


@pytest.mark.parametrize(
    ("texts", "code", "says"),
    [
        (
            ["EAPI:Invalid key"],
            3,
            "Kraken does not know this key (EAPI:Invalid key): was it copied whole, deleted, or has it"
            " expired? Make another on Kraken's key page",
        ),
        (
            ["EAPI:Invalid signature"],
            3,
            "Kraken finds the secret to be another key's (EAPI:Invalid signature): was it copied whole? Give"
            " the two that were shown together",
        ),
        (
            ["EGeneral:Permission denied"],
            3,
            "Kraken says that this key or account may not do that (EGeneral:Permission denied): allow it on"
            " Kraken's key page, or look at the account there",
        ),
        (
            ["EAPI:Invalid nonce"],
            3,
            "Kraken has heard a later number from this key (EAPI:Invalid nonce): does another program use it?"
            " Give lotwise a key of its own",
        ),
        (
            ["EService:Unavailable"],
            4,
            "Kraken is in maintenance or too busy (EService:Unavailable): wait until it is online"
            " (status.kraken.com)",
        ),
        (
            ["EService:Market in cancel_only mode"],
            4,
            "Kraken is in maintenance or too busy (EService:Market in cancel_only mode): wait until it is"
            " online (status.kraken.com)",
        ),
        (
            ["EAPI:Rate limit exceeded"],
            4,
            "Kraken wants fewer calls (EAPI:Rate limit exceeded): wait a few minutes; does another program"
            " ask it too?",
        ),
        (
            ["EGeneral:Temporary lockout"],
            4,
            "Kraken wants fewer calls (EGeneral:Temporary lockout): wait a few minutes; does another program"
            " ask it too?",
        ),
        (
            ["EFresh:Never heard of"],
            4,
            "Kraken says no (EFresh:Never heard of): see what it says, and ask again",
        ),
        (
            ["EFresh:Never heard of", "EAPI:Invalid key"],
            3,
            "Kraken does not know this key (EFresh:Never heard of, EAPI:Invalid key): was it copied whole,"
            " deleted, or has it expired? Make another on Kraken's key page",
        ),
    ],
)
def test_each_kind_of_no_has_its_sentence_and_code(texts: list[str], code: int, says: str) -> None:
    told = trouble(Refused(tuple(texts)), Place()).problem
    assert (told.message, told.exit_code) == (says, code)


def test_no_answer_names_the_host_the_cause_and_the_remedy() -> None:
    cut = trouble(NotSent("/0/public/Time: ConnectError: refused"), Place()).problem
    assert (cut.message, cut.exit_code) == (
        "api.kraken.com cannot be reached (/0/public/Time: ConnectError: refused): is the network there?",
        4,
    )
    page = trouble(NoAnswer("/0/public/Time: HTTP 403"), Place()).problem
    assert (page.message, page.exit_code) == (
        "api.kraken.com does not answer as Kraken does (/0/public/Time: HTTP 403): look at a proxy or a login"
        " page between, or Kraken itself (status.kraken.com)",
        4,
    )


@pytest.mark.parametrize("paper", [False, True])
def test_nobody_at_the_address_is_unavailable(paper: bool) -> None:
    words = ("--base-url", NOBODY, "--ws-url", NOBODY.replace("http", "ws"))
    assert error(start(OWN_KEY, *words, paper=paper), 4) == (
        "127.0.0.1:9 cannot be reached (/0/public/Time: ConnectError: All connection attempts failed):"
        " is the network there and the address right (--base-url)?"
    )


@pytest.mark.parametrize("paper", [False, True])
def test_a_page_instead_of_an_answer_is_unavailable(paper: bool) -> None:
    with website() as url:
        words = ("--base-url", url, "--ws-url", url.replace("http", "ws"))
        sentence = error(start(OWN_KEY, *words, paper=paper), 4)
    assert sentence == (
        f"{url.removeprefix('http://')} does not answer as Kraken does (/0/public/Time: the answer is no JSON"
        " (43 bytes)): look at the address (--base-url), a proxy, or Kraken itself (status.kraken.com)"
    )


@pytest.mark.parametrize("paper", [False, True])
def test_streams_at_a_wrong_address_are_refused_at_the_start(made: Hosted, paper: bool) -> None:
    words = ("--yes", "--base-url", made.url, "--ws-url", "ws://127.0.0.1:9")
    sentence = error(start(OWN_KEY, *words, paper=paper), 4)
    assert sentence.startswith("the stream at ws://127.0.0.1:9/v2 does not answer as Kraken's does (no conn")
    assert sentence.endswith("): look at the address (--ws-url), and at a proxy between")


def test_a_stream_that_is_no_stream_of_krakens_is_refused(made: Hosted) -> None:
    words = ("--base-url", made.url, "--ws-url", made.admin_url.replace("http", "ws"))
    assert "does not answer as Kraken's does" in error(start(OWN_KEY, "--yes", *words), 4)


@pytest.mark.parametrize("paper", [False, True])
def test_maintenance_is_told_as_such_and_is_unavailable(paper: bool) -> None:
    with sandbox() as exchange:
        exchange.do(lambda admin: admin.change(change="system", status="maintenance"))
        sentence = error(start(OWN_KEY, *places(exchange), paper=paper), 4)
        assert not theirs(exchange)
    host = exchange.url.removeprefix("http://")
    assert sentence == f"{host} is in maintenance: wait until it is online (status.kraken.com)"


@pytest.mark.parametrize("paper", [False, True])
def test_a_clock_that_is_off_by_an_hour_is_refused(paper: bool) -> None:
    with sandbox() as exchange:
        exchange.do(lambda admin: admin.shift(3600))
        sentence = error(start(OWN_KEY, *places(exchange), paper=paper), 3)
    assert re.fullmatch(
        r"our clock is -3(60|59)\d\.\d s off Kraken's: set it \(NTP\): orders carry a deadline, and bars"
        r" close by it",
        sentence,
    ), sentence


def test_a_key_that_is_unknown_is_refused(made: Hosted) -> None:
    key = {"KRAKEN_API_KEY": "revoked", "KRAKEN_API_SECRET": SECRET}
    host = made.url.removeprefix("http://")
    assert error(start(key, "--yes", *places(made)), 3) == (
        f"{host} does not know this key (EAPI:Invalid key): was it copied whole, deleted, or has it expired?"
        " Make another on Kraken's key page"
    )


# What is told ahead


def told_by(result: object) -> System:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/0/public/SystemStatus"
        return httpx.Response(200, json={"error": [], "result": result})

    async def ask() -> System:
        async with httpx.AsyncClient(base_url="http://kraken", transport=httpx.MockTransport(answer)) as http:
            return await system(Rest(http, clock))

    return asyncio.run(ask())


def test_maintenance_ahead_and_incidents_are_told_in_krakens_words() -> None:
    entry = {"name": "Engine  upgrade", "from": "2026-11-24T10:00:00Z", "components": [1]}
    told = told_by({"status": "online", "upcoming_maintenance": [entry], "emergency": ["ADA is late"]})
    rows = {found.check: found for found in system_found(told, Place())}
    assert rows["status"].seen == "Kraken is online" and rows["status"].verdict is Verdict.FINE
    ahead = rows["maintenance ahead"]
    assert ahead.seen == "maintenance within 72 hours: Engine upgrade, 2026-11-24T10:00:00Z"
    assert ahead.verdict is Verdict.WARNING and ahead.remedy
    assert rows["incidents"].seen == "not over yet: ADA is late"


@pytest.mark.parametrize("entry", [{"at": 5}, 7, None, {}, {"text": "x" * 9_000}, [["deep"]]])
def test_an_advisory_of_any_form_is_one_bounded_line(entry: object) -> None:
    (line,) = told_by({"status": "online", "upcoming_maintenance": [entry]}).ahead
    assert 0 < len(line) <= 200 and "\n" not in line


def test_without_an_advisory_none_is_told() -> None:
    for result in ({"status": "online"}, {"status": "online", "upcoming_maintenance": [], "emergency": []}):
        rows = {found.check: found for found in system_found(told_by(result), Place())}
        assert rows["maintenance ahead"].seen == "none is told for the next 72 hours"
        assert "incidents" not in rows


# Where the key is kept

KEPT = b64encode(b"a secret that no exchange knows").decode()
KEYRING = """
from keyring.errors import {raises}

def get_password(service, name):
    if {held!r} is None:
        raise {raises}
    assert service == "lotwise"
    return {held!r}.get(name)
"""
ERRORS = "class KeyringError(Exception): pass\nclass NoKeyringError(KeyringError): pass\n"


@pytest.fixture
def keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object, str], None]]:
    """A system's keyring that holds this, or raises."""

    def put(held: object, raises: str = "KeyringError") -> None:
        folder = tmp_path / "site" / "keyring"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text(KEYRING.format(held=held, raises=raises))
        (folder / "errors.py").write_text(ERRORS)
        monkeypatch.syspath_prepend(folder.parent)

    others = {name: sys.modules.pop(name) for name in list(sys.modules) if name.startswith("keyring")}
    yield put
    for name in [name for name in sys.modules if name.startswith("keyring")]:
        del sys.modules[name]
    sys.modules.update(others)


def test_a_key_is_read_from_the_systems_keyring(keyring: Callable[..., None]) -> None:
    keyring({"KRAKEN_API_KEY": "kept", "KRAKEN_API_SECRET": KEPT})
    found = load_credentials()
    assert found.key == "kept" and found.secret == b64decode(KEPT)


def test_the_environment_is_above_the_keyring(
    keyring: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring({"KRAKEN_API_KEY": "kept", "KRAKEN_API_SECRET": KEPT})
    monkeypatch.setenv("KRAKEN_API_KEY", "set")
    assert load_credentials().key == "set"


def test_an_empty_keyring_and_none_at_all_are_no_key(keyring: Callable[..., None]) -> None:
    keyring({})
    with pytest.raises(
        Problem, match=r"^no KRAKEN_API_KEY and KRAKEN_API_SECRET: set KRAKEN_API_KEY"
    ) as told:
        load_credentials()
    assert told.value.exit_code == 2


def test_a_system_without_a_keyring_is_no_trouble(keyring: Callable[..., None]) -> None:
    keyring(None, "NoKeyringError")
    with pytest.raises(Problem, match=r"^no KRAKEN_API_KEY and KRAKEN_API_SECRET: "):
        load_credentials()


def test_a_locked_keyring_is_named_with_the_remedy(keyring: Callable[..., None]) -> None:
    keyring(None)
    with pytest.raises(Problem) as told:
        load_credentials()
    assert told.value.message == (
        "the system's keyring does not give KRAKEN_API_KEY (KeyringError): unlock it, or set KRAKEN_API_KEY"
        " in the environment"
    )


# A run that goes on


def test_a_run_that_holds_coins_goes_on_though_its_money_fits_no_pair(
    made: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sandbox() as exchange:
        home = Path(mkdtemp(prefix="lw"))
        try:
            keep_books(exchange, home / "live.journal")
            monkeypatch.chdir(home)
            state = live_state(home / "live.journal")
            assert SOL in state.holdings
            kind = replace(LIVE, options=(*LIVE.options, "--config", "high.json"))
            (home / "high.json").write_text(json.dumps({"sizing": {"reserve": "99999"}}))
            with running(exchange, home, kind):
                pass
            assert "Stopped." in (home / "run.out").read_text()
        finally:
            rmtree(home)


def test_a_run_that_holds_nothing_and_can_buy_nothing_is_refused(made: Hosted) -> None:
    async def account() -> str:
        key = credentials(KEY, SECRET)
        async with open_rest(Place(made.url, made.ws_url), key) as rest:
            return accounts.account_name(await key_info(rest), key)

    told: dict[str, object] = {"account": asyncio.run(account()), "stake_currency": "USDT"}
    with Journal(Path("left.journal")) as journal:
        for record in (Opened("abcd1234", "live", told), Deposited(amount("1 USDT"), EPOCH)):
            journal.append(*encode(record))
        journal.commit()
    sentence = error(start(OWN_KEY, "--yes", "--journal", "left.journal", *places(made)), 4)
    assert re.fullmatch(
        r"1 USDT of this run are free: 0 of 5 pairs can be bought now; SOL/USDT needs .*: begin another with"
        r" at least 2\.[0-9]+ USDT: a --journal of its own, and live\.fraction as that takes",
        sentence,
    ), sentence
    assert len(list(read(Path("left.journal")))) == 2, "it is kept as it was"
