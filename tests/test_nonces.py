"""Nonces only rise, whatever the clock does and however often a run begins."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotwise.domain.values import Time
from lotwise.venues.kraken.nonces import AHEAD, Nonces


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
