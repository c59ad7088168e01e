"""A sandbox for live commands, keys of every kind, and the journal of a run that holds and waits."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import httpx
import pytest

from lotwise.app import accounts
from lotwise.app.kraken import clock
from lotwise.app.live import live_settings, rules_of
from lotwise.app.operator import listener
from lotwise.app.settings import Settings
from lotwise.app.wire import PAPER as PAPER_MODE
from lotwise.app.wire import exchange_of
from lotwise.domain.market import Candle, FeeAsset, Quote
from lotwise.domain.orders import Order, OrderType, Purpose, TimeInForce
from lotwise.domain.values import Amount, Side, Time, amount, round_down, round_up
from lotwise.engine.codec import encode
from lotwise.engine.fold import apply
from lotwise.engine.ports import Orders
from lotwise.engine.records import Compared, Deposited, Opened, Record, Submit, Try
from lotwise.engine.state import State
from lotwise.kraken.names import pair_names
from lotwise.kraken.rest import ticker_of
from lotwise.kraken.signature import credentials
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.keys import ALL_PERMISSIONS, ApiKey
from lotwise.sandbox.service import Account, Hosted, Sandbox, hosted
from lotwise.store.journal import Journal
from lotwise.venues.kraken.facts import pairs
from lotwise.venues.kraken.reconcile import Reconciler
from lotwise.venues.kraken.rest import Rest
from lotwise.venues.kraken.venue import KrakenVenue
from lotwise.venues.simulated import SimulatedVenue
from tests.runs import settings_of

LOTWISE = [sys.executable, "-m", "lotwise"]
SECONDS = 60
KEY, SECRET = "CanaryKeyOfTheTests0", b64encode(b"canary-secret-of-the-tests").decode()
SOL, ADA = "SOL/USDT", "ADA/USDT"
MONEY = ("1000 USDT", "3 SOL", "0.77777777 BTC")


@contextmanager
def sandbox() -> Iterator[Hosted]:
    """Kraken's exchange made up, with one account; its clock is real, as a live run needs it."""
    account = Account("me", KEY, SECRET, tuple(map(amount, MONEY)))
    with hosted(Sandbox(accounts=(account,), rate_limits=False)) as made:
        yield made


def add_key(
    made: Hosted,
    name: str,
    permissions: frozenset[Permission] = ALL_PERMISSIONS,
    expires: Time | None = None,
    nonce_window: int = 0,
) -> dict[str, str]:
    """Another key of the account: the environment that names it."""
    secret = b64encode(sha256(name.encode()).digest()).decode()
    key = ApiKey(credentials(name, secret), "me", permissions, expires=expires, nonce_window=nonce_window)
    made.do(lambda admin: admin._core.add_key(key))
    return {"KRAKEN_API_KEY": name, "KRAKEN_API_SECRET": secret}


OWN_KEY = {"KRAKEN_API_KEY": KEY, "KRAKEN_API_SECRET": SECRET}


def elsewhere(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands in this process have a folder and a home of their own, and no key."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(accounts, "HOME", folder / "home")
    for name in ("KRAKEN_API_KEY", "KRAKEN_API_SECRET"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def website() -> Iterator[str]:
    """A server that answers every request with a page."""

    class Page(BaseHTTPRequestHandler):
        def _page(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>Welcome to the hotel's network</html>")

        do_GET = do_POST = _page  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(SECONDS)


NOBODY = "http://127.0.0.1:9"
"""An address at which nobody listens."""


def environment(home: Path, key: Mapping[str, str]) -> dict[str, str]:
    """For a process of its own: a home, a key, no proxy and no other settings; all that it can log is kept in
    debug.log there, so that it is seen whether a secret is in it."""
    (home / "sitecustomize.py").write_text(DEBUG.format(log=str(home / "debug.log")))
    paths = [str(home), *filter(None, [os.environ.get("PYTHONPATH")])]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    plain = {"HOME": str(home), "PYTHONPATH": os.pathsep.join(paths), "NO_COLOR": "1", "COLUMNS": "200"}
    return {**kept, **plain, **key}


DEBUG = """
import logging
logging.basicConfig(filename={log!r}, level=logging.DEBUG)
"""

CLOCKS = """
import selectors, time

def sped(clock, origin):
    return lambda: origin + (clock() - origin) * {fast}

for name, origin in (("time_ns", {began}), ("time", {began} / 10**9), ("monotonic", 0), ("monotonic_ns", 0)):
    setattr(time, name, sped(getattr(time, name), origin))

select = selectors.EpollSelector.select
selectors.EpollSelector.select = lambda self, timeout=None: select(self, timeout and timeout / {fast})
"""


def make_faster(home: Path, fast: int, began: int) -> None:
    """Let the clocks run so many times as fast since `began` (nanoseconds), for all processes of this home:
    every wait, timeout and age is measured by them."""
    with (home / "sitecustomize.py").open("a") as file:
        file.write(CLOCKS.format(fast=fast, began=began))


def places(made: Hosted) -> list[str]:
    """The options that name a sandbox."""
    return ["--base-url", made.url, "--ws-url", made.ws_url]


def program(home: Path, key: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """`lotwise` to its end, in the folder of its home. What it says is printed too, and so looked through."""
    done = subprocess.run(
        [*LOTWISE, *words], cwd=home, env=environment(home, key), capture_output=True, text=True,
        timeout=SECONDS, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    print(done.stdout, done.stderr)
    return done


def wait(holds: Callable[[], bool]) -> None:
    """Until something holds; a failure when it does not in time."""
    end = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


Process = TypeVar("Process", bound="subprocess.Popen[Any]")


@contextmanager
def ending(process: Process) -> Iterator[Process]:
    """A process that is asked to end when it is not needed any more, though it be stopped or over. Raises
    TimeoutExpired where it does not end by itself; it is gone then too."""
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Kind:
    """A kind of run: the options that ask for it, its journal, and the key that it is given."""

    options: tuple[str, ...]
    journal: str
    key: Mapping[str, str]


LIVE = Kind(("--live", "--yes", "--preset", "small", "--timeframe", "1m"), "live.journal", OWN_KEY)
PAPER = Kind(("--feed", "kraken", "--preset", "small", "--timeframe", "1m"), "paper.journal", {})


@contextmanager
def running(
    made: Hosted, home: Path, kind: Kind = LIVE, python: tuple[str, ...] = ()
) -> Iterator["subprocess.Popen[str]"]:
    """A run on its journal, begun or taken up, once it listens to its owner; what it says is in run.out.
    `python`: options of the interpreter."""
    words = [*LOTWISE[1:], "run", *kind.options, "--journal", kind.journal, *places(made)]
    with (home / "run.out").open("w") as out:
        process = subprocess.Popen(
            [LOTWISE[0], *python, *words],
            cwd=home, env=environment(home, kind.key), stdout=out, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            with ending(process):
                wait(lambda: listener(home / kind.journal) == process.pid)
                yield process
        finally:
            print((home / "run.out").read_text())


class Unhurried(Rest):
    """Without the pauses that Kraken's counter asks for: the sandbox does not count here."""

    async def _pace(self, endpoint: str, urgent: bool) -> None:
        pass


@dataclass
class Books:
    """The journal of a run that was given 100 USDT, and what it folds to."""

    path: Path
    journal: Journal
    state: State

    def add(self, *records: Record) -> None:
        for record in records:
            apply(self.state, record)
            self.journal.append(*encode(record))
        self.journal.commit()


def keep_books(made: Hosted, path: Path, stop: str = "0.5") -> None:
    """A live run's journal: it bought SOL, with a stop at this part of the price, and a purchase of ADA far
    below the market waits."""

    async def trade(books: Books, rest: Rest) -> None:
        account = sha256(KEY.encode()).hexdigest()[:12]
        await _begin(books, rest, live_settings(SETTINGS), {"mode": "live", "account": account})
        venue = KrakenVenue(rest, clock, books.state, lambda _: None)
        reconciler = Reconciler(venue, books.state, clock)
        await _compare(books, reconciler)
        await _trade(books, rest, venue, stop)
        await _compare(books, reconciler)

    _keep(made, path, trade)


def keep_paper_books(made: Hosted, path: Path) -> None:
    """The same of a run on paper, at the sandbox's prices."""

    async def trade(books: Books, rest: Rest) -> None:
        await _begin(books, rest, SETTINGS, {"mode": PAPER_MODE, "account": ""})
        venue = SimulatedVenue(
            exchange_of(SETTINGS, books.state), rules_of(books.state.listed, FeeAsset.QUOTE)
        )
        bids = {symbol: (await _quote(rest, symbol)).bid for symbol in (SOL, ADA)}
        flat = {s: Candle(s, clock(), bid, bid, bid, bid, Decimal(0)) for s, bid in bids.items()}
        venue.resume(books.state, flat)
        await _trade(books, rest, venue)

    _keep(made, path, trade)


SETTINGS = settings_of("small", timeframe="1m")


def _keep(made: Hosted, path: Path, trade: Callable[[Books, Rest], Coroutine[Any, Any, None]]) -> None:
    async def kept() -> None:
        with Journal(path) as journal:
            books = Books(path, journal, State())
            async with httpx.AsyncClient(base_url=made.url) as http:
                await trade(books, Unhurried(http, clock, credentials(KEY, SECRET)))
        assert SOL in books.state.holdings
        assert [known.order.symbol for known in books.state.orders.values()] == [ADA]

    asyncio.run(kept())


async def _begin(books: Books, rest: Rest, settings: Settings, beginning: Mapping[str, str]) -> None:
    now = clock()
    told = {**settings.fingerprint(), **beginning, "begun": now}
    books.add(Opened("abcd1234", beginning["mode"], told), Deposited(amount("100 USDT"), now))
    books.add(*(await pairs(rest, [SOL, ADA], now)).values())


async def _compare(books: Books, reconciler: Reconciler) -> None:
    for _ in range(5):
        found = await reconciler.compare()
        for event in found.events:
            books.add(*event.records if isinstance(event, Compared) else (event,))
        if not found.events:
            break


async def _quote(rest: Rest, symbol: str) -> Quote:
    (payload,) = (await rest.public("Ticker", {"pair": pair_names(symbol).altname})).values()
    return ticker_of(payload).quote(symbol, clock())


async def _trade(books: Books, rest: Rest, venue: Orders, lowest: str = "0.5") -> None:
    for number, (symbol, factor) in enumerate(((SOL, "1.01"), (ADA, "0.7")), 1):
        ask = (await _quote(rest, symbol)).ask
        listing = books.state.listed[symbol].listing
        price = round_down(ask * Decimal(factor), listing.tick_size)
        quantity = listing.min_quantity * 2
        order = Order(
            client_id=f"abcd1234-{number}",
            symbol=symbol,
            side=Side.BUY,
            type=OrderType.LIMIT,
            quantity=quantity,
            price=price,
            reserve=Amount(round_up(price * quantity * Decimal("1.01"), Decimal("0.00000001")), "USDT"),
            purpose=Purpose.ENTRY,
            time=clock(),
            time_in_force=TimeInForce.GTC,
            fee_asset=FeeAsset.QUOTE,
        )
        stop, target = (round_down(ask * Decimal(f), listing.tick_size) for f in (lowest, "2"))
        submit = Submit(order, number, Try(stop, target, 1.0, 0))
        books.add(submit)
        books.add(*await venue.carry_out(submit, books.journal.commit))  # type: ignore[arg-type]


def theirs(made: Hosted) -> list[dict[str, str]]:
    """Every order that ever reached the exchange, as its operator knows it."""
    return json.loads(json.dumps(made.do(lambda admin: admin.orders())))  # type: ignore[no-any-return]


def owned(made: Hosted, asset: str) -> Decimal:
    """What the account has of an asset at the exchange."""
    held = made.do(lambda admin: admin.accounts())["me"].get(asset, {"total": "0"})
    return Decimal(held["total"])


def receipt(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """What `lotwise panic --json` says was done."""
    told = json.loads(done.stdout)["receipt"]
    assert isinstance(told, dict)
    return told
