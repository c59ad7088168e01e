"""Records and state as JSON text and back, exactly: decimals as strings, keys in a fixed order."""

import hashlib
import json
from typing import Any, get_args

from pydantic import TypeAdapter

from lotwise.domain.orders import ImpossibleReport
from lotwise.engine.fold import apply
from lotwise.engine.records import Record
from lotwise.engine.state import State
from lotwise.ledger.postings import Overdrawn, Unbalanced

CHECKPOINT = "Checkpoint"
"""The kind of a row that holds the whole state and its hash, so that a start needs only the tail."""

_ADAPTERS: dict[str, TypeAdapter[Any]] = {cls.__name__: TypeAdapter(cls) for cls in get_args(Record)}
_STATE = TypeAdapter(State)


class Unfoldable(Exception):
    """A row that no run can have written where it stands."""


def encode(record: Record) -> tuple[str, str]:
    """(kind, body) of a record."""
    kind = type(record).__name__
    return kind, _text(_ADAPTERS[kind].dump_python(record, mode="json"))


def decode(kind: str, body: str) -> Record:
    """The record of a row; KeyError for an unknown kind, ValueError for a body that is none."""
    record: Record = _ADAPTERS[kind].validate_json(body)
    return record


def encode_state(state: State) -> str:
    """The state as text. Its mappings keep their order, which is part of it: the oldest leave first."""
    return _text(_STATE.dump_python(state, mode="json"), sort_keys=False)


def state_hash(state: State) -> str:
    """The name of a state: equal states, and only these, have equal hashes."""
    return hashlib.sha256(encode_state(state).encode()).hexdigest()


def checkpoint(state: State) -> tuple[str, str]:
    """(kind, body) of a checkpoint of this state."""
    return CHECKPOINT, f'{{"hash":"{state_hash(state)}","state":{encode_state(state)}}}'


def restore(body: str) -> State:
    """The state of a checkpoint. Raises Unfoldable when it is not what its hash says."""
    try:
        plain = json.loads(body)
        state: State = _STATE.validate_python(plain["state"])
        holds = state_hash(state) == plain["hash"]
    except (KeyError, ValueError) as bad:
        raise Unfoldable(f"it is no checkpoint: {str(bad).splitlines()[0]}") from bad
    if not holds:
        raise Unfoldable("it does not hold the state that its hash names")
    return state


def fold(state: State, kind: str, body: str) -> None:
    """Fold one row into a state; a checkpoint must name the state it meets. Raises Unfoldable."""
    try:
        if kind != CHECKPOINT:
            apply(state, decode(kind, body))
        elif json.loads(body)["hash"] != state_hash(state):
            raise Unfoldable("the rows before it do not give the state that it names")
    except (KeyError, ValueError, ArithmeticError, ImpossibleReport, Overdrawn, Unbalanced) as bad:
        raise Unfoldable(f"{type(bad).__name__}: {str(bad).splitlines()[0]}") from bad


def _text(value: Any, sort_keys: bool = True) -> str:
    return json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
