"""A sandbox that survives its end, however sudden: what is answered is written first.

Laws: the core gives equal answers to equal inputs at equal times, so its inputs, in order, are its state: a
restart takes the last whole state and makes the inputs after it again. Written means handed to the
operating system: it survives the death of the process, kill -9 included, not that of the machine.
"""

import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from lotwise.domain.market import FeeSchedule, FeeTier
from lotwise.domain.values import EPOCH, Time
from lotwise.exchange.crowd import STEP
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.paths import Path as Walked
from lotwise.kraken.rest import Payload
from lotwise.kraken.signature import credentials
from lotwise.sandbox.changes import Change, carry_out, change_of, plain_of
from lotwise.sandbox.conformance import Permission
from lotwise.sandbox.core import Core, Settings
from lotwise.sandbox.keys import ApiKey
from lotwise.sandbox.wire import Request, Response
from lotwise.sandbox.world import Tariff, house_of

FORMAT = 1
APPLICATION_ID = 0x6C6F7473
"""Marks the SQLite file as a sandbox's ("lots")."""

SQLITE = b"SQLite format 3\0"
"""How its files begin."""

MOST_INPUTS = 20_000
MOST_BYTES = 32 * 1024 * 1024
"""So many inputs, or bytes of them, are made again at most: then the whole state is written."""

SIGNED = ("api-key", "api-sign", "content-type")


class StateError(Exception):
    """A state file that cannot be used: names it, what is wrong, and the remedy."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")


class Store:
    """One sandbox's file: the last whole state, the inputs since, and the time. One process at a time has
    it. Raises StateError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = self.bytes = 0
        try:
            path.touch(mode=0o600)  # it holds the secrets of the keys
            with path.open("rb") as file:
                head = file.read(len(SQLITE))
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
        except (OSError, sqlite3.Error) as trouble:
            raise StateError(path, f"cannot be written ({trouble})", "give another --state") from None
        try:
            if head not in (b"", SQLITE):
                raise StateError(path, "is no sandbox's", "give another --state")
            self._open()
        except sqlite3.Error as trouble:
            self._db.close()
            raise _unusable(path, trouble) from None
        except StateError:
            self._db.close()
            raise

    def _open(self) -> None:
        # The lock is held until the end: a second sandbox on the file is refused.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        mark = self._db.execute("PRAGMA application_id").fetchone()[0]
        if tables and mark != APPLICATION_ID:
            raise StateError(self.path, "is a database, but no sandbox's", "give another --state")
        if not tables:
            self._db.execute("CREATE TABLE inputs(number INTEGER PRIMARY KEY, input TEXT NOT NULL)")
            self._db.execute("CREATE TABLE whole(one INTEGER PRIMARY KEY, format INTEGER, state TEXT)")
            self._db.execute("CREATE TABLE time(one INTEGER PRIMARY KEY, time INTEGER)")
            self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        self._db.execute("COMMIT")

    def write(self, kind: str, now: Time, *what: Any) -> None:
        """The next input."""
        text = json.dumps([kind, now, *what], separators=(",", ":"))
        self._db.execute("INSERT INTO inputs(input) VALUES (?)", (text,))
        self.inputs += 1
        self.bytes += len(text)

    def mark(self, now: Time) -> None:
        """Time has come to here."""
        self._db.execute("INSERT OR REPLACE INTO time VALUES (1, ?)", (now,))

    def write_whole(self, state: Payload) -> None:
        """The whole state, in place of all inputs up to now."""
        self._db.execute("BEGIN")
        self._db.execute("INSERT OR REPLACE INTO whole VALUES (1, ?, ?)", (FORMAT, json.dumps(state)))
        self._db.execute("DELETE FROM inputs")
        self._db.execute("COMMIT")
        self.inputs = self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether the whole state is to be written."""
        return self.inputs >= MOST_INPUTS or self.bytes >= MOST_BYTES

    def read_whole(self) -> Payload | None:
        """The last whole state; None when there is none."""
        found = self._db.execute("SELECT format, state FROM whole").fetchone()
        if found is None:
            return None
        if found[0] != FORMAT:
            raise StateError(self.path, f"is of format {found[0]}", "use the lotwise that wrote it")
        state: Payload = json.loads(found[1])
        return state

    def read_inputs(self) -> tuple[list[list[Any]], Time | None]:
        """All inputs since the whole state, oldest first, and the last time marked."""
        rows = self._db.execute("SELECT input FROM inputs ORDER BY number").fetchall()
        marked = self._db.execute("SELECT time FROM time").fetchone()
        return [json.loads(row[0]) for row in rows], None if marked is None else Time(marked[0])

    def close(self) -> None:
        """Let another have the file."""
        with suppress(sqlite3.Error):
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()


class KeptCore(Core):
    """A core with what the operator may change, which writes each input to its store, once it has one,
    before it is answered."""

    def __init__(self, exchange: Exchange, settings: Settings, tariff: Tariff) -> None:
        super().__init__(exchange, settings)
        self.tariff = tariff
        self._store: Store | None = None
        self._told: Payload = {}
        self.time = EPOCH
        self._marked = -1
        self._used: set[str] = set()

    def handle(self, request: Request, now: Time) -> Response:
        """See Core. What is public changes nothing but the time."""
        response = super().handle(request, now)
        if self._store is not None and request.target.startswith("/0/private/"):
            headers = {name: request.header(name) for name in SIGNED}
            body = b64encode(request.body).decode()
            self._write("http", now, request.method, request.target, headers, body)
        return response

    def command(self, key: str, endpoint: str, parameters: Mapping[str, str], now: Time) -> Payload | str:
        """See Core."""
        answer = super().command(key, endpoint, parameters, now)
        self._write("command", now, key, endpoint, dict(parameters))
        return answer

    def token_account(self, token: str, now: Time) -> str | None:
        """See Core."""
        key = super().token_account(token, now)
        if key is not None and token not in self._used:
            # From its first use on a token is good for ever; that is all there is to write.
            self._write("token", now, token)
            self._used.add(token)
        return key

    def change(self, change: Change, now: Time) -> None:
        """Carry out what the operator wants. Raises BadField."""
        carry_out(self, self.tariff, change, now)
        self._write("change", now, plain_of(change))

    def advance(self, now: Time) -> None:
        """See Core. Crowds move at whole seconds, and what they did may be told from then on."""
        if now == self.time:
            return  # nothing more is due, and it is asked for several times with each request
        super().advance(now)
        self.time = max(self.time, now)
        if self._store is not None and now // 1000 > self._marked:
            self._marked = now // 1000
            self._store.mark(now)

    def keep(self, store: Store, told: Payload) -> None:
        """From now on write everything to a store; `told` is what its owner wants to find there."""
        self._store, self._told = store, told
        self.write_whole()

    @property
    def is_long(self) -> bool:
        """Whether so much was written that the whole state is to be."""
        return self._store is not None and self._store.full

    def write_whole(self) -> None:
        """Write the whole state, if it is kept anywhere."""
        if self._store is not None:
            self._store.write_whole({**self.whole(), "told": self._told})

    def whole(self) -> Payload:
        """Everything that a restart needs, as JSON's kinds of data. It holds the secrets of the keys."""
        schedule = self.tariff.schedule
        return {
            "exchange": self.exchange.state(),
            "core": self.state(),
            "keys": [_plain_key(key) for key in self.keys.all()],
            "lag": self.desk.history_lag,
            "fees": [str(schedule.effective), [[str(n) for n in _numbers(tier)] for tier in schedule.tiers]],
        }

    def repeat(self, written: list[Any]) -> None:
        """Make an input again."""
        kind, now, *what = written
        match kind:
            case "http":
                method, target, headers, body = what
                super().handle(Request(method, target, headers, b64decode(body)), now)
            case "command":
                key, endpoint, parameters = what
                super().command(key, endpoint, parameters, now)
            case "token":
                super().token_account(what[0], now)
            case "change":
                carry_out(self, self.tariff, change_of(what[0]), now)
            case _:
                raise AssertionError(f"an input of unknown kind {kind}")

    def _write(self, kind: str, now: Time, *what: Any) -> None:
        if self._store is not None:
            self._store.write(kind, now, *what)


def core_of(whole: Payload, settings: Settings, paths: Mapping[str, Walked]) -> KeptCore:
    """The core that was written down, without a store; `paths` are the recorded prices, given again."""
    effective, tiers = whole["fees"]
    rates = tuple(FeeTier(*map(Decimal, tier)) for tier in tiers)
    tariff = Tariff(FeeSchedule(date.fromisoformat(effective), rates))
    exchange = Exchange.from_state(whole["exchange"], house_of(tariff), paths)
    core = KeptCore(exchange, replace(settings, schedule=tariff.schedule), tariff)
    for plain in whole["keys"]:
        core.open_account(plain["account"])
        core.add_key(_key_of(plain))
    core.restore(whole["core"])
    core.desk.history_lag = whole["lag"]
    core.time = Time(whole["exchange"]["now"])
    return core


def stood_still(whole: Payload, now: Time) -> Payload:
    """The state after a time in which nobody was there: its crowds trade on from now."""
    for pair in whole["exchange"]["pairs"]:
        if pair["crowd"] is not None:
            pair["crowd"]["due"] = max(pair["crowd"]["due"], now - now % STEP + STEP)
    return whole


def resumed(
    store: Store, whole: Payload, settings: Settings, paths: Mapping[str, Walked], now: Time | None
) -> KeptCore:
    """The core as it was at its end: the whole state, and the inputs since made again. With `now` its
    market stood still until now; what expires in between does so at its time."""
    inputs, marked = store.read_inputs()
    if now is not None and not inputs and (marked is None or marked <= whole["exchange"]["now"]):
        return core_of(stood_still(whole, now), settings, paths)
    core = core_of(whole, settings, paths)
    for written in inputs:
        core.repeat(written)
    if marked is not None:
        core.advance(max(core.time, marked))
    return core if now is None else core_of(stood_still(core.whole(), now), settings, paths)


def _plain_key(key: ApiKey) -> Payload:
    return {
        "key": key.key,
        "secret": b64encode(key.credentials.secret).decode(),
        "account": key.account,
        "permissions": sorted(permission.value for permission in key.permissions),
        "name": key.name,
        "nonce_window": key.nonce_window,
        "expires": key.expires,
        "created": key.created,
    }


def _key_of(plain: Payload) -> ApiKey:
    return ApiKey(
        credentials(plain["key"], plain["secret"]),
        plain["account"],
        frozenset(map(Permission, plain["permissions"])),
        plain["name"],
        plain["nonce_window"],
        None if plain["expires"] is None else Time(plain["expires"]),
        Time(plain["created"]),
    )


def _numbers(tier: FeeTier) -> tuple[Decimal, ...]:
    return tier.volume, tier.maker_fee, tier.taker_fee


def _unusable(path: Path, trouble: sqlite3.Error) -> StateError:
    if "locked" in str(trouble):
        return StateError(path, "is in use by another sandbox", "stop that one, or give another --state")
    return StateError(path, f"SQLite says: {trouble}", "it is damaged or no sandbox's; give another --state")
