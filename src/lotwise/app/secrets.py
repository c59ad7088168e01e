"""The API key, where the user keeps it: environment, a file, or the system's keyring. Read only when a
command needs it; it has no repr and is in no message."""

import os
from importlib.util import find_spec
from pathlib import Path

from lotwise.app.terminal import Problem
from lotwise.domain.values import BadField
from lotwise.kraken.signature import Credentials, credentials

KEY, SECRET = "KRAKEN_API_KEY", "KRAKEN_API_SECRET"
KEYRING = "lotwise"

HOW = (
    f"set {KEY} and {SECRET}, or {KEY}_FILE and {SECRET}_FILE to files that hold them, or keep both in the"
    f" system's keyring (`keyring set {KEYRING} {KEY}`, `keyring set {KEYRING} {SECRET}`)"
)


def load_credentials() -> Credentials:
    """The key pair; Problem, without any of it, when there is none or it cannot be one."""
    key, secret = (_value(name) for name in (KEY, SECRET))
    if not key or not secret:
        missing = " and ".join(name for name, value in ((KEY, key), (SECRET, secret)) if not value)
        raise Problem(f"no {missing}: {HOW}")
    for name, value in ((KEY, key), (SECRET, secret)):
        if not (value.isascii() and value.isprintable()):
            raise Problem(f"{name} has a character that none of Kraken's has (a line's end?): copy it anew")
    try:
        return credentials(key, secret)
    except BadField as bad:
        raise Problem(f"{SECRET} {bad.problem}") from None


def _value(name: str) -> str:
    file = os.environ.get(f"{name}_FILE")
    if file and name in os.environ:
        raise Problem(f"both {name} and {name}_FILE are set; keep one of them")
    if file:
        try:
            value = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            raise Problem(f"{name}_FILE: {file} cannot be read") from None
        if not value:
            raise Problem(f"{name}_FILE: {file} is empty")
        return value
    return os.environ.get(name, "").strip() or _from_keyring(name)


def _from_keyring(name: str) -> str:
    """The keyring's, where the package is installed (it is no dependency) and the system has one. Raises
    Problem for one that is locked or broken."""
    if find_spec("keyring") is None:
        return ""
    import keyring
    from keyring.errors import KeyringError, NoKeyringError

    try:
        return keyring.get_password(KEYRING, name) or ""
    except NoKeyringError:
        return ""
    except KeyringError as trouble:
        text = f"the system's keyring does not give {name} ({type(trouble).__name__})"
        raise Problem(f"{text}: unlock it, or set {name} in the environment") from None
