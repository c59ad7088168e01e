"""One scenario: a seed, 30 simulated minutes of trading in bad weather, and a healing phase.

Laws: everything that happens is drawn from the seed; the client is the program's own, joined by `open_live`
and run by `follow`; a crash takes with it all that was not committed or sent; after the healing phase all
must agree. Whatever breaks an invariant, or ends the run by itself, is a Violation.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from lotwise.app.live import LiveRun, NoPairs, Ports, open_live
from lotwise.app.loop import follow
from lotwise.app.operator import LIFT
from lotwise.app.settings import Settings
from lotwise.domain.orders import Purpose
from lotwise.domain.values import Time
from lotwise.engine.records import Event, Extent, Record
from lotwise.venues.kraken.rest import NoAnswer, Refused, Rest
from lotwise.venues.kraken.stream import Line
from world.clock import VirtualLoop, run
from world.exchange import KEY, SYMBOLS, Exchange, opened
from world.holdings import kept
from world.invariants import Invariants, Violation
from world.network import Client, Network, Rates
from world.owner import THE_WORD, Owner
from world.sockets import CALM, PRIVATE, PUBLIC, Streams
from world.tape import Disk, Marks, Tape
from world.weather import MINUTE, MOST_SKEW, Act, Weather

START = Time(1_790_000_000_000)
ALLOTMENT = Decimal(90)
HEALING = 10 * MINUTE
LAST_ENTRY = 4 * MINUTE
"""So long into the healing phase entries go on; then what is held is sold."""

ON_ITS_WAY, MOST_WAITS = 75_000, 40
"""Milliseconds in which news reach the client when all is well, and what a trade came to there is compared;
so many beats are waited for them at most."""

LATE_BARS = 2
"""Bars within which an exit that is due by time is over when nothing stands in its way."""

BEAT = (3.0, 8.0)
"""Seconds, at least and at most, from one time that the streams tell and the checks look to the next."""

AGAIN_SECONDS = 10.0
"""After a start that Kraken did not let happen, the next."""

LEAST_INTENTS, LEAST_MUTATING, LEAST_CRASHES, LONGEST = 10, 5, 2, 3
"""A scenario is not over before so many intents, troubles with orders, and crashes; but after so many times
its length it is."""


@dataclass(slots=True)
class Result:
    """What came of a scenario. `transitions`: how often a report met an order in a state."""

    seed: int
    violation: Violation | None = None
    troubles: Counter[str] = field(default_factory=Counter)
    transitions: Counter[tuple[str, str]] = field(default_factory=Counter)
    intents: int = 0
    fills: int = 0
    crashes: int = 0
    mutating: int = 0
    hash: str = ""


def play(seed: int) -> Result:
    """Live through the scenario of a seed."""
    loop = VirtualLoop(START)
    world = World(seed, loop)
    run(world.live(), loop)
    return world.result


class World:
    """The exchange, the network, the weather, and one life of the client after the other."""

    def __init__(self, seed: int, loop: VirtualLoop) -> None:
        self.random = Random(seed)
        self.loop = loop
        self.result = Result(seed)
        self.weather = Weather.drawn(Random(seed + 1_000_000_007), START)
        self.exchange: Exchange = opened(seed, START)
        self.network = Network(self.exchange.core, loop.now, Random(seed + 2_000_000_011))
        self.streams = Streams(
            self.exchange.core, loop.now, Random(seed + 3_000_000_019), self.network.strike
        )
        self.settings = settings(self.random)
        self.disk = Disk()
        self.owner = Owner(self.exchange.truth, self.disk, self._violates)
        self.life: Life | None = None
        self.checks = Invariants(seed, self.exchange, self.network, self.streams, self.disk, ALLOTMENT)
        self.network.sent = self._sent
        self.network.arrived = self._arrived
        self._armed = ""
        self._storming = True

    async def live(self) -> None:
        """The whole scenario."""
        self._blow(True)
        self.exchange.core.desk.history_lag = self.weather.lag
        lives = asyncio.create_task(self._lives())
        try:
            await self._storm(lives)
            await self._heal(lives)
        except Violation as violation:
            self.result.violation = violation
        finally:
            lives.cancel()
            with suppress(asyncio.CancelledError, Violation):
                await lives
            self._count()

    async def _storm(self, lives: "asyncio.Task[None]") -> None:
        end = Time(START + self.weather.length)
        limit = Time(START + LONGEST * self.weather.length)
        while self.loop.now() < end or (self._lacks() and self.loop.now() < limit):
            await self._beat(lives)

    async def _heal(self, lives: "asyncio.Task[None]") -> None:
        """No more trouble: all must converge."""
        self._storming = False
        self._armed = ""
        self.weather.acts.clear()
        self.weather.crashes.clear()
        self._blow(False)
        self.exchange.calm()
        if self.owner.said:
            self.owner.wants(LIFT)
        began, ends = self.loop.now(), self.random.choice((Extent.ENTRIES, Extent.FLATTEN))
        while self.loop.now() < began + HEALING:
            before = self.loop.now()
            await self._beat(lives)
            if before <= began + LAST_ENTRY < self.loop.now():
                self.owner.wants(ends)
        for _ in range(MOST_WAITS):  # what has just happened is still on its way
            if self.loop.now() - self.exchange.truth.last_event > ON_ITS_WAY:
                break
            await self._beat(lives)
        run = self.life.run if self.life else None
        self.checks.converged(run, self.loop.now())
        assert run is not None
        due = Time(self.loop.now() - (self.settings.max_hold_bars + LATE_BARS) * MINUTE)
        for name, facts in kept(run, None if ends is Extent.FLATTEN else due):
            raise self._violates(name, facts)

    async def _beat(self, lives: "asyncio.Task[None]") -> None:
        """A few seconds pass for everyone."""
        before = self.loop.now()
        await asyncio.sleep(self.random.uniform(*BEAT))
        now = self.loop.now()
        for act in self.weather.due(now):
            self._act(act)
        self.streams.pulse()
        if lives.done():
            lives.result()
            raise AssertionError("the lives of a scenario do not end")
        if self.life is not None and self.life.run is not None and not self.life.tape.dead:
            self.owner.speak(self.life.run, self.life.now)
            self.checks.each_beat(self.life.run, now)
            if now // MINUTE > before // MINUTE:
                self.checks.each_minute(self.life.run, now)
        if self._armed == "time" or (self._armed and self.random.random() < 0.08):
            self._crash()
        overdue = now > START + self.weather.length and self.result.crashes < LEAST_CRASHES
        if self.weather.crash_due(now) or (overdue and self._storming and not self._armed):
            self._armed = self.random.choice(("time", "before", "after", "sent", "arrived"))

    def _act(self, act: Act) -> None:
        if act.kind == "vanish" and not any(row.kind == "Reconciled" for row in self.disk.rows):
            return  # what was there before the books agreed once, nobody here can know
        self.result.troubles[f"act {act.kind}"] += 1
        if act.kind in ("stop", "lift"):
            self.owner.wants(LIFT if act.kind == "lift" else self.random.choice(list(Extent)))
            return
        self.network.last_trouble = self.loop.now()
        self.exchange.act(act, self.loop.now(), self.random)
        if act.kind in ("rules", "pair"):
            self.checks.rules_changed_at = self.loop.now()
        if act.kind == "vanish":
            self.checks.vanished_at = self.loop.now()

    async def _lives(self) -> None:
        """One life after the other."""
        while True:
            self.life = Life(self)
            self.checks.born(self.loop.now(), self.life.skew)
            pause = AGAIN_SECONDS
            try:
                await self.life.live()
            except (Refused, NoAnswer, NoPairs):
                pass
            except Violation:
                raise
            except Exception as error:
                raise self.checks.violation("0 goes on", self.loop.now(), error) from error
            finally:
                self.life.end()
            if self.life.killed:
                pause = 20 * self.random.random()
            await asyncio.sleep(pause)

    def _crash(self) -> None:
        """The client dies, wherever it is: at its next await, or at a commit, where the caller raises."""
        self._armed = ""
        if self.life is not None and not self.life.tape.dead:
            self.result.crashes += 1
            self.network.last_trouble = self.loop.now()
            self.life.kill()

    def committing(self, moment: str) -> None:
        """A journal is about to commit, or has."""
        if self._armed == moment:
            self._crash()
            raise asyncio.CancelledError

    def _sent(self, endpoint: str, parameters: dict[str, str]) -> None:
        run = self.life.run if self.life is not None else None
        self.checks.sent(run, endpoint, parameters, self.loop.now())
        if endpoint == "AddOrder" and self.owner.stops_entries() and run is not None:
            order = run.engine.state.order(parameters["cl_ord_id"]).order
            if order.purpose is Purpose.ENTRY:
                raise self._violates(THE_WORD, f"{order} is sent")
        if self._armed == "sent" and endpoint in ("AddOrder", "CancelOrder"):
            self._crash()

    def _violates(self, name: str, facts: Any) -> Violation:
        return self.checks.violation(name, self.loop.now(), facts)

    def _arrived(self) -> None:
        if self.random.random() < 0.5:
            self.streams.pulse(PRIVATE)
        if self._armed == "arrived":
            self._crash()

    def _blow(self, storm: bool) -> None:
        weather = self.weather
        self.network.rates = weather.reads if storm else Rates()
        self.network.mutating_rates = weather.mutating if storm else None
        self.streams.rates = weather.streams if storm else CALM
        if not storm:
            self.network.banned_until = self.loop.now()

    def _lacks(self) -> bool:
        stopped = bool(self.exchange.vanished)  # no entries any more, and so no troubles with them
        few = len(self.checks.intents) < LEAST_INTENTS or self.network.mutating < LEAST_MUTATING
        return (few and not stopped) or self.result.crashes < LEAST_CRASHES

    def _count(self) -> None:
        result, checks = self.result, self.checks
        result.troubles += self.network.troubles
        result.transitions = checks.transitions
        result.intents, result.fills = len(checks.intents), checks.fills
        result.mutating = self.network.mutating
        result.hash = self.disk.rows[-1].hash if self.disk.rows else ""


class Life:
    """The client from a start to its end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tape = Tape(world.disk, world.committing)
        self.run: LiveRun | None = None
        self.killed = False
        self.skew = world.random.randint(-MOST_SKEW, MOST_SKEW)
        self._task: asyncio.Task[None] | None = None

    def now(self) -> Time:
        """The client's own time."""
        return Time(self.world.loop.now() + self.skew)

    async def live(self) -> None:
        """Run until it is killed, or ends by itself."""
        self._task = asyncio.create_task(self._live())
        try:
            await asyncio.wait([self._task])
        finally:
            self._task.cancel()
        if not self.killed:
            await self._task
            raise AssertionError("a run does not end by itself")
        with suppress(asyncio.CancelledError):
            await self._task

    async def _live(self) -> None:
        world, now = self.world, self.now
        nonces = Marks(world.disk, now)
        async with Client(world.network, lambda: self.tape.dead) as http:
            ports = Ports(
                Rest(http, now, KEY, nonces),
                Line(PUBLIC, world.streams.connect, now, seed=1),
                Line(PRIVATE, world.streams.connect, now, seed=2),
                now,
            )
            self.run = await open_live(world.settings, self.tape, ports, ALLOTMENT)
            world.checks.took_up(self.run)
            await follow(self.run, self._watch)

    def _watch(self, events: list[Event], records: list[Record]) -> None:
        assert self.run is not None
        self.world.checks.after_events(self.run, events, records, self.world.loop.now())

    def kill(self) -> None:
        """Nothing of it does anything any more."""
        self.killed = True
        self.end()
        if self._task is not None:
            self._task.cancel()

    def end(self) -> None:
        """Its journal and its connections are over."""
        self.tape.dead = True
        self.world.owner.hangs_up()
        self.world.streams.cut_all()


def settings(random: Random) -> Settings:
    """What the run is told: trades often, on short bars, and leaves soon; in half of the scenarios its stops
    wait at the exchange."""
    stop_rests = random.random() < 0.5
    return Settings.model_validate(
        {
            "pairs": SYMBOLS,
            "stake_currency": "USDT",
            "timeframe": "1m",
            "strategy": "world.wishes:Often",
            "max_open_trades": random.choice((2, 3)),
            "stoploss": random.choice(("-0.002", "-0.01")),
            "stoploss_on_exchange": stop_rests,
            "target": "0.017" if stop_rests else "0.02",
            "max_hold_bars": random.choice((4, 8) if stop_rests else (1, 2, 4)),
            "sizing": {"max_order_size_usdt": "25", "position_size_percentage": "0.5"},
            "rules": {"rules_on": "latest", "fees_on": "latest"},
            "entry": {
                "style": random.choice(("taker", "maker", "maker_then_taker")),
                "lifetime_bars": random.choice((1, 2)),
                "replaces": random.choice((0, 1)),
            },
        }
    )
