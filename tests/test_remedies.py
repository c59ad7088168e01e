"""Every reason for which a wish gets no order: a run in which that is the answer, and the same run with
the remedy applied, in which the wish passes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from lotwise.domain.market import Candle, MarketStatus, Quote
from lotwise.domain.sizing import Reason
from lotwise.domain.values import Time
from lotwise.engine.records import (
    Compared,
    Decided,
    Event,
    MarketUpdate,
    Reconciled,
    Record,
    Restricted,
    Skip,
    Trading,
)
from lotwise.store.journal import Journal
from lotwise.strategies.candles import Candles
from tests.test_engine import CALM, FALL, HOUR, SOL, bars
from tests.test_exits import traded
from tests.test_happenings import ADA, SMALL, World, at, born, live, settings_in, told_of, usdt

D = Decimal
CALM_BARS = bars(SOL, *[CALM] * 8)
STOPPED = bars(SOL, CALM, FALL, *[(9650, 9660, 9640, 9650)] * 6)
BOTH = {SOL: CALM_BARS, ADA: bars(ADA, *[SMALL] * 8)}

Answer = Callable[[Path], Decided]
"""The last decision of a run on a journal at a path."""


def last_decision(records: list[Record]) -> Decided:
    return [record for record in records if isinstance(record, Decided)][-1]


def lived(
    candles: Candles | Mapping[str, Candles], *bars_of_wishes: int, happenings: Any = (), **settings: Any
) -> Answer:
    """A run with a wish of the first pair when so many bars have closed (of others beside the last)."""
    pairs = {candles.symbol: candles} if isinstance(candles, Candles) else dict(candles)
    first, *others = pairs
    wishes = {first: [1.0 if bar + 1 in bars_of_wishes else 0.0 for bar in range(8)]}
    wishes |= {
        other: [0.5 if bar + 1 == max(bars_of_wishes) else 0.0 for bar in range(8)] for other in others
    }
    world = World(pairs, wishes, tuple(happenings))
    return lambda path: last_decision(live(path, world, **settings)[1])


def handled(*events: Event, **settings: Any) -> Answer:
    """What the engine makes of these events alone, for what no recorded run can meet."""

    def answer(path: Path) -> Decided:
        with Journal(path) as journal:
            world = World({SOL: CALM_BARS})
            engine = born(world, settings_in(world, **settings), journal).engine
            return last_decision([record for event in events for record in engine.handle(event)])

    return answer


def uncompared(*events: Event) -> Answer:
    """What the engine makes of these events before its books were compared with the exchange's."""

    def answer(path: Path) -> Decided:
        with Journal(path) as journal:
            world = World({SOL: CALM_BARS})
            engine = born(world, settings_in(world), journal).engine
            engine.compared = lambda: False
            return last_decision([record for event in events for record in engine.handle(event)])

    return answer


def moment(late: int = 0, bid: str = "100") -> MarketUpdate:
    """The close of the first bar with a wish; the bar is so many hours old, and this is the bid."""
    price, date = D(100), Time(at(0) - late * HOUR)
    candle = Candle(SOL, date, price, price, price, price, D(1000))
    return MarketUpdate(at(1), {SOL: candle}, {SOL: 1.0}, {SOL: Quote(SOL, at(1), D(bid), D("100.01"))})


def restricted(trading: Trading) -> Restricted:
    return Restricted(trading, "for a test", at(0))


@dataclass(frozen=True)
class Case:
    """refused: where the answer is this reason; says: words of the remedy it names; cured: the same with
    that remedy. cured None: it is the balance that the refusal names, put in by `paid`."""

    reason: Skip | Reason
    says: str
    refused: Answer
    cured: Answer | None = None
    paid: Callable[[Decimal], Answer] | None = None


def short_of(reason: Reason, candles: Candles, wallet: str, **settings: Any) -> Case:
    """A wish that more balance would cure."""

    def paid(number: Decimal) -> Answer:
        return lived(candles, 2, dry_run_wallet=number, **settings)

    return Case(reason, "USDT more", paid(D(wallet)), paid=paid)


def at_price(price: int) -> Candles:
    """Calm bars at a price in hundredths."""
    return bars(SOL, *[(price, price, price, price)] * 8)


LOSSES = {"limits__guard_losses": 1, "limits__guard_bars": 3}
FIXED = {"sizing__tier_min_costs__TIER_1": 0}
SHARED = {"max_open_trades": 2, "sizing__max_order_size_usdt": 3}
LOW_LIMIT, HIGH_LIMIT = "0.03", "0.2"
COIN_LOTS = (told_of(SOL, 1, MarketStatus.ONLINE, lot_step=D(1), min_notional=D("2.5")),)
NO_ORDER_FITS = told_of(SOL, 1, MarketStatus.ONLINE, max_quantity=D("0.01"))
ONE_FITS = told_of(SOL, 1, MarketStatus.ONLINE, max_quantity=D("0.05"))

CASES = [
    Case(Skip.STALE_DATA, "wait for data", handled(moment(late=1)), handled(moment())),
    Case(
        Skip.RULES_UNKNOWN,
        "use the rules of that day or later",
        lived(CALM_BARS, 2, rules__rules_on="2020-01-01"),
        lived(CALM_BARS, 2, rules__rules_on="2025-07-29"),
    ),
    Case(
        Skip.RESTRICTED,
        "`lotwise panic lift`",
        handled(restricted(Trading.REDUCING), moment()),
        handled(restricted(Trading.REDUCING), restricted(Trading.ACTIVE), moment()),
    ),
    Case(
        Skip.PAIR_OFFLINE,
        "until the exchange opens it",
        lived(CALM_BARS, 4, happenings=[told_of(SOL, 2, MarketStatus.CANCEL_ONLY)]),
        lived(
            CALM_BARS,
            4,
            happenings=[told_of(SOL, 2, MarketStatus.CANCEL_ONLY), told_of(SOL, 3, MarketStatus.ONLINE)],
        ),
    ),
    Case(
        Skip.UNRECONCILED,
        "explain it",
        handled(usdt("-10.00001", 0), moment()),
        handled(usdt("-10.00001", 0), Compared((), Reconciled({}, (), at(0))), moment()),
    ),
    Case(Skip.UNRECONCILED, "wait until they are", uncompared(moment()), handled(moment())),
    Case(
        Skip.PAIR_BUSY,
        "wait until it is closed",
        lived(CALM_BARS, 1, 3, max_hold_bars=2),
        lived(CALM_BARS, 1, 5, max_hold_bars=2),
    ),
    Case(
        Skip.MAX_OPEN_TRADES,
        "max_open_trades",
        lived(BOTH, 3, sizing__max_order_size_usdt=3),
        lived(BOTH, 3, **SHARED),
    ),
    Case(
        Skip.COOLDOWN,
        "wait, or lower limits.cooldown_bars",
        lived(STOPPED, 1, 4, limits__cooldown_bars=3),
        lived(STOPPED, 1, 5, limits__cooldown_bars=3),
    ),
    Case(
        Skip.STOPLOSS_GUARD,
        "wait until the oldest is further back",
        lived(STOPPED, 1, 4, **LOSSES),
        lived(STOPPED, 1, 5, **LOSSES),
    ),
    Case(
        Skip.DAILY_LOSS,
        "a higher limit",
        lived(STOPPED, 1, 4, limits__daily_loss=LOW_LIMIT),
        lived(STOPPED, 1, 4, limits__daily_loss=HIGH_LIMIT),
    ),
    Case(
        Skip.DRAWDOWN,
        "a higher limit",
        lived(STOPPED, 1, 4, limits__drawdown=LOW_LIMIT),
        lived(STOPPED, 1, 4, limits__drawdown=HIGH_LIMIT),
    ),
    Case(
        Skip.SPREAD,
        "wait for a closer market",
        lived(CALM_BARS, 2, paper__spread="0.002", limits__spread="0.001"),
        lived(CALM_BARS, 2, paper__spread="0.001", limits__spread="0.001"),
    ),
    Case(
        Skip.VOLUME,
        "wait for a busier bar",
        lived(traded(CALM_BARS, 1, 2.4999, 2.5), 2, limits__volume="0.01"),
        lived(traded(CALM_BARS, 1, 2.4999, 2.5), 3, limits__volume="0.01"),
    ),
    Case(
        Skip.EDGE_BELOW_FEES,
        "a target of at least 0.005013",
        lived(CALM_BARS, 2, target="0.005012"),
        lived(CALM_BARS, 2, target="0.005013"),
    ),
    Case(
        Skip.CROWDED,
        "0.51375 USDT more",
        lived(BOTH, 3, dry_run_wallet="5", **SHARED),
        lived(BOTH, 3, dry_run_wallet="5.51375", **SHARED),
    ),
    Case(Skip.CHECK_FAILED, "report this", handled(moment(bid="0")), handled(moment())),
    short_of(Reason.NO_FREE_BALANCE, CALM_BARS, "10", sizing__reserve=10),
    Case(
        Reason.ABOVE_MAX_QUANTITY,
        "its largest order is below its smallest",
        lived(CALM_BARS, 2, happenings=[NO_ORDER_FITS]),
        lived(CALM_BARS, 2, happenings=[ONE_FITS]),
    ),
    Case(
        Reason.CAP_BELOW_MINIMUM,
        "a higher cap on orders",
        lived(CALM_BARS, 2, sizing__max_order_size_usdt="2.49"),
        lived(CALM_BARS, 2, sizing__max_order_size_usdt="2.50"),
    ),
    Case(
        Reason.RISK_BELOW_MINIMUM,
        "a higher target of risk",
        lived(CALM_BARS, 2, sizing__risk_per_trade="0.001"),
        lived(CALM_BARS, 2, sizing__risk_per_trade="0.01"),
    ),
    Case(
        Reason.RISK_BELOW_MINIMUM,
        "a busier market where volume is the limit",
        lived(traded(at_price(260), 1, 100), 2, limits__volume="0.01", **FIXED, stoploss="-0.9"),
        lived(traded(at_price(260), 1, 300), 2, limits__volume="0.01", **FIXED, stoploss="-0.9"),
    ),
    short_of(Reason.FEES_EXCEED_FREE, CALM_BARS, "2.5"),
    short_of(Reason.BELOW_MIN_QUANTITY, at_price(15000), "2.86"),
    short_of(Reason.BELOW_MIN_NOTIONAL, at_price(100), "2", happenings=COIN_LOTS, **FIXED),
    short_of(Reason.BELOW_FLOOR, CALM_BARS, "2.4"),
    short_of(Reason.UNSELLABLE_AT_STOP, at_price(1000), "0.9", stoploss="-0.5", **FIXED),
    Case(
        Reason.UNSELLABLE_AT_STOP,
        "a stop closer to the entry",
        lived(at_price(2), 2, stoploss="-0.51"),
        lived(at_price(2), 2, stoploss="-0.5"),
    ),
    short_of(
        Reason.FRACTION_BELOW_MINIMUM,
        CALM_BARS,
        "4",
        sizing__raise_to_minimum="false",
        sizing__position_size_percentage="0.5",
    ),
]


def test_every_reason_has_a_case() -> None:
    assert {case.reason for case in CASES} == {*Skip, *Reason}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.reason}: {case.says}")
def test_a_wish_is_refused_for_a_reason_and_passes_when_its_remedy_is_applied(
    tmp_path: Path, case: Case
) -> None:
    no = case.refused(tmp_path / "refused")
    assert no.reason == case.reason
    assert not no.rungs[-1].passed and all(rung.passed for rung in no.rungs[:-1])
    assert case.says in no.rungs[-1].remedy
    assert no.quantity is None and no.client_id is None
    cured = case.cured
    if cured is None:
        assert case.paid is not None and no.needed is not None
        cured = case.paid(no.needed)
        assert case.paid(no.needed - D("0.00001"))(tmp_path / "short").reason is not None
    yes = cured(tmp_path / "cured")
    assert yes.reason is None and all(rung.passed for rung in yes.rungs)
    assert yes.quantity is not None and yes.client_id is not None
