"""Ids in Kraken's shape, such as OU22CG-KLAF2-FWUDD7, of the exchange's counted ones.

Law: for one seed, number and id belong to each other one to one, so that nothing has to be remembered.
"""

from hashlib import sha256

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
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
        text = "".join(ALPHABET[mixed >> 5 * place & 31] for place in range(_LENGTH))
        first, second, _ = _GROUPS
        return f"{letter}{text[:first]}-{text[first : first + second]}-{text[first + second :]}"

    def number(self, letter: str, txid: str) -> int | None:
        """The number of an id of this kind, or None for a text that is none."""
        groups = txid.removeprefix(letter).split("-")
        if not txid.startswith(letter) or tuple(map(len, groups)) != _GROUPS:
            return None
        places = [ALPHABET.find(character) for character in "".join(groups)]
        if min(places) < 0:
            return None
        mixed = sum(value << 5 * place for place, value in enumerate(places))
        number: int = (mixed - self._shift * ord(letter)) * self._inverse % _SPACE
        return number
