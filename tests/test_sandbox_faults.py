"""What goes wrong between a client and the sandbox: as planned, by seed, and with the truth at hand."""

import json
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from lotwise.app.cli import cli
from lotwise.domain.values import BadField, Time
from lotwise.sandbox.changes import change_of, plain_of
from lotwise.sandbox.faults import Fault, Faults, Kind, fault_of, plan_of
from lotwise.sandbox.service import Account, Hosted, Sandbox, hosted
from tests.test_sandbox_state import Signed

SECONDS = 10.0
ME = Account("me", "mine", "c2VjcmV0")
NOW = Time(1_790_000_000_000)
GONE = (URLError, ConnectionError, HTTPException)

PLAN = """
[[fault]]
kind = "answer lost"      # the order is taken, and nobody says so
on = ["AddOrder", "add_order"]
share = 0.1

[[fault]]
kind = "error"
text = "EAPI:Invalid nonce"
skip = 20
times = 2

[[fault]]
kind = "stall"
on = ["book", "executions"]
after = 30
until = 60
seconds = 5.5

[[change]]
at = 60
kind = "system"
status = "maintenance"

[[change]]
at = 90
kind = "system"
status = "online"

[[change]]
at = 5.5
kind = "rules"
pair = "SOL/USDT"
ordermin = 0.6
"""


@contextmanager
def served(toml: str = "", **more: Any) -> Iterator[tuple[Hosted, Signed]]:
    with hosted(Sandbox((ME,), speed=0, plan=plan_of(toml), rate_limits=False, **more)) as sandbox:
        client = Signed()
        client.url = sandbox.url
        yield sandbox, client


def fault(kind: str, **more: object) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"kind": kind, **more}.items()]
    return "\n".join(["[[fault]]", *lines, ""])


def taken(sandbox: Hosted) -> int:
    """How many orders the exchange has taken, in truth."""
    return len(sandbox.do(lambda admin: admin.orders()))


@contextmanager
def socketed(sandbox: Hosted, *channels: dict[str, Any]) -> Iterator[ClientConnection]:
    private = any("token" in channel for channel in channels)
    url = sandbox.auth_ws_url if private else sandbox.ws_url
    with connect(f"{url}/v2", open_timeout=SECONDS) as door:
        assert heard(door)["channel"] == "status"
        for channel in channels:
            door.send(json.dumps({"method": "subscribe", "params": channel}))
        yield door


def heard(door: ClientConnection) -> Any:
    return json.loads(door.recv(SECONDS), parse_float=Decimal)


# The plan


def test_a_plan_is_read_from_toml() -> None:
    plan = plan_of(PLAN)
    assert [fault.kind for fault in plan.faults] == [Kind.ANSWER_LOST, Kind.ERROR, Kind.STALL]
    assert plan.faults[2] == Fault(Kind.STALL, ("book", "executions"), after=30.0, until=60.0, seconds=5.5)
    assert [due.at for due in plan.changes] == [5.5, 60, 90]
    assert plain_of(plan.changes[0].change) == {
        "pair": "SOL/USDT", "ordermin": "0.6", "costmin": None, "tick_size": None, "change": "rules"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        ("fault", "TOML"),
        ("[fault]\n", "fault: must be tables"),
        ("[[faults]]\n", "faults: is neither"),
        ('[[fault]]\nkind = "rain"', "fault 1: kind"),
        ('[[fault]]\nkind = "stall"\nshare = 0', "fault 1: share: must be above 0"),
        ('[[fault]]\nkind = "stall"\nshares = 1', "fault 1: shares"),
        ('[[fault]]\nkind = "stall"\nuntil = 0', "fault 1: until: must be later than after"),
        ('[[fault]]\nkind = "stall"\nseconds = nan', "fault 1: seconds"),
        ('[[fault]]\nkind = "stall"\non = "book"', "fault 1: on"),
        ('[[change]]\nkind = "system"\nstatus = 1', "change 1: status"),
        ('[[change]]\nkind = "money"\naccount = "me"\namount = "-1 BTC"', "change 1: amount: a plan only"),
        ('[[change]]\nkind = "weather"', "change 1: change: 'weather' is not one of"),
        ('[[change]]\nkind = "system"\nstatus = "online"\nat = -1', "change 1: at"),
    ],
)
def test_a_plan_that_is_none_is_refused_with_its_place(toml: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadField) as refused:
        plan_of(toml)
    assert words in str(refused.value)
    (tmp_path / "plan.toml").write_text(toml)
    told = CliRunner().invoke(cli, ["sandbox", "--faults", str(tmp_path / "plan.toml")])
    assert (told.exit_code, "plan.toml: " in told.output) == (2, True)


def struck(faults: Faults, requests: int = 400) -> list[int]:
    found = (faults.on_request("AddOrder", NOW, True, True) for _ in range(requests))
    return [number for number, fault in enumerate(found) if fault is not None]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**40), st.floats(0.05, 1), st.integers(0, 20), st.integers(1, 30))
def test_a_seed_strikes_the_same_requests_each_time(seed: int, share: float, skip: int, times: int) -> None:
    plan = [Fault(Kind.ANSWER_LOST, share=share, skip=skip, times=times)]
    hits = struck(Faults(plan, seed, NOW))
    assert hits == struck(Faults(plan, seed, NOW))
    assert len(hits) <= times
    assert all(number >= skip for number in hits)


def test_a_share_is_about_what_it_says() -> None:
    assert 60 < len(struck(Faults([Fault(Kind.ERROR, share=0.2)], 1, NOW))) < 100
    assert struck(Faults([Fault(Kind.ERROR)], 1, NOW)) == list(range(400))


def test_a_fault_lasts_for_its_time_and_concerns_what_it_names() -> None:
    faults = Faults([Fault(Kind.ERROR, on=("Balance",), after=10, until=20)], 0, NOW)
    seen = [
        faults.on_request(name, Time(NOW + seconds * 1000), True, True) is not None
        for name in ("Balance", "AddOrder")
        for seconds in (9, 10, 19, 20)
    ]
    assert seen == [False, True, True, False, False, False, False, False]


def test_a_fault_of_messages_strikes_no_request_and_a_page_no_socket() -> None:
    faults = Faults([Fault(Kind.STALL), Fault(Kind.ERROR_PAGE)], 0, NOW)
    assert faults.on_request("add_order", NOW, True, False) is None
    found = faults.on_message("book", NOW)
    assert found is not None
    assert found.kind is Kind.STALL


def test_changes_are_the_same_as_plain_data() -> None:
    for due in plan_of(PLAN).changes:
        assert change_of(plain_of(due.change)) == due.change
    assert fault_of({"kind": "ban"}) == Fault(Kind.BAN)


# Requests


def test_a_lost_request_is_not_carried_out() -> None:
    with served(fault("request lost", on=["AddOrder"])) as (sandbox, client):
        with pytest.raises(GONE):
            client.buy(90)
        assert taken(sandbox) == 0
        assert "USDT" in client.ask("Balance")


def test_a_lost_answer_leaves_an_order() -> None:
    with served(fault("answer lost", on=["AddOrder"], times=1)) as (sandbox, client):
        with pytest.raises(GONE):
            client.buy(90, cl_ord_id="mine")
        assert taken(sandbox) == 1
        (found,) = client.ask("OpenOrders", cl_ord_id="mine")["open"].values()
        assert found["descr"]["price"] == "90.00"
        assert "txid" in client.buy(90)


def test_a_request_that_comes_twice_is_answered_by_its_second_coming() -> None:
    # The first is carried out; what the client hears is what became of the second.
    with served(fault("request twice", on=["AddOrder"], times=1)) as (sandbox, client):
        assert client.buy(90) == "EAPI:Invalid nonce"
        assert taken(sandbox) == 1


def test_a_late_request_may_pass_its_deadline() -> None:
    with served(fault("request late", on=["AddOrder"], seconds=0.5, times=1), start=NOW) as (sandbox, client):
        with ThreadPoolExecutor() as sent:
            answer = sent.submit(client.buy, 90, deadline="2026-09-21T14:13:23Z")
            while not sandbox.do(lambda admin: admin.faults()[0]["struck"]):
                time.sleep(0.01)
            sandbox.do(lambda admin: admin.advance(5))
            assert answer.result(SECONDS) == "EService:Deadline elapsed"
        assert taken(sandbox) == 0


def test_a_late_answer_belongs_to_an_order_that_is_there_already() -> None:
    with served(fault("answer late", on=["AddOrder"], seconds=0.3, times=1)) as (sandbox, client):
        assert "txid" in client.buy(90)
        assert taken(sandbox) == 1


@pytest.mark.parametrize("carried_out", [False, True])
def test_an_error_page_says_nothing_of_what_was_done(carried_out: bool) -> None:
    toml = fault("error page", status=502, carried_out=carried_out)
    with served(toml) as (sandbox, client):
        with pytest.raises(HTTPError) as refused:
            client.buy(90)
        assert refused.value.code == 502
        assert refused.value.read().startswith(b"<!DOCTYPE html>")
        assert taken(sandbox) == carried_out


def test_a_cut_answer_is_no_json() -> None:
    with served(fault("answer cut", on=["AddOrder"])) as (sandbox, client):
        with pytest.raises(json.JSONDecodeError):
            client.buy(90)
        assert taken(sandbox) == 1


def test_an_error_is_told_in_the_words_of_the_plan() -> None:
    with served(fault("error", text="EAPI:Invalid nonce", times=1)) as (sandbox, client):
        assert client.buy(90) == "EAPI:Invalid nonce"
        assert taken(sandbox) == 0
        assert "txid" in client.buy(90)


def test_a_ban_lasts_and_leaves_public_data_alone() -> None:
    with served(fault("ban", on=["Balance"], seconds=60, times=1)) as (sandbox, client):
        assert "txid" in client.buy(90)
        assert client.ask("Balance") == "EGeneral:Temporary lockout"
        assert client.buy(90) == "EGeneral:Temporary lockout"
        assert urlopen(f"{sandbox.url}/0/public/Time", timeout=SECONDS).status == 200
        sandbox.do(lambda admin: admin.advance(60))
        assert "txid" in client.buy(90)


def test_faults_meet_the_methods_of_a_socket() -> None:
    toml = fault("answer lost", on=["add_order"], times=1) + fault("error", on=["add_order"], times=1)
    with served(toml) as (sandbox, client):
        token = client.ask("GetWebSocketsToken")["token"]
        order = {
            "order_type": "limit",
            "side": "buy",
            "symbol": "SOL/USDT",
            "order_qty": 1,
            "limit_price": 90,
        }
        with socketed(sandbox, {"channel": "balances", "token": token}) as door:
            assert heard(door)["success"] is True
            assert heard(door)["channel"] == "balances"
            for number in (1, 2, 3):
                request = {"method": "add_order", "params": {**order, "token": token}, "req_id": number}
                door.send(json.dumps(request))
            busy, third = heard(door), heard(door)
            assert (busy["req_id"], busy["error"]) == (2, "EService:Busy")
            assert (third["req_id"], third["success"]) == (3, True)
        assert taken(sandbox) == 2


# Messages


class Book:
    """A client's copy of a book, and whether it agrees with the checksum of the last message."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"asks": {}, "bids": {}}
        self.right = True

    def take(self, message: Any) -> None:
        (data,) = message["data"]
        for side, levels in self.sides.items():
            for level in data[side]:
                levels[level["price"]] = level["qty"]
            kept = sorted((p for p, q in levels.items() if q), reverse=side == "bids")[:10]
            self.sides[side] = {price: levels[price] for price in kept}
        text = "".join(
            f"{number:f}".replace(".", "").lstrip("0")
            for levels in self.sides.values()
            for level in levels.items()
            for number in level
        )
        self.right = zlib.crc32(text.encode()) == data["checksum"]


def books(toml: str, updates: int = 12) -> list[bool]:
    """Whether each message of a book agrees with its checksum, under a plan."""
    with (
        served(toml) as (sandbox, _),
        socketed(sandbox, {"channel": "book", "symbol": ["BTC/USD"]}) as door,
    ):
        assert heard(door)["success"] is True
        book, right = Book(), list[bool]()
        seconds = 0
        while len(right) < updates:
            sandbox.do(lambda admin: admin.advance(1))
            seconds += 1
            assert seconds < 200
            try:
                message = json.loads(door.recv(0.05), parse_float=Decimal)
            except TimeoutError:
                continue
            if message["channel"] != "book":
                continue
            book.take(message)
            right.append(book.right)
        return right


def test_a_book_is_right_when_nothing_is_wrong() -> None:
    assert all(books(""))


@pytest.mark.parametrize("kind", ["message lost", "out of order", "bad checksum"])
def test_a_client_that_checks_finds_a_book_wrong(kind: str) -> None:
    right = books(fault(kind, on=["book"], skip=3, times=1))
    assert all(right[:3])
    assert not all(right[3:])


def test_a_checksum_is_wrong_once_and_a_message_that_comes_twice_does_no_harm() -> None:
    assert books(fault("bad checksum", on=["book"], skip=3, times=1)).count(False) == 1
    assert all(books(fault("message twice", on=["book"], skip=3, times=2)))


def test_a_lost_message_is_a_gap_in_the_sequence() -> None:
    with served(fault("message lost", on=["executions"], skip=2, times=1)) as (sandbox, client):
        token = client.ask("GetWebSocketsToken")["token"]
        with socketed(sandbox, {"channel": "executions", "token": token}) as door:
            assert heard(door)["success"] is True
            sequence = [heard(door)["sequence"]]
            for _ in range(3):
                client.buy(90)
            while sequence[-1] < 5:
                message = heard(door)
                if message["channel"] == "executions":
                    sequence.append(message["sequence"])
            assert sequence != list(range(1, len(sequence) + 1))


def test_a_connection_is_cut_or_stalls() -> None:
    ask = {"channel": "ticker", "symbol": ["BTC/USD"]}
    with served(fault("disconnect", on=["ticker"])) as (sandbox, _), socketed(sandbox, ask) as door:
        assert heard(door)["success"] is True
        with pytest.raises(ConnectionClosed):
            door.recv(SECONDS)
    stall = fault("stall", on=["ticker"], seconds=0.4, times=1)
    with served(stall) as (sandbox, _), socketed(sandbox, ask) as door:
        assert heard(door)["success"] is True
        with pytest.raises(TimeoutError):
            door.recv(0.2)
        assert heard(door)["channel"] == "ticker"


# Changes


def test_the_exchange_changes_at_its_time() -> None:
    with served(PLAN) as (sandbox, client):
        assert "txid" in client.ask("AddOrder", **small)
        sandbox.do(lambda admin: admin.advance(5.5))
        assert client.ask("AddOrder", **small) == "EGeneral:Invalid arguments:volume minimum not met"
        sandbox.do(lambda admin: admin.advance(54.5))
        assert client.ask("Balance") == "EService:Unavailable"
        sandbox.do(lambda admin: admin.advance(30))
        assert "USDT" in client.ask("Balance")


small = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "volume": "0.1", "price": "90"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ('kind = "pair"\npair = "NO/USD"\nstatus = "offline"', "pair: 'NO/USD' is not one of"),
        ('kind = "system"\nstatus = "sleepy"', "status: 'sleepy' is not one of online"),
        ('kind = "fees"\nmaker = 0\ntaker = 100', "fees: must be percents"),
        ('kind = "money"\naccount = "you"\namount = "1 BTC"', "account: 'you' is not one of me"),
        ('kind = "money"\naccount = "me"\namount = "much"', "amount: "),
        ('kind = "rules"\npair = "SOL/USD"\ntick_size = 0', "tick_size: must be above 0"),
    ],
)
def test_a_change_that_can_never_be_made_is_refused_at_the_start(change: str, words: str) -> None:
    with pytest.raises(BadField, match=words), served(f"[[change]]\nat = 1000\n{change}"):
        pass


def test_the_operator_changes_the_exchange() -> None:
    with served() as (sandbox, client):

        def change(**what: object) -> None:
            sandbox.do(lambda admin: admin.change(**what))

        change(change="pair", pair="SOL/USDT", status="cancel_only")
        assert client.buy(90) == "EService:Market in cancel_only mode"
        change(change="pair", pair="SOL/USDT", status="post_only")
        assert client.buy(90) == "EService:Market in post_only mode"
        change(change="pair", pair="SOL/USDT", status="offline")
        assert client.buy(90) == "EQuery:Unknown asset pair"
        change(change="pair", pair="SOL/USDT", status="online")
        change(change="rules", pair="SOL/USDT", costmin="20")
        assert client.buy(90) == "EOrder:Cost minimum not met"
        change(change="rules", pair="SOL/USDT", costmin="0.5")
        change(change="fees", maker="0", taker="10")
        order = {"pair": "SOLUSD", "type": "sell", "ordertype": "market", "volume": "1"}
        (txid,) = client.ask("AddOrder", **order)["txid"]
        sold = client.ask("QueryOrders", txid=txid)[txid]
        assert Decimal(sold["fee"]) == Decimal(sold["cost"]) / 10
        change(change="lag", seconds=30)
        (late,) = client.ask("AddOrder", **order)["txid"]
        assert set(client.ask("ClosedOrders")["closed"]) == set()
        sandbox.do(lambda admin: admin.advance(30))
        assert set(client.ask("ClosedOrders")["closed"]) == {txid, late}


def test_the_clock_of_the_exchange_can_be_wrong() -> None:
    with hosted(Sandbox()) as sandbox:
        before = sandbox.do(lambda admin: admin.shift(0))
        assert sandbox.do(lambda admin: admin.shift(100)) >= before + 100_000
        stands = sandbox.do(lambda admin: admin.shift(-50))
        assert sandbox.do(lambda admin: admin.shift(0)) == stands


def test_the_operator_lets_things_go_wrong_and_ends_that() -> None:
    with served() as (sandbox, client):

        def operate(method: str, path: str, **said: object) -> Any:
            body = json.dumps(said).encode() if said else None
            request = Request(sandbox.admin_url + path, body, method=method)
            with urlopen(request, timeout=SECONDS) as response:
                return json.loads(response.read())

        number = operate("POST", "/faults", kind="error", text="EService:Busy", on=["Balance"])["number"]
        assert client.ask("Balance") == "EService:Busy"
        (standing,) = operate("GET", "/faults")
        assert (standing["number"], standing["struck"]) == (number, 1)
        operate("DELETE", f"/faults/{number}")
        assert "USDT" in client.ask("Balance")
        before = operate("GET", "/time")["time"]
        assert operate("POST", "/advance", seconds=1.5)["time"] == before + 1500
        operate("POST", "/changes", change="money", account="me", amount="7 ADA")
        assert operate("GET", "/accounts")["me"]["ADA"]["total"] == "7"


def test_the_truth_names_both_sides_of_a_trade() -> None:
    you = Account("you", "yours", "c2VjcmV0")
    with hosted(Sandbox((ME, you), speed=0, rate_limits=False)) as sandbox:
        maker, taker = Signed(), Signed(you)
        maker.url = taker.url = sandbox.url
        with urlopen(f"{sandbox.url}/0/public/Ticker?pair=MANAUSD", timeout=SECONDS) as told:
            best = json.loads(told.read())["result"]["MANAUSD"]
        price = Decimal(best["a"][0]) - Decimal("0.00001")
        assert price > Decimal(best["b"][0])
        order = {"pair": "MANAUSD", "ordertype": "limit", "volume": "100", "price": f"{price:f}"}
        sandbox.do(lambda admin: admin.change(change="money", account="me", amount="100 MANA"))
        (sold,) = maker.ask("AddOrder", type="sell", **order)["txid"]
        (bought,) = taker.ask("AddOrder", type="buy", **order)["txid"]
        trade = sandbox.do(lambda admin: [each for each in admin.trades() if each["pair"] == "MANA/USD"][-1])
        assert trade["maker"] == {"account": "me", "order": sold}
        assert trade["taker"] == {"account": "you", "order": bought}
        assert (trade["price"], trade["volume"]) == (f"{price:f}", "100")
