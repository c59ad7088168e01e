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
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from lotwise.domain.market import exponent
from lotwise.domain.values import BadField, Time, exact
from lotwise.strategies.candles import MAX_DECIMALS, PRICES, BadCandle, Candles, Floats, Ints, utc_text

COLUMNS = ("date", *PRICES, "volume")
ENDINGS = (".csv", ".csv.gz", ".parquet", ".feather")
NAME = re.compile(r"([A-Z0-9]+)_([A-Z0-9]+)-([0-9]+[a-zA-Z])(\.csv|\.csv\.gz|\.parquet|\.feather)")
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
FIRST_MILLISECONDS = 10**11
"""An epoch date from here on is in milliseconds (1973), below it in seconds (up to the year 5138)."""
EARLIEST, LATEST = ((datetime(year, 1, 1, tzinfo=UTC) - EPOCH) // MILLISECOND for year in (2009, 2100))

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
        asked = " ".join(word for word in (timeframe, "candles", *missing[:1]) if word)
        seen = ", ".join(f"{file.symbol} {file.timeframe}" for file in there)
        raise CandleError(folder, f"has no {asked}; there is {seen or 'no candle file'}")
    twice = next((file for file in files if found[file.symbol] != file.path), None)
    if twice is not None:
        raise CandleError(twice.path, f"is a second file beside {found[twice.symbol].name}; keep one of them")
    return {symbol: read_candles(path) for symbol, path in found.items()}


def read_candles(path: Path) -> Candles:
    """The candles of one file; `step` is the coarsest power of ten that holds all its prices.

    Raises CandleError.
    """
    file = _named(path)
    table = _read_table(path) if file.ending in TABLES else _read_csv(path)
    dates = table.parsed(("date",), _date)
    prices, step = _in_steps(table)
    volumes = table.parsed(("volume",), _volume)
    try:
        return Candles(
            file.symbol,
            file.timeframe,
            np.array(table.column("date", dates), dtype=np.int64),
            *(np.array(table.column(field, prices), dtype=np.int64) for field in PRICES),
            step,
            np.array(table.column("volume", volumes), dtype=np.float64),
        )
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
    columns: dict[str, list[str]]
    first_line: int

    def error(self, row: int, field: str, problem: str) -> CandleError:
        return CandleError(self.path, problem, self.first_line + row, field)

    def parsed(self, fields: Sequence[str], parse: Callable[[str], T]) -> dict[str, T]:
        """What each distinct text of these columns means: prices repeat, so this is quick.

        `parse` raises ValueError; the first such cell is a CandleError."""
        meanings: dict[str, T] = {}
        wrong: dict[str, str] = {}
        for text in set().union(*(self.columns[field] for field in fields)):
            try:
                meanings[text] = parse(text)
            except ValueError as no:
                wrong[text] = str(no)
        if wrong:
            cells = ((row, field) for field in fields for row, text in enumerate(self.columns[field]) if text in wrong)
            row, field = min(cells)
            raise self.error(row, field, wrong[self.columns[field][row]])
        return meanings

    def column(self, field: str, meanings: Mapping[str, T]) -> list[T]:
        """The column's cells in order, by what they mean."""
        return [meanings[text] for text in self.columns[field]]
