"""Candle files of people: csv, csv.gz, parquet and feather, named like SOL_USDT-1h.csv.gz.

Law: a file is read whole and exactly, or refused with its name, line and field and what to do.
Columns: date (UTC bar open: ISO 8601, epoch seconds or milliseconds), open, high, low, close
(quote per base), volume (base), in any order; others are ignored.
"""

import csv
import difflib
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lotwise.domain.market import exponent
from lotwise.domain.values import EXACT, BadField, Time, exact, plain
from lotwise.strategies.candles import MAX_DECIMALS, PRICES, BadCandle, Candles, Ints

COLUMNS = ("date", *PRICES, "volume")
TABLES = (".parquet", ".feather")
ENDINGS = (".csv", ".csv.gz", *TABLES)
NAME = re.compile(r"([A-Z0-9]+)_([A-Z0-9]+)-([0-9]+[a-zA-Z])(\.csv|\.csv\.gz|\.parquet|\.feather)")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
FIRST_MILLISECONDS = 10**11
"""An epoch date from here on is in milliseconds (1973), below it in seconds (up to the year 5138)."""
EARLIEST, LATEST = ((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // MILLISECOND for year in (2009, 2100))
MOST_NAMED = 20
DATE_FORMS = "write ISO 8601 such as 2025-01-31T13:00:00Z, or epoch seconds or milliseconds"

T = TypeVar("T")


class CandleError(Exception):
    """A file or folder that cannot be read as candles: says where, and what would be right.

    `line` counts from 1, the header included; in parquet and feather files it is the row.
    """

    def __init__(self, file: Path, problem: str, line: int | None = None, field: str | None = None) -> None:
        where = f", line {line}" if line is not None else ""
        what = f", field {field}" if field is not None else ""
        super().__init__(f"{file}{where}{what}: {problem}")
        self.file = file
        self.problem = problem
        self.line = line
        self.field = field


@dataclass(frozen=True, slots=True)
class Gaps:
    """How many bars are missing, and the date of the first of them."""

    count: int
    first: Time | None


def gaps(candles: Candles) -> Gaps:
    """The missing bars: legal, since an exchange sends no bar without a trade, but worth a notice."""
    missing = np.diff(candles.dates) // candles.bar - 1
    if not missing.any():
        return Gaps(0, None)
    before = int(candles.dates[np.argmax(missing > 0)])
    return Gaps(int(missing.sum()), Time(before + candles.bar))


def read_folder(
    folder: Path, timeframe: str | None = None, symbols: Iterable[str] | None = None
) -> dict[str, Candles]:
    """The candles of a folder by symbol, all of one timeframe; files of other kinds are passed over.

    Raises CandleError: none there, several timeframes and none asked for, a symbol that is missing
    or there twice, or a bad file.
    """
    there = _listed(folder)
    wanted = None if symbols is None else set(symbols)
    files = [file for file in there if timeframe in (None, file.timeframe)]
    if wanted is not None:
        files = [file for file in files if file.symbol in wanted]
    timeframes = sorted({file.timeframe for file in files})
    if len(timeframes) > 1:
        raise CandleError(folder, f"holds several timeframes, {' '.join(timeframes)}; ask for one of them")
    found = {file.symbol: file.path for file in files}
    missing = sorted((wanted or set()) - found.keys())
    if missing or not found:
        asked = " ".join(word for word in (timeframe, "candles", *missing) if word)
        seen = [f"{file.symbol} {file.timeframe}" for file in there]
        more = f" and {len(seen) - MOST_NAMED} more" if len(seen) > MOST_NAMED else ""
        listed = ", ".join(seen[:MOST_NAMED]) or "no candle file"
        raise CandleError(folder, f"has no {asked}; there is {listed}{more}")
    twice = next((file for file in files if found[file.symbol] != file.path), None)
    if twice is not None:
        raise CandleError(twice.path, f"is a second file beside {found[twice.symbol].name}; keep one of them")
    return {symbol: read_candles(path) for symbol, path in found.items()}


def read_candles(path: Path) -> Candles:
    """The candles of one file; `step` is the coarsest power of ten that holds all its prices.

    Raises CandleError.
    """
    file = _named(path)
    table = (_read_arrow if file.ending in TABLES else _read_csv)(path, file.ending)
    if not table.columns["date"]:
        raise CandleError(path, "has a header and no candles")
    dates = np.array(table.parsed("date", _date), dtype=np.int64)
    prices, step = _prices_in_steps(table)
    volume = np.array(table.parsed("volume", _volume), dtype=np.float64)
    try:
        return Candles(file.symbol, file.timeframe, dates=dates, **prices, step=step, volume=volume)
    except BadCandle as no:
        raise table.error(no.index, no.field, no.problem) from None
    except BadField as no:
        raise CandleError(path, f"{no.problem}; rename the file", field=no.field) from None


def write_candles(candles: Candles, path: Path) -> None:
    """Write a csv or csv.gz file that reads back as these candles; the name must be theirs.

    Raises CandleError.
    """
    file = _named(path)
    if file.ending in TABLES or (file.symbol, file.timeframe) != (candles.symbol, candles.timeframe):
        name = f"{candles.symbol.replace('/', '_')}-{candles.timeframe}"
        raise CandleError(path, f"is no name for these candles; write {name}.csv or {name}.csv.gz")
    columns = [
        [f"{date}Z" for date in np.datetime_as_string(candles.dates.astype("datetime64[ms]"), unit="s")],
        *([plain(candles.price(steps)) for steps in getattr(candles, field).tolist()] for field in PRICES),
        map(repr, candles.volume.tolist()),
    ]
    rows = (",".join(row) for row in zip(*columns, strict=True))
    data = "\n".join((",".join(COLUMNS), *rows, "")).encode()
    if file.ending == ".csv.gz":
        # No time in the file: equal candles give equal bytes.
        data = gzip.compress(data, mtime=0)
    try:
        path.write_bytes(data)
    except OSError as no:
        raise CandleError(path, f"cannot be written: {no.strerror}") from None


class CandleFile(NamedTuple):
    """What a file's name says."""

    path: Path
    symbol: str
    timeframe: str
    ending: str


def _named(path: Path) -> CandleFile:
    match = NAME.fullmatch(path.name)
    if match is None:
        raise CandleError(path, "names no pair and timeframe; rename it like SOL_USDT-1h.csv.gz")
    base, quote, timeframe, ending = match.groups()
    return CandleFile(path, f"{base}/{quote}", timeframe, ending)


def _listed(folder: Path) -> list[CandleFile]:
    try:
        names = sorted(path for path in folder.iterdir() if path.name.endswith(ENDINGS))
    except OSError as no:
        raise CandleError(folder, f"cannot be read as a folder of candle files: {no.strerror}") from None
    return [_named(path) for path in names if not path.name.startswith(".")]


class Table(NamedTuple):
    """A file's cells as texts, by column; `first_line` is the line of the first row."""

    path: Path
    columns: Mapping[str, Sequence[str]]
    first_line: int

    def error(self, row: int, field: str, problem: str) -> CandleError:
        return CandleError(self.path, problem, self.first_line + row, field)

    def parsed(self, field: str, parse: Callable[[str], T]) -> list[T]:
        """What the cells of a column mean; a ValueError of `parse` is a CandleError with its line."""
        meanings = []
        for row, text in enumerate(self.columns[field]):
            try:
                meanings.append(parse(text))
            except ValueError as no:
                raise self.error(row, field, str(no)) from None
        return meanings


def _date(text: str) -> int:
    try:
        if "-" in text:
            time = datetime.fromisoformat(text)
            time = time if time.tzinfo else time.replace(tzinfo=UTC)
            date = int(time.timestamp()) * 1000 + time.microsecond // 1000
            whole = time.microsecond % 1000 == 0
        else:
            number = exact(_numeric(text))
            number = number * 1000 if number < FIRST_MILLISECONDS else number
            date = int(number)
            whole = date == number
    except ValueError:
        raise ValueError(f"{_shown(text)} is no date; {DATE_FORMS}") from None
    if not (whole and EARLIEST <= date < LATEST):
        raise ValueError(f"{_shown(text)} is no time from 2009 to 2099 in whole milliseconds; {DATE_FORMS}")
    return date


def _price(text: str) -> tuple[int, int]:
    """(digits, decimals): the price is digits x 10^-decimals, with no more decimals than it needs."""
    whole, _, fraction = text.partition(".")
    if len(text) <= 2 * MAX_DECIMALS and whole.isdecimal() and fraction.isdecimal() and text.isascii():
        # The usual shape, several times quicker than by way of Decimal.
        fraction = fraction.rstrip("0")
        digits, decimals = int(whole + fraction), len(fraction)
    else:
        number = exact(_numeric(text))
        decimals = max(0, -exponent(number))
        digits = int(EXACT.scaleb(number, decimals))
    if decimals > MAX_DECIMALS:
        raise ValueError(f"{_shown(text)} has more than {MAX_DECIMALS} decimals; round it to the pair's tick")
    return digits, decimals


def _volume(text: str) -> float:
    return float(_numeric(text))


def _numeric(text: str) -> str:
    # Python itself would also take NaN, 1_000 and the digits of every script.
    if not NUMBER.fullmatch(text):
        raise ValueError(f"{_shown(text)} is not a number" if text else "is missing; no cell may be empty")
    return text


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _prices_in_steps(table: Table) -> tuple[dict[str, Ints], Decimal]:
    """The price columns in whole steps of the coarsest grid that holds them all, and that step."""
    parse = cache(_price)  # prices repeat
    prices = {field: table.parsed(field, parse) for field in PRICES}
    decimals = max(places for column in prices.values() for _, places in column)
    scale = [10 ** (decimals - places) for places in range(decimals + 1)]
    columns = {}
    for field, column in prices.items():
        steps = [digits * scale[places] for digits, places in column]
        largest = max(steps, key=abs)
        if abs(largest) >= 10**MAX_DECIMALS:
            row = steps.index(largest)
            text = _shown(table.columns[field][row])
            problem = f"{text} is absurd beside prices of {decimals} decimals; round them to the pair's tick"
            raise table.error(row, field, problem)
        columns[field] = np.array(steps, dtype=np.int64)
    return columns, Decimal(1).scaleb(-decimals)


def _read_csv(path: Path, ending: str) -> Table:
    text = _text(path, ending).rstrip()
    reader = csv.reader(io.StringIO(text, newline=None), skipinitialspace=True)
    cells: list[str] = []
    try:
        header = next(reader, [])
        _check_header(path, header)
        for line, row in enumerate(reader, 2):
            if reader.line_num != line:
                raise CandleError(path, "has a quoted cell that does not end; complete the quotes", line)
            if len(row) != len(header):
                problem = f"has {len(row)} fields, the header {len(header)}; complete or remove the line"
                raise CandleError(path, problem, line)
            # One long list, not one a row: the garbage collector would visit each again and again.
            cells += row
    except csv.Error as no:
        raise CandleError(path, f"is no csv: {no}", reader.line_num) from None
    columns = {name: cells[place :: len(header)] for place, name in enumerate(header) if name in COLUMNS}
    return Table(path, columns, first_line=2)


def _text(path: Path, ending: str) -> str:
    try:
        data = path.read_bytes()
        if ending == ".csv.gz":
            data = gzip.decompress(data)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise CandleError(path, "is a cut off or damaged gzip file; fetch it again") from None
    except OSError as no:
        raise CandleError(path, f"cannot be read: {no.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as no:
        line = data.count(b"\n", 0, no.start) + 1
        raise CandleError(path, "is not text in UTF-8; write csv, or name it by its kind", line) from None


def _check_header(path: Path, names: Sequence[str]) -> None:
    if not names:
        raise CandleError(path, f"is empty; it needs the columns {', '.join(COLUMNS)}")
    unused = {name.lower(): name for name in names if name not in COLUMNS}
    missing = []
    for field in COLUMNS:
        if names.count(field) > 1:
            raise CandleError(path, "is a column twice; keep one of them", field=field)
        if field not in names:
            close = difflib.get_close_matches(field, unused, n=1)
            missing.append(field + "".join(f" (did you mean {unused[name]!r}?)" for name in close))
    if missing:
        seen = _shown(", ".join(names))
        raise CandleError(path, f"lacks the columns {', '.join(missing)}; the header is {seen}")


def _read_arrow(path: Path, ending: str) -> Table:
    try:
        import pyarrow
        from pyarrow import feather, parquet
    except ImportError:
        raise CandleError(path, "needs pyarrow: pip install 'lotwise[parquet]'") from None
    try:
        if ending == ".parquet":
            table = parquet.read_table(path, partitioning=None)
        else:
            table = feather.read_table(path)
        _check_header(path, table.column_names)
        columns = {field: _texts(pyarrow, table.column(field)) for field in COLUMNS}
    except (pyarrow.ArrowException, OSError) as no:
        raise CandleError(path, f"is no {ending[1:]} file that can be read: {no}") from None
    return Table(path, columns, first_line=1)


def _texts(pyarrow: Any, column: Any) -> list[str]:
    """The cells of a typed column as the shortest texts that mean exactly them."""
    kind, types = column.type, pyarrow.types
    if types.is_timestamp(kind) or types.is_date(kind):
        column = column.cast(pyarrow.timestamp("ms", tz=getattr(kind, "tz", None)))
        cells: list[Any] = np.datetime_as_string(column.to_numpy()).tolist()
    elif types.is_floating(kind) and not types.is_float64(kind):
        # As a Python float, a shorter one would show digits that it never had.
        cells = list(column.to_numpy())
    else:
        cells = column.to_pylist()
    return ["" if cell is None else str(cell) for cell in cells]
