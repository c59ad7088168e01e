"""The conformance table says what the sandbox does."""

from typing import Any

import pytest

from lotwise.domain.orders import RejectionKind
from lotwise.kraken.errors import Retry, proves_not_accepted, rejection_of, retry_of
from lotwise.sandbox.conformance import (
    DOUBTS,
    ENDPOINTS,
    ERRORS,
    ORDER_TYPES,
    PRIVATE,
    PUBLIC,
    Endpoint,
    Support,
)
from lotwise.sandbox.core import HANDLERS
from tests.sandbox_client import Client, client

STRANGE = "strange"


def asked(a: Client, endpoint: Endpoint, **parameters: str) -> Any:
    needed = {p.name: "SOLUSDT" if p.name == "pair" else "1" for p in endpoint.parameters if p.required}
    call = a.private if endpoint.private else a.public
    return call(endpoint.name, **{**needed, **parameters})


def test_every_endpoint_that_is_served_has_a_handler_and_no_other() -> None:
    served = {endpoint.name for endpoint in ENDPOINTS.values() if endpoint.support is not Support.NO}
    assert served == {*HANDLERS, "SystemStatus"}
    assert len(ENDPOINTS) == len(PUBLIC) + len(PRIVATE)


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=lambda endpoint: endpoint.name)
def test_a_parameter_that_is_not_supported_is_refused_unless_it_asks_for_nothing(endpoint: Endpoint) -> None:
    a = client()
    for parameter in endpoint.parameters:
        if parameter.support is Support.NO:
            said = parameter.refusal or f"EGeneral:Invalid arguments:{parameter.name}"
            assert asked(a, endpoint, **{parameter.name: STRANGE}) == said
            for nothing in parameter.default:
                assert asked(a, endpoint, **{parameter.name: nothing}) != said
            assert parameter.note


@pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=lambda endpoint: endpoint.name)
def test_a_parameter_that_is_needed_is_asked_for_and_one_that_is_ignored_changes_nothing(
    endpoint: Endpoint,
) -> None:
    a = client()
    for parameter in endpoint.parameters:
        if parameter.required:
            assert asked(a, endpoint, **{parameter.name: ""}) == "EGeneral:Invalid arguments"
        if parameter.support is Support.PARTLY and parameter.note.startswith("ignored"):
            without, given = asked(client(), endpoint), asked(client(), endpoint, **{parameter.name: STRANGE})
            assert type(given) is type(without)


# The parameters of these are taken to pieces in the tests of kraken/rest_orders.py.
ORDERING = ("AddOrder", "EditOrder", "AmendOrder")
LOOKING = [endpoint for endpoint in ENDPOINTS.values() if endpoint.name not in ORDERING]


@pytest.mark.parametrize("endpoint", LOOKING, ids=lambda endpoint: endpoint.name)
def test_a_parameter_that_is_supported_is_looked_at(endpoint: Endpoint) -> None:
    """What it means is told elsewhere; here, that a value which it cannot have is not passed over."""
    free = {"cl_ord_id", "txid", "id", "country_code"}
    for parameter in endpoint.parameters:
        if parameter.support is Support.YES and parameter.name not in free:
            said = asked(client(), endpoint, **{parameter.name: "\x00"})
            assert isinstance(said, str), f"{endpoint.name} {parameter.name} said {said}"


@pytest.mark.parametrize("row", ORDER_TYPES, ids=lambda row: row.name)
def test_an_order_type_is_taken_or_refused_as_the_table_says(row: Any) -> None:
    prices = {"market": "", "stop-loss-limit": "90 89", "take-profit-limit": "120 119", "take-profit": "120"}
    told = client().order(f"sell 1 SOLUSDT {row.name} {prices.get(row.name, '99.5')}")
    if row.support is Support.YES:
        assert "txid" in told
    else:
        assert told == "EGeneral:Invalid arguments:ordertype"


def test_every_error_text_is_one_that_lotwise_knows_too() -> None:
    for row in ERRORS:
        if row.name not in ("EService:Unavailable", "EService:Market in reduce_only mode"):
            assert rejection_of(row.name).kind is not RejectionKind.UNRECOGNISED, row.name
            # What a second copy of a request is told proves nothing of the first.
            of_a_copy = row.name.startswith(("EAPI:Invalid nonce", "EGeneral:Invalid arguments:cl_ord_id"))
            assert proves_not_accepted(row.name) is not of_a_copy, row.name
    assert retry_of("EService:Unavailable") is Retry.VERIFY


def test_what_is_partly_or_not_done_says_what() -> None:
    rows: tuple[Any, ...] = (*ENDPOINTS.values(), *ORDER_TYPES, *ERRORS)
    for row in rows:
        assert row.support is Support.YES or row.note or row.name.endswith("Batch"), row.name
    assert len(set(DOUBTS)) == len(DOUBTS) and all(text.endswith(".") for text in DOUBTS)
