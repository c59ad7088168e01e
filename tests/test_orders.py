"""The life of an order is one table; fills are money in every state."""

from decimal import Decimal

import pytest

from lotwise.domain.market import Liquidity, MarketStatus
from lotwise.domain.orders import (
    ENDED,
    NEXT,
    Accepted,
    Canceled,
    Expired,
    Fill,
    ImpossibleReport,
    Order,
    OrderState,
    OrderType,
    ProvenAbsent,
    Purpose,
    Rejected,
    Rejection,
    RejectionKind,
    Report,
    Sent,
    Status,
    TimedOut,
    after,
)
from lotwise.domain.values import EPOCH, Side, amount

ORDER = Order(
    client_id="a",
    symbol="SOL/USDT",
    side=Side.BUY,
    type=OrderType.LIMIT,
    quantity=Decimal(4),
    price=Decimal(10),
    reserve=amount("41 USDT"),
    purpose=Purpose.ENTRY,
    time=EPOCH,
)


def fill(quantity: str, trade_id: str = "T1") -> Fill:
    cost, fee = amount("10 USDT"), amount("0.1 USDT")
    return Fill(
        trade_id,
        "a",
        "SOL/USDT",
        Side.BUY,
        Decimal(10),
        Decimal(quantity),
        cost,
        fee,
        Liquidity.MAKER,
        EPOCH,
    )


REPORTS: list[Report] = [
    Sent("a", EPOCH),
    Accepted("a", "O1", EPOCH),
    Rejected("a", Rejection(RejectionKind.FUNDS, "no"), EPOCH),
    Canceled("a", "asked", EPOCH),
    Expired("a", EPOCH),
    TimedOut("a", EPOCH),
    ProvenAbsent("a", EPOCH),
]


def told(*reports: Report) -> OrderState:
    state = OrderState(ORDER)
    for report in reports:
        state = after(state, report)
    return state


def test_an_order_that_fills_in_parts_is_filled_when_the_parts_are_the_whole() -> None:
    state = told(Sent("a", EPOCH), Accepted("a", "O1", EPOCH), fill("1"))
    assert (state.status, state.rest, state.venue_id) == (Status.PARTIALLY_FILLED, 3, "O1")
    assert after(state, fill("3", "T2")).status is Status.FILLED


def test_the_same_trade_told_twice_counts_once() -> None:
    once = told(Sent("a", EPOCH), fill("1"))
    assert after(once, fill("1")) == once


def test_more_than_was_ordered_cannot_fill() -> None:
    with pytest.raises(ImpossibleReport, match="5 filled of 4"):
        told(Sent("a", EPOCH), fill("5"))


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.FILLED])
def test_a_fill_is_booked_in_every_state(status: Status) -> None:
    assert after(OrderState(ORDER, status), fill("1")).filled == 1
    assert after(OrderState(ORDER, status), fill("4")).status is Status.FILLED


def test_a_late_fill_revives_the_dead_and_leaves_the_cancelled_cancelled() -> None:
    assert after(OrderState(ORDER, Status.DEAD), fill("1")).status is Status.PARTIALLY_FILLED
    assert after(OrderState(ORDER, Status.CANCELED), fill("1")).status is Status.CANCELED


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("report", REPORTS, ids=lambda report: type(report).__name__)
def test_a_report_steps_along_the_table_or_is_impossible(status: Status, report: Report) -> None:
    if type(report) in NEXT[status]:
        assert after(OrderState(ORDER, status), report).status is NEXT[status][type(report)]
    else:
        with pytest.raises(ImpossibleReport, match=f"which is {status}"):
            after(OrderState(ORDER, status), report)


def test_only_evidence_ends_an_unknown_order() -> None:
    assert NEXT[Status.UNKNOWN][TimedOut] is Status.UNKNOWN, "no answer once more is no evidence"
    assert Sent not in NEXT[Status.UNKNOWN]
    assert NEXT[Status.UNKNOWN][ProvenAbsent] is Status.DEAD


@pytest.mark.parametrize("status", sorted({*ENDED, Status.OPEN, Status.PARTIALLY_FILLED}))
def test_absence_proves_nothing_of_an_order_that_was_found(status: Status) -> None:
    known = OrderState(ORDER, status)
    assert after(known, ProvenAbsent("a", EPOCH)) is known


def test_an_ended_order_never_opens_again_but_by_evidence_that_it_lived() -> None:
    for status in ENDED:
        for report, step in NEXT[status].items():
            assert report in (Fill, Accepted) or step in ENDED


@pytest.mark.parametrize(
    ("status", "taken"),
    [
        (MarketStatus.ONLINE, "market limit post-only sell"),
        (MarketStatus.LIMIT_ONLY, "limit post-only"),
        (MarketStatus.POST_ONLY, "post-only"),
        (MarketStatus.REDUCE_ONLY, "sell"),
        (MarketStatus.CANCEL_ONLY, ""),
        (MarketStatus.OFFLINE, ""),
    ],
)
def test_a_pair_s_status_says_which_new_orders_it_takes(status: MarketStatus, taken: str) -> None:
    orders = {
        "market": (Side.BUY, False, False),
        "limit": (Side.BUY, True, False),
        "post-only": (Side.BUY, True, True),
        "sell": (Side.SELL, False, False),
    }
    assert [name for name, order in orders.items() if status.takes(*order)] == taken.split()


def test_an_order_type_says_whether_it_has_a_limit_and_a_trigger() -> None:
    limits, triggers = ({k for k in OrderType if getattr(k, name)} for name in ("has_limit", "has_trigger"))
    assert limits == {OrderType.LIMIT, OrderType.STOP_LOSS_LIMIT, OrderType.TAKE_PROFIT_LIMIT}
    assert triggers == set(OrderType) - {OrderType.LIMIT, OrderType.MARKET}


def test_what_is_told_twice_changes_nothing_and_is_the_same_state() -> None:
    state = after(OrderState(ORDER), Sent("a", EPOCH))
    for report in (Accepted("a", "v", EPOCH), Canceled("a", "why", EPOCH)):
        state = after(state, report)
        assert after(state, report) is state
    assert after(state, Accepted("a", "v", EPOCH)) is state
