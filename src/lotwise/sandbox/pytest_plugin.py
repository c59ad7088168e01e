"""A fixture for whoever tests a Kraken client: `kraken_sandbox` is a sandbox of its own for each test.

Law: nothing is imported before a test asks for it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lotwise.sandbox.service import Hosted, Sandbox


@pytest.fixture
def kraken_sandbox_options() -> "Sandbox":
    """What kind of sandbox `kraken_sandbox` is; override it to have another."""
    from lotwise.sandbox.service import Sandbox

    return Sandbox()


@pytest.fixture
def kraken_sandbox(kraken_sandbox_options: "Sandbox") -> "Iterator[Hosted]":
    """Kraken's spot exchange on loopback: url, ws_url, auth_ws_url, key, secret; `do` for the operator."""
    from lotwise.sandbox.service import hosted

    with hosted(kraken_sandbox_options) as sandbox:
        yield sandbox
