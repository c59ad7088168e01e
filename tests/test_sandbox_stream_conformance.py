"""The table of what the sandbox does of WebSocket v2 names everything that it works by."""

from typing import Any

import pytest

from lotwise.kraken.stream_channels import CHANNELS
from lotwise.kraken.stream_orders import FIELDS, NOT_YET
from lotwise.sandbox import stream_conformance as table
from lotwise.sandbox.conformance import Row, Support
from tests.test_sandbox_stream import World, error

TABLES = (
    table.CHANNEL_ROWS,
    table.OPTION_ROWS,
    table.METHOD_ROWS,
    table.FIELD_ROWS,
    table.ERROR_ROWS,
    table.BEHAVIOUR_ROWS,
)


def names(rows: tuple[Row, ...], *support: Support) -> set[str]:
    return {row.name for row in rows if row.support in support}


def test_every_channel_and_method_there_is_has_its_row() -> None:
    done = names(table.CHANNEL_ROWS, Support.YES, Support.PARTLY)
    assert done == {*CHANNELS, "status", "heartbeat"}
    done = names(table.METHOD_ROWS, Support.YES, Support.PARTLY)
    assert done == {*FIELDS, "ping", "subscribe", "unsubscribe"}
    assert names(table.METHOD_ROWS, Support.NO) == NOT_YET


def test_no_row_stands_twice_and_what_is_partly_done_says_what() -> None:
    for rows in TABLES:
        assert len({row.name for row in rows}) == len(rows)
        assert all(row.note for row in rows if row.support is not Support.YES)
    assert len(set(table.DOUBTS)) == len(table.DOUBTS)


@pytest.mark.parametrize("channel", sorted(names(table.CHANNEL_ROWS, Support.NO)))
def test_a_channel_that_is_not_done_is_refused(channel: str) -> None:
    heard = World(crowd=False).connect().say("subscribe", channel=channel, symbol=["BTC/USD"])
    assert error(heard) == "Subscription name invalid"


@pytest.mark.parametrize("name", sorted(names(table.FIELD_ROWS, Support.NO)))
def test_a_field_that_is_not_done_is_refused(name: str) -> None:
    method, _, field = name.partition(": ")
    world = World(crowd=False)
    client = world.connect(private=True)
    order: dict[str, Any] = {
        "order_type": "limit",
        "side": "buy",
        "order_qty": 1,
        "limit_price": 100,
        "symbol": "BTC/USD",
    }
    placed = client.say("add_order", token=world.token(), **order)[-1]
    changes = {"order_id": placed["result"]["order_id"], "symbol": "BTC/USD", "order_qty": 2}
    value = {"effective_time": "2026-10-01T00:00:00Z", "display_qty": 1}.get(field, True)
    asked = {**(order if method == "add_order" else changes), field: value}
    assert error(client.say(method, token=world.token(), **asked)).startswith("E")
