"""Secrets that tests use, in every shape in which they could get out, and the search for them.

Law: what is looked through is all that a test leaves: files, output, log, reports. Where a secret belongs
(EXEMPT) is a short list of names.
"""

from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fnmatch import fnmatch
from hashlib import sha256, sha512
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from lotwise.domain.values import EPOCH, Time
from lotwise.kraken.signature import Credentials
from lotwise.sandbox.keys import ApiKey, KeyRing, made_up_key

SHORTEST = 16
"""Characters below which a key or secret is a word that occurs anyway."""

BEGINNING = 8
"""Bytes by which a shape is looked up (one 64-bit number)."""

LONG, CHUNK = 2_000, 1 << 20
"""Bytes from which on arrays are quicker than a loop, and so many are looked at together."""

Beginnings = npt.NDArray[np.uint64]

ELSEWHERE = 20
"""So many first tokens of a sandbox in another process are watched for."""

EXEMPT = {
    "state*": "a sandbox's own memory: the exchange's side",
    "copy*": "a copy of it",
    "sandbox.state*": "the same",
    "sandbox.out": "what `lotwise sandbox` prints for its user: the keys that it lets in",
}
"""Names of files in which secrets belong, and why."""


def shapes(secret: str) -> set[bytes]:
    """A secret as it is, and encoded in the ways in which one meets it; of base64 also what it stands for."""
    raws = {secret.encode()} | _meant(secret)
    found: set[bytes] = set()
    for raw in raws:
        hexed = raw.hex().encode()
        found |= {raw, hexed, hexed.upper(), repr(raw)[2:-1].encode()}
        found |= {digest(raw).hexdigest().encode() for digest in (sha256, sha512)}
        for shift in range(3):  # base64 looks different at each of three places in a longer text
            for encode in (b64encode, urlsafe_b64encode):
                found.add(encode(bytes(shift) + raw)[4 * (shift > 0) :].rstrip(b"=")[:-1])
    for text in {secret, urlsafe(secret)}:
        found |= {quote(text, safe="").encode(), text.replace("/", "\\/").encode()}
    return {shape for shape in found if len(shape) >= SHORTEST}


def urlsafe(text: str) -> str:
    """Base64 as it stands in addresses and names of files."""
    return text.translate(str.maketrans("+/", "-_"))


def _meant(secret: str) -> set[bytes]:
    try:
        return {b64decode(secret, validate=True)}
    except (Error, ValueError):
        return set()


@dataclass(slots=True)
class Canaries:
    """All secrets so far, and the places in which one of them was seen. A search takes the same time however
    many they are: what begins as none of them does is passed over."""

    seen: list[str] = field(default_factory=list)
    _shapes: dict[bytes, str] = field(default_factory=dict)
    _begin: dict[bytes, list[bytes]] = field(default_factory=dict)
    _sorted: Beginnings = field(default_factory=lambda: np.array([], dtype=np.uint64))

    def add(self, *secrets: str) -> None:
        """Watch for these from now on."""
        for secret in secrets:
            if len(secret) < SHORTEST or secret.encode() in self._shapes:
                continue
            for shape in shapes(secret):
                self._shapes[shape] = f"{secret[:4]}… of {len(secret)} characters"
                self._begin.setdefault(shape[:BEGINNING], []).append(shape)

    def look(self, where: str, content: bytes) -> None:
        """Note each secret that the content holds."""
        places = self._short(content) if len(content) < LONG else self._long(content)
        found = {
            f"{where}: {self._shapes[shape]}"
            for place in places
            for shape in self._begin[content[place : place + BEGINNING]]
            if content.startswith(shape, place)
        }
        self.seen += sorted(found - {*self.seen})

    def _short(self, content: bytes) -> Iterable[int]:
        """Where one of the shapes may begin."""
        places = range(len(content) - BEGINNING + 1)
        return [place for place in places if content[place : place + BEGINNING] in self._begin]

    def _long(self, content: bytes) -> Iterable[int]:
        """The same, for much at once."""
        if len(self._sorted) != len(self._begin):
            self._sorted = np.sort(np.frombuffer(b"".join(self._begin), dtype=np.uint64))
        for first in range(0, len(content), CHUNK):
            part = np.frombuffer(content[first : first + CHUNK + BEGINNING - 1], dtype=np.uint8)
            if len(part) < BEGINNING or not len(self._sorted):
                continue
            windows = np.ascontiguousarray(sliding_window_view(part, BEGINNING)).view(np.uint64).ravel()
            near = np.searchsorted(self._sorted, windows).clip(max=len(self._sorted) - 1)
            yield from (first + np.flatnonzero(self._sorted[near] == windows)).tolist()

    def look_through(self, folder: Path) -> None:
        """Look into each file below a folder, and at its name."""
        for file in _files(folder):
            if not any(fnmatch(file.name, pattern) for pattern in EXEMPT):
                with suppress(PermissionError):  # a test that is about that: nobody else can read it either
                    self.look(str(file), file.name.encode() + b"\n" + file.read_bytes())


def _files(folder: Path) -> Iterator[Path]:
    return (file for file in folder.rglob("*") if file.is_file() and not file.is_symlink())


@contextmanager
def watched(canaries: Canaries) -> Iterator[None]:
    """Watch for every key that a sandbox of this process lets in, and every token that it issues. Those of a
    sandbox in another process are made up alike, from the seed 0."""
    add, issue = KeyRing.add, KeyRing.issue_token

    def added(ring: KeyRing, key: ApiKey) -> None:
        canaries.add(key.key, b64encode(key.credentials.secret).decode())
        add(ring, key)

    def issued(ring: KeyRing, key: ApiKey, now: Time) -> str:
        token = issue(ring, key, now)
        canaries.add(token)
        return token

    elsewhere, nobody = KeyRing(0, limited=False), ApiKey(Credentials("", b""), "")
    canaries.add(*made_up_key(0, 0), *(issue(elsewhere, nobody, EPOCH) for _ in range(ELSEWHERE)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KeyRing, "add", added)
        patch.setattr(KeyRing, "issue_token", issued)
        yield
