"""The sandbox's clock: real, a multiple of real time, or moved by hand.

Law: it never goes back. Where it is set back, it stands still until the time has come again.
"""

import time
from collections.abc import Callable

from lotwise.domain.values import Time, require

MILLISECOND = 1_000_000
"""In nanoseconds."""

STILL, REAL = 0, 1


def wall_time() -> Time:
    """The machine's time."""
    return Time(time.time_ns() // MILLISECOND)


class Clock:
    """Begins at `start` and passes `speed` times as fast as real time; at speed 0 it is moved by hand.
    `nanoseconds` is any clock that only rises."""

    def __init__(
        self, start: Time, speed: int = REAL, nanoseconds: Callable[[], int] = time.monotonic_ns
    ) -> None:
        require(speed >= 0, "speed", "must not be below 0")
        self.speed = speed
        self._nanoseconds = nanoseconds
        self._origin = nanoseconds()
        self._start = self._last = start

    def now(self) -> Time:
        """The sandbox's time."""
        passed = (self._nanoseconds() - self._origin) * self.speed // MILLISECOND
        self._last = max(self._last, Time(self._start + passed))
        return self._last

    def move(self, milliseconds: int) -> None:
        """Set it forward, or back."""
        self._start = Time(self._start + milliseconds)
