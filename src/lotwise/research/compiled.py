"""The same rule through a compiler: many balances at once, and many paths of one plan.

Laws: what is compiled is `choose_lots` itself, frozen to one market and policy so that its divisions
are by constants; one seed gives one answer whatever the number of threads. Nothing compiled is kept
on disk: it could outlive a change of the rule. Importing this needs numba, or raises MissingExtra.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lotwise.domain.sizing import CEILING_64, MINIMUM, OVERFLOW, UNBOUNDED, Purse, Terms, choose_lots
from lotwise.research import MissingExtra
from lotwise.research.projection import settle

try:
    import numba
except ModuleNotFoundError as missing:
    raise MissingExtra("research", "numba") from missing

Integers = NDArray[np.int64]

_inline = numba.njit(error_model="numpy", forceinline=True)
_compile = numba.njit(error_model="numpy", nogil=True)

choose_lots_64: Callable[[Purse, Terms, int], tuple[int, int, int]] = _inline(choose_lots)
"""The rule on 64-bit integers, for a ceiling of CEILING_64 or less."""
_settle = _inline(settle)


def size_batch(frees: Integers, purse: Purse, terms: Terms) -> tuple[NDArray[np.int8], Integers]:
    """(outcome, lots) of `choose_lots` for each free balance in quanta, which takes the purse's place.

    A balance whose decision passes 64 bits is decided on Python's integers instead.
    """
    outcomes, lots = np.full(frees.shape, OVERFLOW, np.int8), np.zeros(frees.shape, np.int64)
    if max(*purse[1:], *terms) <= CEILING_64:
        _batch(purse._replace(free=0), terms)(frees, outcomes, lots)
    for row in np.flatnonzero(outcomes == OVERFLOW):
        outcomes[row], lots[row], _ = choose_lots(purse._replace(free=int(frees[row])), terms, UNBOUNDED)
    return outcomes, lots


@lru_cache(maxsize=256)
def _batch(purse: Purse, terms: Terms) -> Any:
    _, fraction_top, fraction_bottom, cap, risk, raised = purse

    def batch(frees: Integers, outcomes: NDArray[np.int8], lots: Integers) -> None:
        for row in range(frees.size):
            share = Purse(frees[row], fraction_top, fraction_bottom, cap, risk, raised)
            outcomes[row], lots[row], _ = choose_lots_64(share, terms, CEILING_64)

    return _compile(batch)


class Chance(NamedTuple):
    """One step of a path in integers: a draw of 53 bits below `threshold` wins."""

    threshold: int
    win_ppm: int
    lose_ppm: int
    ceiling: int


class Tree(NamedTuple):
    """The balances of all courses of the first trades: node n loses to 2n + 1 and wins to 2n + 2."""

    frees: Integers
    costs: Integers
    outcomes: Integers


class Walks(NamedTuple):
    """Paths of one plan, in units: where each ends, the fees it paid; at each trade how many paths
    are locked out."""

    finals: Integers
    costs: Integers
    locked_out: Integers


_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_BITS = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)
_STRIDE = np.uint64(1 << 14)
"""Draws reserved for one path, so that no two paths share one: more than MAX_TRADES."""


def _draw(counter: Any) -> Any:
    """53 random bits of a counter: SplitMix64 (Steele, Lea and Flood, 2014)."""
    bits = (counter ^ (counter >> _BITS[0])) * _MIX[0]
    bits = (bits ^ (bits >> _BITS[1])) * _MIX[1]
    return (bits ^ (bits >> _BITS[2])) >> _BITS[3]


_draw = _inline(_draw)

_TREE_DEPTH = 14
_CHUNK = 4096
_BURST = -1


@lru_cache(maxsize=16)
def _walker(purse: Purse, terms: Terms, chance: Chance) -> tuple[Any, Any]:
    _, fraction_top, fraction_bottom, cap, risk, raised = purse
    win_ppm, lose_ppm, ceiling, fee_ppm = chance.win_ppm, chance.lose_ppm, chance.ceiling, terms.fee_ppm
    threshold = np.uint64(chance.threshold)

    @_inline
    def decide(free):
        outcome, lots, _ = choose_lots_64(
            Purse(free, fraction_top, fraction_bottom, cap, risk, raised), terms, ceiling
        )
        return outcome, lots

    @_inline
    def after(free, outcome, lots, won):
        change, fees = _settle(lots, lose_ppm + won * (win_ppm - lose_ppm), fee_ppm)
        return (free + change if outcome >= 0 else -1), fees

    @_compile
    def grow(tree):
        for node in range(tree.frees.size // 2):
            outcome, lots = decide(tree.frees[node])
            tree.outcomes[node] = outcome
            for won in range(2):
                free, fees = after(tree.frees[node], outcome, lots, won)
                tree.frees[2 * node + 1 + won] = free
                tree.costs[2 * node + 1 + won] = tree.costs[node] + fees

    @_compile
    def follow(key, first, depth, tree, walks):
        frees, costs, locked_out = walks
        tfrees, tcosts, toutcomes = tree
        start = key + _GAMMA * _STRIDE * np.uint64(first)
        for path in range(frees.size):
            counter = start
            node = 0
            for trade in range(depth):
                locked_out[trade] += toutcomes[node] > MINIMUM
                node = 2 * node + 1 + np.int64(_draw(counter) < threshold)
                counter += _GAMMA
            frees[path] = tfrees[node]
            costs[path] = tcosts[node]
            start += _GAMMA * _STRIDE
        for trade in range(depth, locked_out.size):
            counter = key + _GAMMA * (_STRIDE * np.uint64(first) + np.uint64(trade))
            locked = 0
            for path in range(frees.size):
                outcome, lots = decide(frees[path])
                locked += outcome > MINIMUM
                free, fees = after(frees[path], outcome, lots, np.int64(_draw(counter) < threshold))
                frees[path] = free
                costs[path] += fees
                counter += _GAMMA * _STRIDE
            locked_out[trade] += locked

    return grow, follow
