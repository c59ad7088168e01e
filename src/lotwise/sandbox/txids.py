"""Ids in Kraken's shape, such as OU22CG-KLAF2-FWUDD7, of the exchange's counted ones.

Law: for one seed, number and id belong to each other one to one, so that nothing has to be remembered.
"""

from hashlib import sha256

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = [first + second for second in ALPHABET for first in ALPHABET]
_DIGITS = str.maketrans(ALPHABET, "0123456789abcdefghijklmnopqrstuv")
"""Two characters at a time are written, and all of them read at once, as the digits that Python knows."""

_LENGTH = 16
_SPACE = 32**_LENGTH
_GROUPS = (5, 5, 6)


class TxIds:
    """The ids that one seed gives out."""

    def __init__(self, seed: int) -> None:
        drawn = int.from_bytes(sha256(f"txid {seed}".encode()).digest(), "big")
        # Odd, and so invertible where the space is a power of two.
        self._factor = drawn % _SPACE | 1
        self._shift = drawn // _SPACE % _SPACE
        self._inverse = pow(self._factor, -1, _SPACE)

    def txid(self, letter: str, number: int) -> str:
        """The id of a counted thing; `letter` tells its kind (O order, T trade, L ledger row)."""
        mixed = (number * self._factor + self._shift * ord(letter)) % _SPACE
        text = "".join([_PAIRS[mixed >> place & 1023] for place in range(0, 5 * _LENGTH, 10)])
        first, second, _ = _GROUPS
        return f"{letter}{text[:first]}-{text[first : first + second]}-{text[first + second :]}"

    def number(self, letter: str, txid: str) -> int | None:
        """The number of an id of this kind, or None for a text that is none."""
        groups = txid.removeprefix(letter).split("-")
        if not txid.startswith(letter) or tuple(map(len, groups)) != _GROUPS:
            return None
        text = "".join(groups)
        if text.strip(ALPHABET):
            return None
        mixed = int(text[::-1].translate(_DIGITS), 32)
        number: int = (mixed - self._shift * ord(letter)) * self._inverse % _SPACE
        return number
