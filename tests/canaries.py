"""Secrets that tests use, in every shape in which they could get out, and the search for them.

Law: what is looked through is all that a test leaves: files, output, log, reports. Where a secret belongs
(EXEMPT) is a short list of names.
"""

from base64 import b64decode, b64encode, urlsafe_b64encode
from binascii import Error
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatch
from hashlib import sha256, sha512
from pathlib import Path
from urllib.parse import quote

import pytest

from lotwise.domain.values import EPOCH, Time
from lotwise.kraken.signature import Credentials
from lotwise.sandbox.keys import ApiKey, KeyRing, made_up_key

SHORTEST = 16
"""Characters below which a key or secret is a word that occurs anyway."""

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
    """All secrets so far, and the places in which one of them was seen."""

    shapes: dict[bytes, str] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def add(self, *secrets: str) -> None:
        """Watch for these from now on."""
        for secret in secrets:
            if len(secret) >= SHORTEST and secret.encode() not in self.shapes:
                name = f"{secret[:4]}… of {len(secret)} characters"
                self.shapes |= dict.fromkeys(shapes(secret), name)

    def look(self, where: str, content: bytes) -> None:
        """Note each secret that the content holds."""
        found = {f"{where}: {name}" for shape, name in self.shapes.items() if shape in content}
        self.seen += sorted(found - {*self.seen})

    def look_through(self, folder: Path) -> None:
        """Look into each file below a folder, and at its name."""
        for file in _files(folder):
            if not any(fnmatch(file.name, pattern) for pattern in EXEMPT):
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
