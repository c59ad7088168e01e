"""What is kept of a key beside the journals: its lock, its mark of nonces, and a name of its account.

Law: one process trades with a key. Files are named by a hash that tells nothing of the key.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from lotwise.kraken.signature import Credentials
from lotwise.venues.kraken.facts import KeyInfo

HOME = Path.home() / ".lotwise"
"""One place for each user, whatever the working directory."""


def lock_of(key: Credentials) -> FileLock:
    """The lock of who trades with a key; entering it raises filelock's Timeout when another has it."""
    return FileLock(_file(key, "lock"), timeout=0)


def nonces_of(key: Credentials) -> Path:
    """Where the highest nonce of a key is marked. Only for who has its lock: the mark lies ahead, and the
    calls of another would be refused after one above it."""
    return _file(key, "nonce")


@contextmanager
def own_nonces(key: Credentials) -> Iterator[Path | None]:
    """The mark of nonces for calls beside those of runs: None while one trades with the key."""
    lock = lock_of(key)
    try:
        lock.acquire()
    except Timeout:
        yield None
        return
    try:
        yield nonces_of(key)
    finally:
        lock.release()


def account_name(info: KeyInfo, key: Credentials) -> str:
    """The same for all keys of an account, where Kraken tells its number; tells nothing of it."""
    return _short(info.account or key.key)


def _file(key: Credentials, ending: str) -> Path:
    HOME.mkdir(mode=0o700, exist_ok=True)
    return HOME / f"{_short(key.key)}.{ending}"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
