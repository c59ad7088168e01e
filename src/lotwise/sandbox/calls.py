"""A call that has been let in: who asks, when, and parameters that are read by name.

Law: a parameter that cannot be is refused under Kraken's name for it.
"""

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

from lotwise.domain.values import BadField, Time
from lotwise.kraken.rest import time_of
from lotwise.kraken.rest_orders import flag, nonnegative, whole
from lotwise.sandbox.conformance import ENDPOINTS, Endpoint, Parameter, Support
from lotwise.sandbox.desk import Desk
from lotwise.sandbox.keys import ApiKey, KeyRing
from lotwise.sandbox.wire import INVALID_ARGUMENTS, Refused


def invalid(name: str) -> Refused:
    """Kraken's words for a wrong parameter."""
    return Refused(f"{INVALID_ARGUMENTS}:{name}")


class Call(NamedTuple):
    """A call on the desk at a time. The key is None on public endpoints."""

    desk: Desk
    keys: KeyRing
    key: ApiKey | None
    parameters: Mapping[str, str]
    now: Time

    @property
    def account(self) -> str:
        """The account that asks."""
        assert self.key is not None, "a private endpoint was called without a key"
        return self.key.account

    def text(self, name: str) -> str:
        """The parameter, "" when it is absent."""
        return self.parameters.get(name, "")

    def flag(self, name: str) -> bool:
        """A boolean parameter; absent is false."""
        return flag(self.parameters, name)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number within bounds."""
        text = self.text(name)
        number = whole(text, name) if text else default
        if not low <= number <= high:
            raise invalid(name)
        return number

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """One of these words, the first when it is absent."""
        word = self.text(name) or choices[0]
        if word not in choices:
            raise invalid(name)
        return word

    def moment(self, name: str) -> Time | None:
        """A time in Unix seconds, or None when it is absent."""
        return time_of(nonnegative(self.parameters, name)) if self.text(name) else None

    def number(self, name: str) -> Decimal | None:
        """A decimal of at least zero, or None when it is absent."""
        return nonnegative(self.parameters, name) if self.text(name) else None

    def ids(self, name: str, most: int) -> list[str]:
        """A comma list of at most so many ids."""
        ids = [part.strip() for part in self.text(name).split(",")]
        if len(ids) > most or not all(ids):
            raise invalid(name)
        return ids


def check(endpoint: Endpoint, parameters: Mapping[str, str]) -> None:
    """Refused when a parameter that is needed is absent or one is given that is not supported."""
    for parameter in _checked(endpoint.path):
        value = parameters.get(parameter.name, "")
        if parameter.required and not value:
            raise Refused(INVALID_ARGUMENTS)
        if parameter.support is Support.NO and value and value not in parameter.default:
            raise Refused(parameter.refusal) if parameter.refusal else invalid(parameter.name)


@lru_cache(maxsize=len(ENDPOINTS))
def _checked(path: str) -> tuple[Parameter, ...]:
    parameters = ENDPOINTS[path].parameters
    return tuple(each for each in parameters if each.required or each.support is Support.NO)


def refused_by(bad: BadField) -> Refused:
    """Kraken's words for a parameter that its field cannot hold."""
    return invalid(bad.field)
