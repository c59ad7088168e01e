"""The long fuzz of the sandbox: seeded requests by the group, counted, watched for hangs and growth.

Law: a group and a seed ask the same requests in every run; the one that broke something is told with its
seed. Nothing is shrunk, so that 100,000 requests take a minute.
"""

import gc
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from ctypes import CDLL
from pathlib import Path
from random import Random
from types import FrameType, TracebackType
from typing import Any, Self

REQUESTS = int(os.environ.get("LOTWISE_FUZZ", "1000"))
"""Of each group: `make fuzz` asks for 100,000."""

SEED = int(os.environ.get("LOTWISE_SEED", "0"))
HANG_SECONDS = 30
SETTLED = 5
"""After this part of the requests (one in so many) nothing more may be kept."""

MOST_GROWTH = 16 * 2**20
"""Bytes: the noise of an allocator. What keeps 210 bytes of each of 100,000 requests passes it."""

RESULT, REFUSED, CLOSED = "results", "Kraken errors", "closed"


class Hung(Exception):
    """A request was not answered in time."""


class Run:
    """One group's run: `ask` before each request, while it is `unfinished`."""

    def __init__(self, group: str, say: list[str], pid: int | str = "self") -> None:
        self.group, self.random = group, Random(f"{group} {SEED}")
        self.answers: Counter[str] = Counter({RESULT: 0, REFUSED: 0, CLOSED: 0})
        self.requests = 0
        self._say, self._pid = say, pid
        self._asked: Any = None
        self._longest = 0.0

    def __enter__(self) -> Self:
        self._handler = signal.signal(signal.SIGALRM, _hung)
        self._before = self._settled = memory(self._pid)
        self._began = self._since = time.perf_counter()
        return self

    @property
    def unfinished(self) -> bool:
        """Whether there are requests to come."""
        return self.requests < REQUESTS

    def ask(self, request: object) -> None:
        """The next request; until the one after it there are HANG_SECONDS."""
        self._lap()
        signal.setitimer(signal.ITIMER_REAL, HANG_SECONDS)
        self._asked = request
        self.requests += 1
        if self.requests == REQUESTS // SETTLED:
            self._settled = memory(self._pid)

    def got(self, kind: str, count: int = 1) -> None:
        """How a request was answered."""
        self.answers[kind] += count

    def _lap(self) -> None:
        now = time.perf_counter()
        self._longest, self._since = max(self._longest, now - self._since), now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._handler)
        if error is not None:
            error.add_note(f"{self.group}, seed {SEED}, request {self.requests}: {self._asked!r}"[:2_000])
            return
        self._lap()
        seconds, after = time.perf_counter() - self._began, memory(self._pid)
        told = ", ".join(f"{count:,} {kind}" for kind, count in self.answers.items())
        kept = (f"{at >> 20}" for at in (self._before, self._settled, after))
        self._say.append(
            f"fuzz, {self.group}: {self.requests:,} requests (seed {SEED}): {told}; MB before, after a "
            f"{SETTLED}th, at the end: {', '.join(kept)}; {seconds:.0f} s, the longest {self._longest:.2f} s"
        )
        assert self.requests >= REQUESTS
        assert after - self._settled < MOST_GROWTH, self._say[-1]


def memory(pid: int | str = "self") -> int:
    """The bytes of memory that a process has in use."""
    if pid == "self":
        gc.collect()
        with suppress(OSError, AttributeError):  # not every libc has it
            CDLL(None).malloc_trim(0)  # what is free is given back, so that what is kept remains
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _hung(_: int, __: FrameType | None) -> None:
    raise Hung(f"no answer in {HANG_SECONDS} s")


def broken(random: Random, whole: bytes) -> bytes:
    """The bytes with a piece taken out, put in, doubled or changed."""
    start = random.randrange(len(whole) + 1)
    end = min(len(whole), start + random.choice((0, 1, 2, 8, 100)))
    put = random.choice(
        (b"", junk(random, 4), whole[start:end] * 2, b"\x00", b"\xff", b"\r\n", b'"', b"9" * 40)
    )
    return whole[:start] + put + whole[end:]


def junk(random: Random, most: int) -> bytes:
    """Any bytes."""
    return random.randbytes(random.randrange(most + 1))


def strange(random: Random, most: int = 8) -> str:
    """Any characters, surrogates without a partner included."""
    return "".join(chr(int(0x110000 ** random.random())) for _ in range(random.randrange(most + 1)))
