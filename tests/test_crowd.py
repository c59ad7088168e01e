"""The crowd: a market that lives, the same however its time is told, fair, and open to our orders."""

import json
from dataclasses import replace
from decimal import Decimal
from statistics import fmean
from typing import Any

import pytest

from lotwise.domain.market import Candle, Market, MarketStatus
from lotwise.domain.orders import Order, OrderType, Purpose, Report
from lotwise.domain.values import BadField, Side, Time, amount, is_multiple
from lotwise.exchange.crowd import REACH, STEP, Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching
from lotwise.exchange.paths import Path, Recorded, Walk

D = Decimal
ME = "me"
BOOK = HouseRules(matching=Matching.BOOK)
START = Time(1_700_000_000_000)
MINUTE = 60_000
BUY, SELL = Side.BUY, Side.SELL
SYMBOLS = ("SOL/USDT", "ADA/USDT")


def market(symbol: str) -> Market:
    return Market(symbol, D("0.01"), D("0.001"), D("0.02"), D("0.5"), 4, D("0.004"), D("0.008"))


def living(seed: int = 1, path: Path | None = None, settings: CrowdSettings | None = None) -> Exchange:
    """Two pairs with their crowds, where ME has money."""
    exchange = Exchange({symbol: market(symbol) for symbol in SYMBOLS}, house=BOOK)
    for place, symbol in enumerate(SYMBOLS):
        fair = path or Walk(150.0, 0.8, Dice(seed + place), START)
        crowd = Crowd(settings or CrowdSettings(), fair, Dice(seed + 100 + place), Time(START + STEP))
        exchange.live(symbol, crowd)
    exchange.deposit(ME, amount("100000 USDT"), START)
    exchange.deposit(ME, amount("500 SOL"), START)
    return exchange


def order(side: Side, quantity: str, price: str | None = None, **changes: Any) -> Order:
    plain = Order(
        client_id="a",
        symbol="SOL/USDT",
        side=side,
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        quantity=D(quantity),
        price=None if price is None else D(price),
        reserve=amount("0 USDT"),
        purpose=Purpose.ENTRY,
        time=START,
    )
    return replace(plain, **changes)


def run(exchange: Exchange, stops: list[int]) -> list[tuple[str, Report]]:
    """Two orders, then time told at these moments (ms after the first second)."""
    begin = START + 1000
    told = exchange.advance(Time(begin))
    until = order(SELL, "20", "150.05", expires=Time(begin + 40_250), client_id="g")
    until = replace(until, time_in_force=type(until.time_in_force)("GTD"))
    for placed in (order(BUY, "30", "149.95"), until):
        exchange.accept(ME, placed, Time(begin))
    for stop in stops:
        told += exchange.advance(Time(begin + stop))
    return told


def test_one_call_or_many_give_the_same_bytes() -> None:
    once, often = living(), living()
    told = run(once, [3 * MINUTE])
    assert told == run(often, [1, 2, 999, 1000, 1001, 40_250, 40_251, 77_777, 3 * MINUTE])
    assert len(told) > 2
    assert json.dumps(once.state()) == json.dumps(often.state())


def test_another_seed_is_another_market() -> None:
    assert run(living(1), [MINUTE]) != run(living(2), [MINUTE])


def test_a_saved_market_lives_on_as_it_would_have() -> None:
    first = living()
    run(first, [MINUTE])
    second = Exchange.from_state(json.loads(json.dumps(first.state())), BOOK)
    later = Time(START + 4 * MINUTE)
    assert second.advance(later) == first.advance(later)
    assert second.state() == first.state()


def test_a_saved_walk_keeps_how_wild_it_is() -> None:
    exchange = Exchange({"SOL/USDT": market("SOL/USDT")}, house=BOOK)
    walk = Walk(150.0, 0.8, Dice(1), START)
    walk.factors = [0.55, 0.55, 0.55]
    exchange.live("SOL/USDT", Crowd(CrowdSettings(), walk, Dice(2), START))
    other = Exchange.from_state(exchange.state(), BOOK)
    later = Time(START + MINUTE)
    assert (other.advance(later), other.state()) == (exchange.advance(later), exchange.state())


def test_the_best_prices_follow_a_jump_of_the_fair_price_within_a_step() -> None:
    bars = [bar(0, "150", "150", "150", "150"), bar(1, "140", "140", "140", "140")]
    exchange = living(path=Recorded(bars, MINUTE))
    exchange.advance(Time(START + MINUTE - 1))
    assert D("149.9") < exchange.quotes()["SOL/USDT"].ask < D("150.2")
    exchange.advance(Time(START + MINUTE))
    quote = exchange.quotes()["SOL/USDT"]
    assert D("139.8") < quote.bid < quote.ask < D("140.2")


def test_the_book_is_on_the_grid_never_crosses_and_reaches_a_percent_away() -> None:
    exchange = living()
    for second in range(1, 240):
        exchange.advance(Time(START + second * STEP))
        book = exchange.book("SOL/USDT")
        bids, asks = book.depth(BUY, 100), book.depth(SELL, 100)
        assert bids[0].price < asks[0].price
        for level in (*bids, *asks):
            assert is_multiple(level.price, D("0.01"))
            assert is_multiple(level.quantity, D("0.001"))
            assert level.quantity >= D("0.02")
    middle = (bids[0].price + asks[0].price) / 2
    assert middle * D("0.985") < bids[-1].price < middle * D("0.995")
    assert middle * D("1.005") < asks[-1].price < middle * D("1.015")
    assert (asks[0].price - bids[0].price) / middle < D("0.002")


def test_the_crowd_trades_about_as_often_and_as_much_as_is_assumed() -> None:
    assumed = CrowdSettings(turnover=36_000.0, trades=1800)
    exchange = living(settings=assumed)
    exchange.advance(Time(START + 20 * MINUTE))
    tape = exchange.tape("SOL/USDT")
    day = tape.statistics(START)
    assert day is not None
    assert 480 <= day.count <= 900  # 600 takings, some of which meet two orders
    assert 9_000 <= day.value <= 16_000
    buys = sum(trade.side is BUY for trade in tape.trades)
    assert 0.4 < buys / len(tape.trades) < 0.6


def test_the_fair_price_promises_nothing() -> None:
    gains = []
    for seed in range(300):
        walk = Walk(100.0, 1.0, Dice(seed), 0)
        gains += [walk.at(second * STEP) / 100.0 - 1.0 for second in range(1, 121)][-1:]
    deviation = fmean(gain * gain for gain in gains) ** 0.5
    assert abs(fmean(gains)) < 3 * deviation / len(gains) ** 0.5
    assert 0.5 < deviation / (120 / 31_536_000) ** 0.5 < 1.6


def test_the_price_stands_still_when_it_is_asked_again() -> None:
    walk = Walk(100.0, 0.8, Dice(1), 0)
    assert walk.at(0) == 100.0
    first = walk.at(1000)
    assert first != 100.0
    assert walk.at(1000) == first


def test_an_order_of_ours_trades_when_the_market_comes_to_it_in_parts_when_it_is_large() -> None:
    bars = [bar(0, "150", "150", "150", "150"), bar(1, "150", "150", "145", "146")]
    exchange = living(path=Recorded(bars, MINUTE))
    exchange.advance(Time(START + 2000))
    exchange.accept(ME, order(BUY, "200", "147"), Time(START + 2000))
    exchange.advance(Time(START + MINUTE))
    assert exchange.history(ME).fills.number == 0
    exchange.advance(Time(START + 3 * MINUTE))
    fills = [fill for _, fill in exchange.history(ME).fills]
    assert len(fills) > 3
    assert {fill.price for fill in fills} == {D(147)}


def test_a_large_order_walks_the_book_and_the_crowd_comes_back() -> None:
    exchange = living()
    exchange.advance(Time(START + MINUTE))
    before = exchange.quotes()["SOL/USDT"].ask
    told = exchange.accept(ME, order(BUY, "150"), Time(START + MINUTE))
    prices = [trade.price for trade in exchange.tape("SOL/USDT").since(0) if trade.taker]
    assert len(told) > 5
    assert prices == sorted(prices)
    assert exchange.quotes()["SOL/USDT"].ask > before * D("1.002")
    exchange.advance(Time(START + 3 * MINUTE))
    assert exchange.quotes()["SOL/USDT"].ask < before * D("1.002")


@pytest.mark.parametrize("status", [status for status in MarketStatus if status is not MarketStatus.ONLINE])
def test_the_crowd_stands_still_while_the_pair_is_not_online(status: MarketStatus) -> None:
    exchange = living()
    exchange.advance(Time(START + MINUTE))
    exchange.set_status("SOL/USDT", status)
    sequence, other = exchange.book("SOL/USDT").sequence, exchange.book("ADA/USDT").sequence
    exchange.advance(Time(START + 2 * MINUTE))
    assert exchange.book("SOL/USDT").sequence == sequence
    assert exchange.book("ADA/USDT").sequence > other
    exchange.set_status("SOL/USDT", MarketStatus.ONLINE)
    exchange.advance(Time(START + 3 * MINUTE))
    assert exchange.book("SOL/USDT").sequence > sequence


def test_a_coarser_grid_is_kept_by_the_crowd_from_its_next_order_on() -> None:
    exchange = living()
    exchange.advance(Time(START + MINUTE))
    exchange.list_market(replace(market("SOL/USDT"), tick_size=D("0.05"), lot_step=D("0.01")))
    sequence = exchange.book("SOL/USDT").sequence
    exchange.advance(Time(START + 2 * MINUTE))
    changes = exchange.book("SOL/USDT").changes(sequence)
    assert changes is not None
    grown = [change for change in changes[100:] if change.quantity]
    assert sum(is_multiple(change.price, D("0.05")) for change in grown) > 0.9 * len(grown)


def bar(minute: int, opened: str, high: str, low: str, close: str) -> Candle:
    date = Time(START + minute * MINUTE)
    return Candle("SOL/USDT", date, D(opened), D(high), D(low), D(close), D(1))


def test_a_recorded_path_goes_by_both_extremes_from_open_to_close_and_no_farther() -> None:
    bars = [
        bar(0, "100", "103", "99", "102"),
        bar(1, "102", "104", "98", "99"),
        bar(3, "99", "99", "99", "99"),
    ]
    path = Recorded(bars, MINUTE)
    third = MINUTE // 3
    shown = [path.at(START + place * third) for place in range(7)]
    assert shown == [100.0, 99.0, 103.0, 102.0, 104.0, 98.0, 99.0]
    assert path.at(START + 2 * MINUTE + third) == 99.0
    assert path.at(START + 9 * MINUTE) == 99.0
    assert Recorded(bars, MINUTE).at(START - MINUTE) == 100.0


def test_a_recorded_path_is_given_again_when_a_saved_market_lives_on() -> None:
    bars = [bar(minute, "150", "151", "149", "150") for minute in range(9)]
    first = living(path=Recorded(bars, MINUTE))
    first.advance(Time(START + 3 * MINUTE))
    with pytest.raises(BadField, match="path"):
        Exchange.from_state(first.state(), BOOK)
    again = Recorded(bars, MINUTE)
    second = Exchange.from_state(first.state(), BOOK, dict.fromkeys(SYMBOLS, again))
    assert second.advance(Time(START + 5 * MINUTE)) == first.advance(Time(START + 5 * MINUTE))
    assert second.state() == first.state()


@pytest.mark.parametrize(
    "wrong",
    [
        {"turnover": 0.0},
        {"trades": 0},
        {"trades": 3601},
        {"half_spread": REACH},
        {"resting": 0.0},
        {"levels": 1},
    ],
)
def test_assumptions_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadField, match=next(iter(wrong))):
        CrowdSettings(**wrong)


def test_paths_that_cannot_be_are_refused() -> None:
    with pytest.raises(BadField, match="price"):
        Walk(0.0, 0.8, Dice(1), 0)
    with pytest.raises(BadField, match="volatility"):
        Walk(1.0, 3.1, Dice(1), 0)
    with pytest.raises(BadField, match="candles"):
        Recorded([], MINUTE)
    with pytest.raises(BadField, match="no book"):
        Exchange({"SOL/USDT": market("SOL/USDT")}).live(
            "SOL/USDT", Crowd(CrowdSettings(), Walk(1.0, 0.8, Dice(1), 0), Dice(2), START)
        )


def test_the_dice_fall_as_the_published_generator_does() -> None:
    dice = Dice(1234567)
    assert [dice.word() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]
    high, low = Dice(1234567).fractions()
    assert (high * 2**32, low * 2**32) == divmod(6457827717110365317, 2**32)
