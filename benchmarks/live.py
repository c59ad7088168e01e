"""From a price to an order in one process: a ticker's bytes in, the bytes of an AddOrder out, through all
that a live run has between them. And from a long journal to a run that is ready.

The exchange is a stand-in that answers at once and notes when a request has arrived whole, on a loopback
socket. Here nothing passes or fails.
"""

import asyncio
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx

from lotwise.app.configuration import load_settings
from lotwise.app.kraken import clock
from lotwise.app.live import LiveRun, live_settings, rules_of
from lotwise.app.loop import CHECKPOINT_ROWS, follow
from lotwise.app.wire import load_state, plan_of
from lotwise.domain.market import FeeAsset, Liquidity
from lotwise.domain.orders import Accepted, Fill, Order, OrderType, Purpose, Sent, TimeInForce
from lotwise.domain.values import EXACT, Amount, Side, Time, amount, exact
from lotwise.engine.codec import checkpoint, encode
from lotwise.engine.engine import Engine
from lotwise.engine.fold import apply
from lotwise.engine.records import Deposited, Listed, Opened, Record, Submit, Try
from lotwise.engine.state import State
from lotwise.kraken.limits import Allowance
from lotwise.kraken.listings import LISTINGS
from lotwise.kraken.signature import credentials
from lotwise.store.journal import Journal
from lotwise.strategies.dip import Dip
from lotwise.venues.kraken.feed import LiveFeed, Outlet, Watched
from lotwise.venues.kraken.inbox import Inbox
from lotwise.venues.kraken.pace import Pace
from lotwise.venues.kraken.rest import NoAnswer, Rest
from lotwise.venues.kraken.socket import Socket
from lotwise.venues.kraken.stream import Line
from lotwise.venues.kraken.venue import KrakenVenue

SYMBOL, QUANTITY = "SOL/USDT", exact("0.2")
PRICE, STOP, TARGET = exact("150.00"), exact("148.50"), exact("160.00")
FEE = exact("0.008")
KEY = credentials("K" * 56, "c2VjcmV0" * 11)
SECONDS = 10.0
NO_LIMIT = Allowance(Decimal(10**6), Decimal(10**6))
ORDERS, WARM_UP = 1_000, 100
ROWS, ROWS_OF_A_TRADE = 100_000, 8
BEGUN = Time(1_790_000_000_000)


def say(name: str, figure: str, beside: str = "") -> None:
    print(f"{name:<46}{figure:>22}  {beside}", flush=True)


# The exchange's side


class Exchange(asyncio.Protocol):
    """Answers every request with an order's id; `arrived`: when the last one was there whole."""

    def __init__(self) -> None:
        self.arrived = 0.0
        self.there = asyncio.Event()
        self._orders, self._heard = 0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0) if end else 1
        if len(body) < length:
            return
        self.arrived, self._heard = time.perf_counter(), b""
        assert head.startswith(b"POST /0/private/AddOrder"), head
        self._orders += 1
        told = f'{{"error":[],"result":{{"descr":{{}},"txid":["OAAAAA-AAAAA-{self._orders:06}"]}}}}'
        first = "HTTP/1.1 200 OK\r\nContent-Type: application/json"
        self._transport.write(f"{first}\r\nContent-Length: {len(told)}\r\n\r\n{told}".encode())
        self.there.set()


class Ticks:
    """A market's stream: every subscription is answered, and it says what it is told to."""

    def __init__(self) -> None:
        self.says: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, text: str) -> None:
        asked = json.loads(text)
        for symbol in asked["params"].get("symbol", (None,)):
            told = {"channel": asked["params"]["channel"], **({"symbol": symbol} if symbol else {})}
            answer = {"method": "subscribe", "success": True, "result": told, "req_id": asked["req_id"]}
            self.says.put_nowait(json.dumps(answer).encode())

    async def receive(self) -> str:
        return (await self.says.get()).decode()

    async def close(self) -> None:
        pass


class NoHistory:
    """REST without candles: the path from a price to a sale needs none."""

    async def public(self, endpoint: str, parameters: object = None) -> object:
        raise NoAnswer(f"{endpoint}: there is none")


# Our side


class Unwritten(Journal):
    """A journal whose rows never reach the disk: what is left is the time of everything else."""

    def commit(self) -> None:
        pass


def listed() -> Listed:
    listing = next(listing for listing in reversed(LISTINGS) if listing.symbol == SYMBOL)
    return Listed(listing, exact("0.004"), FEE, BEGUN)


def opening() -> list[Record]:
    settings: dict[str, object] = {"mode": "live", "account": "0" * 12, "stake_currency": "USDT"}
    return [Opened("bench", "live", settings), Deposited(amount("100000 USDT"), BEGUN), listed()]


def order(name: str, side: Side, purpose: Purpose, now: Time) -> Order:
    buys = side is Side.BUY
    reserve = Amount(EXACT.multiply(PRICE, QUANTITY) * 2, "USDT") if buys else Amount(QUANTITY, "SOL")
    kind = OrderType.LIMIT if buys else OrderType.MARKET
    price = PRICE if buys else None
    in_force = TimeInForce.IOC if buys else TimeInForce.GTC
    return Order(name, SYMBOL, side, kind, QUANTITY, price, reserve, purpose, now, in_force,
                 fee_asset=FeeAsset.QUOTE)  # fmt: skip


def filled(placed: Order, now: Time) -> Fill:
    cost = EXACT.multiply(PRICE, QUANTITY)
    fee = Amount(EXACT.multiply(cost, FEE), "USDT")
    head = f"T-{placed.client_id}", placed.client_id, SYMBOL, placed.side, PRICE, QUANTITY
    return Fill(*head, Amount(cost, "USDT"), fee, Liquidity.TAKER, now)


def bought(number: int, now: Time) -> list[Record]:
    """An entry from its intent to its fill."""
    placed = order(f"b-{number:x}", Side.BUY, Purpose.ENTRY, now)
    intent = Submit(placed, None, Try(STOP, TARGET, 0.5, 0))
    return [intent, *_taken(placed, now)]


def sold(number: int, now: Time) -> list[Record]:
    placed = order(f"s-{number:x}", Side.SELL, Purpose.STOP, now)
    return [Submit(placed), *_taken(placed, now)]


def _taken(placed: Order, now: Time) -> list[Record]:
    name = placed.client_id
    return [Sent(name, now), Accepted(name, f"O-{name}", now), filled(placed, now)]


def ticker(bid: Decimal) -> bytes:
    ask = bid + exact("0.01")
    row = (
        f'{{"symbol":"{SYMBOL}","bid":{bid},"bid_qty":120.5,"ask":{ask},"ask_qty":80.25,"last":{bid},'
        '"volume":81234.56,"vwap":150.01,"low":147.20,"high":152.90,"change":-1.05,"change_pct":-0.70}'
    )
    return f'{{"channel":"ticker","type":"update","data":[{row}]}}'.encode()


@asynccontextmanager
async def trading(journal: Journal) -> AsyncIterator[tuple[LiveRun, Ticks, Exchange]]:
    """A run on the stand-in, joined as app/live.py joins one, but for what compares books."""
    exchange, ticks, state, inbox = Exchange(), Ticks(), State(), Inbox()
    server = await asyncio.get_running_loop().create_server(lambda: exchange, "127.0.0.1", 0)
    for record in opening():
        apply(state, record)
        journal.append(*encode(record))
    known = listed()
    settings = live_settings(load_settings(None, "small", {"pairs": SYMBOL, "timeframe": "1m"}))
    plan = replace(plan_of(settings, "bench"), markets=rules_of({SYMBOL: known}, FeeAsset.QUOTE))
    engine = Engine(plan, state, {})

    async def connect(_: str) -> Socket:
        return ticks

    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with httpx.AsyncClient(base_url=url) as http:
        venue = KrakenVenue(Rest(http, clock, KEY), clock, state, inbox.put, Pace(clock, NO_LIMIT))
        outlet = Outlet(
            inbox.put, engine.brackets, lambda _: (known.maker_fee, known.taker_fee), state.listed
        )
        feed = LiveFeed(
            Watched((SYMBOL,), "1m", Dip()), NoHistory(), Line("ws://", connect, clock), outlet, clock()
        )
        live = LiveRun(engine, venue, journal, inbox, feed, (SYMBOL,), [feed.run])
        task = asyncio.create_task(follow(live, lambda events, records: None))
        try:
            yield live, ticks, exchange
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            server.close()


async def stopped_out(journal: Journal, orders: int) -> list[float]:
    """Seconds from the bytes of a price at the stop to those of the sale, of each order."""
    spent: list[float] = []
    async with trading(journal) as (live, ticks, exchange):
        state = live.engine.state
        for number in range(WARM_UP + orders):
            for record in bought(number, clock()):
                apply(state, record)
            exchange.there.clear()
            gc.collect() if not number % 100 else None
            await asyncio.sleep(0)
            began = time.perf_counter()
            ticks.says.put_nowait(ticker(STOP - number % 2 * exact("0.01")))
            async with asyncio.timeout(SECONDS):
                await exchange.there.wait()
                while not (placed := next(iter(state.orders.values()))).venue_id:
                    await asyncio.sleep(0)
            spent.append(exchange.arrived - began)
            live.inbox.put([filled(placed.order, clock())])
            await live.inbox.answered()
            assert not state.holdings and not state.orders
    return spent[WARM_UP:]


def latency(kind: type[Journal], orders: int) -> list[float]:
    with tempfile.TemporaryDirectory() as folder, kind(Path(folder) / "a.journal") as journal:
        return asyncio.run(stopped_out(journal, orders))


async def bare(orders: int) -> list[float]:
    """Seconds from asking httpx for a request of that size until the exchange has it: what no program that
    uses it can be below."""
    spent: list[float] = []
    exchange = Exchange()
    server = await asyncio.get_running_loop().create_server(lambda: exchange, "127.0.0.1", 0)
    body, headers = b"x" * 200, {"API-Key": "K" * 56, "API-Sign": "S" * 88}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as http:
        for _ in range(WARM_UP + orders):
            began = time.perf_counter()
            await http.post("/0/private/AddOrder", content=body, headers=headers)
            spent.append(exchange.arrived - began)
    server.close()
    return spent[WARM_UP:]


def tick_to_order(orders: int) -> None:
    for name, spent, note in (
        ("price to order, without the commit", latency(Unwritten, orders), "(aim: p99 below 1 ms)"),
        ("price to order, with it", latency(Journal, orders), "synchronous=FULL"),
        ("  a request by httpx alone", asyncio.run(bare(orders)), "a part of both"),
    ):
        cuts = statistics.quantiles(spent, n=100)
        say(name, f"p50 {cuts[49] * 1e3:.2f} ms", f"p99 {cuts[98] * 1e3:.2f} ms {note}")


# A long journal


def write_long(path: Path) -> int:
    """A journal of a live run that bought and sold, shortly before its next checkpoint: so many rows."""
    state = State()
    with Journal(path) as journal:
        for record in opening():
            apply(state, record)
            journal.append(*encode(record))
        number = 0
        while journal.count < ROWS - ROWS_OF_A_TRADE:
            before = journal.count
            number, now = number + 1, Time(BEGUN + number * 60_000)
            for record in (*bought(number, now), *sold(number, now)):
                apply(state, record)
                journal.append(*encode(record))
            if journal.count // CHECKPOINT_ROWS > before // CHECKPOINT_ROWS:
                journal.append(*checkpoint(state))
                journal.commit()
        journal.commit()
    return journal.count


def ready(path: Path) -> float:
    """Seconds from opening a journal to an engine that knows all it holds."""
    began = time.perf_counter()
    with Journal(path) as journal:
        state = load_state(journal)
        settings = live_settings(load_settings(None, "small", {"pairs": SYMBOL, "timeframe": "1m"}))
        Engine(plan_of(settings, state.run_id), state, {})
        return time.perf_counter() - began


def start_to_ready() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.journal"
        rows = write_long(path)
        each = statistics.median(ready(path) for _ in range(7))
        say(f"a journal of {rows:,} rows, opened and folded", f"{each:.3f} s", "checkpoint and tail")
        whole = process("-m", "benchmarks.live", str(path))
        say("  from the start of the process", f"{whole:.2f} s", "(aim below 1 s)")
        say("  of which importing", f"{process('-c', 'import benchmarks.live'):.2f} s")


def process(*arguments: str) -> float:
    """Seconds that a Python process takes: the median of five."""
    spent = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True)
        spent.append(time.perf_counter() - began)
    return statistics.median(spent)


def main() -> None:
    tick_to_order(ORDERS)
    start_to_ready()


if __name__ == "__main__":
    ready(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
