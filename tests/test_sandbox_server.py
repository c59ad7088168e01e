"""The sandbox's doors: any bytes are answered or end the connection, and what is kept is bounded."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from lotwise.app.cli import cli
from lotwise.domain.values import Time
from lotwise.sandbox.clock import Clock
from lotwise.sandbox.server import MAX_HEAD
from lotwise.sandbox.service import Account, Hosted, Sandbox, hosted
from lotwise.sandbox.tables import conformance
from lotwise.sandbox.wire import MAX_BODY
from lotwise.sandbox.world import Tariff, World
from lotwise.strategies.candles import Candles

ROOT = Path(__file__).parent.parent
SECONDS = 10.0
UNKNOWN_METHOD = b'{"error":["EGeneral:Unknown method"]}'


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Hosted]:
    with hosted(Sandbox(speed=0, rate_limits=False)) as made:
        yield made


def address(sandbox: Hosted) -> tuple[str, int]:
    host, port = sandbox.url.removeprefix("http://").split(":")
    return host, int(port)


def sent(sandbox: Hosted, *parts: bytes) -> bytes:
    """All that comes back for these bytes until the connection ends."""
    with socket.create_connection(address(sandbox), SECONDS) as door:
        with suppress(BrokenPipeError, ConnectionResetError):
            for part in parts:
                door.sendall(part)
            door.shutdown(socket.SHUT_WR)
        answer = b""
        with suppress(ConnectionResetError):
            while received := door.recv(65536):
                answer += received
        return answer


def get(url: str) -> Any:
    with urlopen(url, timeout=SECONDS) as response:
        return json.loads(response.read())


@contextmanager
def socketed(sandbox: Hosted, private: bool = False) -> Iterator[ClientConnection]:
    with connect(f"{sandbox.auth_ws_url if private else sandbox.ws_url}/v2", open_timeout=SECONDS) as door:
        assert json.loads(door.recv(SECONDS))["channel"] == "status"
        yield door


# HTTP


def test_answers_many_requests_that_come_at_once_in_their_order(sandbox: Hosted) -> None:
    one = b"GET /0/public/Depth?pair=SOLUSD&count=%d HTTP/1.1\r\nHost: a\r\n\r\n"
    last = b"GET /0/public/Time HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    answer = sent(sandbox, b"".join(one % count for count in (1, 2, 3)) + last)
    parts = answer.split(b"HTTP/1.1 200 OK")[1:]
    asks = [json.loads(part.partition(b"\r\n\r\n")[2])["result"] for part in parts]
    assert [len(each["SOLUSD"]["asks"]) for each in asks[:3]] == [1, 2, 3]
    assert "unixtime" in asks[3]


def test_takes_a_body_in_pieces(sandbox: Hosted) -> None:
    head = b"POST /0/public/Depth HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
    answer = sent(sandbox, head + b"\r\n7\r\npair=SO\r\n", b"5\r\nLUSDT\r\n0\r\n\r\n")
    assert b'"SOLUSDT"' in answer


@pytest.mark.parametrize("target", ["/", "/0/public/Nothing", "/0/private/Balance", "/v2", "/%ff/..//x?y"])
def test_says_in_krakens_words_that_there_is_no_such_method(sandbox: Hosted, target: str) -> None:
    answer = sent(sandbox, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer.endswith(UNKNOWN_METHOD)


def test_refuses_a_body_that_is_too_long_and_reads_no_more_of_it(sandbox: Hosted) -> None:
    head = b"POST /0/private/AddOrder HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n"
    answer = sent(sandbox, head, b"a" * (MAX_BODY + 1))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"EGeneral:Invalid arguments" in answer
    assert b"connection: close" in answer.lower()


@pytest.mark.parametrize("more", [b"a" * MAX_HEAD, b"X: y\r\n" * MAX_HEAD], ids=["long", "many"])
def test_ends_a_request_whose_headers_do_not_end(sandbox: Hosted, more: bytes) -> None:
    with socket.create_connection(address(sandbox), SECONDS) as door:
        door.sendall(b"GET / HTTP/1.1\r\nX: ")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(1_000):
                door.sendall(more)


def test_ends_a_connection_that_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lotwise.sandbox.server.HEAD_SECONDS", 0.1)
    with hosted(Sandbox(speed=0)) as impatient:
        for said in (b"", b"GET /0/public/Time HTT", b"GET / HTTP/1.1\r\nHost: a\r\nX"):
            with socket.create_connection(address(impatient), SECONDS) as door:
                door.sendall(said)
                with suppress(ConnectionResetError):
                    assert door.recv(1) == b""


def test_ends_a_request_whose_body_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lotwise.sandbox.doors.BODY_SECONDS", 0.1)
    with (
        hosted(Sandbox(speed=0)) as impatient,
        socket.create_connection(address(impatient), SECONDS) as door,
    ):
        door.sendall(b"POST /0/private/Balance HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nnonce")
        with pytest.raises(ConnectionResetError):
            assert door.recv(1) == b""
            raise ConnectionResetError


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=100).map(lambda junk: b"GET /0/public/" + junk + b" HTTP/1.1\r\n\r\n"),
        st.binary(max_size=200).map(
            lambda junk: b"POST /0/private/AddOrder HTTP/1.1\r\nContent-Length: 200\r\n\r\n" + junk
        ),
        st.binary(max_size=100).map(
            lambda junk: b"GET /v2 HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + junk
        ),
    )
)
def test_answers_any_bytes_without_a_server_error(sandbox: Hosted, junk: bytes) -> None:
    answer = sent(sandbox, junk)
    for status in re.findall(rb"HTTP/1\.1 (\d+)", answer):
        assert status != b"500"
    assert get(f"{sandbox.url}/0/public/Time")["error"] == []


# WebSocket


def test_serves_public_and_private_sockets_on_the_port_of_rest(sandbox: Hosted) -> None:
    ask = json.dumps({"method": "subscribe", "params": {"channel": "ticker", "symbol": ["SOL/USD"]}})
    with socketed(sandbox) as door:
        door.send(ask)
        assert json.loads(door.recv(SECONDS))["success"] is True
        assert json.loads(door.recv(SECONDS))["data"][0]["symbol"] == "SOL/USD"
    with socketed(sandbox, private=True) as door:
        door.send(ask)
        assert "Try ws.kraken.com" in json.loads(door.recv(SECONDS))["error"]


def test_has_no_sockets_elsewhere(sandbox: Hosted) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"{sandbox.ws_url}/v1", open_timeout=SECONDS)


def test_tells_all_who_listen_when_the_market_moves(sandbox: Hosted) -> None:
    with ExitStack() as opened:
        doors = [opened.enter_context(socketed(sandbox)) for _ in range(20)]
        for door in doors:
            params = {"channel": "book", "symbol": ["ETH/USD"], "depth": 100}
            door.send(json.dumps({"method": "subscribe", "params": params}))
            assert json.loads(door.recv(SECONDS))["success"] is True
            assert json.loads(door.recv(SECONDS))["type"] == "snapshot"
        sandbox.do(lambda admin: admin.advance(5))
        told = {door.recv(SECONDS) for door in doors}
        assert len(told) == 1
        assert json.loads(told.pop())["type"] == "update"


@pytest.mark.parametrize("junk", ["", "{", b"\x00\xff", "[]", '{"method":1}', "9" * 5000, "\u0000"])
def test_answers_any_message(sandbox: Hosted, junk: str | bytes) -> None:
    with socketed(sandbox) as door:
        door.send(junk)
        assert json.loads(door.recv(SECONDS))["success"] is False
        door.send('{"method":"ping"}')
        assert json.loads(door.recv(SECONDS))["method"] == "pong"


def test_ends_a_connection_whose_messages_are_too_long(sandbox: Hosted) -> None:
    for size in (300_000, 2_000_000):
        with socketed(sandbox) as door:
            with pytest.raises(ConnectionClosed) as ended:
                door.send("a" * size)
                door.recv(SECONDS)
            assert ended.value.rcvd is None or ended.value.rcvd.code == 1009


def test_ends_a_connection_whose_message_comes_in_endless_parts(sandbox: Hosted) -> None:
    with socketed(sandbox) as door, pytest.raises(ConnectionClosed):
        door.send("" for _ in range(100_000))
        door.recv(SECONDS)


def test_drops_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lotwise.sandbox.doors.MOST_WAITING", 50)
    ask = {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 1000}}
    with hosted(Sandbox(speed=0)) as sandbox, socket.create_connection(address(sandbox), SECONDS) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        door.sendall(
            b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        door.recv(10)
        text = json.dumps(ask).encode()
        door.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text)
        # Answers beyond what the sockets hold have to wait, and only so many may.
        ping = b'{"method":"ping","req_id":%d}' % 10**15
        frame = bytes([0x81, 0x80 | len(ping), 0, 0, 0, 0]) + ping
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(100_000):
                door.sendall(frame)
        assert get(f"{sandbox.url}/0/public/Time")["error"] == []


def test_keeps_nothing_of_clients_that_have_left(sandbox: Hosted) -> None:
    def visit() -> None:
        for _ in range(20):
            with socketed(sandbox) as door:
                params = {"channel": "book", "symbol": ["BTC/USD", "SOL/USD"]}
                door.send(json.dumps({"method": "subscribe", "params": params}))
                door.recv(SECONDS)
            sent(sandbox, b"GET /0/public/Time HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")

    visit()
    tracemalloc.start()
    try:
        visit()
        before, _ = tracemalloc.get_traced_memory()
        visit()
        visit()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 200_000


# Time


def test_time_stands_still_until_it_is_moved(sandbox: Hosted) -> None:
    first = get(f"{sandbox.url}/0/public/Time")["result"]["unixtime"]
    assert get(f"{sandbox.url}/0/public/Time")["result"]["unixtime"] == first
    sandbox.do(lambda admin: admin.advance(90))
    assert get(f"{sandbox.url}/0/public/Time")["result"]["unixtime"] == first + 90


def test_a_clock_goes_as_fast_as_it_shall_and_never_back() -> None:
    passed = 0
    clock = Clock(Time(1000), 60, lambda: passed)
    assert clock.now() == 1000
    passed = 500_000_000
    assert clock.now() == 31_000
    clock.move(-10_000)
    assert clock.now() == 31_000
    passed += 200_000_000
    assert clock.now() == 33_000


def test_time_flies_at_full_speed() -> None:
    with hosted(Sandbox(speed="max")) as sandbox:
        first = get(f"{sandbox.url}/0/public/Time")["result"]["unixtime"]
        for _ in range(200):
            if get(f"{sandbox.url}/0/public/Time")["result"]["unixtime"] > first + 30:
                return
    pytest.fail("thirty seconds took as long as two hundred requests")


def test_equal_sandboxes_show_equal_markets() -> None:
    books = []
    for _ in range(2):
        with hosted(Sandbox(speed=0, start=Time(1_790_000_000_000))) as sandbox:
            sandbox.do(lambda admin: admin.advance(30))
            books.append(get(f"{sandbox.url}/0/public/Depth?pair=XBTUSD"))
    assert books[0] == books[1]


# The operator


def test_the_operator_has_a_port_of_its_own_with_the_truth(sandbox: Hosted) -> None:
    accounts = get(f"{sandbox.admin_url}/accounts")
    assert accounts["sandbox"]["USDT"] == {"total": "1000", "free": "1000"}
    trades = get(f"{sandbox.admin_url}/trades")
    assert {trade["taker"] for trade in trades} == {"crowd"}


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/changes", b'{"change":"pair","pair":"NO/USD","status":"offline"}', "pair: 'NO/USD' is not one of"),
        ("/changes", b'{"change":"money","account":"sandbox","amount":"-1 TON"}', "amount"),
        ("/changes", b'{"change":"rules","pair":"SOL/USD","ordermin":"-1"}', "min_quantity"),
        ("/changes", b"{}", "change: None is not one of system pair rules fees lag money"),
        ("/faults", b'{"kind":"sunshine"}', "kind"),
        ("/faults", b'{"kind":"ban","more":1}', "more"),
        ("/advance", b'{"seconds":-1}', "seconds"),
        ("/advance", b'{"seconds":true}', "seconds"),
        ("/advance", b"[]", "must be a JSON object"),
        ("/advance", b"[" * 100_000, "body"),
        ("/nowhere", b"", "is none of"),
    ],
)
def test_the_operator_is_told_what_is_wrong(sandbox: Hosted, path: str, body: bytes, words: str) -> None:
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(sandbox.admin_url + path, body, method="POST"), timeout=SECONDS)
    told = json.loads(refused.value.read())
    assert refused.value.code in (400, 404)
    assert words in told["error"]


# As a library, a fixture and a command


def test_as_a_library_it_is_there_for_as_long_as_it_is_used() -> None:
    async def work() -> tuple[str, int]:
        async with Sandbox() as sandbox:
            assert sandbox.key and sandbox.secret
            assert sandbox.ws_url == sandbox.url.replace("http", "ws")
            reader, writer = await asyncio.open_connection(*sandbox.url.removeprefix("http://").split(":"))
            writer.write(b"GET /0/public/SystemStatus HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert b'"status":"online"' in await reader.read()
            writer.close()
            host, port = sandbox.url.removeprefix("http://").split(":")
            return host, int(port)

    gone = asyncio.run(work())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(gone, SECONDS)


def test_ends_at_once_although_clients_are_there() -> None:
    with hosted(Sandbox()) as sandbox, ExitStack() as opened:
        door = opened.enter_context(socketed(sandbox))
        opened.enter_context(socket.create_connection(address(sandbox), SECONDS))
        stay = opened.pop_all()
    with stay, pytest.raises(ConnectionClosed):
        while True:
            door.recv(SECONDS)


def test_a_taken_port_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        told = CliRunner().invoke(cli, ["sandbox", "--no-history", "--port", str(port), "--admin-port", "0"])
    assert told.exit_code == 4
    assert f"127.0.0.1 port {port}" in told.output
    assert "--port" in told.output


TESTS = """
from urllib.request import urlopen
import pytest
from lotwise.sandbox.service import Sandbox

def test_has_a_sandbox(kraken_sandbox):
    assert b"unixtime" in urlopen(kraken_sandbox.url + "/0/public/Time").read()

class TestStill:
    @pytest.fixture
    def kraken_sandbox_options(self):
        return Sandbox(speed=0)

    def test_moves_time(self, kraken_sandbox):
        first = kraken_sandbox.do(lambda admin: admin.advance(0))
        assert kraken_sandbox.do(lambda admin: admin.advance(2)) == first + 2000
"""


def test_a_test_of_someone_else_has_a_sandbox_by_a_fixture(tmp_path: Path) -> None:
    (tmp_path / "test_theirs.py").write_text(TESTS)
    plugin = ["-W", "error", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), *plugin, "test_theirs.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "2 passed" in told.stdout, told.stdout + told.stderr


def test_the_fixture_imports_nothing_for_those_who_do_not_use_it() -> None:
    code = "import sys, lotwise.sandbox.pytest_plugin; print({'uvicorn', 'pydantic'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert told.stdout.strip() == "set()"


def test_the_command_prints_how_to_use_it_serves_and_stops_on_ctrl_c(tmp_path: Path) -> None:
    state = tmp_path / "sandbox.state"
    command = [sys.executable, "-m", "lotwise", "sandbox", "--port", "0", "--admin-port", "0"]
    running = subprocess.Popen(
        [*command, "--no-history", "--account", "me:key:c2VjcmV0:USDT=12.5,BTC=0.01", "--state", str(state)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    assert running.stdout is not None
    with running.stdout as printed:
        lines = [printed.readline() for _ in range(5)]
        assert "account me: KEY key SECRET c2VjcmV0, with 0.01 BTC, 12.5 USDT" in lines[1]
        assert sum("c2VjcmV0" in line for line in lines) == 1
        assert [line.partition(":")[0] for line in lines[2:]] == ["ccxt", "python-kraken-sdk", "lotwise"]
        url = re.findall(r"http://[\d.:]+", lines[0])[0]
        assert get(f"{url}/0/public/SystemStatus")["result"]["status"] == "online"
        running.send_signal(signal.SIGINT)
        assert "has everything" in printed.read()
    assert running.wait(SECONDS) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--account", "me:key:c2VjcmV0"], "NAME:KEY:SECRET:USDT=100,BTC=0.01"),
        (["--account", "me:key:plainly:USDT=1"], "--account me: secret"),
        (["--account", "me:key:c2VjcmV0:USDT=0"], "0 USDT is no money"),
        (["--account", "me:key:c2VjcmV0:USDT"], "is not like USDT=100"),
        (["--rules", "today"], "--rules today: write latest, or a day"),
        (["--rules", "2001-01-01"], "no fees are known before 2019-01-01"),
        (["--rules", "2020-01-01"], "they are known from 2021-04-17 on"),
        (["--faults", "nowhere.toml"], "nowhere.toml: No such file or directory"),
        (["--market", "nowhere"], "nowhere"),
        (["--state", "nowhere/else"], "nowhere/else: cannot be written"),
    ],
)
def test_the_command_says_what_is_wrong(options: list[str], words: str) -> None:
    told = CliRunner().invoke(cli, ["sandbox", "--port", "0", "--admin-port", "0", *options])
    assert told.exit_code in (2, 4)
    assert words in told.output
    assert "plainly" not in told.output


def test_two_accounts_of_one_sandbox_trade_with_one_another() -> None:
    a, b = (Account(name, f"key-{name}", "c2VjcmV0") for name in "ab")
    with hosted(Sandbox((a, b), speed=0)) as sandbox:
        assert [account.name for account in sandbox.sandbox.accounts] == ["a", "b"]
        assert set(get(f"{sandbox.admin_url}/accounts")) == {"a", "b"}


def test_the_page_has_the_tables_of_the_code() -> None:
    page = (ROOT / "docs" / "sandbox.md").read_text(encoding="utf-8")
    assert conformance() in page, "write the output of `lotwise sandbox --conformance` at the end of the page"


# History


def test_candles_of_every_length_go_back_from_the_price_now() -> None:
    world = World(quotes=("EUR",), history=True)
    now = Time(1_790_000_012_345)
    exchange = world.opened(Tariff(world.schedule()), now)
    tape = exchange.tape("SOL/EUR")
    for minutes, bars in tape.bars.items():
        length = minutes * 60_000
        times = [bar.time for bar in bars]
        assert times == list(range(times[0], times[-1] + 1, length))
        assert now - length < times[-1] <= now
        for bar in bars:
            assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
            assert bar.low <= bar.average <= bar.high
    assert [len(tape.candles(minutes)) for minutes in (1, 5, 15, 60, 240, 1440)] == [721] * 6
    closes = {bars[-1].close for bars in tape.bars.values()}
    assert len(closes) == 1
    quote = exchange.quotes()["SOL/EUR"]
    assert abs(closes.pop() / quote.bid - 1) < Decimal("0.02")


def test_recorded_candles_go_on_where_their_history_ends() -> None:
    dates = 1_700_000_400_000 + 300_000 * np.arange(100, dtype=np.int64)
    steps = 10_000 + 10 * np.arange(100, dtype=np.int64)
    candles = Candles(
        *("SOL/USD", "5m"),
        dates=dates,
        open=steps,
        high=steps + 5,
        low=steps - 5,
        close=steps,
        step=Decimal("0.01"),
        volume=np.full(100, 50.0),
    )
    world = World(candles={"SOL/USD": candles}, history=True)
    exchange = world.opened(Tariff(world.schedule()), Time(1_790_000_012_345))
    tape = exchange.tape("SOL/USD")
    told = tape.candles(5)
    assert [bar.close for bar in told[:50]] == [candles.price(step) for step in steps[:50]]
    assert told[0].volume == 50
    # The first half is told, the second has begun.
    assert abs(exchange.quotes()["SOL/USD"].bid / candles.price(steps[50]) - 1) < Decimal("0.01")
    assert tape.candles(1)[0].time >= told[-1].time
