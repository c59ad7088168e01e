"""A sandbox that survives its end, however sudden: what is answered is written first.

Laws: the core gives equal answers to equal inputs at equal times, so its inputs, in order, are its state: a
restart takes the last whole state and makes the inputs after it again. Written means handed to the
operating system: it survives the death of the process, kill -9 included, not that of the machine. What
the file says was answered, and what everyone then owned, must come out again: code that answers or books
otherwise than the code that wrote it is found out, and refused.
"""

import json
import sqlite3
from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from zlib import crc32

from lotwise.domain.market import FeeSchedule, FeeTier
from lotwise.domain.values import EPOCH, Time
from lotwise.exchange.crowd import STEP
from lotwise.exchange.exchange import Exchange
from lotwise.exchange.paths import Path as Walked
from lotwise.kraken.rest import Payload
from lotwise.sandbox.changes import Change, carry_out, change_of, plain_of
from lotwise.sandbox.core import Core, Settings
from lotwise.sandbox.keys import key_of, plain_key
from lotwise.sandbox.wire import Request, Response, dumps
from lotwise.sandbox.world import Tariff, house_of

FORMAT = 2
"""Of the tables and of the state in them: another one is refused."""

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


class StateInUse(StateError):
    """Another process has the file."""


@dataclass(frozen=True, slots=True)
class Input:
    """What came in, as data, and a short sum of what was answered."""

    what: list[Any]
    answered: int


@dataclass(frozen=True, slots=True)
class Mark:
    """After so many inputs it was this time, and the books were these."""

    time: Time
    inputs: int
    books: str


class Store:
    """One sandbox's file: the last whole state, the inputs since, and a mark. One process at a time has it.
    `maker`: the version of lotwise that wrote it. Raises StateError; a file that is refused is left alone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.maker = version("lotwise")
        self.inputs = self.bytes = 0
        try:
            if not path.exists():
                path.touch(mode=0o600)  # it holds the secrets of the keys
            with path.open("rb") as file:
                head = file.read(len(SQLITE))
            if head not in (b"", SQLITE):
                raise StateError(path, "is no sandbox's", "give another --state")
            # Read as a file that nobody writes: without a lock and without its log, so nothing is changed.
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as db:
                self._check(db)
            self._db = sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)
        except OSError as trouble:
            raise StateError(path, f"cannot be written ({trouble})", "give another --state") from None
        except sqlite3.Error as trouble:
            raise _unusable(path, trouble) from None
        try:
            self._open()
        except sqlite3.Error as trouble:
            self._db.close()
            raise _unusable(path, trouble) from None
        except StateError:
            self._db.close()
            raise

    def _check(self, db: sqlite3.Connection) -> bool:
        """Whether there is a sandbox's state that can be read here; False when there is nothing."""
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return False
        if db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise StateError(self.path, "is a database, but no sandbox's", "give another --state")
        given = db.execute("PRAGMA user_version").fetchone()[0]
        if given:
            self.maker = str(db.execute("SELECT lotwise FROM maker").fetchone()[0])
        if given != FORMAT:
            by = f"lotwise {self.maker}" if given else "an older lotwise"
            problem = f"is of format {given or 1}, written by {by}; {_own()} reads format {FORMAT}"
            raise StateError(self.path, problem, f"go on with {by}, or give another --state")
        return True

    def _open(self) -> None:
        # The lock is held until the end: a second sandbox on the file is refused.
        self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._db.execute("BEGIN IMMEDIATE")
        if not self._check(self._db):
            self._db.execute("CREATE TABLE maker(one INTEGER PRIMARY KEY, lotwise TEXT NOT NULL)")
            self._db.execute("CREATE TABLE inputs(number INTEGER PRIMARY KEY, input TEXT, answered INTEGER)")
            self._db.execute("CREATE TABLE whole(one INTEGER PRIMARY KEY, state TEXT, digest TEXT)")
            self._db.execute(
                "CREATE TABLE mark(one INTEGER PRIMARY KEY, time INTEGER, inputs INTEGER, books TEXT)"
            )
            self._db.execute("INSERT INTO maker VALUES (1, ?)", (self.maker,))
            self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version={FORMAT}")
        self._db.execute("COMMIT")
        # Not before: what tells whose file it is, and of which format, stands in the file and not in its log.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")

    def write(self, answered: bytes, kind: str, now: Time, *what: Any) -> None:
        """The next input, and what was answered."""
        text = json.dumps([kind, now, *what], separators=(",", ":"))
        self._db.execute("INSERT INTO inputs(input, answered) VALUES (?, ?)", (text, crc32(answered)))
        self.inputs += 1
        self.bytes += len(text)

    def mark(self, now: Time, books: str) -> None:
        """Time has come to here, and the books are these."""
        self._db.execute("INSERT OR REPLACE INTO mark VALUES (1, ?, ?, ?)", (now, self.inputs, books))

    def write_whole(self, state: Payload) -> None:
        """The whole state, in place of all inputs up to now."""
        text = json.dumps(state)
        self._db.execute("BEGIN")
        self._db.execute("INSERT OR REPLACE INTO whole VALUES (1, ?, ?)", (text, _digest(text)))
        self._db.execute("INSERT OR REPLACE INTO maker VALUES (1, ?)", (version("lotwise"),))
        self._db.execute("DELETE FROM inputs")
        self._db.execute("DELETE FROM mark")
        self._db.execute("COMMIT")
        self.inputs = self.bytes = 0

    @property
    def full(self) -> bool:
        """Whether the whole state is to be written."""
        return self.inputs >= MOST_INPUTS or self.bytes >= MOST_BYTES

    def read_whole(self) -> Payload | None:
        """The last whole state; None when there is none."""
        found = self._db.execute("SELECT state, digest FROM whole").fetchone()
        if found is None:
            return None
        if _digest(found[0]) != found[1]:
            raise StateError(
                self.path, "is damaged: its state is not what was written", "give another --state"
            )
        state: Payload = json.loads(found[0])
        return state

    def read_inputs(self) -> tuple[list[Input], Mark | None]:
        """All inputs since the whole state, oldest first, and the last mark."""
        rows = self._db.execute("SELECT input, answered FROM inputs ORDER BY number").fetchall()
        mark = self._db.execute("SELECT time, inputs, books FROM mark").fetchone()
        return [Input(json.loads(text), told) for text, told in rows], None if mark is None else Mark(*mark)

    def other_code(self, what: str) -> StateError:
        """The code that runs does not do what the code that wrote the file did."""
        problem = f"was written by lotwise {self.maker}, and this code ({_own()}) {what}"
        remedy = "start and stop it once with the code that wrote it, or give another --state"
        return StateError(self.path, problem, remedy)

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
            what = request.method, request.target, headers, body
            self._store.write(response.body, "http", now, *what)
        return response

    def command(self, key: str, endpoint: str, parameters: Mapping[str, str], now: Time) -> Payload | str:
        """See Core."""
        answer = super().command(key, endpoint, parameters, now)
        if self._store is not None:
            self._store.write(_said(answer), "command", now, key, endpoint, dict(parameters))
        return answer

    def token_account(self, token: str, now: Time) -> str | None:
        """See Core."""
        key = super().token_account(token, now)
        if key is not None and self._store is not None and token not in self._used:
            # From its first use on a token is good for ever; that is all there is to write.
            self._store.write(key.encode(), "token", now, token)
            self._used.add(token)
        return key

    def change(self, change: Change, now: Time) -> None:
        """Carry out what the operator wants. Raises BadField."""
        carry_out(self, self.tariff, change, now)
        if self._store is not None:
            self._store.write(b"", "change", now, plain_of(change))

    def advance(self, now: Time) -> None:
        """See Core. Crowds move at whole seconds, and what they did may be told from then on."""
        if now == self.time:
            return  # nothing more is due, and it is asked for several times with each request
        super().advance(now)
        self.time = max(self.time, now)
        if self._store is not None and now // 1000 > self._marked:
            self._marked = now // 1000
            self._store.mark(now, self.books())

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
            "keys": [plain_key(key) for key in self.keys.all()],
            "lag": self.desk.history_lag,
            "fees": [str(schedule.effective), [[str(n) for n in _numbers(tier)] for tier in schedule.tiers]],
        }

    def books(self) -> str:
        """A short sum of what all own and of what was traded: what nobody's answer may show."""
        exchange = self.exchange
        ledgers = [(name, sorted(exchange.ledger(name).balances.items())) for name in exchange.accounts()]
        tapes = [
            (t.number, t.trades[-1] if t.trades else None) for t in map(exchange.tape, exchange.markets())
        ]
        return _digest(repr((exchange.issued, exchange.strangers(), ledgers, tapes)))

    def repeat(self, written: list[Any]) -> bytes:
        """Make an input again: what is answered."""
        kind, now, *what = written
        match kind:
            case "http":
                method, target, headers, body = what
                return super().handle(Request(method, target, headers, b64decode(body)), now).body
            case "command":
                key, endpoint, parameters = what
                return _said(super().command(key, endpoint, parameters, now))
            case "token":
                return (super().token_account(what[0], now) or "").encode()
            case "change":
                carry_out(self, self.tariff, change_of(what[0]), now)
                return b""
            case _:
                raise AssertionError(f"an input of unknown kind {kind}")


def core_of(whole: Payload, settings: Settings, paths: Mapping[str, Walked]) -> KeptCore:
    """The core that was written down, without a store; `paths` are the recorded prices, given again."""
    effective, tiers = whole["fees"]
    rates = tuple(FeeTier(*map(Decimal, tier)) for tier in tiers)
    tariff = Tariff(FeeSchedule(date.fromisoformat(effective), rates))
    exchange = Exchange.from_state(whole["exchange"], house_of(tariff), paths)
    core = KeptCore(exchange, replace(settings, schedule=tariff.schedule), tariff)
    for plain in whole["keys"]:
        core.open_account(plain["account"])
        core.add_key(key_of(plain))
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
    inputs, mark = store.read_inputs()
    try:
        if now is not None and not inputs and mark is None:
            return core_of(stood_still(whole, now), settings, paths)
        core = core_of(whole, settings, paths)
        for number, written in enumerate(inputs):
            if mark is not None and number == mark.inputs:
                _come_to(core, mark, store)
            if crc32(core.repeat(written.what)) != written.answered:
                raise store.other_code(f"answers input {number + 1} ({_name(written)}) otherwise")
        if mark is not None and len(inputs) == mark.inputs:
            _come_to(core, mark, store)
    except (ValueError, LookupError, TypeError) as trouble:
        raise store.other_code(f"cannot read it ({trouble!r})") from trouble
    return core if now is None else core_of(stood_still(core.whole(), now), settings, paths)


def _come_to(core: KeptCore, mark: Mark, store: Store) -> None:
    core.advance(max(core.time, mark.time))
    if core.books() != mark.books:
        raise store.other_code(f"comes to other books after {mark.inputs} inputs")


def _said(answer: Payload | str) -> bytes:
    return answer.encode() if isinstance(answer, str) else dumps(answer)


def _name(written: Input) -> str:
    """What an input asked for, without its secrets."""
    kind, _, *what = written.what
    endpoint: str = {"http": what[1:2], "command": what[1:2]}.get(kind, [kind])[0]
    return endpoint.rpartition("/")[2]


def _own() -> str:
    return f"lotwise {version('lotwise')}"


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()


def _numbers(tier: FeeTier) -> tuple[Decimal, ...]:
    return tier.volume, tier.maker_fee, tier.taker_fee


def _unusable(path: Path, trouble: sqlite3.Error) -> StateError:
    if "locked" in str(trouble):
        return StateInUse(path, "is in use by another sandbox", "stop that one, or give another --state")
    return StateError(path, f"SQLite says: {trouble}", "it is damaged or no sandbox's; give another --state")
