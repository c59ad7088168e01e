"""The checksum of Kraken's book, by its documentation's worked examples."""

from decimal import Decimal

from lotwise.kraken.checksum import Level, book_checksum


def levels(text: str) -> tuple[Level, ...]:
    """Levels from text, one a line; the digits stay as they are written."""
    rows = (line.split() for line in text.strip().splitlines())
    return tuple((Decimal(price), Decimal(quantity)) for price, quantity in rows)


# Kraken's guide to the book of WebSocket v2: checksum 3310070434.
BTC_ASKS = levels("""
    45285.2 0.00100000
    45286.4 1.54571953
    45286.6 1.54571109
    45289.6 1.54560911
    45290.2 0.15890660
    45291.8 1.54553491
    45294.7 0.04454749
    45296.1 0.35380000
    45297.5 0.09945542
    45299.5 0.18772827
""")
BTC_BIDS = levels("""
    45283.5 0.10000000
    45283.4 1.54582015
    45282.1 0.10000000
    45281.0 0.10000000
    45280.3 1.54592586
    45279.0 0.07990000
    45277.6 0.03310103
    45277.5 0.30000000
    45277.3 1.54602737
    45276.6 0.15445238
""")

# Kraken's page on the book channel, with the pair's four and eight decimals written out.
MATIC_ASKS = levels("""
    0.5668 4410.79769741
    0.5669 4655.40412487
    0.5670 49844.89424998
    0.5671 24306.41678000
    0.5672 29783.25223475
    0.5673 57234.71239278
    0.5674 45065.04744000
    0.5675 5912.76380354
    0.5676 42514.92434778
    0.5677 36304.08470220
""")
MATIC_BIDS = levels("""
    0.5666 4831.75496356
    0.5665 6658.22734739
    0.5664 18724.91513344
    0.5663 11563.92544914
    0.5662 14006.65365711
    0.5661 17454.85679807
    0.5660 18097.15470000
    0.5659 33644.89175666
    0.5658 148.34640000
    0.5657 606.70854372
""")


def test_the_guides_book_has_the_guides_checksum() -> None:
    assert book_checksum(BTC_ASKS, BTC_BIDS) == 3310070434


def test_leading_zeros_of_a_price_below_one_are_left_out() -> None:
    assert book_checksum(MATIC_ASKS, MATIC_BIDS) == 2439117997


def test_the_documented_update_gives_the_documented_checksum() -> None:
    after = (*MATIC_BIDS[:9], (Decimal("0.5657"), Decimal("1098.39475580")))
    assert book_checksum(MATIC_ASKS, after) == 2114181697


def test_only_ten_levels_of_each_side_count() -> None:
    worse_ask, worse_bid = (Decimal("45300.0"), Decimal("9.0")), (Decimal("45000.0"), Decimal("9.0"))
    assert book_checksum((*BTC_ASKS, worse_ask), (*BTC_BIDS, worse_bid)) == 3310070434


def test_trailing_zeros_are_part_of_it() -> None:
    shorter = ((Decimal("45285.2"), Decimal("0.001")), *BTC_ASKS[1:])
    assert book_checksum(shorter, BTC_BIDS) != 3310070434


def test_an_empty_book_has_a_checksum() -> None:
    assert book_checksum((), ()) == 0
