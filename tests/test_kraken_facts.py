"""The facts on Kraken: what is typed in agrees with the data it came from, and names and errors
translate as the exchange means them."""

import csv
import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import pytest

from lotwise.domain.market import Listing, split_symbol
from lotwise.domain.orders import SIZE_REJECTIONS, Rejection, RejectionKind
from lotwise.domain.values import BadField
from lotwise.kraken.errors import Retry, proves_not_accepted, rejection_of, retry_of, text_of
from lotwise.kraken.fees import FEE_SCHEDULES
from lotwise.kraken.listings import LISTINGS
from lotwise.kraken.names import (
    PairNames,
    asset_from_kraken,
    asset_to_kraken,
    pair_names,
    symbol_from_kraken,
)
from lotwise.kraken.reference import REFERENCE_PRICES, reference_price

SHARED = Path(__file__).parents[1].parent / "shared"
BASES = "SOL ADA DOGE SHIB MANA BTC ETH XRP LTC LINK DOT AVAX ALGO ATOM POL BERA FARTCOIN AI16Z"
QUOTES = ("USDT", "USD", "EUR", "USDC")


def shared(path: str) -> Path:
    file = SHARED / path
    if not file.exists():
        pytest.skip(f"../shared/{path} is absent")
    return file


@pytest.fixture(scope="module")
def pairs() -> list[dict[str, str]]:
    with shared("data/kraken/pairs.csv").open(newline="") as rows:
        return list(csv.DictReader(rows))


def observations(row: dict[str, str]) -> Iterator[tuple[date, Decimal, str]]:
    """What one row of pairs.csv says was observed, and how its day is known."""
    columns = (
        ("ordermin_2021_04_17", date(2021, 4, 17), "observed"),
        ("ordermin_2024_02_27", date(2024, 2, 27), "observed"),
        ("ordermin_2025_07_29", date(2025, 7, 29), "observed"),
        ("ordermin_2025_11", date(2025, 11, 15), "observed November 2025, day unknown"),
    )
    for column, day, basis in columns:
        if row[column]:
            yield day, Decimal(row[column]), basis
    if row["ordermin_2026_asof"] == "2026-07/09":
        basis = "observed July to September 2026, day unknown"
        yield date(2026, 7, 1), Decimal(row["ordermin_2026"]), basis
    elif row["ordermin_2026"]:
        yield date.fromisoformat(row["ordermin_2026_asof"]), Decimal(row["ordermin_2026"]), "observed"


def of_january_2025(listing: Listing) -> bool:
    return listing.observed == date(2025, 1, 1)


def guessed(listing: Listing) -> bool:
    return listing.basis.startswith("guess")


def test_every_listing_says_what_the_table_of_observations_says(pairs: list[dict[str, str]]) -> None:
    rows = {row["symbol_v2"]: row for row in pairs}
    expected = {
        (f"{base}/{quote}", day, minimum, basis)
        for base in BASES.split()
        for quote in QUOTES
        if f"{base}/{quote}" in rows
        for day, minimum, basis in observations(rows[f"{base}/{quote}"])
    }
    typed = [listing for listing in LISTINGS if not guessed(listing) and not of_january_2025(listing)]
    assert {
        (listing.symbol, listing.observed, listing.min_quantity, listing.basis.partition("; ")[0])
        for listing in typed
    } == expected
    assert len(typed) == len(expected)


def test_every_listing_has_its_pairs_grids_and_costmin(pairs: list[dict[str, str]]) -> None:
    rows = {row["symbol_v2"]: row for row in pairs}
    for listing in LISTINGS:
        row = rows[listing.symbol]
        assert listing.tick_size == Decimal(row["tick_size"]), listing
        assert listing.lot_step == Decimal(row["lot_size"]), listing
        assert listing.min_notional == Decimal(row["costmin"]), listing
        inferred = row["costmin_basis"] == "inferred-from-quote"
        assert ("costmin inferred" in listing.basis) is inferred, listing


def test_quote_precision_is_the_one_of_a_real_answer() -> None:
    answer = json.loads(shared("data/kraken/payloads/http_asset_pairs.json").read_text())
    assert {listing.quote_precision for listing in LISTINGS} == {answer["result"]["XBTUSDT"]["cost_decimals"]}


def test_the_minimums_of_january_2025_hold_for_all_quotes() -> None:
    listed = {listing.symbol: listing for listing in LISTINGS if of_january_2025(listing)}
    minimums = {"ADA": Decimal("4.4"), "SOL": Decimal("0.02"), "DOGE": Decimal(13)}
    assert {symbol: listing.min_quantity for symbol, listing in listed.items()} == {
        f"{base}/{quote}": minimum for base, minimum in minimums.items() for quote in QUOTES
    }
    assert all("January 2025, day unknown" in listing.basis for listing in listed.values())


def test_dollar_coins_without_an_observation_of_2026_are_guessed_as_their_usd_pair() -> None:
    guesses = {listing.symbol: listing for listing in LISTINGS if guessed(listing)}
    bases = ["BTC", "ADA", "ALGO", "AVAX", "DOGE", "DOT", "ETH", "LINK", "LTC", "SOL", "XRP"]
    assert set(guesses) == {f"{base}/{quote}" for base in bases for quote in ("USDT", "USDC")}
    dollars = {listing.symbol: listing for listing in LISTINGS if listing.observed == date(2026, 7, 3)}
    for listing in guesses.values():
        usd = dollars[f"{split_symbol(listing.symbol)[0]}/USD"]
        assert listing.observed == usd.observed
        assert listing.min_quantity == usd.min_quantity
        assert listing.basis.startswith(f"guess: as {usd.symbol}")
    assert guesses["SOL/USDT"].basis == "guess: as SOL/USD; costmin inferred from the quote"
    assert guesses["DOGE/USDT"].tick_size == Decimal("0.00001"), "the tick stays the pair's own"


def test_a_pair_is_seen_once_a_day_and_a_pair_that_was_never_seen_is_absent() -> None:
    seen = [(listing.symbol, listing.observed) for listing in LISTINGS]
    assert len(set(seen)) == len(seen)
    assert "POL/USD" in {symbol for symbol, _ in seen}
    assert "POL/USDT" not in {symbol for symbol, _ in seen}


def percent(rate: Decimal) -> float:
    return float(rate * 100)


def test_fee_ladders_say_what_the_dated_schedules_say() -> None:
    data = json.loads(shared("data/kraken/fees.json").read_text())
    oldest, middle, newest = FEE_SCHEDULES
    assert newest.effective == date.fromisoformat(data["current_effective"])
    assert [(int(t.volume), percent(t.maker_fee), percent(t.taker_fee)) for t in newest.tiers] == [
        (row["spot_volume"], row["maker"], row["taker"]) for row in data["tiers"]
    ]
    older: dict[str, Any] = data["previous"]
    for schedule, ladder in zip((middle, oldest), older.values(), strict=True):
        volumes = sorted({volume for side in ladder.values() for volume, _ in side})
        assert [tier.volume for tier in schedule.tiers] == volumes
        for tier in schedule.tiers:
            maker, taker = (
                next(rate for volume, rate in reversed(ladder[side]) if volume <= tier.volume)
                for side in ("maker", "taker")
            )
            assert (percent(tier.maker_fee), percent(tier.taker_fee)) == (maker, taker), tier


def entry_rates(day: date) -> tuple[str, str]:
    schedule = [schedule for schedule in FEE_SCHEDULES if schedule.effective <= day][-1]
    tier = schedule.tier(Decimal(0))
    return str(tier.maker_fee), str(tier.taker_fee)


def test_entry_rates_agree_with_the_real_fills_and_captures_of_their_days() -> None:
    assert entry_rates(date(2024, 1, 14)) == ("0.0016", "0.0026")  # a fill at 0.26 %
    assert entry_rates(date(2025, 11, 11)) == ("0.0025", "0.0040")  # an AssetPairs answer
    assert entry_rates(date(2026, 7, 8)) == ("0.0025", "0.0040")
    assert entry_rates(date(2026, 7, 9)) == ("0.0040", "0.0080")
    assert entry_rates(date(2026, 9, 15)) == ("0.0040", "0.0080")  # a fill at 0.80 %


def test_every_known_pair_translates_into_kraken_s_names_and_back(pairs: list[dict[str, str]]) -> None:
    checked = 0
    for row in pairs:
        if row["symbol_v2"] == "ETH2.S/ETH":  # staked ether against ether: no pair of assets
            continue
        names = pair_names(row["symbol_v2"])
        for known, ours in (
            (row["rest_key"], names.rest_key),
            (row["altname"], names.altname),
            (row["wsname"], names.wsname),
        ):
            if known:
                assert known == ours
                assert symbol_from_kraken(known) == row["symbol_v2"]
                checked += 1
        assert symbol_from_kraken(row["symbol_v2"]) == row["symbol_v2"]
        for known, asset in zip((row["base"], row["quote"]), split_symbol(row["symbol_v2"]), strict=True):
            if known:
                assert asset_to_kraken(asset) == known
                assert asset_from_kraken(known) == asset
    assert checked > 2500


@pytest.mark.parametrize(
    ("symbol", "rest_key", "altname", "wsname"),
    [
        ("BTC/USD", "XXBTZUSD", "XBTUSD", "XBT/USD"),
        ("BTC/USDT", "XBTUSDT", "XBTUSDT", "XBT/USDT"),
        ("DOGE/USD", "XDGUSD", "XDGUSD", "XDG/USD"),
        ("DOGE/BTC", "XXDGXXBT", "XDGXBT", "XDG/XBT"),
        ("ETH/EUR", "XETHZEUR", "ETHEUR", "ETH/EUR"),
        ("SOL/USDT", "SOLUSDT", "SOLUSDT", "SOL/USDT"),
    ],
)
def test_names_a_pair_in_each_of_kraken_s_ways(symbol: str, rest_key: str, altname: str, wsname: str) -> None:
    assert pair_names(symbol) == PairNames(symbol, rest_key, altname, wsname)
    assert {symbol_from_kraken(name) for name in (symbol, rest_key, altname, wsname)} == {symbol}


@pytest.mark.parametrize(
    ("code", "asset"),
    [
        ("XXBT", "BTC"),
        ("XBT", "BTC"),
        ("XBT.F", "BTC"),
        ("XXDG", "DOGE"),
        ("XDG", "DOGE"),
        ("ZUSD", "USD"),
        ("USD.M", "USD.M"),
        ("XETH", "ETH"),
        ("ETH", "ETH"),
        ("ADA.F", "ADA"),
        ("ADA.S", "ADA.S"),
        ("DOT.P", "DOT.P"),
        ("SOL.B", "SOL.B"),
        ("AAPLx.T", "AAPLx.T"),
        ("XTZ", "XTZ"),
        ("ADA.HOLD", "ADA.HOLD"),
    ],
)
def test_reads_a_balance_code_as_the_asset_it_is(code: str, asset: str) -> None:
    assert asset_from_kraken(code) == asset


def test_two_names_that_look_like_another_pair_are_told_apart() -> None:
    assert symbol_from_kraken("MERLUSD") == "MERL/USD"
    assert symbol_from_kraken("XRPRLUSD") == "XRP/RLUSD"
    assert symbol_from_kraken("DOGEUR") == "DOG/EUR", "another coin than DOGE"


@pytest.mark.parametrize("name", ["", "USD", "/USD", "XBT/", "XBTUSD.d", "NONSENSE"])
def test_refuses_a_name_that_is_no_pair(name: str) -> None:
    with pytest.raises(BadField, match="pair"):
        symbol_from_kraken(name)


def test_every_catalogued_error_has_its_retry_class_and_a_kind() -> None:
    errors = json.loads(shared("data/kraken/errors.json").read_text())["errors"]
    assert len(errors) == 62
    for error in errors:
        text, retry = error["s"], Retry(error["retry"])
        assert retry_of(text) is retry, text
        ambiguous = retry is Retry.VERIFY
        assert (rejection_of(text).kind is RejectionKind.UNRECOGNISED) is ambiguous, text
        of_a_copy = text == "EAPI:Invalid nonce"
        assert proves_not_accepted(text) is (not ambiguous and not of_a_copy and text.startswith("E")), text


@pytest.mark.parametrize(
    ("text", "kind", "retry"),
    [
        ("EGeneral:Invalid arguments:volume minimum not met", RejectionKind.MIN_QUANTITY, Retry.REFRESH),
        ("EOrder:Order minimum not met", RejectionKind.MIN_QUANTITY, Retry.REFRESH),
        ("EOrder:Cost minimum not met", RejectionKind.MIN_NOTIONAL, Retry.REFRESH),
        ("EGeneral:Invalid arguments:volume", RejectionKind.LOT_STEP, Retry.NEVER),
        ("EGeneral:Invalid arguments:userref", RejectionKind.INVALID, Retry.NEVER),
        ("EService: Throttled: 1783000000", RejectionKind.RATE_LIMIT, Retry.WAIT),
        ("EService:Throttled:1783000000", RejectionKind.RATE_LIMIT, Retry.WAIT),
        ("EGeneral:Internal error:0x1", RejectionKind.UNRECOGNISED, Retry.VERIFY),
        (
            "EAccount:Invalid permissions:XMR trading restricted for PL.",
            RejectionKind.PERMISSION,
            Retry.NEVER,
        ),
        ("EQuery:Unknown asset pair", RejectionKind.UNKNOWN_PAIR, Retry.REFRESH),
        ("EQuery:Unknown asset", RejectionKind.INVALID, Retry.NEVER),
    ],
)
def test_reads_an_error_by_its_longest_known_beginning(text: str, kind: RejectionKind, retry: Retry) -> None:
    assert rejection_of(text) == Rejection(kind, text)
    assert retry_of(text) is retry


@pytest.mark.parametrize(
    "text", ["", "EOrder", "EOrder:Never heard of", "EOrder:Insufficient fundsX", "<html>", "EService:"]
)
def test_an_unknown_text_is_kept_and_proves_nothing(text: str) -> None:
    assert rejection_of(text) == Rejection(RejectionKind.UNRECOGNISED, text)
    assert retry_of(text) is Retry.VERIFY
    assert not proves_not_accepted(text)


def test_what_a_second_copy_of_a_request_is_told_proves_nothing_of_the_first() -> None:
    assert not proves_not_accepted("EAPI:Invalid nonce")
    assert not proves_not_accepted("EGeneral:Invalid arguments:cl_ord_id not unique")


def test_a_warning_proves_nothing_either() -> None:
    assert not proves_not_accepted("WDatabase:No change")


def test_each_kind_of_rejection_has_words_that_are_read_back_as_that_kind() -> None:
    for kind in RejectionKind:
        # Kraken has no known words for a quantity above a maximum: it is a wrong volume like others.
        expected = RejectionKind.LOT_STEP if kind is RejectionKind.MAX_QUANTITY else kind
        assert rejection_of(text_of(kind)).kind is expected
        assert (kind in SIZE_REJECTIONS) is (expected in SIZE_REJECTIONS)
    assert text_of(RejectionKind.MIN_QUANTITY) == "EGeneral:Invalid arguments:volume minimum not met"
    assert text_of(RejectionKind.PERMISSION) == "EGeneral:Permission denied"
    assert text_of(RejectionKind.RATE_LIMIT) == "EOrder:Rate limit exceeded"
    assert text_of(RejectionKind.INVALID) == "EGeneral:Invalid arguments"


def test_reference_prices_are_the_recorded_dollars_by_the_minimum() -> None:
    rows = re.findall(
        r"^\| (\w+)/USDT \| ([\d .]+) \| (\S+) \| (\S+) \| (\S+) \|", shared("KRAKEN.md").read_text(), re.M
    )
    days = (date(2025, 7, 12), date(2025, 11, 13), date(2026, 1, 2))
    three_digits = Context(prec=3)
    expected = {
        base: {
            day: three_digits.divide(Decimal(dollars[1:]), Decimal(minimum.replace(" ", "")))
            for day, dollars in zip(days, amounts, strict=True)
            if dollars != "n/a"
        }
        for base, minimum, *amounts in rows
    }
    assert expected == REFERENCE_PRICES


def test_a_reference_price_is_the_latest_at_or_before_the_day_else_the_earliest() -> None:
    july, november, january = date(2025, 7, 12), date(2025, 11, 13), date(2026, 1, 2)
    assert reference_price("SOL", date(2025, 7, 11)) == (Decimal(160), july)
    assert reference_price("SOL", july) == (Decimal(160), july)
    assert reference_price("SOL", date(2026, 1, 1)) == (Decimal(144), november)
    assert reference_price("SOL", date(2026, 11, 1)) == (Decimal(132), january)
    assert reference_price("MANA", date(2026, 11, 1)) == (Decimal("0.221"), november)
    assert reference_price("NONE", july) is None
