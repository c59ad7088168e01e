"""The journal: append-only rows in SQLite, each hashed together with all before it.

One writer (a lock file beside it), any number of readers. What `commit` has returned from survives
a crash of the process and of the machine (WAL, synchronous=FULL).
"""

import errno
import hashlib
import os
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
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

MAKE_SPACE = "free some space and start again: all committed rows are there"


class Trouble(StrEnum):
    """What kind of trouble a journal has."""

    UNUSABLE = "unusable"
    IN_USE = "in use"
    FULL = "disk full or failing"


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
        with _troubles(path), ExitStack() as undo:
            self._lock = _lock(path)
            undo.callback(self._lock.release)
            with suppress(OSError):  # SQLite says what is in the way
                path.touch(mode=0o600)  # what a person owns and trades is not for others to read
            self._db = undo.enter_context(closing(_open(path, "rwc")))
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            if _is_empty(self._db):
                _create(self._db)
            last = self._db.execute("SELECT number, hash FROM rows ORDER BY number DESC LIMIT 1").fetchone()
            undo.pop_all()
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

    @property
    def waiting(self) -> int:
        """Rows that the next commit will make durable."""
        return len(self._waiting)

    def rows(self, start: int = 0) -> Iterator[Row]:
        """The committed rows from a number on, their chain checked."""
        return _rows(self._db, self.path, start)

    def last(self, kind: str) -> Row | None:
        """The last row of a kind, its link to the row before it checked."""
        with _troubles(self.path):
            found = self._db.execute(
                "SELECT number FROM rows WHERE kind = ? ORDER BY number DESC LIMIT 1", (kind,)
            ).fetchone()
        return next(self.rows(found[0])) if found else None

    def close(self) -> None:
        """Leave what is committed, drop what is not, let others write."""
        # One plain file is left, to be copied and read anywhere; beside a reader it keeps its side files.
        with suppress(sqlite3.DatabaseError):
            self._db.execute("PRAGMA journal_mode=DELETE")
        self._db.close()
        self._lock.release()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path, start: int = 0) -> Generator[Row, None, None]:
    """The rows of a journal, read beside a writer if there is one; raises JournalError."""
    try:
        path.open("rb").close()
    except OSError as trouble:
        problem = f"cannot be read ({trouble.strerror})"
        raise JournalError(path, problem, "give the path that `lotwise run` printed") from None
    with _troubles(path), closing(_open(path, "ro")) as db:
        yield from _rows(db, path, start)


def _lock(path: Path) -> FileLock:
    # Beside the file itself, so that a link to it is no second door.
    lock = FileLock(f"{os.path.realpath(path)}.lock", blocking=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        problem = "is in use by another run"
        remedy = "wait for it to end, or choose another --journal"
        raise JournalError(path, problem, remedy, Trouble.IN_USE) from None
    except OSError as trouble:
        problem = f"cannot be written ({trouble.strerror})"
        if trouble.errno == errno.ENOSPC:
            raise JournalError(path, problem, MAKE_SPACE, Trouble.FULL) from None
        raise JournalError(path, problem, "choose a folder you may write to with --journal") from None
    return lock


def _open(path: Path, mode: str) -> sqlite3.Connection:
    """A connection to a journal, or to an empty file if it may be written (mode "rwc")."""
    with ExitStack() as undo:
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        db = undo.enter_context(closing(sqlite3.connect(uri, uri=True, timeout=10)))
        identity = db.execute("PRAGMA application_id").fetchone()[0]
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if _is_empty(db):
            if mode == "ro":
                raise JournalError(path, "is empty", "give the path that `lotwise run` printed")
        elif identity != APPLICATION_ID:
            raise JournalError(path, "is a database, but no lotwise journal", "choose another path")
        elif version != VERSION:
            remedy = f"this lotwise reads version {VERSION}; use the lotwise that wrote it"
            raise JournalError(path, f"is a journal of version {version}", remedy)
        undo.pop_all()
    return db


def _is_empty(db: sqlite3.Connection) -> bool:
    return not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _create(db: sqlite3.Connection) -> None:
    # All at once: a process that dies here must not leave half a journal.
    with db:
        db.execute("BEGIN IMMEDIATE")
        db.execute(
            "CREATE TABLE rows(number INTEGER PRIMARY KEY, kind TEXT NOT NULL,"
            " body TEXT NOT NULL, hash TEXT NOT NULL)"
        )
        db.execute(f"PRAGMA application_id={APPLICATION_ID}")
        db.execute(f"PRAGMA user_version={VERSION}")


def _rows(db: sqlite3.Connection, path: Path, start: int) -> Iterator[Row]:
    number, before = start, GENESIS
    with _troubles(path):
        if start:
            found = db.execute("SELECT hash FROM rows WHERE number = ?", (start - 1,)).fetchone()
            if found is None:
                raise _broken(path, start - 1)
            before = found[0]
        while True:
            page = db.execute(
                "SELECT number, kind, body, hash FROM rows WHERE number >= ? ORDER BY number LIMIT ?",
                (number, PAGE),
            ).fetchall()
            for row in (Row(*columns) for columns in page):
                if row.number != number or row.hash != chain(before, row.kind, row.body):
                    raise _broken(path, number)
                yield row
                before, number = row.hash, number + 1
            if len(page) < PAGE:
                return


def _broken(path: Path, number: int) -> JournalError:
    problem = f"row {number} is not what was written (the hash chain breaks there)"
    return JournalError(path, problem, "restore the file from a backup, or start a new journal")


@contextmanager
def _troubles(path: Path) -> Iterator[None]:
    """SQLite's troubles in words that name the file and the remedy."""
    try:
        yield
    except sqlite3.DatabaseError as trouble:
        text = str(trouble)
        kind = Trouble.UNUSABLE
        if "full" in text or "disk I/O" in text:
            kind, remedy = Trouble.FULL, MAKE_SPACE
        elif "readonly" in text or "unable to open" in text:
            remedy = "choose a folder you may write to with --journal"
        elif "locked" in text:
            kind, remedy = Trouble.IN_USE, "another program holds it; close that one"
        else:
            remedy = "it is damaged or no journal: restore it from a backup, or start a new one"
        raise JournalError(path, f"SQLite says: {text}", remedy, kind) from None
