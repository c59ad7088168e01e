"""The same rule through a compiler: many balances at once, and many paths of one plan.

Laws: what is compiled is `choose_lots` itself, frozen to one market and policy so that its divisions
are by constants; one seed gives one answer whatever the number of threads. Nothing compiled is kept
on disk: it could outlive a change of the rule. Importing this needs numba, or raises MissingExtra.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lotwise.domain.market import PPM, ppm
from lotwise.domain.sizing import CEILING_64, MINIMUM, OVERFLOW, UNBOUNDED, Purse, Terms, choose_lots
from lotwise.domain.values import ratio_up, require, steps_down, steps_up
from lotwise.research import MissingExtra
from lotwise.research.projection import UNIT, Odds, Plan, fee_ppm, money, settle

try:
    import numba
except ModuleNotFoundError as missing:
    raise MissingExtra("research", "numba") from missing

Integers = NDArray[np.int64]

_inline = numba.njit(error_model="numpy", forceinline=True)
_compile = numba.njit(error_model="numpy", nogil=True)

choose_lots_64: Callable[[Purse, Terms, int], tuple[int, int, int]] = _inline(choose_lots)
"""The rule on 64-bit integers: for a ceiling of at most CEILING_64."""
_settle_64: Callable[[int, int, int], tuple[int, int]] = _inline(settle)


def size_batch(frees: Integers, purse: Purse, terms: Terms) -> tuple[NDArray[np.int8], Integers]:
    """(outcome, lots) of `choose_lots` for each free balance in quanta, which takes the purse's place.

    Balances whose decision passes 64 bits are decided on Python's integers.
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
            mine = Purse(frees[row], fraction_top, fraction_bottom, cap, risk, raised)
            outcomes[row], lots[row], _ = choose_lots_64(mine, terms, CEILING_64)

    return _compile(batch)


_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)
_PATH = np.uint64((0x9E3779B97F4A7C15 << 14) % (1 << 64))
"""From one path's counter to the next one's: 2^14 draws, more than MAX_TRADES, so none is shared."""
_DRAW_BITS = 53
_LOW = np.uint64(64 - _DRAW_BITS)


def _mixed(counter: np.uint64) -> np.uint64:
    """SplitMix64's output function (Steele, Lea and Flood, 2014): counters in, random bits out."""
    bits = (counter ^ (counter >> _SHIFTS[0])) * _MIX[0]
    bits = (bits ^ (bits >> _SHIFTS[1])) * _MIX[1]
    return bits ^ (bits >> _SHIFTS[2])


_mixed_64: Callable[[np.uint64], np.uint64] = _inline(_mixed)


class Chance(NamedTuple):
    """One trade in integers: of 2^53 equal draws those below `wins` fetch `win_ppm` of each million
    paid, the others `lose_ppm`; a balance above `ceiling` is no longer exact."""

    wins: int
    win_ppm: int
    lose_ppm: int
    ceiling: int


class Tree(NamedTuple):
    """All courses of the first trades: node n loses to node 2n + 1 and wins to node 2n + 2."""

    depth: int
    frees: Integers
    costs: Integers
    outcomes: Integers


class Walks(NamedTuple):
    """Paths of one plan, in units: where each ends, the fees that it paid; and for each trade how
    many paths were locked out there or before."""

    finals: Integers
    costs: Integers
    locked_out: Integers


TREE_DEPTH = 14
"""Paths that have won and lost alike hold the same balance, so these trades are worked out once."""

CHUNK = 4096
"""Paths taken together: they fit into the processor's cache."""

BURST = -1
"""The balance of a path that has left 64 bits; the rule refuses it from there on."""


@lru_cache(maxsize=16)
def _walkers(purse: Purse, terms: Terms, chance: Chance) -> tuple[Any, Any]:
    """(grow a tree, follow a chunk of paths through it and on), compiled for one plan."""
    _, fraction_top, fraction_bottom, cap, risk, raised = purse
    fee, lose_ppm, edge_ppm = terms.fee_ppm, chance.lose_ppm, chance.win_ppm - chance.lose_ppm
    wins, ceiling = np.uint64(chance.wins), chance.ceiling

    def trade(free: int, won: int) -> tuple[int, int, int]:
        mine = Purse(free, fraction_top, fraction_bottom, cap, risk, raised)
        outcome, lots, _ = choose_lots_64(mine, terms, ceiling)
        change, fees = _settle_64(lots, lose_ppm + won * edge_ppm, fee)
        return outcome, free + change if outcome != OVERFLOW else BURST, fees

    trade_64: Any = _inline(trade)

    def grow(tree: Tree) -> None:
        for node in range(tree.frees.size // 2):
            for won in range(2):
                child = 2 * node + 1 + won
                tree.outcomes[node], tree.frees[child], fees = trade_64(tree.frees[node], won)
                tree.costs[child] = tree.costs[node] + fees

    def follow(first: np.uint64, tree: Tree, walks: Walks) -> None:
        finals, costs, locked_out = walks
        for path in range(finals.size):
            counter, node = first + np.uint64(path) * _PATH, np.int64(0)
            for step in range(tree.depth):
                locked_out[step] += tree.outcomes[node] > MINIMUM
                node = 2 * node + 1 + np.int64(_mixed_64(counter) >> _LOW < wins)
                counter += _GAMMA
            finals[path], costs[path] = tree.frees[node], tree.costs[node]
        for step in range(tree.depth, locked_out.size):
            counter = first + np.uint64(step) * _GAMMA
            for path in range(finals.size):
                won = np.int64(_mixed_64(counter) >> _LOW < wins)
                outcome, finals[path], fees = trade_64(finals[path], won)
                costs[path] += fees
                locked_out[step] += outcome > MINIMUM
                counter += _PATH

    return _compile(grow), _compile(follow)


def walk(plan: Plan, fee_rate: Decimal, odds: Odds, threads: int = 1) -> Walks:
    """As many paths of a plan as asked for, drawn from the seed, one fee rate for both sides.

    Raises BadField, also when a balance would pass what 64 bits hold exactly.
    """
    win_ppm, lose_ppm = PPM + ppm(plan.gain, "gain"), PPM - ppm(odds.loss, "loss")
    # So low that neither the proceeds of a trade nor the fees of a whole path pass 64 bits.
    ceiling = CEILING_64 // ((2 + win_ppm // PPM) * plan.trades)
    start, floor = steps_down(plan.balance, UNIT), steps_up(plan.minimum, UNIT)
    require(start <= ceiling, "balance", "is beyond what 64 bits hold here; use fewer trades")
    require(floor <= ceiling, "minimum", "is beyond what 64 bits hold here; use fewer trades")
    purse = Purse(0, *plan.fraction.as_integer_ratio(), min(steps_down(plan.cap, UNIT), ceiling), -1, 1)
    terms = Terms(1, 1, 1, 1, -1, 0, floor, 1, 0, fee_ppm(fee_rate), 0)
    top, bottom = odds.win_rate.as_integer_ratio()
    grow, follow = _walkers(purse, terms, Chance((top << _DRAW_BITS) // bottom, win_ppm, lose_ppm, ceiling))

    depth = min(plan.trades, TREE_DEPTH)
    tree = Tree(depth, *np.zeros((3, (2 << depth) - 1), np.int64))
    tree.frees[0] = start
    grow(tree)
    finals, costs = np.zeros((2, odds.paths), np.int64)
    origin = int(_mixed_64(np.uint64(odds.seed)))

    def follow_from(path: int) -> Integers:
        locked_out = np.zeros(plan.trades, np.int64)
        first = np.uint64((origin + path * int(_PATH)) % (1 << 64))
        follow(first, tree, Walks(finals[path : path + CHUNK], costs[path : path + CHUNK], locked_out))
        return locked_out

    locked_out = np.zeros(plan.trades, np.int64)
    with ThreadPoolExecutor(threads) as executor:
        for chunk in executor.map(follow_from, range(0, odds.paths, CHUNK)):
            locked_out += chunk
    require(bool(finals.min() >= 0), "balance", "grows beyond what 64 bits hold; use a lower cap")
    return Walks(finals, costs, locked_out)


@dataclass(frozen=True, slots=True)
class Bin:
    """How many paths end from `low` to `high`, both included."""

    low: Decimal
    high: Decimal
    paths: int


@dataclass(frozen=True, slots=True)
class MonteCarlo:
    """Where the paths of a plan end, in quote, rounded against us.

    median, p05 and p95 are balances that a path ends with; a loss is an end below the start; shares
    of paths are in whole ppm, rounded up. lock_out_by_trade: how many were refused there or before.
    """

    median: Decimal
    p05: Decimal
    p95: Decimal
    mean: Decimal
    mean_costs: Decimal
    loss_probability: Decimal
    lock_out_probability: Decimal
    lock_out_by_trade: tuple[Decimal, ...]
    paths: int
    seed: int
    histogram: tuple[Bin, ...]


def simulate(plan: Plan, fee_rate: Decimal, odds: Odds, threads: int = 1) -> MonteCarlo:
    """What `walk` finds, in money and probabilities."""
    walks, paths = walk(plan, fee_rate, odds, threads), odds.paths
    finals = walks.finals
    ranks = [(paths * percent + 99) // 100 - 1 for percent in (5, 50, 95)]
    p05, median, p95 = (money(int(units)) for units in np.partition(finals, ranks)[ranks])
    losses = np.count_nonzero(finals < steps_down(plan.balance, UNIT))
    locked_out = tuple(_share(int(count), paths) for count in walks.locked_out)
    return MonteCarlo(
        median=median,
        p05=p05,
        p95=p95,
        mean=money(_sum(finals) // paths),
        mean_costs=money(-(-_sum(walks.costs) // paths)),
        loss_probability=_share(int(losses), paths),
        lock_out_probability=locked_out[-1],
        lock_out_by_trade=locked_out,
        paths=paths,
        seed=odds.seed,
        histogram=histogram(finals),
    )


def histogram(finals: Integers, most: int = 16) -> tuple[Bin, ...]:
    """Equal bins from the lowest to the highest end, at most so many."""
    lowest, highest = int(finals.min()), int(finals.max())
    width = (highest - lowest) // most + 1
    counts = np.bincount((finals - lowest) // width)
    lows = range(lowest, highest + 1, width)
    return tuple(
        Bin(money(low), money(low + width - 1), int(count)) for low, count in zip(lows, counts, strict=True)
    )


def _share(count: int, paths: int) -> Decimal:
    return ratio_up(Decimal(count), Decimal(paths))


def _sum(values: Integers) -> int:
    """The sum on Python's integers of values not below 0: one of ten million may pass 64 bits."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())
