"""More strategies, those of the user, and what becomes of one that cannot be trusted."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from lotwise.app.cli import cli
from lotwise.app.my_strategy import MyStrategy
from lotwise.app.strategies import SHIPPED, load_strategy
from lotwise.app.terminal import Problem
from lotwise.domain.values import BadField, Time
from lotwise.exchange.prices import PriceProcess, synthetic_candles
from lotwise.store.candles import read_folder
from lotwise.store.journal import read
from lotwise.strategies.breakout import Breakout
from lotwise.strategies.candles import TIMEFRAMES, Candles, Floats
from lotwise.strategies.dip import Dip
from lotwise.strategies.indicators import moving_highest
from lotwise.strategies.strategy import Strategy
from lotwise.strategies.trend import Trend
from lotwise.strategies.wishes import wishes_of
from lotwise.venues.feeds import RecordedFeed
from tests.runs import NO_PRICES, PRICES

HOUR = TIMEFRAMES["1h"]
SYMBOL = "SOL/USDT"
Bar = tuple[int, int, float]
"""The close, how far the high lies above and the low below it, and the volume."""

CAUSAL: tuple[Strategy, ...] = (
    Trend(),
    Trend(fast=1, slow=2, lead=0.5),
    Trend(fast=3, slow=10, lead=0.7),
    Breakout(),
    Breakout(length=1, busy=0.1),
    Breakout(length=5, busy=1.0),
    MyStrategy(length=6),
)


def candles_of(bars: list[Bar], symbol: str = SYMBOL) -> Candles:
    close = np.array([close for close, _, _ in bars], dtype=np.int64)
    width = np.array([width for _, width, _ in bars], dtype=np.int64)
    volume = np.array([volume for _, _, volume in bars], dtype=np.float64)
    dates = HOUR * np.arange(len(bars), dtype=np.int64)
    low = np.maximum(close - width, 1)
    return Candles(symbol, "1h", dates, close, close + width, low, close, Decimal("0.01"), volume)


def walk(bars: int = 300, seed: int = 3, symbol: str = SYMBOL) -> Candles:
    return synthetic_candles(PriceProcess(symbol, Decimal(150), Decimal("0.01"), seed), bars, "1h", Time(0))


def first(candles: Candles, bars: int) -> Candles:
    return candles.between(Time(0), Time(bars * HOUR))


def plain_bars(*closes: int) -> list[Bar]:
    return [(close, 0, 1.0) for close in closes]


bars_of_any_kind = st.lists(
    st.tuples(
        st.integers(1, 10**12),
        st.integers(0, 10**6),
        st.one_of(st.just(0.0), st.floats(0, 1e29, allow_subnormal=True)),
    ),
    min_size=1,
    max_size=60,
)


# What ships


@pytest.mark.parametrize("strategy", CAUSAL, ids=repr)
def test_every_cut_of_the_future_leaves_the_past_as_it_was_bit_for_bit(strategy: Strategy) -> None:
    candles = walk()
    whole = strategy.confidence(candles)
    assert np.count_nonzero(whole) > 0
    for bars in range(1, len(candles)):
        assert strategy.confidence(first(candles, bars)).tobytes() == whole[:bars].tobytes()


@pytest.mark.parametrize("strategy", CAUSAL, ids=repr)
@given(bars=bars_of_any_kind, data=st.data())
def test_any_cut_of_any_series_changes_no_earlier_value(
    strategy: Strategy, bars: list[Bar], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(1, len(bars)))
    whole = strategy.confidence(candles_of(bars))
    assert strategy.confidence(candles_of(bars[:cut])).tobytes() == whole[:cut].tobytes()


@pytest.mark.parametrize("strategy", CAUSAL[:-1], ids=repr)
def test_a_live_window_of_warm_up_and_one_bar_gives_the_value_of_the_whole_history(
    strategy: Strategy,
) -> None:
    candles = walk()
    whole = strategy.confidence(candles)
    for last in range(strategy.warm_up, len(candles)):
        window = candles.between(Time((last - strategy.warm_up) * HOUR), Time((last + 1) * HOUR))
        assert strategy.confidence(window)[-1] == whole[last]


@pytest.mark.parametrize("strategy", CAUSAL, ids=repr)
@given(bars=bars_of_any_kind)
def test_confidence_is_from_minus_1_to_1_and_0_during_warm_up(strategy: Strategy, bars: list[Bar]) -> None:
    confidence = strategy.confidence(candles_of(bars))
    assert (confidence.dtype, confidence.shape) == (np.float64, (len(bars),))
    assert np.all((confidence >= -1) & (confidence <= 1))
    assert not confidence[: strategy.warm_up].any()


@pytest.mark.parametrize("strategy", CAUSAL, ids=repr)
@pytest.mark.parametrize("bar", [(1, 0, 0.0), (211_800, 0, 5.0), (10**17 + 1, 0, 1e29)])
def test_what_never_moves_wakes_no_wish_and_no_nan(strategy: Strategy, bar: Bar) -> None:
    assert not strategy.confidence(candles_of([bar] * 150)).any()
    assert len(strategy.confidence(candles_of([]))) == 0


@pytest.mark.skipif(not PRICES.is_dir(), reason=NO_PRICES)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_strategy_fires_on_a_few_percent_of_real_hours_and_can_be_trusted(name: str) -> None:
    strategy = load_strategy(name).strategy
    for symbol, candles in read_folder(PRICES, "1h").items():
        confidence, trouble = wishes_of(strategy, candles)
        assert not trouble, symbol
        assert 0.01 < np.mean(confidence > 0) < 0.06, symbol


def test_a_breakout_is_a_close_above_all_highs_with_more_than_the_usual_volume() -> None:
    before: list[Bar] = [(100, 5, 2.0), (104, 1, 4.0), (101, 0, 6.0)]
    strategy = Breakout(length=3, busy=1.5)  # the highs reach 105, the volume is 4 on average

    def sure(close: int, volume: float) -> float:
        return float(strategy.confidence(candles_of([*before, (close, 9, volume)]))[-1])

    assert (sure(105, 100), sure(106, 6)) == (0, 0)
    assert (sure(106, 9), sure(106, 12), sure(106, 99)) == (0.75, 1, 1)
    assert strategy.confidence(candles_of([(100, 900, 1.0), *before, (106, 0, 12.0)]))[-1] == 1


def test_the_last_unit_of_a_large_price_decides_a_breakout() -> None:
    top = 9 * 10**17  # floats of this size cannot tell neighbours apart
    for close, fires in ((top, False), (top + 1, True)):
        bars = [(top, 0, 1.0), (close, 0, 9.0)]
        assert Breakout(length=1).confidence(candles_of(bars))[-1] == fires


def test_a_trend_is_a_lead_of_the_fast_average_in_deviations_of_the_slow_one() -> None:
    closes = [100, 100, 100, 100, 106, 106]
    # Of the last four: 103 on average, deviation 3; the fast average of two leads by 3, which is 1.
    falling_before = candles_of(plain_bars(*closes))
    assert Trend(fast=2, slow=4, lead=0.8).confidence(falling_before)[-1] == pytest.approx(0.625)
    assert Trend(fast=2, slow=4, lead=0.99).confidence(falling_before)[-1] == pytest.approx(1 / 1.98)


def test_a_lead_under_a_slow_average_that_falls_is_no_trend() -> None:
    strategy = Trend(fast=2, slow=4, lead=0.8)
    assert strategy.confidence(candles_of(plain_bars(200, 200, 100, 100, 106, 106)))[-1] == 0
    # Two bars ago the average was 100 and one step, or 103 as it is now.
    assert strategy.confidence(candles_of(plain_bars(106, 106, 100, 100, 106, 106)))[-1] == 0
    assert strategy.confidence(candles_of(plain_bars(106, 105, 100, 100, 106, 106)))[-1] > 0


def test_a_fall_is_neither_trend_nor_breakout_and_ends_a_trend() -> None:
    fall = candles_of(plain_bars(*range(10_000, 9_800, -1)))
    said, warm_up = Trend().confidence(fall), Trend().warm_up
    assert not said[:warm_up].any() and (said[warm_up:] == -1).all()
    assert not Breakout().confidence(fall).any()


@given(st.lists(st.integers(1, 10**18), max_size=40), st.integers(1, 12))
def test_the_highest_is_that_of_each_window(prices: list[int], length: int) -> None:
    highest = moving_highest(np.array(prices, dtype=np.int64), length).tolist()
    assert highest[length - 1 :] == [max(prices[at : at + length]) for at in range(len(prices) - length + 1)]
    assert all(price > 10**18 for price in highest[: length - 1])


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: Trend(slow=1), "slow"),
        (lambda: Trend(slow=10_001), "slow"),
        (lambda: Trend(fast=0), "fast"),
        (lambda: Trend(fast=96), "fast"),
        (lambda: Trend(lead=0.0), "lead"),
        (lambda: Trend(lead=float("nan")), "lead"),
        (lambda: Trend(fast=24, slow=96, lead=1.74), "lead"),  # sqrt(3) is the most
        (lambda: Breakout(length=0), "length"),
        (lambda: Breakout(length=10_001), "length"),
        (lambda: Breakout(busy=0.0), "busy"),
        (lambda: Breakout(busy=float("inf")), "busy"),
    ],
)
def test_refuses_parameters_without_a_meaning(make: Callable[[], Strategy], field: str) -> None:
    with pytest.raises(BadField) as no:
        make()
    assert no.value.field == field


def test_no_lead_is_larger_than_the_largest_that_may_be_asked_for() -> None:
    step = candles_of(plain_bars(*[100] * 200, *[200] * 12))
    assert Trend(lead=2.645).confidence(step)[-1] > 0
    with pytest.raises(BadField, match=r"below 2\.646, the most there can be"):
        Trend(lead=2.646)


# What cannot be trusted


@dataclass
class Told:
    """A strategy that does as it is told."""

    answer: Callable[[Candles], Any]
    name: str = "told"
    warm_up: int = 0

    def confidence(self, candles: Candles) -> Any:
        return self.answer(candles)


def crash(candles: Candles) -> Any:
    raise ValueError("boom\n  and more") from None


def leave(candles: Candles) -> Any:
    sys.exit("enough")


def rises(candles: Candles) -> Floats:
    """1 where the next bar will close higher, which nobody can know."""
    closes = candles.closes()
    return np.append(closes[1:] > closes[:-1], False).astype(float)


def scaled(candles: Candles) -> Floats:
    closes = candles.closes()
    result: Floats = closes / closes.max() / 2
    return result


def dips_before_a_rise(candles: Candles) -> Floats:
    result: Floats = Dip(length=10, depth=1.5).confidence(candles) * rises(candles)
    return result


def counting() -> Callable[[Candles], Floats]:
    calls: list[int] = []

    def answer(candles: Candles) -> Floats:
        calls.append(1)
        return np.full(len(candles), len(calls) / 100)

    return answer


def at(index: int, value: float) -> Callable[[Candles], Floats]:
    def answer(candles: Candles) -> Floats:
        values = np.zeros(len(candles))
        values[index] = value
        return values

    return answer


BROKEN: dict[str, tuple[Callable[[Candles], Any], str]] = {
    "raises": (crash, "raises ValueError: boom and more (test_strategies_more.py, line"),
    "leaves": (leave, "raises SystemExit: enough (test_strategies_more.py, line"),
    "nothing": (lambda candles: None, "returns NoneType, not a numpy array of float64"),
    "list": (lambda candles: [0.0] * len(candles), "returns list, not a numpy array of float64"),
    "masked": (lambda c: np.ma.masked_array(np.ones(len(c))), "returns MaskedArray, not a numpy array"),
    "flags": (lambda candles: candles.close > 0, "returns an array of bool, not of float64"),
    "small floats": (lambda c: np.zeros(len(c), dtype=np.float32), "returns an array of float32, not of"),
    "too short": (lambda c: np.zeros(len(c) - 1), "array of shape (299,), not a value for each of 300 bars"),
    "too many sides": (lambda c: np.zeros((len(c), 1)), "shape (300, 1), not a value for each of 300 bars"),
    "NaN": (at(7, np.nan), "says nan at bar 1970-01-01T07:00:00Z, which is not from -1 to 1"),
    "infinite": (at(0, np.inf), "says inf at bar 1970-01-01T00:00:00Z"),
    "above 1": (at(299, 1.0000000000000002), "says 1.0000000000000002 at bar 1970-01-13T11:00:00Z"),
    "below -1": (at(1, -1.5), "says -1.5 at bar 1970-01-01T01:00:00Z"),
    "writes": (lambda candles: candles.close.__setitem__(0, 1), "raises ValueError: assignment destination"),
    "next bar": (rises, "looks ahead: at bar"),
    "dip before a rise": (dips_before_a_rise, "looks ahead: at bar"),
    "all prices": (scaled, "looks ahead: at bar 1970-01-01T00:00:00Z it says 0."),
    "last bar": (at(-1, 0.5), "it says 0.0 with later data and 0.5 without"),
    "dice": (counting(), "at bar 1970-01-01T00:00:00Z it says 0.01, and 0.03 when asked again"),
    "fewer bars": (
        lambda candles: at(9, 0.5)(candles) if len(candles) == 300 else candles.closes() * np.nan,
        "says nan at bar 1970-01-01T00:00:00Z, which is not from -1 to 1 (asked about the first 10",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_strategy_that_cannot_be_trusted_has_no_wishes_and_a_reason(kind: str) -> None:
    answer, words = BROKEN[kind]
    confidence, trouble = wishes_of(Told(answer), walk())
    assert words in trouble and "\n" not in trouble
    assert (confidence.dtype, confidence.shape, confidence.any()) == (np.float64, (300,), False)


def test_what_it_says_with_later_data_and_without_is_told() -> None:
    _, trouble = wishes_of(Told(rises), walk())
    assert trouble.endswith("it says 1.0 with later data and 0.0 without")


def test_an_array_that_the_strategy_goes_on_using_does_not_change_the_wishes() -> None:
    kept = np.full(300, 0.5)
    confidence, trouble = wishes_of(Told(lambda candles: kept[: len(candles)]), walk())
    kept[:] = 9
    assert not trouble and set(confidence) == {0.5}


@pytest.mark.parametrize("strategy", CAUSAL, ids=repr)
def test_a_strategy_that_can_be_trusted_is_taken_at_its_word(strategy: Strategy) -> None:
    for bars in (1, 2, 5, 300):
        confidence, trouble = wishes_of(strategy, walk(bars))
        assert not trouble
        assert confidence.tobytes() == strategy.confidence(walk(bars)).tobytes()
    assert not wishes_of(strategy, candles_of([])).trouble


def test_one_pair_in_trouble_leaves_the_wishes_of_the_others() -> None:
    other = walk(symbol="ADA/USDT")
    told = Told(lambda candles: crash(candles) if candles.symbol == SYMBOL else Dip().confidence(candles))
    feed = RecordedFeed({SYMBOL: walk(), "ADA/USDT": other}, told)
    (trouble,) = feed.troubles
    assert trouble.startswith("SOL/USDT: strategy told raises ValueError: boom and more (")
    assert RecordedFeed({"ADA/USDT": other}, Dip()).troubles == ()


# One's own


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder, whose modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("LOTWISE__PAPER__BARS", "400")
    monkeypatch.setenv("LOTWISE__DRY_RUN_WALLET", "40")
    yield tmp_path
    forget(tmp_path)


def forget(folder: Path) -> None:
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


GOOD = """
import numpy as np

class Mine:
    name, warm_up = "mine", 0

    def confidence(self, candles):
        return np.where(np.arange(len(candles)) % 40 == 0, 0.5, 0.0)
"""
CLASS = "class Mine:\n    name, warm_up = 'mine', 0\n"
WRONG = {
    "import numpie": "importing mine raises ModuleNotFoundError: No module named 'numpie' (mine.py, line 1)",
    "import os\n1 / 0": "importing mine raises ZeroDivisionError: division by zero (mine.py, line 2)",
    "def inner():\n    return 1 / 0\ninner()": "ZeroDivisionError: division by zero (mine.py, line 2)",
    "import numpy\nnumpy.zeros(-1)": "ValueError: negative dimensions are not allowed (mine.py, line 2)",
    "x = (": "importing mine raises SyntaxError: '(' was never closed (mine.py, line 1)",
    "import sys\nsys.exit(3)": "importing mine raises SystemExit: 3 (mine.py, line 2)",
    "class Mina: pass": "mine has no class Mine; did you mean Mina?",
    "class Other: pass\nfrom decimal import Decimal": "mine has no class Mine; it has Other",
    "": "mine has no class Mine; it has none of its own",
    "Mine = 3": "Mine in mine is of type int, not a class",
    "class Mine: pass": "mine:Mine is no strategy: it has no name and no warm_up and no confidence; `lotwise",
    f"{CLASS}": "mine:Mine is no strategy: it has no confidence",
    f"{CLASS}    confidence = 3": "mine:Mine is no strategy: its confidence must be a method, not 3",
    "class Mine:\n name, confidence = 'mine', print\n def warm_up(self): return 3": (
        "its warm_up must be a whole number of bars; put @property above it"
    ),
    "class Mine:\n name, confidence, warm_up = 'mine', print, -1": "must be a whole number of bars, not -1",
    "class Mine:\n name, confidence, warm_up = '', print, 0": "its name must be a word, not ''",
    f"{CLASS}    def __init__(self, length): pass": (
        "mine:Mine is made without arguments: missing a required argument: 'length'; give it a default"
    ),
    f"{CLASS}    def __init__(self, length=2):\n        int('x')": (
        "making mine:Mine raises ValueError: invalid literal for int() with base 10: 'x' (mine.py, line 4)"
    ),
    f"{CLASS}    @property\n    def confidence(self): return self.x.y": (
        "making mine:Mine raises AttributeError: 'Mine' object has no attribute 'x' (mine.py, line 4)"
    ),
}


@pytest.mark.parametrize("source", WRONG)
def test_a_module_that_makes_no_strategy_is_told_what_is_wrong(folder: Path, source: str) -> None:
    (folder / "mine.py").write_text(source)
    words = WRONG[source]
    with pytest.raises(Problem) as no:
        load_strategy("mine:Mine")
    assert words in no.value.message and "\n" not in no.value.message
    assert no.value.exit_code == 2


def test_a_module_that_is_not_there_is_told_the_near_one(folder: Path) -> None:
    with pytest.raises(Problem, match=r"there is no module mime in this folder .*; `lotwise strategy new`"):
        load_strategy("mime:Mine")
    (folder / "mine.py").write_text(GOOD)
    with pytest.raises(Problem, match=r"there is no module mime in this folder .*; did you mean mine\?"):
        load_strategy("mime:Mine")
    with pytest.raises(Problem, match=r"there is no module mine\.deeper"):
        load_strategy("mine.deeper:Mine")


def test_a_strategy_of_ones_own_is_found_in_the_folder_and_below_it(folder: Path) -> None:
    (folder / "mine.py").write_text(GOOD)
    (folder / "deep").mkdir()
    (folder / "deep" / "mine.py").write_text(GOOD.replace("0.5", "0.25"))
    assert load_strategy("mine:Mine").strategy.confidence(walk(50)).max() == 0.5
    assert load_strategy("deep.mine:Mine").strategy.confidence(walk(50)).max() == 0.25


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tren", "no strategy 'tren'; did you mean trend?"),
        ("moon", "no strategy 'moon'; your own is module:Class, such as mine:MyStrategy"),
        ("mine.py:Mine", "'mine.py:Mine' names a file; write the module: mine:Mine"),
        ("./deep/mine.py", "no strategy './deep/mine.py'; your own is module:Class"),
        ("./deep/mine.py:", "names a file; write the module: deep.mine:MyStrategy"),
        ("mine:", "'mine:' is no module:Class"),
        (":Mine", "':Mine' is no module:Class"),
        ("mine:a:b", "'mine:a:b' is no module:Class"),
        ("..mine:Mine", "'..mine:Mine' is no module:Class"),
        ("mine:Mine", "there is no module mine in this folder"),
    ],
)
def test_run_refuses_a_name_without_a_strategy_and_leaves_no_journal(
    folder: Path, name: str, words: str
) -> None:
    result = call("run", "--strategy", name)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert not Path("runs").exists()


def call(*args: str) -> Result:
    result = CliRunner().invoke(cli, list(args))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def opened(journal: str) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(next(iter(read(Path(journal)))).body)["settings"]
    return settings


@pytest.mark.parametrize("name", SHIPPED)
def test_run_trades_each_shipped_strategy_and_the_journal_names_it(folder: Path, name: str) -> None:
    told = json.loads(call("run", "--strategy", name, "--journal", "a.journal", "--json").stdout)
    assert told["finished"] and told["orders"] > 0
    assert opened("a.journal")["strategy"] == name
    assert "strategy_code" not in opened("a.journal")


def test_run_trades_a_strategy_of_ones_own(folder: Path) -> None:
    (folder / "mine.py").write_text(GOOD)
    result = call("run", "--strategy", "mine:Mine", "--journal", "a.journal", "--json")
    assert json.loads(result.stdout)["orders"] > 0
    assert (opened("a.journal")["strategy"], result.stderr.count("note")) == ("mine:Mine", 0)


def test_a_journal_does_not_go_on_under_changed_code(folder: Path) -> None:
    command = ["run", "--strategy", "mine:Mine", "--journal", "a.journal"]
    (folder / "mine.py").write_text(GOOD)
    assert call(*command).exit_code == 0
    assert call(*command).exit_code == 0
    forget(folder)
    (folder / "mine.py").write_text(GOOD.replace("0.5", "0.6"))
    result = call(*command)
    assert result.exit_code == 2
    assert "a.journal holds another run: strategy_code was " in result.stderr
    (folder / "mine.py").write_text(GOOD)
    assert call(*command).exit_code == 0


def test_a_run_goes_on_for_the_other_pairs_and_names_the_one_in_trouble_once(folder: Path) -> None:
    broken = "        if candles.symbol == 'ADA/USDT':\n            raise KeyError('ADA')\n        return"
    (folder / "mine.py").write_text(GOOD.replace("        return", broken))
    result = call("run", "--strategy", "mine:Mine", "--journal", "a.journal", "--json")
    assert (result.exit_code, result.stderr.count("note:")) == (0, 1)
    assert "note: ADA/USDT: strategy mine raises KeyError: 'ADA' (mine.py, line 9); it makes" in result.stderr
    assert json.loads(result.stdout)["orders"] > 0
    bodies = [row.body for row in read(Path("a.journal")) if row.kind == "Decided"]
    assert bodies and not any("ADA/USDT" in body for body in bodies)
    assert any("SHIB/USDT" in body for body in bodies)


def test_a_run_with_trouble_on_each_pair_does_not_begin_and_leaves_no_journal(folder: Path) -> None:
    (folder / "mine.py").write_text(
        GOOD.replace("        return", "        raise KeyError('all')\n        return")
    )
    result = call("run", "--strategy", "mine:Mine", "--journal", "a.journal")
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("Error: nothing would be traded, for no pair gets a wish:\n  SOL/USDT: ")
    assert result.stderr.count("raises KeyError: 'all' (mine.py, line 8)") == 5
    assert not Path("a.journal").exists()


# The command


def test_new_writes_a_strategy_that_runs_and_says_how(folder: Path) -> None:
    result = call("strategy", "new")
    run = "lotwise run --strategy my_strategy:MyStrategy"
    assert result.stdout == f"wrote my_strategy.py; run it with: {run}\n"
    assert run in Path("my_strategy.py").read_text()
    checked = json.loads(call("strategy", "check", "my_strategy:MyStrategy", "--json").stdout)
    assert checked["ok"] and all(0 < pair["wishes"] < 40 for pair in checked["pairs"])
    assert json.loads(call(*run.split()[1:], "--json").stdout)["orders"] > 0


def test_new_never_writes_over_a_file_unless_forced(folder: Path) -> None:
    Path("my_strategy.py").write_text("mine")
    result = call("strategy", "new")
    assert (result.exit_code, Path("my_strategy.py").read_text()) == (2, "mine")
    assert "my_strategy.py exists; --force writes over it" in result.stderr
    assert call("strategy", "new", "--force", "--json").exit_code == 0
    assert [path.name for path in folder.iterdir()] == ["my_strategy.py"]
    compile(Path("my_strategy.py").read_text(), "my_strategy.py", "exec")


def test_new_names_the_module_as_it_can_be_imported(folder: Path) -> None:
    (folder / "deep").mkdir()
    told = json.loads(call("strategy", "new", "./deep/mine.py", "--json").stdout)
    assert (told["strategy"], told["path"]) == ("deep.mine:MyStrategy", "deep/mine.py")
    assert "lotwise run --strategy deep.mine:MyStrategy" in Path("deep/mine.py").read_text()
    away = folder / "a b"
    away.mkdir()
    told = json.loads(call("strategy", "new", str(away / "mine.py"), "--json").stdout)
    assert told["run"] == f"PYTHONPATH='{away}' lotwise run --strategy mine:MyStrategy"


@pytest.mark.parametrize("path", ["my-strategy.py", "strategy", "json.py", "3.py", "mine.txt", "."])
def test_new_refuses_a_path_that_cannot_be_imported(folder: Path, path: str) -> None:
    result = call("strategy", "new", path)
    assert result.exit_code == 2
    assert f"{path} cannot be imported as a module of its own; name it like my_strategy.py" in result.stderr
    assert not any(folder.iterdir())


def test_new_says_when_it_cannot_write(folder: Path) -> None:
    assert "nowhere/mine.py: cannot be written" in call("strategy", "new", "nowhere/mine.py").stderr


def test_list_names_every_strategy(folder: Path) -> None:
    told = json.loads(call("strategy", "list", "--json").stdout)["strategies"]
    assert [row["name"] for row in told] == list(SHIPPED)
    assert [row["warm_up"] for row in told] == [Dip().warm_up, Trend().warm_up, Breakout().warm_up]
    lines = call("strategy", "list").stdout.splitlines()
    assert [line.split()[0] for line in lines[:-1]] == list(SHIPPED)


def test_check_says_how_often_a_strategy_fires(folder: Path) -> None:
    result = call("strategy", "check", "breakout", "--timeframe", "4h")
    assert result.exit_code == 0
    heading, *pairs = result.stdout.splitlines()
    assert heading == "breakout on the built-in synthetic market, seed 1, 4h"
    assert len(pairs) == 5 and all(" of 400 bars (" in pair for pair in pairs)


def test_check_names_the_pair_and_the_bar_of_a_look_ahead(folder: Path) -> None:
    ahead = "np.where(np.roll(candles.close, -2) > candles.close * 1.02, 1.0, 0.0)"
    (folder / "mine.py").write_text(
        GOOD.replace("np.where(np.arange(len(candles)) % 40 == 0, 0.5, 0.0)", ahead)
    )
    result = call("strategy", "check", "mine:Mine", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["ok"]) == (2, False)
    assert all(pair["trouble"].startswith("looks ahead: at bar 2025-0") for pair in told["pairs"])
    assert "SOL/USDT   looks ahead: at bar 2025-0" in call("strategy", "check", "mine:Mine").stdout


def test_check_asks_about_all_candles_of_a_folder(folder: Path) -> None:
    (folder / "candles").mkdir()
    rows = [f"{1_753_747_200 + n * 3_600},150,151,149,150,10" for n in range(50)]
    for base in ("SOL", "XYZ"):
        text = "\n".join(["date,open,high,low,close,volume", *rows])
        (folder / "candles" / f"{base}_USDT-1h.csv").write_text(text)
    told = json.loads(call("strategy", "check", "dip", "--candles", "candles", "--json").stdout)
    row = {"bars": 50, "wishes": 0, "fraction": "0", "trouble": None}
    assert told["pairs"] == [{"symbol": symbol, **row} for symbol in ("SOL/USDT", "XYZ/USDT")]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["dip", "--candles", "nowhere"], 2, "nowhere: cannot be read as a folder of candle files"),
        (["dip", "--timeframe", "2h"], 2, "must be '1m', '5m', '15m', '1h', '4h' or '1d'"),
        (["dipp"], 2, "did you mean dip?"),
        (["mine:Mine"], 2, "there is no module mine"),
    ],
)
def test_check_refuses_what_it_cannot_ask_about(folder: Path, args: list[str], code: int, words: str) -> None:
    result = call("strategy", "check", *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
