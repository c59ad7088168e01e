"""Which rules hold on a day: dated observations, dated fees, floors by tier, and honest refusals."""

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from lotwise.domain.market import FeeSchedule, FeeTier, Listing, Market, Tier
from lotwise.domain.values import BadField
from lotwise.kraken.fees import FEE_SCHEDULES
from lotwise.kraken.listings import LISTINGS
from lotwise.markets import DEFAULT_TIERS, Markets, Unknown, UnknownMarket, age_days

D = Decimal
FLOORS = {"TIER_1": D("2.5"), "MEME": D(3), "MID_TIER": D(4)}
MARKETS = Markets(LISTINGS, FEE_SCHEDULES, FLOORS, DEFAULT_TIERS)
JULY_2025, TODAY = date(2025, 7, 29), date(2026, 11, 22)


def known(market: Market | UnknownMarket) -> Market:
    assert isinstance(market, Market)
    return market


@pytest.mark.parametrize(
    ("day", "minimum"),
    [
        (date(2024, 2, 27), "0.2"),
        (date(2024, 12, 31), "0.2"),
        (date(2025, 1, 1), "0.02"),
        (date(2026, 7, 2), "0.02"),
        (date(2026, 7, 3), "0.06"),
        (TODAY, "0.06"),
    ],
)
def test_an_observation_holds_from_its_day_until_the_next(day: date, minimum: str) -> None:
    assert known(MARKETS.market("SOL/USD", day, TODAY)).min_quantity == D(minimum)


def test_a_market_joins_the_rules_of_one_day_with_the_fees_of_another() -> None:
    assert MARKETS.market("SOL/USDT", JULY_2025, JULY_2025) == Market(
        "SOL/USDT", D("0.01"), D("0.00000001"), D("0.02"), D("0.5"), 5, D("0.0025"), D("0.0040")
    )
    assert MARKETS.market("SOL/USDT", TODAY, JULY_2025) == Market(
        "SOL/USDT", D("0.01"), D("0.00000001"), D("0.06"), D("0.5"), 5, D("0.0025"), D("0.0040")
    )
    assert MARKETS.market("SOL/USDT", JULY_2025, TODAY) == Market(
        "SOL/USDT", D("0.01"), D("0.00000001"), D("0.02"), D("0.5"), 5, D("0.0040"), D("0.0080")
    )


@pytest.mark.parametrize(("day", "taker"), [(date(2026, 7, 8), "0.004"), (date(2026, 7, 9), "0.008")])
def test_fees_hold_from_their_first_day_on(day: date, taker: str) -> None:
    assert known(MARKETS.market("ADA/USD", JULY_2025, day)).taker_fee == D(taker)


@pytest.mark.parametrize(("volume", "taker"), [("0", "0.008"), ("2500.99", "0.008"), ("2501", "0.006")])
def test_fees_fall_with_the_volume_of_thirty_days(volume: str, taker: str) -> None:
    assert known(MARKETS.market("ADA/USD", TODAY, TODAY, D(volume))).taker_fee == D(taker)


def test_a_limit_on_the_quantity_is_handed_on() -> None:
    limited = replace(LISTINGS[0], max_quantity=D(7))
    markets = replace(MARKETS, listings=(limited,))
    assert known(markets.market(limited.symbol, TODAY, TODAY)).max_quantity == D(7)


def test_floors_alone_leave_one_lot_and_no_cost_as_the_minimum() -> None:
    market = known(MARKETS.market("SHIB/USDT", JULY_2025, JULY_2025))
    bare = known(MARKETS.floors_alone("SHIB/USDT", JULY_2025, JULY_2025))
    assert bare == replace(market, min_quantity=D("0.00001"), min_notional=D(0))
    assert market.min_quantity == D(160000)


def test_refuses_a_pair_that_was_never_listed_and_names_its_others() -> None:
    refusal = MARKETS.market("POL/USDT", TODAY, TODAY)
    assert refusal == UnknownMarket(
        "POL/USDT",
        Unknown.NO_SUCH_PAIR,
        None,
        "POL is known as POL/USD, POL/EUR: choose one, or add a dated listing of POL/USDT",
    )
    assert MARKETS.floors_alone("POL/USDT", TODAY, TODAY) == refusal


@pytest.mark.parametrize(("symbol", "base"), [("XYZ/USD", "XYZ"), ("SOLUSDT", "SOLUSDT"), ("", "")])
def test_refuses_a_coin_that_is_not_known_at_all(symbol: str, base: str) -> None:
    remedy = f"no pair of {base} is known; add a dated listing of it"
    assert MARKETS.market(symbol, TODAY, TODAY) == UnknownMarket(symbol, Unknown.NO_SUCH_PAIR, None, remedy)


def test_refuses_a_day_before_the_first_observation_and_says_when_it_was() -> None:
    first = date(2025, 7, 29)
    assert MARKETS.market("MANA/USDT", date(2025, 7, 28), TODAY) == UnknownMarket(
        "MANA/USDT",
        Unknown.NOT_YET_OBSERVED,
        first,
        "MANA/USDT was first observed on 2025-07-29: use the rules of that day or later",
    )
    assert isinstance(MARKETS.market("MANA/USDT", first, TODAY), Market)


def test_refuses_a_day_before_the_first_fees() -> None:
    refusal = MARKETS.market("ADA/USD", TODAY, date(2018, 12, 31))
    assert refusal == UnknownMarket(
        "ADA/USD",
        Unknown.NO_FEES_YET,
        date(2019, 1, 1),
        "no fees are known before 2019-01-01: use the fees of that day or later",
    )


def test_refuses_a_volume_below_zero() -> None:
    with pytest.raises(BadField, match="volume"):
        MARKETS.market("ADA/USD", TODAY, TODAY, D(-1))


def test_a_screen_can_tell_how_a_minimum_is_known_and_how_old_it_is() -> None:
    listing = MARKETS.listing("ADA/USDT", TODAY)
    assert isinstance(listing, Listing)
    assert listing.basis == "guess: as ADA/USD"
    assert age_days(listing, TODAY) == 142


def test_the_order_in_which_facts_are_handed_in_does_not_matter() -> None:
    backwards = replace(MARKETS, listings=LISTINGS[::-1], schedules=FEE_SCHEDULES[::-1])
    for symbol in ("SOL/USD", "ADA/EUR", "BTC/USDT"):
        for day in (date(2021, 4, 17), JULY_2025, TODAY):
            assert backwards.market(symbol, day, day) == MARKETS.market(symbol, day, day)


def test_of_two_observations_of_one_day_the_later_read_holds() -> None:
    reread = replace(LISTINGS[0], min_quantity=D("0.5"))
    markets = replace(MARKETS, listings=(LISTINGS[0], reread))
    assert known(markets.market(reread.symbol, reread.observed, TODAY)).min_quantity == D("0.5")


def test_tier_floors_follow_the_base() -> None:
    assert MARKETS.tier("SOL/USDT") is Tier.TIER_1
    assert MARKETS.tier("POL/EUR") is Tier.TIER_1
    assert MARKETS.tier("DOGE/USD") is Tier.MEME
    assert MARKETS.tier("MANA/USDT") is Tier.MID_TIER
    assert MARKETS.tier("UNHEARD/USDT") is Tier.MID_TIER
    assert [MARKETS.floor(f"{base}/USDT") for base in ("ADA", "SHIB", "MANA")] == [D("2.5"), D(3), D(4)]


def test_every_listed_base_has_a_tier_of_its_own() -> None:
    assert {listing.symbol.partition("/")[0] for listing in LISTINGS} == set(DEFAULT_TIERS)


def test_pairs_of_a_quote_come_in_the_order_handed_in_and_of_that_quote_only() -> None:
    assert MARKETS.symbols("USDT")[:5] == ("SOL/USDT", "ADA/USDT", "DOGE/USDT", "SHIB/USDT", "MANA/USDT")
    assert MARKETS.symbols("USD")[-1] == "AI16Z/USD"
    assert len(MARKETS.symbols("EUR")) == 18
    assert MARKETS.symbols("GBP") == MARKETS.symbols("SD") == ()


def test_every_listing_makes_a_valid_market() -> None:
    for listing in LISTINGS:
        known(MARKETS.market(listing.symbol, listing.observed, TODAY))


@pytest.mark.parametrize(
    ("floors", "problem"),
    [({"TIER_1": D(1), "MEME": D(1)}, "name no floor for MID_TIER"), ({**FLOORS, "MEME": D(-1)}, "below 0")],
)
def test_refuses_floors_that_leave_a_tier_open(floors: dict[str, Decimal], problem: str) -> None:
    with pytest.raises(BadField, match=problem):
        replace(MARKETS, floors=floors)


def tiers(*volumes: int) -> tuple[FeeTier, ...]:
    return tuple(FeeTier(D(volume), D(0), D(0)) for volume in volumes)


@pytest.mark.parametrize(
    "schedules",
    [(), (FeeSchedule(TODAY, ()),), (FeeSchedule(TODAY, tiers(1)),), (FeeSchedule(TODAY, tiers(0, 9, 5)),)],
)
def test_refuses_fees_that_do_not_rise_from_volume_zero(schedules: tuple[FeeSchedule, ...]) -> None:
    with pytest.raises(BadField, match="schedules"):
        replace(MARKETS, schedules=schedules)
