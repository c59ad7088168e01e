"""A sandbox as one thing: accounts, a world, a clock and faults, served on loopback until it is left.

    async with Sandbox() as sandbox:
        ...  # sandbox.url, sandbox.ws_url, sandbox.key, sandbox.secret

Law: what a state file holds goes on as it was; only accounts may be added to it.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from secrets import token_bytes
from types import TracebackType
from typing import Any, Literal, TypeVar

from lotwise.domain.values import Amount, Time, amount
from lotwise.kraken.signature import credentials
from lotwise.sandbox.admin import Admin
from lotwise.sandbox.changes import check
from lotwise.sandbox.clock import REAL, STILL, Clock, wall_time
from lotwise.sandbox.core import Settings
from lotwise.sandbox.doors import Doors
from lotwise.sandbox.faults import Faults, Plan
from lotwise.sandbox.keys import ApiKey, made_up_key
from lotwise.sandbox.saving import KeptCore, StateError, Store, resumed
from lotwise.sandbox.server import Server
from lotwise.sandbox.world import Tariff, World

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
MONEY = tuple(map(amount, ("1000 USDT", "1000 USD", "0.01 BTC", "1 ETH", "10 SOL")))
"""What an account has to begin with, unless it is told."""

DOLLARS_ALONE = World(quotes=("USD", "USDT"))
NOTHING_WRONG = Plan()

THREAD_SECONDS = 30.0
"""So long a thread may take to begin or to carry something out."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account with one key; the secret is in base64, as Kraken shows it."""

    name: str
    key: str
    secret: str = field(repr=False)
    money: tuple[Amount, ...] = MONEY


def made_for_the_run(name: str = "sandbox") -> Account:
    """An account with a key pair that nobody else has."""
    key, secret = (b64encode(token_bytes(length)).decode() for length in (42, 64))
    return Account(name, key, secret)


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that is served. Base URLs have no slash at their end."""

    url: str
    ws_url: str
    auth_ws_url: str
    admin_url: str
    accounts: tuple[Account, ...]
    admin: Admin
    market: "asyncio.Task[None]"
    """What lets time pass; it ends with the sandbox, or with what went wrong."""

    @property
    def key(self) -> str:
        """The first account's key."""
        return self.accounts[0].key

    @property
    def secret(self) -> str:
        """The first account's secret."""
        return self.accounts[0].secret


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Kraken's spot exchange on loopback.

    accounts: one with a made-up key when empty, the same for the same seed; speed: times real time, 0 to
    move it by hand, or "max"; state: a file in which everything survives; a port of 0: a free one; start:
    the time to begin at, now when it is None. Raises OSError, StateError, BadField, UnknownRules.
    """

    accounts: tuple[Account, ...] = ()
    world: World = DOLLARS_ALONE
    speed: int | Literal["max"] = REAL
    plan: Plan = NOTHING_WRONG
    state: Path | None = None
    host: str = LOOPBACK
    port: int = 0
    admin_port: int = 0
    rate_limits: bool = True
    start: Time | None = None
    _ending: AsyncExitStack = field(default_factory=AsyncExitStack, init=False, repr=False, compare=False)

    async def __aenter__(self) -> Running:
        return await self._ending.enter_async_context(running(self))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._ending.__aexit__(kind, error, trace)


@asynccontextmanager
async def running(asked: Sandbox) -> AsyncIterator[Running]:
    """Serve a sandbox for as long as it is used."""
    still = asked.speed in (STILL, "max")
    speed = STILL if asked.speed == "max" else asked.speed
    async with AsyncExitStack() as ending:
        store = None
        if asked.state is not None:
            store = Store(asked.state)
            ending.callback(store.close)
        core = begun(asked, store, wall_time() if asked.start is None else asked.start, still)
        if asked.start is None and not still:
            # Its clock passes from here on: to build a world and to catch up took their time.
            clock = Clock(max(core.time, wall_time()), speed)
            core.advance(clock.now())
        else:
            clock = Clock(core.time, speed)
        faults = Faults(asked.plan.faults, asked.world.seed, core.time)
        for due in asked.plan.changes:
            check(core, due.change)
        doors = Doors(core, clock, faults, asked.plan.changes)
        admin = Admin(doors)
        public, private = Server(doors), Server(admin)
        for server, host, port in (
            (public, asked.host, asked.port),
            (private, LOOPBACK, asked.admin_port),
        ):
            await server.begin(host, port)
            ending.push_async_callback(server.stop)
        market = asyncio.create_task(doors.live(asked.speed == "max"))
        accounts = tuple(
            Account(key.account, key.key, b64encode(key.credentials.secret).decode())
            for key in core.keys.all()
        )
        there = f"{asked.host if ':' not in asked.host else f'[{asked.host}]'}:{public.port}"
        ws = f"ws://{there}"
        admin_url = f"http://{LOOPBACK}:{private.port}"
        try:
            yield Running(f"http://{there}", ws, f"{ws}/auth", admin_url, accounts, admin, market)
        finally:
            doors.stop()
            await market
        core.write_whole()


def begun(asked: Sandbox, store: Store | None, now: Time, still: bool) -> KeptCore:
    """The core to serve: a fresh one, or the one that the store holds, at the time from which it goes on.
    A clock that stands still goes on where it stood."""
    whole, world = None if store is None else store.read_whole(), asked.world
    settings = Settings(asked.world.seed, asked.rate_limits)
    if whole is None:
        tariff = Tariff(world.schedule())
        fresh = replace(settings, schedule=tariff.schedule)
        core, opened = KeptCore(world.opened(tariff, now), fresh, tariff), now
    else:
        assert store is not None
        told, opened = whole["told"], Time(whole["told"]["opened"])
        if told["world"] != world.told():
            was = ", ".join(f"{name} {value}" for name, value in told["world"].items())
            raise StateError(
                store.path, f"is of another sandbox ({was})", "give those options, or another file"
            )
        paths = world.paths(world.start(opened))
        core = resumed(store, whole, settings, paths, None if still else now)
    core.advance(core.time if still and whole else max(core.time, now))
    for account in asked.accounts or (() if core.keys.all() else (_made_up(world.seed),)):
        if account.name not in core.desk.verifications:
            _let_in(core, account)
    if store is not None:
        core.keep(store, {"world": world.told(), "opened": opened})
    return core


def _made_up(seed: int) -> Account:
    return Account("sandbox", *made_up_key(seed, 0))


def _let_in(core: KeptCore, account: Account) -> None:
    core.open_account(account.name)
    pair = credentials(account.key, account.secret)
    core.add_key(ApiKey(pair, account.name, created=core.time))
    for money in account.money:
        core.deposit(account.name, money, core.time)


@dataclass(frozen=True, slots=True)
class Hosted:
    """A sandbox that is served by a thread of its own."""

    sandbox: Running
    _loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        """Where REST is."""
        return self.sandbox.url

    @property
    def ws_url(self) -> str:
        """Where the public WebSocket is."""
        return self.sandbox.ws_url

    @property
    def auth_ws_url(self) -> str:
        """Where the private WebSocket is."""
        return self.sandbox.auth_ws_url

    @property
    def admin_url(self) -> str:
        """Where the operator is."""
        return self.sandbox.admin_url

    @property
    def key(self) -> str:
        """The first account's key."""
        return self.sandbox.key

    @property
    def secret(self) -> str:
        """The first account's secret."""
        return self.sandbox.secret

    def do(self, action: Callable[[Admin], T]) -> T:
        """Have the operator do something, between two requests."""

        async def act() -> T:
            return action(self.sandbox.admin)

        return asyncio.run_coroutine_threadsafe(act(), self._loop).result(THREAD_SECONDS)


@contextmanager
def hosted(asked: Sandbox) -> Iterator[Hosted]:
    """Serve a sandbox by a thread, for clients that are not asynchronous."""
    there: Future[tuple[Hosted, asyncio.Event]] = Future()

    async def serve() -> None:
        leave = asyncio.Event()
        async with running(asked) as sandbox:
            there.set_result((Hosted(sandbox, asyncio.get_running_loop()), leave))
            await leave.wait()

    with ThreadPoolExecutor(1, "sandbox") as thread:
        serving = thread.submit(asyncio.run, serve())
        either: tuple[Future[Any], ...] = (there, serving)
        wait(either, THREAD_SECONDS, FIRST_COMPLETED)
        if serving.done():
            serving.result()
        sandbox, leave = there.result(0)
        try:
            yield sandbox
        finally:
            sandbox._loop.call_soon_threadsafe(leave.set)
            serving.result(THREAD_SECONDS)
