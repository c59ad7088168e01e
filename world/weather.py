"""What a seed has in store for a scenario: how often what goes wrong, what else happens on the account and
at the exchange, and when the client dies."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from lotwise.domain.values import Time
from world.network import TROUBLES, Rates
from world.sockets import ON_MESSAGES, PRIVATE, PUBLIC, StreamRates

MINUTE = 60_000
LENGTH = 30 * MINUTE
MOST_SKEW = 2_500
"""Milliseconds by which the client's clock is off at most; with three seconds a run does not begin."""

MOST_LAG = 25_000
"""Milliseconds by which the lists of ended orders and trades lag at most: within the bound that the client
assumes, less the time that a look-up takes."""

KINDS = (
    "hand order",
    "hand trade",
    "hand cancel",
    "hand amend",
    "deposit",
    "withdrawal",
    "maintenance",
    "rules",
    "pair",
    "fees",
    "coins leave",
    "stop",
)

ENDS = {"maintenance": "open", "pair": "open", "stop": "lift"}
"""What comes when one of these is over."""

UNEXPLAINED = 0.2
"""The share of scenarios in which money is gone without a reason."""


SOME = 0.01
"""The least rate of each trouble with orders: a scenario is to have some of them."""


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happens at a time, whoever does it; `until` is when it is over."""

    time: Time
    kind: str
    until: Time


@dataclass(slots=True)
class Weather:
    """A scenario's rates, and what is still to come, in order of time."""

    reads: Rates
    mutating: Rates
    streams: dict[str, StreamRates]
    lag: int
    acts: list[Act]
    crashes: list[Time]
    length: int = LENGTH

    @classmethod
    def drawn(cls, random: Random, start: Time) -> "Weather":
        """The weather of these dice."""

        def rate(most: float) -> float:
            return most * random.random() ** 2

        def moments(least: int, most: int) -> list[Time]:
            count = random.randint(least, most)
            return sorted(Time(start + MINUTE + random.randrange(LENGTH - 2 * MINUTE)) for _ in range(count))

        def drawn(kinds: tuple[str, ...], most: float) -> dict[str, float]:
            return {kind: rate(most) for kind in kinds}

        reads = Rates(**drawn(TROUBLES, 0.1) | {"banned": rate(0.01), "latency": 0.5 * random.random()})
        often = {kind: SOME + most for kind, most in drawn(TROUBLES, 0.25).items()}
        orders = Rates(**often | {"banned": rate(0.03), "latency": 2 * random.random()})
        streams = {
            kind: StreamRates(**drawn(ON_MESSAGES, most), no_connection=rate(0.5))
            for kind, most in ((PUBLIC, 0.008), (PRIVATE, 0.02))
        }
        acts = [
            Act(time, random.choice(KINDS), Time(time + random.randrange(MINUTE // 4, 2 * MINUTE)))
            for time in moments(2, 12)
        ]
        if random.random() < UNEXPLAINED:
            half = Time(start + LENGTH // 2 + random.randrange(LENGTH // 3))
            acts.append(Act(half, "vanish", half))
        acts += [Act(act.until, ENDS[act.kind], act.until) for act in acts if act.kind in ENDS]
        acts.sort(key=lambda act: act.time)
        return cls(reads, orders, streams, random.randrange(MOST_LAG), acts, moments(2, 5))

    def due(self, now: Time) -> Iterator[Act]:
        """What happens by now."""
        while self.acts and self.acts[0].time <= now:
            yield self.acts.pop(0)

    def crash_due(self, now: Time) -> bool:
        """Whether the client is to die soon."""
        if not self.crashes or self.crashes[0] > now:
            return False
        self.crashes.pop(0)
        return True
