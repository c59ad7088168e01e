"""Who the sandbox lets in, for what and how often, and what it makes of bodies."""

import json
from dataclasses import replace
from typing import Any

import pytest

from lotwise.domain.values import BadField, Time
from lotwise.kraken.limits import Verification
from lotwise.kraken.signature import credentials
from lotwise.sandbox.conformance import ENDPOINTS, PRIVATE, Permission, Support
from lotwise.sandbox.core import Core, Settings
from lotwise.sandbox.keys import ApiKey, made_up_key
from lotwise.sandbox.wire import MAX_BODY, Request
from tests.sandbox_client import NOW, SECOND, Client, client, core

ORDER = {"pair": "SOLUSDT", "type": "buy", "ordertype": "limit", "volume": "1", "price": "99"}


@pytest.fixture
def a() -> Client:
    return client()


def answered(made: Core, request: Request, now: Time = NOW) -> Any:
    envelope = json.loads(made.handle(request, now).body)
    return envelope["error"][0] if envelope["error"] else envelope["result"]


def test_refuses_a_key_that_nobody_has(a: Client) -> None:
    request = a.signed("Balance", "1", b"nonce=1")
    assert answered(a.core, replace(request, headers={})) == "EAPI:Invalid key"
    assert (
        answered(a.core, replace(request, headers={**request.headers, "API-Key": "x"})) == "EAPI:Invalid key"
    )


def test_the_names_of_headers_have_any_case(a: Client) -> None:
    request = a.signed("Balance", "1", b"nonce=1")
    headers = {name.lower(): value for name, value in request.headers.items()}
    assert isinstance(answered(a.core, replace(request, headers=headers)), dict)


def test_refuses_what_the_secret_did_not_sign(a: Client) -> None:
    request = a.signed("Balance", "1", b"nonce=1")
    assert answered(a.core, replace(request, body=b"nonce=1&x=1")) == "EAPI:Invalid signature"
    assert answered(a.core, replace(request, target="/0/private/BalanceEx")) == "EAPI:Invalid signature"
    other = client(a.core, "", "b")
    forged = {**request.headers, "API-Key": other.credentials.key}
    assert answered(a.core, replace(request, headers=forged)) == "EAPI:Invalid signature"


def test_what_is_not_signed_does_not_use_up_a_nonce(a: Client) -> None:
    request = a.signed("Balance", "9", b"nonce=9")
    answered(a.core, replace(request, headers={**request.headers, "API-Sign": "x"}))
    assert isinstance(answered(a.core, request), dict)


@pytest.mark.parametrize("nonce", ["", "-1", "abc", "1.5", "18446744073709551616"])
def test_refuses_a_nonce_that_is_none(a: Client, nonce: str) -> None:
    assert answered(a.core, a.signed("Balance", nonce, f"nonce={nonce}".encode())) == "EAPI:Invalid nonce"


def test_refuses_a_nonce_that_does_not_rise_and_each_key_has_its_own(a: Client) -> None:
    b = client(a.core, "", "b")
    assert isinstance(answered(a.core, a.signed("Balance", "5", b"nonce=5")), dict)
    for nonce in ("5", "4"):
        assert answered(a.core, a.signed("Balance", nonce, f"nonce={nonce}".encode())) == "EAPI:Invalid nonce"
    assert isinstance(answered(a.core, b.signed("Balance", "1", b"nonce=1")), dict)


def test_a_nonce_window_forgives_what_came_out_of_order() -> None:
    made = core()
    made.open_account("a")
    pair = credentials(*made_up_key(1, 0))
    made.add_key(ApiKey(pair, "a", nonce_window=100))
    a = Client(made, pair)
    for nonce in ("1000", "901"):
        assert answered(made, a.signed("Balance", nonce, f"nonce={nonce}".encode())) == {}
    assert answered(made, a.signed("Balance", "900", b"nonce=900")) == "EAPI:Invalid nonce"


def test_an_expired_key_is_no_key() -> None:
    made = core()
    made.open_account("a")
    pair = credentials(*made_up_key(1, 0))
    made.add_key(ApiKey(pair, "a", expires=Time(NOW + 1)))
    a = Client(made, pair)
    assert a.private("Balance") == {}
    a.moved(1)
    assert a.private("Balance") == "EAPI:Invalid key"


def test_a_key_may_do_what_it_was_given_and_no_more() -> None:
    assert {permission for endpoint in PRIVATE for way in endpoint.permissions for permission in way} == set(
        Permission
    ) - {Permission.WITHDRAW}
    for endpoint in PRIVATE:
        none = client(permissions=frozenset())
        refused = none.private(endpoint.name) == "EGeneral:Permission denied"
        assert refused == (frozenset() not in endpoint.permissions), endpoint.name
        for way in endpoint.permissions:
            for some in way if len(way) > 1 else ():
                half = client(permissions=frozenset({some}))
                assert half.private(endpoint.name) == "EGeneral:Permission denied", endpoint.name
            able = client(permissions=way)
            assert able.private(endpoint.name) != "EGeneral:Permission denied", endpoint.name


def test_ended_orders_are_for_keys_that_may_see_them() -> None:
    a = client()
    txid = a.order("buy 1 SOLUSDT market")["txid"][0]
    pair = credentials(*made_up_key(9, 9))
    a.core.add_key(ApiKey(pair, "a", frozenset({Permission.QUERY_OPEN})))
    reader = Client(a.core, pair)
    assert reader.private("QueryOrders", txid=txid) == "EGeneral:Permission denied"
    assert reader.private("OpenOrders") == {"open": {}}


def test_a_body_may_be_a_form_or_json(a: Client) -> None:
    body = json.dumps(
        {"nonce": 1, **ORDER, "volume": 1.5, "validate": True, "userref": None}
        | {"close": {"ordertype": "limit", "price": 120}}
    ).encode()
    told = answered(a.core, a.signed("AddOrder", "1", body, "json"))
    assert told["descr"] == {
        "order": "buy 1.50000000 SOLUSDT @ limit 99.00",
        "close": "close position @ limit 120.00",
    }


def test_numbers_in_json_keep_every_digit(a: Client) -> None:
    body = b'{"nonce":1,"pair":"SOLUSDT","type":"buy","ordertype":"limit","volume":0.12345678,"price":1.2e1}'
    told = answered(a.core, a.signed("AddOrder", "1", body, "json"))
    assert told["descr"]["order"] == "buy 0.12345678 SOLUSDT @ limit 12.00"


@pytest.mark.parametrize(
    "body",
    [b"[1]", b"{", b"\xff\xfe", b"[" * 60_000, b'{"nonce":1,"a":[{}]}', b'{"nonce":1,"a":{"b":{}}}', b"1"],
)
def test_json_that_is_no_object_of_texts_is_an_invalid_argument(a: Client, body: bytes) -> None:
    assert answered(a.core, a.signed("Balance", "1", body, "json")) in (
        "EGeneral:Invalid arguments",
        "EAPI:Invalid nonce",
    )


def test_a_body_without_end_is_not_read(a: Client) -> None:
    body = b"nonce=1&x=" + b"x" * MAX_BODY
    assert answered(a.core, a.signed("Balance", "1", body)) == "EGeneral:Invalid arguments"
    body = b"nonce=1" + b"&x=1" * 300
    assert answered(a.core, a.signed("Balance", "1", body)) == "EGeneral:Invalid arguments"


def test_the_query_of_a_private_request_says_nothing(a: Client) -> None:
    request = a.signed("AddOrder", "1", b"nonce=1")
    query = "?pair=SOLUSDT&type=buy&ordertype=limit&volume=1&price=99"
    assert answered(a.core, replace(request, target=request.target + query)) == "EGeneral:Invalid arguments"


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/0/public/Nope", 200),
        ("GET", "/0/private/Balance", 200),
        ("PUT", "/0/public/Time", 200),
        ("GET", "/", 404),
        ("GET", "/1/public/Time", 404),
        ("POST", "", 404),
        ("\x00", "/0/public/Time/", 200),
    ],
)
def test_an_unknown_method_is_told_as_such(a: Client, method: str, target: str, status: int) -> None:
    response = a.core.handle(Request(method, target), NOW)
    assert (response.status, json.loads(response.body)) == (status, {"error": ["EGeneral:Unknown method"]})


def test_public_endpoints_take_a_post_as_well(a: Client) -> None:
    request = Request("POST", "/0/public/Depth", {}, b"pair=SOLUSDT&count=1")
    assert list(answered(a.core, request)) == ["SOLUSDT"]


def test_what_is_not_served_yet_is_an_invalid_argument(a: Client) -> None:
    missing = [endpoint for endpoint in ENDPOINTS.values() if endpoint.support is Support.NO]
    assert {endpoint.name for endpoint in missing} == {"AddOrderBatch", "CancelOrderBatch"}
    for endpoint in missing:
        assert a.private(endpoint.name) == "EGeneral:Invalid arguments"


# Counters


def test_a_key_that_asks_too_often_waits() -> None:
    a = client(core(Settings(rate_limits=True)), level=Verification.STARTER)
    for _ in range(7):
        a.private("Ledgers")
    assert isinstance(a.private("Balance"), dict)
    assert a.private("Balance") == "EAPI:Rate limit exceeded"
    assert "txid" in a.order("buy 1 SOLUSDT limit 99")
    a.moved(3 * SECOND)
    assert a.private("Balance") == "EAPI:Rate limit exceeded"
    a.moved(100)
    assert isinstance(a.private("Balance"), dict)


def test_an_account_that_acts_too_often_on_a_pair_waits_there() -> None:
    a = client(core(Settings(rate_limits=True)), "100000 USDT, 100000 USD", level=Verification.STARTER)
    for _ in range(6):
        a.private("CancelOrder", txid=a.placed("buy 0.1 SOLUSDT limit 50"))
    assert a.core.desk.trading_level("a", "SOL/USDT", a.now) == (54, 60)
    last = a.placed("buy 0.1 SOLUSDT limit 50")
    assert a.private("CancelOrder", txid=last) == "EOrder:Rate limit exceeded"
    for _ in range(5):
        assert a.order("buy 1 SOLUSDT limit 0") == "EGeneral:Invalid arguments:price"
    for _ in range(5):
        assert a.order("buy 0.001 SOLUSDT limit 50") == "EGeneral:Invalid arguments:volume minimum not met"
    assert a.order("buy 0.1 SOLUSDT limit 50") == "EOrder:Rate limit exceeded"
    assert "descr" in a.order("buy 0.1 SOLUSDT limit 50", validate="true")
    assert "txid" in a.order("buy 0.001 XBTUSD limit 50000")
    a.moved(45 * SECOND)
    assert a.private("CancelOrder", txid=last) == {"count": 1}


def test_without_limits_nobody_waits(a: Client) -> None:
    for _ in range(100):
        assert isinstance(a.private("Ledgers"), dict)


# Tokens


def test_a_token_stands_for_its_key_for_a_quarter_of_an_hour_and_on_once_used(a: Client) -> None:
    first, second = (a.private("GetWebSocketsToken") for _ in range(2))
    assert first["expires"] == 900 and first["token"] != second["token"]
    a.moved(899 * SECOND)
    assert a.core.token_account(first["token"], a.now) == a.credentials.key
    a.moved(SECOND)
    assert a.core.token_account(first["token"], a.now) == a.credentials.key
    assert a.core.token_account(second["token"], a.now) is None
    assert a.core.token_account("nonsense", a.now) is None


def test_accounts_and_keys_are_let_in_once_and_in_order() -> None:
    made = core()
    pair = credentials(*made_up_key(1, 0))
    with pytest.raises(BadField, match="account"):
        made.add_key(ApiKey(pair, "a"))
    made.open_account("a")
    made.add_key(ApiKey(pair, "a"))
    with pytest.raises(BadField, match="key"):
        made.add_key(ApiKey(pair, "a"))
    with pytest.raises(BadField, match="status"):
        made.set_system_status("asleep")
    assert made_up_key(1, 0) == made_up_key(1, 0) != made_up_key(2, 0)
    assert (len(pair.key), len(made_up_key(1, 0)[1])) == (56, 88)
