"""The search for secrets finds them in every shape, in files, output, log and tracebacks; conftest.py runs it
over all that the suite leaves."""

import random
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from shutil import copy
from urllib.parse import quote

import pytest

from lotwise.sandbox.keys import made_up_key
from tests.canaries import EXEMPT, Canaries, urlsafe

KEY_OF, SECRET_OF = made_up_key(7, 7)
RAW = b64decode(SECRET_OF)


def seen(content: bytes) -> list[str]:
    canaries = Canaries()
    canaries.add(KEY_OF, SECRET_OF)
    canaries.look("there", content)
    return canaries.seen


@pytest.mark.parametrize(
    "shape",
    [
        SECRET_OF.encode(),
        KEY_OF.encode(),
        RAW,
        RAW.hex().encode(),
        RAW.hex().upper().encode(),
        repr(RAW).encode(),
        quote(SECRET_OF, safe="").encode(),
        SECRET_OF.encode().hex().encode(),
        b64encode(SECRET_OF.encode()),
        b64encode(b"u:" + SECRET_OF.encode()),
        b64encode(f"{KEY_OF}:{SECRET_OF}".encode()),
        SECRET_OF.rstrip("=").encode(),
        urlsafe(SECRET_OF).encode(),
    ],
)
@pytest.mark.parametrize("around", [b"%b", b"before it %b, after it", b'{"secret":"%b"}\n'])
def test_a_secret_is_found_in_every_shape(shape: bytes, around: bytes) -> None:
    assert seen(around % shape)


def test_what_is_no_secret_is_not_found() -> None:
    others = made_up_key(7, 8)
    assert not seen("".join(others).encode()) and not seen(b"secret" * 100)


def test_short_words_are_no_canaries() -> None:
    canaries = Canaries()
    canaries.add("mine", "c2VjcmV0")
    canaries.look("here", b"mine, and c2VjcmV0 too")
    assert canaries.seen == []


@pytest.mark.parametrize("place", [0, 1, 900, 1_999, (1 << 20) - 3, (1 << 20) + 1, 3_000_000])
def test_a_secret_is_found_wherever_it_stands_among_thousands(place: int) -> None:
    canaries = Canaries()
    canaries.add(*(b64encode(sha256(f"{n}".encode()).digest()).decode() for n in range(3000)))
    secret = b64encode(sha256(b"2999").digest()).decode()
    for size in (place + 60, place + 2_000_000):
        content = bytearray(random.Random(place).randbytes(size))
        content[place : place + len(secret)] = secret.encode()
        canaries.seen.clear()
        canaries.look("here", bytes(content))
        assert canaries.seen == [f"here: {secret[:4]}… of {len(secret)} characters"]


def test_files_and_their_names_are_looked_through_but_for_those_in_which_secrets_belong(
    tmp_path: Path,
) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("run.out", "a.journal", *EXEMPT):
        (tmp_path / "deep" / name.replace("*", "")).write_text(SECRET_OF)
    (tmp_path / "deep" / urlsafe(KEY_OF)).touch()
    canaries = Canaries()
    canaries.add(KEY_OF, SECRET_OF)
    canaries.look_through(tmp_path)
    assert len({where.partition(": ")[0] for where in canaries.seen}) == 3


SHOWING = """
import logging, sys
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
import pytest
from lotwise.kraken.signature import credentials
from lotwise.sandbox.keys import ApiKey, KeyRing, made_up_key

KEY, SECRET = made_up_key(7, 7)

@pytest.fixture
def home():
    path = Path(mkdtemp(prefix="lw"))
    yield path
    rmtree(path)

def test_it(tmp_path, home):
    KeyRing(0, False).add(ApiKey(credentials(KEY, SECRET), "me"))
    {line}
"""


@pytest.mark.parametrize(
    ("line", "shown", "processes"),
    [
        ("pass", False, 0),
        ("print('signed with', SECRET)", True, 0),
        ("logging.getLogger('httpx').debug('signed with %s', SECRET)", True, 0),
        ("assert SECRET.encode().hex() == ''", True, 0),
        ("(tmp_path / 'a.journal').write_text(KEY)", True, 0),
        ("(home / 'run.out').write_bytes(b'of a process: ' + SECRET.encode())", True, 0),
        ("sys.stderr.write(SECRET)", True, 1),
    ],
)
def test_a_run_of_tests_that_shows_a_secret_fails_and_says_where(
    tmp_path: Path, line: str, shown: bool, processes: int
) -> None:
    here = tmp_path / "tests"
    here.mkdir()
    for name in ("__init__.py", "conftest.py", "canaries.py"):
        copy(Path(__file__).parent / name, here)
    (here / "test_it.py").write_text(SHOWING.format(line=line))
    (tmp_path / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    asked = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", str(processes)]
    temporary = ["--basetemp", str(tmp_path / "temporary")]
    done = subprocess.run([*asked, *temporary], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ("SECRET FOUND" in done.stdout) is shown, done.stdout + done.stderr
    assert done.returncode == shown
