"""The tables of conformance as markdown, for docs/sandbox.md.

Law: every line comes from conformance.py and stream_conformance.py, by which the sandbox itself goes.
"""

from collections.abc import Iterable

from lotwise.sandbox import conformance as rest
from lotwise.sandbox import stream_conformance as stream
from lotwise.sandbox.conformance import Endpoint, Row


def conformance() -> str:
    """All tables and doubts."""
    parts = [
        "### REST: endpoints\n",
        _table("endpoint", ((_endpoint(each)) for each in (*rest.PUBLIC, *rest.PRIVATE))),
        "### REST: parameters\n",
        _table("parameter", (row for each in (*rest.PUBLIC, *rest.PRIVATE) for row in _parameters(each))),
        "### Order types\n",
        _table("order type", rest.ORDER_TYPES),
        "### REST: errors\n",
        _table("error", rest.ERRORS),
        "### WebSocket v2: channels and their options\n",
        _table("channel", (*stream.CHANNEL_ROWS, *stream.OPTION_ROWS)),
        "### WebSocket v2: methods and their fields\n",
        _table("method", (*stream.METHOD_ROWS, *stream.FIELD_ROWS)),
        "### WebSocket v2: errors\n",
        _table("error", stream.ERROR_ROWS),
        "### WebSocket v2: behaviour\n",
        _table("behaviour", stream.BEHAVIOUR_ROWS),
        "### Doubts: what Kraken's documentation leaves open, and how it was taken\n",
        *(f"- {doubt}" for doubt in (*rest.DOUBTS, *stream.DOUBTS)),
    ]
    return "\n".join(parts)


def _table(name: str, rows: Iterable[Row]) -> str:
    lines = [f"| {name} | as at Kraken | |", "|---|---|---|"]
    lines += [f"| {_cell(row.name)} | {row.support.value} | {_cell(row.note)} |" for row in rows]
    return "\n".join([*lines, ""])


def _endpoint(endpoint: Endpoint) -> Row:
    door = "private" if endpoint.private else "public"
    return Row(f"{endpoint.name} ({door})", endpoint.support, endpoint.note)


def _parameters(endpoint: Endpoint) -> Iterable[Row]:
    return (
        Row(f"{endpoint.name}: {parameter.name}", parameter.support, parameter.note)
        for parameter in endpoint.parameters
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
