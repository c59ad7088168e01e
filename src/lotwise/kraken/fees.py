"""What Kraken takes of a spot trade, as dated ladders by 30-day volume in USD.

Stablecoins and fiat as base pay a schedule of their own, which is not here; as quote they do not.
"""

from datetime import date
from decimal import Decimal

from lotwise.domain.market import FeeSchedule, FeeTier


def _ladder(effective: date, rows: str) -> FeeSchedule:
    """A schedule from rows of volume, maker and taker rate in percent."""
    tiers = (map(Decimal, row.split()) for row in rows.strip().splitlines())
    return FeeSchedule(
        effective,
        tuple(FeeTier(volume, maker.scaleb(-2), taker.scaleb(-2)) for volume, maker, taker in tiers),
    )


# A real LTC/USDT fill of 2024-01-14 paid 0.26 %. The rates are older than any listing here; the
# first day is assumed.
UNTIL_2024 = _ladder(
    date(2019, 1, 1),
    """
           0  0.16  0.26
       50000  0.14  0.24
      100000  0.12  0.22
      250000  0.10  0.20
      500000  0.08  0.18
     1000000  0.06  0.16
     2500000  0.04  0.14
     5000000  0.02  0.12
    10000000  0.00  0.10
    """,
)

# AssetPairs of 2024 to July 2026. The first day is not known: it is the day after the last fill
# known at the older rate, so that a cost is never told too low.
UNTIL_JULY_2026 = _ladder(
    date(2024, 1, 15),
    """
            0  0.25  0.40
        10000  0.20  0.35
        50000  0.14  0.24
       100000  0.12  0.22
       250000  0.10  0.20
       500000  0.08  0.18
      1000000  0.06  0.16
      2500000  0.04  0.14
      5000000  0.02  0.12
     10000000  0.00  0.10
    100000000  0.00  0.08
    500000000  0.00  0.05
    """,
)

# Kraken's announcement of 2026-07-09; the ladder was read in an account on 2026-09-08, and a real
# fill of 2026-09-15 paid 0.80 %.
SINCE_JULY_2026 = _ladder(
    date(2026, 7, 9),
    """
           0  0.40  0.80
        2501  0.30  0.60
       10001  0.22  0.38
       25001  0.20  0.35
       50001  0.15  0.30
      100001  0.12  0.25
      250001  0.10  0.22
      500001  0.08  0.20
     1000001  0.06  0.18
     2500001  0.04  0.15
     5000001  0.02  0.12
    10000001  0.00  0.10
    """,
)

FEE_SCHEDULES: tuple[FeeSchedule, ...] = (UNTIL_2024, UNTIL_JULY_2026, SINCE_JULY_2026)
