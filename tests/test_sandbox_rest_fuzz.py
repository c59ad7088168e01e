"""Any bytes get Kraken's envelope, in Kraken's words, and nothing else ever."""

import json
from random import Random
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotwise.domain.values import amount
from lotwise.exchange.crowd import Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching
from lotwise.exchange.paths import Walk
from lotwise.sandbox.conformance import ENDPOINTS, ERRORS, Endpoint, Support
from lotwise.sandbox.core import Core, Settings
from lotwise.sandbox.wire import Request
from tests.sandbox_client import NOW, RULES, Client, client, market
from tests.sandbox_fuzz import REFUSED, RESULT, SEED, Run, broken, junk, strange

SAID = tuple(row.name for row in ERRORS if row.support is not Support.NO)
PLAIN = {row.name for row in ERRORS}

WORDS = (
    "SOLUSDT", "BTC/USD", "XBTUSD,SOLUSDT", "NOPE", "buy", "sell", "limit", "market", "stop-loss",
    "stop-loss-limit", "take-profit", "iceberg", "1", "0", "-1", "0.5", "99", "100.1", "99.999", "+5",
    "-5%", "#1%", "+", "%", "1e9", "1e-9", "nan", "inf", "9" * 40, "0.00000001", "true", "false", "GTC",
    "IOC", "FOK", "GTD", "post", "fcib,viqc", "viqc", "cancel-both", "2026-09-21T14:13:25Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z", "+60", "OAAAAA-AAAAA-AAAAAA", "OU22CG-KLAF2-FWUDD7", "TAAAAA-AAAAA-AAAAAA",
    "2:1", "none", "1790000000", "1790000060", "60", "2147483647", "both", "all", "trade", "ZUSD", "XXBT,ADA",
    "\u0661", "\ud800", "\x00", ",", "-", "--", "ß", "1" * 5000,
)  # fmt: skip

VALUES = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
NAMES = sorted({p.name for e in ENDPOINTS.values() for p in e.parameters} | {"otp", "nonce"})
Call = tuple[Endpoint, dict[str, str], bool]

LIMIT = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "volume": "1", "price": "99.5"}
SOUND: tuple[tuple[str, dict[str, str]], ...] = (
    ("AddOrder", LIMIT),
    ("AddOrder", LIMIT | {"type": "sell", "price": "+1%", "oflags": "post", "cl_ord_id": "x"}),
    ("AddOrder", LIMIT | {"price": "100.2", "volume": "4", "oflags": "fcib", "stptype": "cancel-oldest"}),
    ("AddOrder", LIMIT | {"price": "99.8", "type": "sell", "timeinforce": "GTD", "expiretm": "+60"}),
    ("AddOrder", LIMIT | {"ordertype": "market", "price": "", "oflags": "viqc", "volume": "55.5"}),
    ("AddOrder", LIMIT | {"close[ordertype]": "limit", "close[price]": "#3%", "userref": "7"}),
    ("AddOrder", LIMIT | {"type": "sell", "ordertype": "stop-loss-limit", "price2": "-1", "volume": "2.25"}),
    ("AddOrder", LIMIT | {"type": "sell", "timeinforce": "FOK", "pair": "XBT/USD", "price": "50000"}),
    ("AmendOrder", {"txid": "KNOWN", "order_qty": "1.5", "limit_price": "99.4"}),
    ("AmendOrder", {"cl_ord_id": "x", "limit_price": "#2%"}),
    ("EditOrder", {"txid": "KNOWN", "pair": "SOLUSDT", "volume": "2", "price": "99.1"}),
    ("CancelOrder", {"txid": "KNOWN"}),
    ("CancelOrder", {"userref": "7"}),
    ("CancelAllOrdersAfter", {"timeout": "60"}),
    ("CancelAll", {}),
    ("ClosedOrders", {"trades": "true", "start": "1790000000", "closetime": "close", "ofs": "1"}),
    ("QueryOrders", {"txid": "KNOWN,OAAAAA-AAAAA-AAAAAA", "trades": "true"}),
    ("QueryTrades", {"txid": "TRADED,TAAAAA-AAAAA-AAAAAA", "trades": "true"}),
    ("TradesHistory", {"end": "1790000060", "ledgers": "true"}),
    ("Ledgers", {"asset": "SOL,ZUSD", "type": "trade"}),
    ("Trades", {"pair": "SOLUSDT", "since": "0", "count": "1"}),
    ("OHLC", {"pair": "SOLUSDT", "interval": "5"}),
    *((endpoint.name, {"pair": "SOLUSDT"}) for endpoint in ENDPOINTS.values()),
)
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS.values()}


@st.composite
def calls(draw: st.DrawFn) -> Call:
    """A sound call, of which up to two parameters are put wrong, or strange ones added; form or JSON."""
    name, parameters = draw(st.sampled_from(SOUND))
    own = [parameter.name for parameter in BY_NAME[name].parameters] or NAMES
    wrong = draw(st.dictionaries(st.sampled_from(own) | st.sampled_from(NAMES), VALUES, max_size=2))
    return BY_NAME[name], {**parameters, **wrong}, draw(st.booleans())


def asked(a: Client, call: Call) -> Request:
    """The call as a request, KNOWN being an order and TRADED a trade of the account's."""
    endpoint, parameters, in_json = call
    waiting = a.core.exchange.open_orders("a")
    known = a.core.desk.txid(waiting[-1].venue_id) if waiting else "OAAAAA-AAAAA-AAAAAA"
    fills = a.core.exchange.history("a").fills
    traded = a.core.desk.txid(fills[-1][1].trade_id) if fills else "TAAAAA-AAAAA-AAAAAA"
    pairs = {
        name: text.replace("KNOWN", known).replace("TRADED", traded)
        for name, text in parameters.items()
        if name != "nonce"
    }
    a.nonce += 1
    pairs = {"nonce": str(a.nonce), **pairs}
    kind = "json" if in_json else "x-www-form-urlencoded"
    if in_json:
        body = json.dumps(pairs).encode()
    else:
        body = urlencode(pairs, quote_via=lambda text, *_: quote(text, errors="surrogatepass")).encode()
    if endpoint.private:
        return a.signed(endpoint.name, str(a.nonce), body, kind)
    if in_json:
        return Request("POST", endpoint.path, {"Content-Type": "application/json"}, body)
    return Request("GET", f"{endpoint.path}?{body.decode()}")


def spoken(a: Client, request: Request) -> Any:
    """The envelope of the answer, after a look at its form and words."""
    response = a.core.handle(request, a.now)
    envelope = json.loads(response.body)
    assert response.status in (200, 404)
    if "result" in envelope:
        assert envelope["error"] == []
    else:
        (text,) = envelope["error"]
        assert text in PLAIN or text.startswith(tuple(f"{word}:" for word in SAID)), text
        assert not text.startswith("EGeneral:Invalid arguments:") or text.split(":")[2] in FIELDS, text
    return envelope


FIELDS = {*NAMES, "volume minimum not met", "cl_ord_id not unique"}


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(calls(), st.sampled_from([0, 1, 999, 61_000])), min_size=4, max_size=8))
def test_any_call_is_answered_in_kraken_s_words(steps: list[tuple[Call, int]]) -> None:
    a = client(money="1000 USDT, 10 SOL, 2 BTC, 100000 USD")
    for call, later in steps:
        spoken(a, asked(a, call))
        a.moved(later)
    assert "open" in a.private("OpenOrders", trades="true")
    assert "closed" in a.private("ClosedOrders", trades="true")
    assert_conserved(a)


def assert_conserved(a: Client) -> None:
    """What the account owns is the sum of its ledger rows."""
    told, offset = a.private("Balance"), 0
    sums: dict[str, int] = {}
    while rows := a.private("Ledgers", ofs=offset)["ledger"]:
        for row in rows.values():
            sums[row["asset"]] = sums.get(row["asset"], 0) + number(row["amount"]) - number(row["fee"])
        offset += len(rows)
    assert {asset: total for asset, total in sums.items() if total} == {
        asset: number(text) for asset, text in told.items()
    }


def number(text: str) -> int:
    """In units of 10^-12."""
    whole, _, fraction = text.partition(".")
    sign = -1 if whole.startswith("-") else 1
    return sign * (int(whole.removeprefix("-")) * 10**12 + int(fraction.ljust(12, "0")))


@settings(max_examples=250, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "HEAD", ""]) | st.text(max_size=5),
    st.sampled_from(list(ENDPOINTS))
    | st.text(max_size=30).map(lambda text: "/0/" + text)
    | st.text(max_size=20),
    st.dictionaries(
        st.sampled_from(["API-Key", "API-Sign", "Content-Type"]) | st.text(max_size=5), st.text(max_size=20)
    ),
    st.binary(max_size=60),
    st.booleans(),
)
def test_any_bytes_are_answered_in_kraken_s_words(
    method: str, target: str, headers: dict[str, str], body: bytes, known: bool
) -> None:
    a = client()
    if known:
        headers = {**headers, "API-Key": a.credentials.key}
    spoken(a, Request(method, target, headers, body))
    name = target.rpartition("/")[2]
    spoken(a, a.signed(name, "1", b"nonce=1&" + body))
    spoken(a, a.signed(name, "2", body, "json"))


# At length: seeded, without shrinking

TRADING = [name for name in BY_NAME if name.startswith(("AddOrder", "AmendOrder", "EditOrder", "Cancel"))]
GROUPS = {
    "market data": [e.name for e in ENDPOINTS.values() if not e.private],
    "account data": [e.name for e in ENDPOINTS.values() if e.private and e.name not in TRADING],
    "trading": TRADING,
}
METHODS = ["GET", "POST", "HEAD", "PUT", "DELETE", "get", ""]
PRICES = {"SOL/USDT": 100.0, "BTC/USD": 100_000.0, "DOGE/USD": 0.2}


def lively() -> Client:
    """A client on an exchange whose crowds trade, and which soon forgets."""
    house = HouseRules(Matching.BOOK, kept=200)
    made = Exchange({m.symbol: m for m in map(market, RULES.strip().splitlines())}, house=house)
    for number, (symbol, price) in enumerate(PRICES.items()):
        dice = Dice(SEED * 10 + number)
        made.live(symbol, Crowd(CrowdSettings(), Walk(price, 0.8, dice, NOW), dice, NOW))
    return client(Core(made, Settings(SEED, rate_limits=False)), "1000 USDT, 10 SOL, 2 BTC, 100000 USD")


def called(random: Random, a: Client, calls: list[tuple[str, dict[str, str]]]) -> Request:
    """A sound call with up to two parameters put wrong, or strange ones added, or bytes put wrong."""
    name, parameters = random.choice(calls)
    if name.startswith("CancelAll") and random.random() < 0.9:
        name, parameters = random.choice(calls)  # or hardly an order would live
    own = [parameter.name for parameter in BY_NAME[name].parameters] or NAMES
    for _ in range(random.choice((0, 0, 1, 2))):
        word = random.choice(WORDS) if random.random() < 0.8 else strange(random)
        parameters = {**parameters, random.choice(own if random.random() < 0.7 else NAMES): word}
    sound = asked(a, (BY_NAME[name], parameters, random.random() < 0.3))
    if random.random() < 0.9:
        return sound
    method, target, headers, body = sound.method, sound.target, dict(sound.headers), sound.body
    match random.randrange(5):
        case 0:
            method = random.choice(METHODS)
        case 1:
            target = broken(random, target.encode("utf-8", "surrogatepass")).decode("latin-1")
        case 2:
            headers[random.choice(["API-Key", "API-Sign", "Content-Type"])] = strange(random, 30)
        case 3:
            body = broken(random, body)  # of a private call the signature is wrong now
        case _ if BY_NAME[name].private:
            body = b"nonce=%d&" % a.nonce + junk(random, 200)
            return a.signed(name, str(a.nonce), body, random.choice(["json", "x-www-form-urlencoded"]))
        case _:
            body = junk(random, 200)
    return Request(method, target, headers, body)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_of_endpoints_answers_whatever_it_is_asked(group: str, say: list[str]) -> None:
    a, calls = lively(), [(name, parameters) for name, parameters in SOUND if name in GROUPS[group]]
    others = [call for call in SOUND if call[0] in ("AddOrder", "CancelAll")]
    with Run(f"REST, {group}", say) as run:
        while run.unfinished:
            # What an account may be told of needs an order now and then.
            request = called(run.random, a, others if run.random.random() < 0.02 else calls)
            run.ask(request)
            run.got(RESULT if "result" in spoken(a, request) else REFUSED)
            a.moved(run.random.choice((0, 1, 999)) if run.random.random() < 0.99 else 61_000)
            if run.requests % 500 == 0:
                kept_rich(a)


def kept_rich(a: Client) -> None:
    """Bring the account what its fees and its bad trades have cost it."""
    for money in ("1000 USDT", "10 SOL", "2 BTC", "100000 USD"):
        full = amount(money)
        lacking = full - a.core.exchange.ledger("a").total(full.asset)
        if lacking.number > 0:
            a.core.deposit("a", lacking, a.now)
