"""Any bytes get Kraken's envelope, in Kraken's words, and nothing else ever."""

import json
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lotwise.sandbox.conformance import ENDPOINTS, ERRORS, Endpoint, Support
from lotwise.sandbox.wire import Request
from tests.sandbox_client import Client, client

SAID = tuple(row.name for row in ERRORS if row.support is not Support.NO)
PLAIN = {row.name for row in ERRORS}

WORDS = (
    "SOLUSDT", "BTC/USD", "XBTUSD,SOLUSDT", "NOPE", "buy", "sell", "limit", "market", "stop-loss",
    "stop-loss-limit", "take-profit", "iceberg", "1", "0", "-1", "0.5", "99", "100.1", "99.999", "+5",
    "-5%", "#1%", "+", "%", "1e9", "1e-9", "nan", "inf", "9" * 40, "0.00000001", "true", "false", "GTC", "IOC",
    "FOK", "GTD", "post", "fcib,viqc", "viqc", "cancel-both", "2026-09-21T14:13:25Z", "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z", "+60", "OAAAAA-AAAAA-AAAAAA", "OU22CG-KLAF2-FWUDD7", "TAAAAA-AAAAA-AAAAAA",
    "2:1", "none", "1790000000", "1790000060", "60", "2147483647", "both", "all", "trade", "ZUSD", "XXBT,ADA",
    "\u0661", "\ud800", "\x00", ",", "-", "--", "ß", "1" * 5000,
)  # fmt: skip

values = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
private_names = sorted({p.name for e in ENDPOINTS.values() for p in e.parameters} | {"otp", "nonce"})


@st.composite
def calls(draw: st.DrawFn) -> tuple[Endpoint, dict[str, str], str]:
    """An endpoint with some of its parameters and some of others'; form or JSON."""
    endpoint = draw(st.sampled_from(list(ENDPOINTS.values())))
    own = [parameter.name for parameter in endpoint.parameters]
    given_names = draw(st.lists(st.sampled_from([*own, *own, *private_names]), max_size=8, unique=True))
    needed = [p.name for p in endpoint.parameters if p.required and draw(st.booleans())]
    parameters = {name: draw(values) for name in [*needed, *given_names] if name != "nonce"}
    return endpoint, parameters, draw(st.sampled_from(["form", "json"]))


@st.composite
def likely_orders(draw: st.DrawFn) -> tuple[Endpoint, dict[str, str], str]:
    """An AddOrder that may well be taken."""
    kind = draw(st.sampled_from(["limit", "market", "stop-loss", "take-profit-limit"]))
    prices = ["99", "99.5", "100.1", "101", "-1%", "#2%", "+0.5"]
    parameters = {
        "pair": draw(st.sampled_from(["SOLUSDT", "XBT/USD"])),
        "type": draw(st.sampled_from(["buy", "sell"])),
        "ordertype": kind,
        "volume": draw(st.sampled_from(["0.5", "1", "2.25", "4"])),
        "cl_ord_id": draw(st.sampled_from(["", "x", "y"])),
        "oflags": draw(st.sampled_from(["", "post", "fcib", "viqc"])),
        "price": "" if kind == "market" else draw(st.sampled_from(prices)),
        "price2": draw(st.sampled_from(prices)) if kind.endswith("-limit") and kind != "limit" else "",
        "close[ordertype]": draw(st.sampled_from(["", "limit"])),
        "close[price]": draw(st.sampled_from(["", "110", "#3%"])),
    }
    return ENDPOINTS["/0/private/AddOrder"], parameters, "form"


def asked(a: Client, call: tuple[Endpoint, dict[str, str], str]) -> Request:
    endpoint, parameters, kind = call
    a.nonce += 1
    if kind == "json":
        body = json.dumps({"nonce": a.nonce, **parameters}).encode()
    else:
        pairs = {"nonce": str(a.nonce), **parameters}
        body = urlencode(pairs, quote_via=lambda text, *_: quote(text, errors="surrogatepass")).encode()
    if endpoint.private:
        return a.signed(
            endpoint.name, str(a.nonce), body, "json" if kind == "json" else "x-www-form-urlencoded"
        )
    if kind == "json":
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


FIELDS = {*private_names, "volume minimum not met", "cl_ord_id not unique"}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(calls() | likely_orders(), st.sampled_from([0, 1, 999, 61_000])), min_size=1, max_size=6
    )
)
def test_any_call_is_answered_in_kraken_s_words(steps: list[tuple[Any, int]]) -> None:
    a = client(money="1000 USDT, 10 SOL, 2 BTC, 100000 USD")
    for call, later in steps:
        spoken(a, asked(a, call))
        a.moved(later)
    assert "open" in a.private("OpenOrders", trades="true")
    assert "closed" in a.private("ClosedOrders", trades="true")
    assert_conserved(a)


def assert_conserved(a: Client) -> None:
    """What the account owns is the sum of its ledger rows."""
    told, offset, sums = a.private("Balance"), 0, {}
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


@settings(max_examples=300, deadline=None)
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
