"""A strategy's wishes, as far as they can be trusted: its code may be anybody's.

Law: whatever the code does, there is an answer: a confidence from -1 (a wish to sell) over 0 (none) to
1 (a wish to buy) for each bar, which later bars do not change; or 0 for each, and what is wrong.
"""

import importlib
from pathlib import Path
from traceback import walk_tb
from typing import Any, NamedTuple

import numpy as np

from lotwise.domain.values import Time
from lotwise.strategies.candles import Candles, Floats, Ints, utc_text
from lotwise.strategies.strategy import Strategy

CUTS = 5
"""So many times the strategy is asked again with the later bars cut off."""

TEXT = 300
"""Characters of a foreign error that are shown."""


class Wishes(NamedTuple):
    """The confidence for each bar; `trouble`: why it is 0 throughout, empty when it can be trusted."""

    confidence: Floats
    trouble: str = ""


class _Trouble(Exception):
    """What is wrong with a strategy, as the end of a sentence about it."""


def wishes_of(strategy: Strategy, candles: Candles) -> Wishes:
    """Ask a strategy about candles; then again about parts of them, for which the rest is the future."""
    try:
        confidence = _asked(strategy, candles)
        for length in _cuts(confidence):
            _refuse_look_ahead(strategy, candles, confidence, length)
    except _Trouble as trouble:
        return Wishes(np.zeros(len(candles)), str(trouble))
    return Wishes(confidence)


def blame(error: BaseException) -> str:
    """An error of foreign code in one line: kind, text, and the last line of the file it came through.

    The file that caught it is not foreign, nor is Python's own machinery of import."""
    text = " ".join(str(error).split())
    said = f"{type(error).__name__}: {text[:TEXT]}" if text else type(error).__name__
    calls = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    ours = {calls[0][0], importlib.__file__}
    theirs = [(file, line) for file, line in calls if file not in ours and not file.startswith("<")]
    if not theirs:
        return said
    name, line = [call for call in theirs if call[0] == theirs[0][0]][-1]
    return f"{said} ({Path(name).name}, line {line})"


def _asked(strategy: Strategy, candles: Candles) -> Floats:
    try:
        answer: Any = strategy.confidence(candles)
    # The user's code may raise anything, and sys.exit() too; the other pairs must go on.
    except (Exception, SystemExit) as error:  # noqa: BLE001
        raise _Trouble(f"raises {blame(error)}") from None
    if type(answer) is not np.ndarray:
        raise _Trouble(f"returns {type(answer).__name__}, not a numpy array of float64")
    if answer.dtype != np.float64:
        raise _Trouble(f"returns an array of {answer.dtype}, not of float64")
    if answer.shape != (len(candles),):
        raise _Trouble(
            f"returns an array of shape {answer.shape}, not a value for each of {len(candles)} bars"
        )
    bad = ~((answer >= -1) & (answer <= 1))
    if bad.any():
        at = int(np.argmax(bad))
        raise _Trouble(f"says {float(answer[at])} at bar {_bar(candles, at)}, which is not from -1 to 1")
    # A copy: what the strategy does with its array later is not to reach the run.
    return answer.copy()


def _cuts(confidence: Floats) -> list[int]:
    """How many bars to leave: just after a wish, where to know the future pays most. From the last wish
    on, each time half as many: together they cost no more than two calls for all bars."""
    (wishes,) = np.nonzero(confidence[:-1])
    lengths: Ints = wishes + 1 if len(wishes) else np.arange(1, len(confidence))
    return sorted({int(lengths[(len(lengths) - 1) >> half]) for half in range(CUTS if len(lengths) else 0)})


def _refuse_look_ahead(strategy: Strategy, candles: Candles, confidence: Floats, length: int) -> None:
    start, end = (Time(int(candles.dates[at])) for at in (0, length))
    try:
        without = _asked(strategy, candles.between(start, end))
    except _Trouble as trouble:
        raise _Trouble(f"{trouble} (asked about the first {length} bars alone)") from None
    if np.array_equal(without, confidence[:length]):
        return
    again = _asked(strategy, candles)
    if not np.array_equal(again, confidence):
        at, first, second = _difference(candles, confidence, again)
        raise _Trouble(f"does not repeat itself: at bar {at} it says {first}, and {second} when asked again")
    at, first, second = _difference(candles, confidence, without)
    raise _Trouble(f"looks ahead: at bar {at} it says {first} with later data and {second} without")


def _difference(candles: Candles, some: Floats, others: Floats) -> tuple[str, float, float]:
    """The date and the two values of the first bar on which the shorter of both differs."""
    at = int(np.argmax(some[: len(others)] != others))
    return _bar(candles, at), float(some[at]), float(others[at])


def _bar(candles: Candles, at: int) -> str:
    return utc_text(int(candles.dates[at]))
