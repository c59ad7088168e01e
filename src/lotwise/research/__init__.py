"""Floor 4: what one can learn before trading: projections now, exact and by drawing lots.

Laws: pure functions; a seed is handed in, and one seed gives one answer.
"""


class MissingExtra(ImportError):
    """A part of lotwise needs packages of an optional extra, which are not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(f"this needs {package}, of the {extra} extra: pip install 'lotwise[{extra}]'")
