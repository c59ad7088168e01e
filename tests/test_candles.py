"""Candles are exact and valid; a file is read whole or refused with its place and a remedy."""

import gzip
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotwise.domain.market import Candle
from lotwise.domain.values import BadField, Time
from lotwise.store.candles import CandleError, Gaps, gaps, read_candles, read_folder, write_candles
from lotwise.strategies.candles import PRICES, TIMEFRAMES, BadCandle, Candles
from lotwise.strategies.dip import Dip

PRICE_FILES = Path(__file__).parents[1].parent / "shared" / "data" / "prices"

HOUR = TIMEFRAMES["1h"]
NEW_YEAR = 1_735_689_600_000  # 2025-01-01T00:00:00Z

HEADER = "date,open,high,low,close,volume"
ROWS = (
    "2025-01-01T00:00:00Z,189.31,192.66,189.08,192.54,109512.364",
    "2025-01-01T01:00:00Z,192.54,192.64,190.39,190.7,66529.126",
    "2025-01-01T02:00:00Z,190.7,192.04,190.44,191.59,65814.347",
)
GOOD = "\n".join((HEADER, *ROWS, ""))


def good() -> Candles:
    return Candles(
        "SOL/USDT",
        "1h",
        dates=NEW_YEAR + HOUR * np.arange(3, dtype=np.int64),
        open=np.array([18931, 19254, 19070]),
        high=np.array([19266, 19264, 19204]),
        low=np.array([18908, 19039, 19044]),
        close=np.array([19254, 19070, 19159]),
        step=Decimal("0.01"),
        volume=np.array([109512.364, 66529.126, 65814.347]),
    )


def with_cell(row: int, field: str, text: str) -> str:
    """The good file with one cell replaced; rows count from 0."""
    rows = [line.split(",") for line in ROWS]
    rows[row][HEADER.split(",").index(field)] = text
    return "\n".join((HEADER, *(",".join(cells) for cells in rows), ""))


def read_text(folder: Path, text: str | bytes, name: str = "SOL_USDT-1h.csv") -> Candles:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_candles(path)


def refusal(folder: Path, text: str | bytes, name: str = "SOL_USDT-1h.csv") -> CandleError:
    with pytest.raises(CandleError) as no:
        read_text(folder, text, name)
    assert str(no.value).startswith(str(folder / name))
    assert no.value.file == folder / name
    return no.value


# Candles themselves


def test_a_candle_has_the_exact_prices_of_its_bar() -> None:
    assert good().candle(1) == Candle(
        "SOL/USDT",
        Time(NEW_YEAR + HOUR),
        Decimal("192.54"),
        Decimal("192.64"),
        Decimal("190.39"),
        Decimal("190.70"),
        Decimal("66529.126"),
    )


def test_a_bar_may_be_acted_on_when_it_is_over() -> None:
    assert good().close_time(0) == NEW_YEAR + HOUR


def test_closes_are_the_floats_nearest_to_the_prices() -> None:
    prices: dict[str, Any] = {name: np.full(3, 2118) for name in PRICES}
    shib = replace(good(), step=Decimal("1e-8"), **prices)
    assert shib.closes().tolist() == [2.118e-05] * 3
    assert good().closes().tolist() == [192.54, 190.7, 191.59]


def test_between_takes_the_bars_that_open_from_start_to_before_end() -> None:
    candles = good()
    part = candles.between(Time(NEW_YEAR + HOUR), Time(NEW_YEAR + 2 * HOUR))
    assert [part.candle(i) for i in range(len(part))] == [candles.candle(1)]
    assert len(candles.between(Time(0), Time(NEW_YEAR))) == 0
    assert candles.between(Time(0), Time(NEW_YEAR * 2)) == candles


def test_candles_never_change() -> None:
    candles = good()
    for column in (candles.dates, candles.close, candles.volume):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 1


def test_the_array_that_was_handed_in_stays_its_owners() -> None:
    closes = np.array([19254, 19070, 19159])
    replace(good(), close=closes)
    closes[0] = 1


def test_candles_are_equal_when_all_their_values_are() -> None:
    assert good() == good()
    for other in (
        replace(good(), symbol="SOL/USD"),
        replace(good(), step=Decimal("0.1")),
        replace(good(), close=good().open),
        replace(good(), volume=np.zeros(3)),
    ):
        assert good() != other
    assert good() != "candles"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"symbol": "SOLUSDT"}, "symbol"),
        ({"timeframe": "2h"}, "timeframe"),
        ({"step": Decimal("0.5")}, "step"),
        ({"step": Decimal(10)}, "step"),
        ({"step": Decimal("1e-19")}, "step"),
        ({"close": np.array([19254])}, "close"),
        ({"close": np.array([192.54, 190.7, 191.59])}, "close"),
        ({"volume": np.array([1, 2, 3])}, "volume"),
    ],
)
def test_refuses_columns_that_do_not_fit_each_other(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadField) as no:
        replace(good(), **change)
    assert no.value.field == field


@pytest.mark.parametrize(
    ("name", "values", "index", "field", "says"),
    [
        ("dates", [0, HOUR, HOUR + 1], 2, "date", "start of a 1h bar"),
        ("dates", [0, HOUR, HOUR], 2, "date", "comes twice"),
        ("dates", [HOUR, 0, 2 * HOUR], 1, "date", "sort"),
        ("low", [18908, 0, 19044], 1, "low", "not above 0"),
        ("open", [-1, 19254, 19070], 0, "open", "not above 0"),
        ("high", [19266, 19264, 10**18], 2, "high", "absurd"),
        ("high", [19253, 19264, 19204], 0, "high", "192.53 is below"),
        ("low", [18908, 19071, 19044], 1, "low", "190.71 is above"),
        ("volume", [1.0, np.nan, 1.0], 1, "volume", "nan is not a finite"),
        ("volume", [1.0, 1.0, -1.0], 2, "volume", "not a finite"),
        ("volume", [np.inf, 1.0, 1.0], 0, "volume", "not a finite"),
    ],
)
def test_refuses_a_bar_that_cannot_be(
    name: str, values: list[Any], index: int, field: str, says: str
) -> None:
    change: dict[str, Any] = {name: np.array(values)}
    with pytest.raises(BadCandle, match=says) as no:
        replace(good(), **change)
    assert (no.value.index, no.value.field) == (index, field)


# Files that can be read


@pytest.mark.parametrize("name", ["SOL_USDT-1h.csv", "SOL_USDT-1h.csv.gz"])
def test_reads_what_was_written(tmp_path: Path, name: str) -> None:
    write_candles(good(), tmp_path / name)
    assert read_candles(tmp_path / name) == good()


def test_writes_the_plain_columns_and_equal_bytes_for_equal_candles(tmp_path: Path) -> None:
    write_candles(good(), tmp_path / "SOL_USDT-1h.csv")
    assert (tmp_path / "SOL_USDT-1h.csv").read_text() == GOOD
    packed = tmp_path / "SOL_USDT-1h.csv.gz"
    write_candles(good(), packed)
    first = packed.read_bytes()
    write_candles(good(), packed)
    assert packed.read_bytes() == first


@given(data=st.data())
def test_any_candles_survive_the_round_trip(data: st.DataObject, tmp_path_factory: Any) -> None:
    decimals = data.draw(st.integers(0, 18))
    bar = st.lists(st.integers(1, 10**18 - 1), min_size=4, max_size=4).map(sorted)
    bars = data.draw(st.lists(bar, min_size=1, max_size=6))
    count = len(bars)
    volume = st.floats(0, 1e29, allow_subnormal=False)
    volumes = data.draw(st.lists(volume, min_size=count, max_size=count))
    hours = sorted(data.draw(st.sets(st.integers(400_000, 1_000_000), min_size=count, max_size=count)))
    low, first, last, high = np.array(bars, dtype=np.int64).T
    # One price off every coarser grid, so that the file's own grid is this one.
    low = low.copy()
    low[0] = 1
    candles = Candles(
        "SOL/USDT",
        "1h",
        dates=np.array(hours, dtype=np.int64) * HOUR,
        open=first,
        high=high,
        low=low,
        close=last,
        step=Decimal(1).scaleb(-decimals),
        volume=np.array(volumes),
    )
    path = tmp_path_factory.getbasetemp() / "SOL_USDT-1h.csv"
    write_candles(candles, path)
    assert read_candles(path) == candles


def test_reads_columns_in_any_order_and_passes_over_others(tmp_path: Path) -> None:
    columns = [line.split(",") for line in (HEADER, *ROWS)]
    text = "\n".join(f"{v},x,{c},{lo},{h},{o},{d}" for d, o, h, lo, c, v in columns)
    assert read_text(tmp_path, text) == good()


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.replace(",", ", "),
        GOOD.replace("2025-01-01T00:00:00Z", '"2025-01-01T00:00:00Z"'),
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        "\ufeff" + GOOD,
        GOOD.replace("190.7,", "190.70000000,"),
        GOOD.replace("189.31,", "1.8931e2,"),
        GOOD.replace("189.31,", "+18931E-2,"),
    ],
)
def test_one_content_reads_the_same_however_it_is_written(tmp_path: Path, text: str) -> None:
    assert read_text(tmp_path, text) == good()


@pytest.mark.parametrize(
    "date",
    [
        "2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00",
        "2025-01-01 00:00:00",
        "2025-01-01 00:00:00+00:00",
        "2025-01-01T01:30:00+01:30",
        "2024-12-31T19:00:00.000-05:00",
        "2025-01-01",
        "1735689600",
        "1735689600.0",
        "1735689600000",
    ],
)
def test_dates_may_be_iso_8601_or_epoch_seconds_or_milliseconds(tmp_path: Path, date: str) -> None:
    assert read_text(tmp_path, with_cell(0, "date", date)) == good()


def test_prices_with_exponents_are_exact(tmp_path: Path) -> None:
    text = f"{HEADER}\n2025-01-01T00:00:00Z,2.118e-05,2.151e-05,2.115E-05,.00002148,117436369488.0\n"
    candles = read_text(tmp_path, text, "SHIB_USDT-1h.csv")
    assert candles.step == Decimal("1e-8")
    assert candles.candle(0).close == Decimal("0.00002148")
    assert candles.candle(0).volume == Decimal("117436369488")


def test_missing_bars_are_legal_and_counted(tmp_path: Path) -> None:
    text = "\n".join((HEADER, ROWS[0], ROWS[2], ROWS[2].replace("T02", "T05")))
    assert gaps(read_text(tmp_path, text)) == Gaps(3, Time(NEW_YEAR + HOUR))
    assert gaps(good()) == Gaps(0, None)


# Files that cannot be read


@pytest.mark.parametrize(
    ("row", "field", "text", "says"),
    [
        (1, "open", "abc", "'abc' is not a number"),
        (1, "open", "", "is missing"),
        (1, "open", "nan", "'nan' is not a number"),
        (1, "close", "NaN", "not a number"),
        (2, "high", "inf", "not a number"),
        (2, "high", "1_000", "not a number"),
        (2, "high", "１９２", "not a number"),
        (2, "high", "0x10", "not a number"),
        (0, "low", "-189.08", "-189.08 is not above 0"),
        (0, "low", "0", "0 is not above 0"),
        (0, "low", "0e5", "0 is not above 0"),
        (0, "high", "1e17", "absurd beside prices of 2 decimals"),
        (0, "high", "1e999", "outside 10"),
        (0, "high", "9" * 500, "too long"),
        (0, "low", "1e-19", "more than 18 decimals"),
        (0, "low", "0." + "1" * 19, "more than 18 decimals"),
        (1, "high", "192.53", "192.53 is below the open or the close"),
        (1, "low", "190.71", "190.71 is above the open or the close"),
        (1, "volume", "nan", "not a number"),
        (1, "volume", "-1", "-1.0 is not a finite number"),
        (1, "volume", "1e999", "inf is not a finite number"),
        (1, "volume", "", "is missing"),
        (1, "date", "2025-01-01T00:00:00Z", "comes twice; keep one"),
        (2, "date", "2024-12-31T00:00:00Z", "earlier than the row before it; sort"),
        (1, "date", "2025-01-01T01:00:01Z", "2025-01-01T01:00:01Z is not the start of a 1h bar"),
        (1, "date", "2025-01-01T01:00:00.000001Z", "whole milliseconds"),
        (1, "date", "tomorrow", "'tomorrow' is no date; write ISO 8601"),
        (1, "date", "2025-13-01", "'2025-13-01' is no date; write ISO 8601"),
        (1, "date", "", "no date"),
        (1, "date", "5", "no time from 2009"),
        (1, "date", "1735693200000000", "no time from 2009"),
        (1, "date", "0001-01-01T00:00:00+23:59", "no time from 2009"),
    ],
)
def test_refuses_a_bad_cell_with_its_line_and_field(
    tmp_path: Path, row: int, field: str, text: str, says: str
) -> None:
    no = refusal(tmp_path, with_cell(row, field, text))
    assert (no.line, no.field) == (row + 2, field)
    assert f", line {row + 2}, field {field}: " in str(no)
    assert says in no.problem


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", None, "is empty; it needs the columns date, open"),
        ("\n\n", None, "is empty"),
        (HEADER + "\n", None, "a header and no candles"),
        (GOOD.replace("high", "hi"), None, "lacks the columns high (did you mean 'hi'?)"),
        (
            GOOD.replace("date", "Date").replace("volume", "Vol"),
            None,
            "date (did you mean 'Date'?), volume (",
        ),
        (GOOD.replace(",", ";"), None, "the header is 'date;open;high"),
        ("\n".join(ROWS), None, "lacks the columns date, open"),
        (GOOD.replace("190.39,", ""), 3, "has 5 fields, the header 6"),
        (GOOD.replace("190.39,", "190.39,7,"), 3, "has 7 fields, the header 6"),
        (GOOD[:-30], 4, "has 3 fields, the header 6"),
        (GOOD.replace(ROWS[1], ROWS[1] + "\n"), 4, "has 0 fields"),
        (GOOD.replace("192.54,192.64", '192.54,"192.64'), 3, "quoted cell that does not end"),
        (GOOD.replace("192.64", "9" * 200_000), 3, "is no csv"),
        (GOOD.encode().replace(b"192.64", b"192\xff64"), 3, "not text in UTF-8"),
        (gzip.compress(GOOD.encode()), 1, "not text in UTF-8"),
    ],
)
def test_refuses_a_file_of_another_shape(
    tmp_path: Path, text: str | bytes, line: int | None, says: str
) -> None:
    no = refusal(tmp_path, text)
    assert no.line == line
    assert says in no.problem


def test_refuses_a_column_that_is_there_twice(tmp_path: Path) -> None:
    no = refusal(tmp_path, GOOD.replace("volume", "open"))
    assert (no.field, no.problem) == ("open", "is a column twice; keep one of them")


def test_refuses_a_gzip_file_that_is_cut_off_damaged_or_none(tmp_path: Path) -> None:
    whole = gzip.compress(GOOD.encode())
    for data in (whole[:-20], whole[:-8] + b"12345678", whole[:12] + b"\xff" * 20, GOOD.encode()):
        assert "damaged gzip" in refusal(tmp_path, data, "SOL_USDT-1h.csv.gz").problem
    assert "is empty" in refusal(tmp_path, b"", "SOL_USDT-1h.csv.gz").problem


@pytest.mark.parametrize(
    "name", ["sol.csv", "SOLUSDT-1h.csv", "SOL_USDT.csv", "SOL_USDT-1h.json", "sol_usdt-1h.csv"]
)
def test_refuses_a_file_name_without_pair_or_timeframe(tmp_path: Path, name: str) -> None:
    assert "rename it like SOL_USDT-1h.csv.gz" in refusal(tmp_path, GOOD, name).problem


def test_refuses_a_timeframe_that_it_does_not_know(tmp_path: Path) -> None:
    no = refusal(tmp_path, GOOD, "SOL_USDT-3m.csv")
    assert (no.field, no.problem) == ("timeframe", "'3m' is not one of 1m 5m 15m 1h 4h 1d; rename the file")


def test_refuses_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(CandleError, match="No such file"):
        read_candles(tmp_path / "SOL_USDT-1h.csv")
    (tmp_path / "ADA_USDT-1h.csv").mkdir()
    with pytest.raises(CandleError, match="directory"):
        read_candles(tmp_path / "ADA_USDT-1h.csv")


@pytest.mark.parametrize("name", ["SOL_USDT-5m.csv", "ADA_USDT-1h.csv", "SOL_USDT-1h.parquet"])
def test_refuses_to_write_under_a_name_that_would_lie(tmp_path: Path, name: str) -> None:
    with pytest.raises(CandleError, match=r"write SOL_USDT-1h\.csv or SOL_USDT-1h\.csv\.gz"):
        write_candles(good(), tmp_path / name)
    assert not (tmp_path / name).exists()


def test_says_where_it_could_not_write(tmp_path: Path) -> None:
    with pytest.raises(CandleError, match="cannot be written: No such file"):
        write_candles(good(), tmp_path / "nowhere" / "SOL_USDT-1h.csv")


# Folders


def fill(folder: Path, *names: str) -> None:
    for name in names:
        data = GOOD.encode()
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def test_reads_the_candles_of_a_folder_by_symbol(tmp_path: Path) -> None:
    fill(tmp_path, "SOL_USDT-1h.csv", "ADA_USDT-1h.csv.gz", "README.md", "._SOL_USDT-1h.csv")
    folder = read_folder(tmp_path)
    assert list(folder) == ["ADA/USDT", "SOL/USDT"]
    assert folder["SOL/USDT"] == good()
    assert list(read_folder(tmp_path, "1h", ["SOL/USDT"])) == ["SOL/USDT"]


def test_reads_one_of_several_timeframes_when_asked(tmp_path: Path) -> None:
    fill(tmp_path, "SOL_USDT-1h.csv", "ADA_USDT-5m.csv", "SOL_USDT-1w.csv")
    assert list(read_folder(tmp_path, "1h")) == ["SOL/USDT"]
    assert list(read_folder(tmp_path, symbols=["ADA/USDT"])) == ["ADA/USDT"]
    with pytest.raises(CandleError, match="several timeframes, 1h 1w 5m; ask for one"):
        read_folder(tmp_path)


@pytest.mark.parametrize(
    ("timeframe", "symbols", "says"),
    [
        ("4h", None, "has no 4h candles; there is SOL/USDT 1h"),
        (None, ["ADA/USDT", "SOL/USDT"], "has no candles ADA/USDT; there is SOL/USDT 1h"),
        ("4h", ["SOL/USDT"], "has no 4h candles SOL/USDT; there is SOL/USDT 1h"),
        (None, [], "has no candles; there is SOL/USDT 1h"),
    ],
)
def test_says_what_is_there_when_the_asked_is_not(
    tmp_path: Path, timeframe: str | None, symbols: list[str] | None, says: str
) -> None:
    fill(tmp_path, "SOL_USDT-1h.csv")
    with pytest.raises(CandleError, match=says):
        read_folder(tmp_path, timeframe, symbols)


def test_names_no_more_files_than_one_can_read(tmp_path: Path) -> None:
    fill(tmp_path, *(f"A{number}_USDT-1h.csv" for number in range(10, 35)))
    with pytest.raises(CandleError, match=r"A10/USDT 1h.* and 5 more$"):
        read_folder(tmp_path, "1d")


def test_refuses_a_folder_that_is_missing_empty_or_holds_a_pair_twice(tmp_path: Path) -> None:
    with pytest.raises(CandleError, match="there is no candle file"):
        read_folder(tmp_path)
    with pytest.raises(
        CandleError, match="nowhere: cannot be read as a folder of candle files: No such file"
    ):
        read_folder(tmp_path / "nowhere")
    fill(tmp_path, "SOL_USDT-1h.csv", "SOL_USDT-1h.csv.gz")
    with pytest.raises(CandleError, match=r"SOL_USDT-1h\.csv: is a second file beside SOL_USDT-1h\.csv\.gz"):
        read_folder(tmp_path)


# Parquet and feather


def arrow_file(path: Path, **columns: Any) -> Path:
    """The good candles as a typed file, with these columns instead (None: left out)."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    from pyarrow import feather, parquet

    candles = good()
    cells: dict[str, Any] = {
        "date": candles.dates.astype("datetime64[ms]"),
        **{name: getattr(candles, name) / 100 for name in PRICES},
        "volume": candles.volume,
        **columns,
    }
    table = pyarrow.table({name: cell for name, cell in cells.items() if cell is not None})
    if path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        feather.write_feather(table, str(path))
    return path


def arrow(values: list[Any], kind: str, *parameters: Any) -> Any:
    """An arrow array of this type."""
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return pyarrow.array(values, getattr(pyarrow, kind)(*parameters))


HOURS = good().dates.tolist()


@pytest.mark.parametrize("name", ["SOL_USDT-1h.parquet", "SOL_USDT-1h.feather"])
def test_typed_files_read_the_same_as_text(tmp_path: Path, name: str) -> None:
    assert read_candles(arrow_file(tmp_path / name, extra=[1, 2, 3])) == good()


@pytest.mark.parametrize(
    ("kind", "parameters", "factor"),
    [
        ("timestamp", ("s",), 0.001),
        ("timestamp", ("us", "UTC"), 1000),
        ("timestamp", ("ns", "Europe/Berlin"), 1_000_000),
        ("int64", (), 1),
        ("int64", (), 0.001),
        ("float64", (), 0.001),
    ],
)
def test_typed_dates_are_utc_in_every_unit(
    tmp_path: Path, kind: str, parameters: tuple[str, ...], factor: float
) -> None:
    dates = arrow([int(date * factor) for date in HOURS], kind, *parameters)
    assert read_candles(arrow_file(tmp_path / "SOL_USDT-1h.parquet", date=dates)) == good()


def test_typed_dates_may_be_texts_or_days(tmp_path: Path) -> None:
    texts = [row.partition(",")[0] for row in ROWS]
    assert read_candles(arrow_file(tmp_path / "SOL_USDT-1h.feather", date=texts)) == good()
    days = arrow([date // HOUR // 24 + day for day, date in enumerate(HOURS)], "date32")
    daily = read_candles(arrow_file(tmp_path / "SOL_USDT-1d.parquet", date=days))
    assert daily.dates.tolist() == [NEW_YEAR + 24 * HOUR * day for day in range(3)]


def test_decimal_and_short_float_columns_keep_their_own_digits(tmp_path: Path) -> None:
    closes = arrow([Decimal("192.54"), Decimal("190.70"), Decimal("191.59")], "decimal128", 18, 8)
    opens = arrow([189.31, 192.54, 190.7], "float32")
    assert read_candles(arrow_file(tmp_path / "SOL_USDT-1h.parquet", open=opens, close=closes)) == good()


@pytest.mark.parametrize(
    ("columns", "line", "field", "says"),
    [
        ({"close": None}, None, None, "lacks the columns close"),
        ({"high": [192.66, float("nan"), 192.04]}, 2, "high", "'nan' is not a number"),
        ({"high": [192.66, 192.64, None]}, 3, "high", "is missing"),
        ({"low": [189.08, 190.39, 190.71]}, 3, "low", "above the open or the close"),
        ({"date": [None, *HOURS[1:]]}, 1, "date", "no date"),
        ({"date": [HOURS[0] * 1000, *HOURS[1:]]}, 1, "date", "no time from 2009"),
    ],
)
def test_refuses_a_bad_cell_of_a_typed_file_with_its_row(
    tmp_path: Path, columns: dict[str, Any], line: int | None, field: str | None, says: str
) -> None:
    path = arrow_file(tmp_path / "SOL_USDT-1h.parquet", **columns)
    with pytest.raises(CandleError) as no:
        read_candles(path)
    assert (no.value.line, no.value.field) == (line, field)
    assert says in no.value.problem


def test_refuses_a_typed_date_finer_than_milliseconds(tmp_path: Path) -> None:
    dates = arrow([date * 1000 + 1 for date in HOURS], "timestamp", "us")
    with pytest.raises(CandleError, match="no parquet file that can be read"):
        read_candles(arrow_file(tmp_path / "SOL_USDT-1h.parquet", date=dates))


@pytest.mark.parametrize("name", ["SOL_USDT-1h.parquet", "SOL_USDT-1h.feather"])
def test_refuses_a_typed_file_that_is_damaged_missing_or_without_rows(tmp_path: Path, name: str) -> None:
    path = arrow_file(tmp_path / name)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(CandleError, match="file that can be read"):
        read_candles(path)
    path.unlink()
    with pytest.raises(CandleError, match="file that can be read"):
        read_candles(path)
    empty = {name: arrow([], "float64") for name in ("date", *PRICES, "volume")}
    with pytest.raises(CandleError, match="a header and no candles"):
        read_candles(arrow_file(path, **empty))


def test_says_what_to_install_when_pyarrow_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CandleError, match=r"needs pyarrow: pip install 'lotwise\[parquet\]'"):
        read_candles(tmp_path / "SOL_USDT-1h.parquet")


# Real files


@pytest.mark.skipif(not PRICE_FILES.is_dir(), reason="the folder shared/data/prices is absent")
def test_reads_all_the_real_files_whole_and_in_order(tmp_path: Path) -> None:
    paths = sorted(PRICE_FILES.glob("*.csv.gz"))
    assert paths
    for path in paths:
        candles = read_candles(path)
        assert len(candles) == gzip.decompress(path.read_bytes()).count(b"\n") - 1
        assert gaps(candles) == Gaps(0, None)
        if candles.timeframe == "1h":
            write_candles(candles, tmp_path / path.name)
            assert read_candles(tmp_path / path.name) == candles
    hourly = read_folder(PRICE_FILES, "1h")
    assert sorted(hourly) == ["ADA/USDT", "BTC/USDT", "DOGE/USDT", "MANA/USDT", "SHIB/USDT", "SOL/USDT"]
    assert hourly["SHIB/USDT"].candle(0).open == Decimal("0.00002118")


@pytest.mark.skipif(not PRICE_FILES.is_dir(), reason="the folder shared/data/prices is absent")
def test_the_dip_wakes_on_a_few_hours_in_a_hundred_of_2025() -> None:
    for candles in read_folder(PRICE_FILES, "1h").values():
        assert 0.02 < np.mean(Dip().confidence(candles) > 0) < 0.05
