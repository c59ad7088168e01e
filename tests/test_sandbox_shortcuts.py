"""What is reckoned ahead, kept or skipped for speed: nothing that is told may change by it."""

from decimal import Decimal
from urllib.parse import parse_qsl, urlencode

from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.market import Market
from lotwise.domain.orders import OrderType
from lotwise.domain.values import Side, Time
from lotwise.exchange.crowd import STEP, Crowd, CrowdSettings
from lotwise.exchange.dice import Dice
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.house import HouseRules, Matching
from lotwise.exchange.paths import Walk
from lotwise.exchange.tape import MINUTE, Print, Tape
from lotwise.kraken.rest import fixed
from lotwise.sandbox.txids import ALPHABET, TxIds
from lotwise.sandbox.wire import Request, parameters_of

D = Decimal
BEGIN = 50 * 86_400_000


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3 * MINUTE), st.integers(1, 50), st.integers(1, 900)),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 20),
)
def test_statistics_asked_for_again_and_again_are_those_of_the_trades(
    trades: list[tuple[int, int, int]], minutes: int
) -> None:
    tape, now, seen = Tape(), BEGIN, []
    for number, (later, price, hundredths) in enumerate(trades, 1):
        now += later
        seen.append((now, D(price), D(hundredths) / 100))
        printed = Print(number, Time(now), *seen[-1][1:], Side.BUY, OrderType.LIMIT, None, None)
        tape.add(printed)
        since = Time(now - minutes * MINUTE)
        told = tape.statistics(since)
        within = [(p, q) for time, p, q in seen if time - time % MINUTE >= since]
        if not within:
            assert told is None
            continue
        prices = [price for price, _ in within]
        assert told is not None
        assert (told.open, told.close, told.count) == (prices[0], prices[-1], len(within))
        assert (told.high, told.low) == (max(prices), min(prices))
        assert (told.volume, told.value) == (sum(q for _, q in within), sum(p * q for p, q in within))


def test_a_crowd_that_comes_later_moves_when_its_time_has_come() -> None:
    market = Market("SOL/USDT", D("0.01"), D("0.001"), D("0.02"), D("0.5"), 4, D("0.004"), D("0.008"))
    exchange = Exchange({market.symbol: market}, house=HouseRules(matching=Matching.BOOK))
    now = Time(1_700_000_000_000)
    exchange.advance(now)
    path = Walk(150.0, 0.8, Dice(1), now)
    exchange.live(market.symbol, Crowd(CrowdSettings(), path, Dice(2), Time(now + STEP)))
    exchange.advance(Time(now + STEP))
    assert exchange.quotes()


@given(st.integers(0, 10**12), st.sampled_from("OTL"), st.integers(0, 17), st.sampled_from("018_- +a=é²\x00"))
@settings(max_examples=100, derandomize=True, deadline=None)
def test_an_id_with_a_foreign_character_is_none(number: int, letter: str, place: int, wrong: str) -> None:
    ids = TxIds(7)
    right = ids.txid(letter, number)
    assert ids.number(letter, right) == number
    assert set(right[1:]) <= {*ALPHABET, "-"}
    broken = right[: place + 1] + wrong + right[place + 2 :]
    assert broken == right or ids.number(letter, broken) is None


texts = st.text(st.sampled_from("ab1+ %&=;é[]/"), max_size=6)


@given(st.lists(st.tuples(texts, texts), max_size=5), texts)
@settings(max_examples=200, derandomize=True, deadline=None)
def test_a_form_reads_as_the_library_reads_it(fields: list[tuple[str, str]], rough: str) -> None:
    for text in (urlencode(fields), rough):
        read = parameters_of(Request("POST", "/0/private/AddOrder", body=text.encode()), private=True)
        assert read == dict(parse_qsl(text, keep_blank_values=True))


@given(st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False, places=9), st.integers(0, 10))
@settings(max_examples=200, derandomize=True, deadline=None)
def test_a_number_has_its_decimals_and_loses_none(number: Decimal, digits: int) -> None:
    text = fixed(number, digits)
    assert Decimal(text) == number
    decimals = text.partition(".")[2]
    assert len(decimals) >= digits
    assert len(decimals) == digits or not decimals.endswith("0")
