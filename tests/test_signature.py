"""API-Sign and nonces, with Kraken's own published sample."""

import pytest

from lotwise.domain.values import BadField
from lotwise.kraken.signature import MAX_NONCE, accepts_nonce, credentials, nonce_of, sign, verify

SECRET = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
NONCE = "1616492376594"
BODY = b"nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25"
PATH = "/0/private/AddOrder"
SIGNATURE = "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ=="

KEYS = credentials("public", SECRET)


def test_signs_the_documented_sample_as_documented() -> None:
    assert sign(KEYS.secret, PATH, NONCE, BODY) == SIGNATURE


def test_verifies_the_sample() -> None:
    assert verify(KEYS.secret, PATH, NONCE, BODY, SIGNATURE)


@pytest.mark.parametrize(
    ("path", "nonce", "body", "signature"),
    [
        (PATH + "x", NONCE, BODY, SIGNATURE),
        (PATH, "1616492376595", BODY, SIGNATURE),
        (PATH, NONCE, BODY + b" ", SIGNATURE),
        (PATH, NONCE, BODY, SIGNATURE[:-3] + "A=="),
        (PATH, NONCE, BODY, ""),
        (PATH, NONCE, BODY, "\ud800ü"),
    ],
)
def test_refuses_a_signature_of_anything_else(path: str, nonce: str, body: bytes, signature: str) -> None:
    assert not verify(KEYS.secret, path, nonce, body, signature)


def test_never_shows_the_secret() -> None:
    assert SECRET not in repr(KEYS) and repr(KEYS.secret) not in repr(KEYS)
    with pytest.raises(BadField) as told:
        credentials("public", SECRET + "!")
    assert SECRET[:8] not in str(told.value)
    assert SECRET[:8] not in repr(told.value)


@pytest.mark.parametrize("secret", ["", "not base64", "ü", "a"])
def test_refuses_a_secret_that_is_none(secret: str) -> None:
    with pytest.raises(BadField):
        credentials("public", secret)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "1e3", " 1", "+1", "٣", "x", str(2**64), "9" * 5000])
def test_a_nonce_is_an_unsigned_64_bit_number(text: str) -> None:
    assert nonce_of(text) is None
    assert nonce_of("0") == 0
    assert nonce_of(str(MAX_NONCE)) == MAX_NONCE


def test_a_nonce_must_rise() -> None:
    assert accepts_nonce(-1, 0)
    assert accepts_nonce(5, 6)
    assert not accepts_nonce(5, 5)
    assert not accepts_nonce(5, 4)


def test_a_window_lets_a_nonce_be_lower_by_less_than_it() -> None:
    assert accepts_nonce(5000, 4001, 1000)
    assert not accepts_nonce(5000, 4000, 1000)
