"""Virtual time: an event loop whose clock jumps to the next thing that is due."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from lotwise.domain.values import Time

T = TypeVar("T")


class Stuck(Exception):
    """Every task waits for something that nothing will bring."""


class _Jump(selectors.SelectSelector):
    """Does not wait: tells the loop that the time has passed. Nothing comes from outside of the world."""

    def __init__(self, start: Time) -> None:
        super().__init__()
        self.seconds = 0.0
        self.now = self._start = start

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck("nothing is due any more")
        if timeout > 0:
            self.seconds += timeout
            self.now = Time(self._start + int(self.seconds * 1000 + 1e-6))
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time begins at 0 and is the world's: `now` is `start` later, in milliseconds."""

    def __init__(self, start: Time) -> None:
        self._jump = _Jump(start)
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.seconds

    def now(self) -> Time:
        """The world's time in milliseconds."""
        return self._jump.now


def run(main: Coroutine[Any, Any, T], loop: VirtualLoop) -> T:
    """Run a coroutine to its end in virtual time; whatever it leaves behind is cancelled."""
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
