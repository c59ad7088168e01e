"""What goes wrong between a client and the sandbox: which request or message, how, by seed.

Laws: no I/O and no clock; a plan and a seed strike the same requests and messages in every run that asks
for the same ones in the same order. What a fault does is carried out by the server alone. At most one
fault strikes a request or a message: the first of the plan.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, with_config

from lotwise.domain.values import BadField, Time, require
from lotwise.exchange.dice import Dice
from lotwise.sandbox.changes import STRICT, Change, Money, change_of, checked

LOCKOUT = "EGeneral:Temporary lockout"
MAX_SECONDS = 3600.0
MAX_FAULTS = 1_000
WORDS = 2**64
"""So many different words the dice have."""


class Kind(StrEnum):
    """What happens. The first group happens to requests, over HTTP and WebSocket; those of `PAGES` over
    HTTP alone; those of `ON_MESSAGES` to what a WebSocket connection sends."""

    REQUEST_LOST = "request lost"
    ANSWER_LOST = "answer lost"
    REQUEST_LATE = "request late"
    ANSWER_LATE = "answer late"
    REQUEST_TWICE = "request twice"
    ERROR = "error"
    BAN = "ban"
    ERROR_PAGE = "error page"
    ANSWER_CUT = "answer cut"
    STALL = "stall"
    MESSAGE_LOST = "message lost"
    MESSAGE_TWICE = "message twice"
    OUT_OF_ORDER = "out of order"
    BAD_CHECKSUM = "bad checksum"
    DISCONNECT = "disconnect"


ON_MESSAGES = frozenset(
    {
        Kind.STALL,
        Kind.MESSAGE_LOST,
        Kind.MESSAGE_TWICE,
        Kind.OUT_OF_ORDER,
        Kind.BAD_CHECKSUM,
        Kind.DISCONNECT,
    }
)
PAGES = frozenset({Kind.ERROR_PAGE, Kind.ANSWER_CUT})


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    on: endpoints (AddOrder), methods (add_order) or channels (book), all when empty; share: of those so
    many are struck (0 to 1), drawn by seed; skip: so many are spared first; times: it ends after so many
    strikes; after, until: seconds since the plan began; seconds: how long (late, stall, ban); text: of an
    error; status: of an error page; carried_out: whether what an error page answers was done. Raises
    BadField.
    """

    kind: Kind
    on: tuple[str, ...] = ()
    share: float = 1.0
    skip: int = 0
    times: int | None = None
    after: float = 0.0
    until: float | None = None
    seconds: float = 1.0
    text: str = "EService:Busy"
    status: int = 520
    carried_out: bool = False

    def __post_init__(self) -> None:
        require(0 < self.share <= 1, "share", "must be above 0 and at most 1")
        require(self.skip >= 0, "skip", "must not be below 0")
        require(self.times is None or self.times > 0, "times", "must be above 0")
        require(self.after >= 0, "after", "must not be below 0")
        require(self.until is None or self.until > self.after, "until", "must be later than after")
        require(0 <= self.seconds <= MAX_SECONDS, "seconds", f"must be from 0 to {MAX_SECONDS:.0f}")
        require(500 <= self.status <= 599, "status", "must be from 500 to 599")


@dataclass(frozen=True, slots=True)
class Due:
    """A change of the exchange, so many seconds after the plan began."""

    at: float
    change: Change


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that shall go wrong or change; `changes` in order of time."""

    faults: tuple[Fault, ...] = ()
    changes: tuple[Due, ...] = ()


_FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


def fault_of(plain: Mapping[str, Any]) -> Fault:
    """The fault that plain data describes. Raises BadField."""
    fault: Fault = checked(_FAULT, plain)
    return fault


def plain_fault(fault: Fault) -> dict[str, Any]:
    """The fault as plain data."""
    plain: dict[str, Any] = _FAULT.dump_python(fault, mode="json")
    return plain


def plan_of(text: str) -> Plan:
    """The plan of a TOML text with tables [[fault]] and [[change]]; BadField names entry and field."""
    try:
        read = tomllib.loads(text)
    except tomllib.TOMLDecodeError as bad:
        raise BadField("TOML", str(bad)) from None
    unknown = read.keys() - {"fault", "change"}
    require(not unknown, " ".join(sorted(unknown)), "is neither [[fault]] nor [[change]]")
    faults = _each(read.get("fault", []), "fault", fault_of)
    changes = _each(read.get("change", []), "change", _due)
    require(len(faults) <= MAX_FAULTS, "fault", f"there may be {MAX_FAULTS}")
    return Plan(tuple(faults), tuple(sorted(changes, key=lambda due: due.at)))


def _each(entries: Any, name: str, read: Callable[[Mapping[str, Any]], Any]) -> list[Any]:
    tables = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    require(tables, name, f"must be tables: [[{name}]]")
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(read(entry))
        except BadField as bad:
            raise BadField(f"{name} {number}: {bad.field}", bad.problem) from None
    return found


def _due(plain: Mapping[str, Any]) -> Due:
    at = plain.get("at", 0)
    require(isinstance(at, int | float) and at >= 0, "at", "must be seconds, not below 0")
    kind = plain.get("kind")
    rest = {key: value for key, value in plain.items() if key not in ("at", "kind")}
    change = change_of({**rest, "change": kind})
    taken = isinstance(change, Money) and change.amount.startswith("-")
    require(not taken, "amount", "a plan only brings money: whether there is enough to take is not known yet")
    return Due(at, change)


class Faults:
    """A plan at work. `began`: the time that its seconds count from."""

    def __init__(self, faults: Sequence[Fault], seed: int, began: Time) -> None:
        self._seed = seed
        self._standing: dict[int, _Standing] = {}
        self._added = 0
        self._banned_until = began
        for fault in faults:
            self.add(fault, began)

    def add(self, fault: Fault, now: Time) -> int:
        """One more fault, whose seconds count from now: its number. Raises BadField."""
        require(len(self._standing) < MAX_FAULTS, "fault", f"there may be {MAX_FAULTS} at a time")
        self._added += 1
        dice = Dice(self._seed * MAX_FAULTS + self._added)
        self._standing[self._added] = _Standing(fault, now, dice)
        return self._added

    def remove(self, number: int) -> bool:
        """End a fault; whether there was one of this number."""
        return self._standing.pop(number, None) is not None

    def __len__(self) -> int:
        return len(self._standing)

    def all(self) -> dict[int, tuple[Fault, int]]:
        """Every fault by its number, and how often it has struck."""
        return {number: (each.fault, each.struck) for number, each in self._standing.items()}

    def on_request(self, name: str, now: Time, private: bool, http: bool) -> Fault | None:
        """What goes wrong with a request for an endpoint or method; a ban answers private ones alone."""
        for standing in self._standing.values():
            kind = standing.fault.kind
            if kind in ON_MESSAGES or (kind in PAGES and not http) or (kind is Kind.BAN and not private):
                continue
            if standing.strikes(name, now):
                if kind is Kind.BAN:
                    until = Time(now + int(standing.fault.seconds * 1000))
                    self._banned_until = max(self._banned_until, until)
                    break
                return standing.fault
        if private and now < self._banned_until:
            return Fault(Kind.ERROR, text=LOCKOUT)
        return None

    def on_message(self, channel: str, now: Time) -> Fault | None:
        """What goes wrong with a message of a channel, or with the answer to a method."""
        for standing in self._standing.values():
            if standing.fault.kind in ON_MESSAGES and standing.strikes(channel, now):
                return standing.fault
        return None


@dataclass(slots=True)
class _Standing:
    """A fault with what has come of it."""

    fault: Fault
    began: Time
    dice: Dice
    seen: int = 0
    struck: int = 0

    def strikes(self, name: str, now: Time) -> bool:
        fault, passed = self.fault, (now - self.began) / 1000
        if passed < fault.after or (fault.until is not None and passed >= fault.until):
            return False
        if (fault.on and name not in fault.on) or self.struck == fault.times:
            return False
        self.seen += 1
        if self.seen <= fault.skip or self.dice.word() >= int(fault.share * WORDS):
            return False
        self.struck += 1
        return True


_CHECKSUM = re.compile(r'("checksum":)(\d+)')
_NAME = re.compile(r'"(channel|method)":"([a-z_0-9]*)"')
_FRONT = 400
"""Characters of a message in which its name stands."""


def name_of(message: str) -> str:
    """The channel of a WebSocket message, or the method that it answers."""
    found = _NAME.search(message, 0, _FRONT)
    return found[2] if found else ""


def is_answer(message: str) -> bool:
    """Whether a WebSocket message answers a request."""
    found = _NAME.search(message, 0, _FRONT)
    return found is None or found[1] == "method"


def with_bad_checksum(message: str) -> str:
    """The message with another checksum, when it has one."""
    return _CHECKSUM.sub(lambda found: f"{found[1]}{int(found[2]) ^ 1}", message)


def cut(body: bytes) -> bytes:
    """The first half of a body."""
    return body[: len(body) // 2]


def page(status: int) -> bytes:
    """What a proxy in front of an exchange answers in its place."""
    title = f"kraken.com | {status}: Web server is returning an unknown error"
    return f"<!DOCTYPE html>\n<html><head><title>{title}</title></head><body>{title}</body></html>".encode()
