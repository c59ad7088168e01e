"""Nonces only rise, whatever the clock does and however often a run begins."""

from pathlib import Path

import pytest
from filelock import FileLock, Timeout
from hypothesis import given
from hypothesis import strategies as st

from lotwise.app import accounts
from lotwise.app.accounts import lock_of, nonces_of
from lotwise.domain.values import Time
from lotwise.kraken.signature import Credentials
from lotwise.venues.kraken.nonces import AHEAD, LockLost, Nonces


@given(clocks=st.lists(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), min_size=1, max_size=5))
def test_nonces_rise_across_runs_though_the_clock_goes_back(
    tmp_path_factory: pytest.TempPathFactory, clocks: list[list[int]]
) -> None:
    path, given_out = tmp_path_factory.mktemp("nonces") / "mark", list[int]()
    for run in clocks:
        times = iter(run)
        nonces = Nonces(path, lambda: Time(next(times)))  # noqa: B023
        given_out += [nonces.next() for _ in run]
    assert given_out == sorted(set(given_out))


def test_a_clean_end_leaves_no_leap(tmp_path: Path) -> None:
    path = tmp_path / "mark"
    nonces = Nonces(path, lambda: Time(1000))
    last = nonces.next()
    assert int(path.read_text()) == last + AHEAD, "a run that dies may have given out more than is known"
    nonces.close()
    assert Nonces(path, lambda: Time(1000)).next() == last + 1


def test_a_lock_that_is_taken_away_ends_the_sending_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is removed by hand, and a second run takes a lock of the same name."""
    monkeypatch.setattr(accounts, "HOME", tmp_path / "home")
    key = Credentials("K1", b"secret")
    with lock_of(key) as lock:
        nonces = Nonces(nonces_of(key), lambda: Time(1000))
        nonces.next()
        mark = nonces_of(key).read_text()
        Path(lock.lock_file).unlink()
        with pytest.raises(LockLost, match="not the lock any more"):
            nonces.next()
        with lock_of(key):
            with pytest.raises(LockLost):
                nonces.next()
            Nonces(nonces_of(key), lambda: Time(1000)).next()
        nonces.close()
        assert nonces_of(key).read_text() != mark, "the other's mark stays"


def test_another_that_tries_the_lock_takes_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "HOME", tmp_path / "home")
    key = Credentials("K1", b"secret")
    with lock_of(key):
        nonces = Nonces(nonces_of(key), lambda: Time(1000))
        first = nonces.next()
        with pytest.raises(Timeout), FileLock(lock_of(key).lock_file, timeout=0):
            pass
        assert nonces.next() > first
