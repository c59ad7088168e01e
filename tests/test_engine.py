"""What the engine does with a moment: told as candles in, orders and fills out."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from lotwise.app.loop import trade
from lotwise.app.wire import Run, Source, open_run, plan_of
from lotwise.domain.market import Candle, Liquidity, Market, Quote
from lotwise.domain.orders import Canceled, Expired, Fill, Opportunity, Purpose
from lotwise.domain.values import Time
from lotwise.engine.checks import LADDER, Wish, climb
from lotwise.engine.plan import Plan
from lotwise.engine.records import Bracket, Decided, MarketUpdate, Record, Rung, Skip, Submit
from lotwise.engine.state import State
from lotwise.markets import UnknownMarket
from lotwise.store.journal import Journal
from lotwise.strategies.candles import Candles, Floats
from lotwise.venues.feeds import RecordedFeed
from tests.runs import settings_of

HOUR = 3_600_000
START = 1_753_747_200_000
"""2025-07-29T00:00:00Z."""


@dataclass(frozen=True)
class Scripted:
    """A strategy that wishes when it is told to."""

    wishes: dict[str, list[float]]
    name: str = "scripted"
    warm_up: int = 0

    def confidence(self, candles: Candles) -> Floats:
        wishes = self.wishes.get(candles.symbol, []) + [0.0] * len(candles)
        return np.array(wishes[: len(candles)], dtype=np.float64)


def bars(symbol: str, *rows: tuple[int, int, int, int]) -> Candles:
    """Hourly candles of (open, high, low, close) in hundredths."""
    first, high, low, last = (np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    dates = START + HOUR * np.arange(len(rows), dtype=np.int64)
    return Candles(symbol, "1h", dates, first, high, low, last, Decimal("0.01"), np.ones(len(rows)))


SOL = "SOL/USDT"
CALM = (10000, 10010, 9990, 10000)


def told(
    tmp_path: Any,
    wishes: dict[str, list[float]],
    candles: dict[str, Candles],
    *changing: Callable[[Market, Time], Market],
    **overrides: Any,
) -> tuple[Run, list[Record]]:
    """The run of these candles and all its records; `changing`: what the exchange does to its rules."""
    records: list[Record] = []
    keys: dict[str, Any] = {
        "dry_run_wallet": 10,
        "pairs": ",".join(candles),
        "paper__spread": 0,
        "paper__volume_share": 0,
    }
    keys |= overrides
    settings = settings_of(**keys)
    with Journal(tmp_path / "engine.journal") as journal:
        joined = open_run(settings, Source("scripted", candles), journal, None)
        least, window = float(settings.entry.min_confidence), settings.sizing.volatility_bars
        joined.feed = RecordedFeed(candles, Scripted(wishes), least=least, window=window)
        calm = joined.engine.plan.markets
        for change in changing:

            def rules(symbol: str, time: Time) -> Market | UnknownMarket:
                market = calm(symbol, time)
                return change(market, time) if isinstance(market, Market) else market  # noqa: B023

            joined.venue.rules = rules

        async def whole() -> None:
            await trade(joined, lambda _, moment: records.extend(moment))

        asyncio.run(whole())
    return joined, records


def of(records: list[Record], kind: type) -> list[Any]:
    return [record for record in records if isinstance(record, kind)]


def test_a_maker_entry_fills_only_when_the_price_trades_through_it(tmp_path: Any) -> None:
    touched = bars(SOL, CALM, (10000, 10010, 10000, 10005), CALM)
    _, records = told(tmp_path / "touch", {SOL: [1]}, {SOL: touched}, entry__lifetime_bars=1)
    assert of(records, Fill) == [] and len(of(records, Expired)) == 1
    through = bars(SOL, CALM, (10000, 10010, 9999, 10005), CALM)
    _, records = told(tmp_path / "through", {SOL: [1]}, {SOL: through}, entry__lifetime_bars=1)
    (fill,) = of(records, Fill)
    assert (fill.price, fill.liquidity) == (Decimal(100), Liquidity.MAKER)


def test_what_an_order_sets_aside_is_what_the_sizing_said_and_the_fill_costs(tmp_path: Any) -> None:
    joined, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9999, 10005))})
    entry = of(records, Submit)[0].order
    (fill,) = of(records, Fill)
    assert entry.reserve == fill.cost + fill.fee
    assert joined.engine.state.ledger.total("USDT").number == 10 - entry.reserve.number


def test_a_target_is_not_taken_in_the_bar_of_the_entry(tmp_path: Any) -> None:
    wild = (10000, 12000, 9900, 10000)
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, wild, CALM)})
    assert len(of(records, Fill)) == 1
    _, records = told(
        tmp_path / "next", {SOL: [1]}, {SOL: bars(SOL, CALM, wild, (10000, 12000, 9900, 10000))}
    )
    sale = of(records, Fill)[1]
    assert (sale.price, sale.liquidity, sale.time) == (Decimal(105), Liquidity.MAKER, START + 3 * HOUR)


def test_the_stop_comes_before_the_target_when_a_candle_cannot_tell(tmp_path: Any) -> None:
    both = (10000, 12000, 9000, 11000)
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9999, 10000), both)})
    sale = of(records, Fill)[1]
    assert len(of(records, Canceled)) == 1, "the target's order holds the coins until it is cancelled"
    assert (sale.price, sale.liquidity) == (Decimal("96.90"), Liquidity.TAKER), "97 less 0.1 % slippage, down"


def test_a_stop_that_the_market_jumps_over_is_sold_at_the_open(tmp_path: Any) -> None:
    jump = (9000, 9100, 8900, 9050)
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9999, 10000), jump)})
    assert of(records, Fill)[1].price == Decimal("89.91")


def test_an_entry_whose_bar_falls_to_the_stop_is_stopped_in_that_bar(tmp_path: Any) -> None:
    joined, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9600, 9650), CALM)})
    entry, sale = of(records, Fill)
    assert entry.time == sale.time
    assert joined.engine.state.totals.trades == 1 and not joined.engine.state.holdings


def test_the_surest_wish_comes_first_and_the_next_is_told_why_not(tmp_path: Any) -> None:
    pairs = {SOL: bars(SOL, CALM, CALM), "ADA/USDT": bars("ADA/USDT", (50, 51, 49, 50), (50, 51, 49, 50))}
    _, records = told(tmp_path, {SOL: [0.6], "ADA/USDT": [0.9]}, pairs)
    first, second = of(records, Decided)
    assert (first.symbol, first.reason) == ("ADA/USDT", None)
    assert (second.symbol, second.reason) == (SOL, Skip.MAX_OPEN_TRADES)
    _, records = told(
        tmp_path / "two",
        {SOL: [0.6], "ADA/USDT": [0.9]},
        pairs,
        max_open_trades=2,
        sizing__max_order_size_usdt=4,
    )
    assert [decision.reason for decision in of(records, Decided)] == [None, None]


def test_a_wish_below_the_confidence_asked_for_is_no_wish(tmp_path: Any) -> None:
    _, records = told(tmp_path, {SOL: [0.4]}, {SOL: bars(SOL, CALM, CALM)}, entry__min_confidence="0.5")
    assert of(records, Decided) == []


def test_a_pair_with_an_order_or_a_position_gets_no_second_one(tmp_path: Any) -> None:
    joined, records = told(
        tmp_path, {SOL: [1, 1, 1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9999, 10000), CALM)}
    )
    _, second = of(records, Decided)
    assert second.reason == Skip.PAIR_BUSY and second.rungs[-1].have == "a position"
    assert joined.engine.state.totals.skips == {Skip.PAIR_BUSY: 2}, "the same answer again is counted"


def test_a_taker_entry_at_the_fees_of_today_needs_more_than_one_percent(tmp_path: Any) -> None:
    today = {"rules__fees_on": "latest", "entry__style": "taker"}
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, CALM)}, target="0.01", **today)
    (decision,) = of(records, Decided)
    assert decision.reason == Skip.EDGE_BELOW_FEES
    rung = decision.rungs[-1]
    assert "0.012049" in rung.have, "(1.008 / 0.996 - 1), rounded up"
    assert rung.remedy.startswith("a target of at least 0.012049")
    _, records = told(tmp_path / "cure", {SOL: [1]}, {SOL: bars(SOL, CALM, CALM)}, target="0.012049", **today)
    assert of(records, Decided)[0].reason is None


def test_a_pair_whose_rules_are_not_known_is_skipped_with_the_day_they_are_known_from(tmp_path: Any) -> None:
    _, records = told(
        tmp_path,
        {SOL: [1]},
        {SOL: bars(SOL, CALM, CALM)},
        rules__rules_on="2020-01-01",
        rules__fees_on="2025-07-29",
    )
    (decision,) = of(records, Decided)
    assert decision.reason == Skip.RULES_UNKNOWN and "2025-01-01" in decision.rungs[-1].remedy


def test_a_refusal_for_size_carries_the_balance_that_would_do_and_that_does(tmp_path: Any) -> None:
    candles = {SOL: bars(SOL, (15000, 15010, 14990, 15000), (15000, 15010, 14990, 15000))}
    _, records = told(tmp_path, {SOL: [1]}, candles, dry_run_wallet="2.86")
    (decision,) = of(records, Decided)
    assert decision.reason == "BELOW_MIN_QUANTITY" and decision.needed is not None
    _, records = told(tmp_path / "cure", {SOL: [1]}, candles, dry_run_wallet=str(decision.needed))
    assert of(records, Decided)[0].reason is None


def wish(plan: Plan, late: int = 0) -> Wish:
    market = plan.markets(SOL, Time(START))
    assert isinstance(market, Market)
    price = Decimal(100)
    candle = Candle(SOL, Time(START), price, price, price, price, Decimal(1))
    opportunity = Opportunity(SOL, Decimal(100), Liquidity.MAKER, Time(START + HOUR + late))
    quote = Quote(SOL, Time(START), price, price)
    return Wish(opportunity, candle, market, quote, State(), plan, price)


def test_a_bar_that_closed_earlier_is_stale() -> None:
    _, reason = climb(wish(plan_of(settings_of(), "run"), late=HOUR))
    assert reason is Skip.STALE_DATA


def test_a_check_that_breaks_refuses_with_its_text() -> None:
    def broken(_: Wish) -> Rung:
        raise ZeroDivisionError("no volume")

    rungs, reason = climb(wish(plan_of(settings_of(), "run")), {Skip.STALE_DATA: broken})
    assert reason is Skip.CHECK_FAILED
    assert rungs[-1].have == "ZeroDivisionError: no volume" and not rungs[-1].passed


def test_every_rung_says_yes_to_a_wish_with_nothing_against_it() -> None:
    rungs, reason = climb(wish(plan_of(settings_of(), "run")))
    assert reason is None and len(rungs) == len(LADDER)


def test_the_stop_of_a_position_is_where_the_sizing_proved_it_sellable(tmp_path: Any) -> None:
    joined, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9999, 10000))})
    entry = of(records, Submit)[0]
    assert (entry.entry.stop, entry.entry.target) == (Decimal(97), Decimal(105))
    bought = joined.engine.state.holdings[SOL].opened
    assert joined.engine.brackets() == {SOL: Bracket(Decimal(97), None, bought)}
    target = of(records, Submit)[1].order
    assert target.purpose is Purpose.TARGET
    assert target.quantity == joined.engine.state.holdings[SOL].position.quantity


def test_an_exit_that_is_refused_is_shown_and_not_tried_for_ever(tmp_path: Any) -> None:
    """The minimum rises above the holding while it is held."""
    joined, _ = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9999, 10000))})
    market = joined.engine.plan.markets(SOL, Time(START))
    assert isinstance(market, Market)
    raised = replace(market, min_quantity=Decimal(1))
    joined.venue.rules = lambda *_: raised
    fall = bars(SOL, (9000, 9100, 8900, 9050), (9000, 9100, 8900, 9050))
    orders = joined.engine.state.totals.orders
    feed = RecordedFeed({SOL: replace(fall, dates=fall.dates + 10 * HOUR)}, Scripted({}))

    async def rest() -> None:
        async for update in feed.moments(Time(0)):
            await moment(joined, update)

    asyncio.run(rest())
    totals = joined.engine.state.totals
    assert totals.orders == orders + 1 and totals.size_rejections == 1
    assert joined.engine.state.holdings[SOL].stuck is not None


async def moment(joined: Run, update: MarketUpdate) -> None:
    async for first in joined.venue.events(update, joined.engine.brackets):
        waiting = [first]
        while waiting:
            for record in joined.engine.handle(waiting.pop(0)):
                if type(record).__name__ in ("Submit", "Cancel"):
                    waiting += await joined.venue.carry_out(record, lambda: None)  # type: ignore[arg-type]


@pytest.mark.parametrize("style", ["maker", "taker"])
def test_fees_are_those_of_the_role_the_order_plays(tmp_path: Any, style: str) -> None:
    _, records = told(
        tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, (10000, 10010, 9999, 10000))}, entry__style=style
    )
    fill = of(records, Fill)[0]
    rate = {"maker": Decimal("0.0025"), "taker": Decimal("0.0040")}[style]
    assert 0 <= fill.fee.number - fill.price * fill.quantity * rate < Decimal("0.00001")


def test_a_fee_taken_in_coins_leaves_a_position_that_is_sold_whole(tmp_path: Any) -> None:
    candles = bars(SOL, CALM, (10000, 10010, 9999, 10000), (10000, 10600, 9990, 10550))
    joined, records = told(tmp_path, {SOL: [1]}, {SOL: candles}, sizing__fee_asset="base")
    bought, sold = of(records, Fill)
    assert (bought.fee.asset, sold.fee.asset) == ("SOL", "USDT")
    assert bought.quantity - bought.fee.number == sold.quantity
    assert joined.engine.state.ledger.total("SOL").number == 0


FALL = (10000, 10010, 9600, 9650)


def test_after_a_loss_the_pair_cools_down(tmp_path: Any) -> None:
    rows = [CALM, FALL, *[(9650, 9660, 9640, 9650)] * 4]
    _, records = told(tmp_path, {SOL: [1, 0, 1, 0, 1]}, {SOL: bars(SOL, *rows)}, limits__cooldown_bars=3)
    assert [decision.reason for decision in of(records, Decided)] == [None, Skip.COOLDOWN, None]
    assert of(records, Decided)[1].rungs[-1].have == "a loss 1 h ago"


def test_a_pair_that_lost_too_often_is_closed_for_a_while(tmp_path: Any) -> None:
    rows = [CALM, FALL, *[(9650, 9660, 9640, 9650)] * 4]
    limits = {"limits__guard_losses": 1, "limits__guard_bars": 3}
    _, records = told(tmp_path, {SOL: [1, 0, 1, 0, 1]}, {SOL: bars(SOL, *rows)}, **limits)
    assert [decision.reason for decision in of(records, Decided)] == [None, Skip.STOPLOSS_GUARD, None]


@pytest.mark.parametrize(
    ("limit", "reason"), [("limits__daily_loss", Skip.DAILY_LOSS), ("limits__drawdown", Skip.DRAWDOWN)]
)
def test_a_fall_of_the_equity_stops_entries_until_the_limit_is_raised(
    tmp_path: Any, limit: str, reason: Skip
) -> None:
    rows = [CALM, FALL, *[(9650, 9660, 9640, 9650)] * 3]
    _, records = told(tmp_path, {SOL: [1, 0, 1]}, {SOL: bars(SOL, *rows)}, **{limit: "0.03"})
    first, second = of(records, Decided)
    assert (first.reason, second.reason) == (None, reason)
    fall = Decimal(second.rungs[-1].have)
    assert fall >= Decimal("0.03")
    _, records = told(tmp_path / "cure", {SOL: [1, 0, 1]}, {SOL: bars(SOL, *rows)}, **{limit: str(fall * 2)})
    assert [decision.reason for decision in of(records, Decided)] == [None, None]


def test_a_loss_of_yesterday_does_not_close_today(tmp_path: Any) -> None:
    rows = [CALM, FALL, *[(9650, 9660, 9640, 9650)] * 30]
    wishes = [1.0, *[0.0] * 26, 1.0]
    _, records = told(tmp_path, {SOL: wishes}, {SOL: bars(SOL, *rows)}, limits__daily_loss="0.01")
    assert [decision.reason for decision in of(records, Decided)] == [None, None]


def test_a_wide_spread_is_waited_out(tmp_path: Any) -> None:
    spread = {"paper__spread": "0.002", "limits__spread": "0.001"}
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, CALM, CALM)}, **spread)
    assert of(records, Decided)[0].reason == Skip.SPREAD


def test_a_position_held_too_long_is_sold_at_once(tmp_path: Any) -> None:
    rows = [CALM, (10000, 10010, 9999, 10000), CALM, CALM, CALM]
    _, records = told(tmp_path, {SOL: [1]}, {SOL: bars(SOL, *rows)}, max_hold_bars=2)
    bought, sold = of(records, Fill)
    assert sold.time - bought.time == 2 * HOUR
    assert (sold.price, sold.liquidity) == (Decimal("99.90"), Liquidity.TAKER)
    assert of(records, Submit)[-1].order.purpose is Purpose.TIME


def two_pairs() -> dict[str, Candles]:
    small = (50, 51, 49, 50)
    return {SOL: bars(SOL, CALM, CALM), "ADA/USDT": bars("ADA/USDT", small, small)}


def test_of_two_wishes_that_do_not_both_fit_the_other_is_told_by_whom_and_what_it_takes(
    tmp_path: Any,
) -> None:
    wishes, capped = {SOL: [0.6], "ADA/USDT": [0.9]}, {"max_open_trades": 2, "sizing__max_order_size_usdt": 3}
    _, records = told(tmp_path, wishes, two_pairs(), dry_run_wallet="4", **capped)
    first, second = of(records, Decided)
    assert (first.symbol, first.reason, second.reason) == ("ADA/USDT", None, Skip.CROWDED)
    rung = second.rungs[-1]
    assert "beside ADA/USDT" in rung.need
    cured = Decimal(4) + Decimal(rung.remedy.removesuffix(" USDT more"))
    _, records = told(tmp_path / "cure", wishes, two_pairs(), dry_run_wallet=str(cured), **capped)
    assert [decision.reason for decision in of(records, Decided)] == [None, None]


def test_what_the_surest_wish_leaves_goes_to_the_next(tmp_path: Any) -> None:
    wishes, capped = {SOL: [0.6], "ADA/USDT": [0.9]}, {"max_open_trades": 2, "sizing__max_order_size_usdt": 6}
    _, records = told(tmp_path, wishes, two_pairs(), **capped)
    first, second = (submit.order for submit in of(records, Submit) if submit.order.purpose is Purpose.ENTRY)
    assert first.price * first.quantity == 6
    assert second.reserve.number <= 10 - first.reserve.number
    assert second.price * second.quantity > Decimal("3.9")
