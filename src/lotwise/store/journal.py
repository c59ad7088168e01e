"""The journal: append-only rows in SQLite, each hashed together with all before it.

One writer (a lock file beside it), any number of readers. What `commit` has returned from survives
a crash of the process and of the machine (WAL, synchronous=FULL).
"""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from filelock import FileLock, Timeout

VERSION = 1
APPLICATION_ID = 0x6C6F7477
"""Marks the SQLite file as a lotwise journal ("lotw")."""

GENESIS = "0" * 64
PAGE = 2_000
"""Rows a reader takes at once, so that it never holds the database for long."""


class Trouble(StrEnum):
    """What kind of trouble a journal has."""

    UNUSABLE = "unusable"
    IN_USE = "in use"
    FULL = "disk full"


class JournalError(Exception):
    """A journal that cannot be used: names the file, what is wrong, and the remedy."""

    def __init__(self, path: Path, problem: str, remedy: str, trouble: Trouble = Trouble.UNUSABLE) -> None:
        super().__init__(f"{path}: {problem}; {remedy}")
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Row:
    """One fact: its number (from 0), kind, JSON body, and the hash of the chain up to it."""

    number: int
    kind: str
    body: str
    hash: str


def chain(before: str, kind: str, body: str) -> str:
    """The hash of a row that follows the row with hash `before`."""
    return hashlib.sha256(f"{before}\n{kind}\n{body}".encode()).hexdigest()


class Journal:
    """The one writer of a journal file, made when absent. A context manager; raises JournalError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(f"{path}.lock", blocking=False)
        with _troubles(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._lock.acquire()
            except Timeout:
                problem = "is in use by another run"
                remedy = "wait for it to end, or choose another --journal"
                raise JournalError(path, problem, remedy, Trouble.IN_USE) from None
            except OSError as trouble:
                problem = f"cannot be written ({trouble.strerror})"
                raise JournalError(path, problem, "choose a folder you may write to with --journal") from None
            self._db = _open(path)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            with self._db:
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS rows(number INTEGER PRIMARY KEY, kind TEXT NOT NULL,"
                    " body TEXT NOT NULL, hash TEXT NOT NULL)"
                )
                self._db.execute(f"PRAGMA application_id={APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version={VERSION}")
            last = self._db.execute("SELECT number, hash FROM rows ORDER BY number DESC LIMIT 1").fetchone()
        self.count: int = last[0] + 1 if last else 0
        self.hash: str = last[1] if last else GENESIS
        self._waiting: list[Row] = []

    def append(self, kind: str, body: str) -> None:
        """Add a row; it is durable after the next commit, and lost without one."""
        self.hash = chain(self.hash, kind, body)
        self._waiting.append(Row(self.count, kind, body, self.hash))
        self.count += 1

    def commit(self) -> None:
        """Make all rows so far durable, all or none."""
        if not self._waiting:
            return
        rows = [(row.number, row.kind, row.body, row.hash) for row in self._waiting]
        with _troubles(self.path), self._db:
            self._db.executemany("INSERT INTO rows VALUES (?, ?, ?, ?)", rows)
        self._waiting.clear()

    def rows(self, start: int = 0) -> Iterator[Row]:
        """The committed rows from a number on, their chain checked."""
        return _rows(self._db, self.path, start)

    def last(self, kind: str) -> Row | None:
        """The last row of a kind."""
        return _last(self._db, kind)

    def close(self) -> None:
        """Leave what is committed, drop what is not, let others write."""
        self._db.close()
        self._lock.release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path, start: int = 0) -> Iterator[Row]:
    """The rows of a journal, read beside a writer if there is one; raises JournalError."""
    if not path.exists():
        raise JournalError(path, "no such journal", "give the path that `lotwise run` printed")
    with _troubles(path), closing(_open(path, read_only=True)) as db:
        yield from _rows(db, path, start)


def _open(path: Path, read_only: bool = False) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
    db = sqlite3.connect(uri, uri=True, timeout=10)
    fresh = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    identity = db.execute("PRAGMA application_id").fetchone()[0]
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if fresh and not read_only:
        return db
    db_problem = None
    if identity != APPLICATION_ID:
        db_problem = "is a database, but no lotwise journal", "choose another path"
    elif version != VERSION:
        remedy = f"this lotwise reads version {VERSION}; use the lotwise that wrote it"
        db_problem = f"is a journal of version {version}", remedy
    if db_problem:
        db.close()
        raise JournalError(path, *db_problem)
    return db


def _rows(db: sqlite3.Connection, path: Path, start: int) -> Iterator[Row]:
    before = GENESIS
    if start:
        (before,) = db.execute("SELECT hash FROM rows WHERE number = ?", (start - 1,)).fetchone()
    number = start
    while True:
        page = db.execute(
            "SELECT number, kind, body, hash FROM rows WHERE number >= ? ORDER BY number LIMIT ?",
            (number, PAGE),
        ).fetchall()
        for found, kind, body, stated in page:
            if found != number or stated != chain(before, kind, body):
                problem = f"row {number} is not what was written (the hash chain breaks there)"
                raise JournalError(path, problem, "restore the file from a backup, or start a new journal")
            yield Row(number, kind, body, stated)
            before, number = stated, number + 1
        if len(page) < PAGE:
            return


def _last(db: sqlite3.Connection, kind: str) -> Row | None:
    row = db.execute(
        "SELECT number, kind, body, hash FROM rows WHERE kind = ? ORDER BY number DESC LIMIT 1", (kind,)
    ).fetchone()
    return Row(*row) if row else None


@contextmanager
def _troubles(path: Path) -> Iterator[None]:
    """SQLite's troubles in words that name the file and the remedy."""
    try:
        yield
    except sqlite3.DatabaseError as trouble:
        text = str(trouble)
        kind = Trouble.UNUSABLE
        if "full" in text:
            kind, remedy = Trouble.FULL, "free some space and start again: all committed rows are there"
        elif "readonly" in text or "unable to open" in text:
            remedy = "choose a folder you may write to with --journal"
        elif "locked" in text:
            kind, remedy = Trouble.IN_USE, "another program holds it; close that one"
        else:
            remedy = "it is damaged or no journal: restore it from a backup, or start a new one"
        raise JournalError(path, f"SQLite says: {text}", remedy, kind) from None
