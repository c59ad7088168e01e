"""What is committed survives, what was changed is found, and what was recorded comes back as it was."""

import dataclasses
import json
import os
import sqlite3
import subprocess
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import date
from decimal import Decimal
from enum import Enum
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lotwise.domain.values import Time
from lotwise.engine.codec import (
    CHECKPOINT,
    Unfoldable,
    checkpoint,
    decode,
    encode,
    encode_state,
    fold,
    restore,
    state_hash,
)
from lotwise.engine.fold import apply
from lotwise.engine.records import Deposited, Opened, Record
from lotwise.engine.state import State
from lotwise.store.journal import GENESIS, PAGE, Journal, JournalError, Row, Trouble, read
from tests.runs import built_in, run_through, settings_of

RECORDS = get_args(Record)
ORDINARY_USER = 65_534

# ── writing and reading ─────────────────────────────────────────────────────────────────────────


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.journal"


def bodies(count: int, length: int = 0) -> list[tuple[str, str]]:
    return [(f"Kind{n % 3}", json.dumps({"n": n, "text": "x" * length})) for n in range(count)]


def write(path: Path, rows: list[tuple[str, str]]) -> list[Row]:
    """A closed journal of these rows, and the rows as they read."""
    with Journal(path) as journal:
        for kind, body in rows:
            journal.append(kind, body)
        journal.commit()
    return list(read(path))


def told(path: Path) -> JournalError:
    """The error of reading a journal to its end; it names the file."""
    with pytest.raises(JournalError) as error:
        list(read(path))
    assert str(path) in str(error.value)
    return error.value


def refused(path: Path) -> JournalError:
    """The error of opening a journal to write, or of reading what is there on the way."""
    with pytest.raises(JournalError) as error, Journal(path) as journal:
        list(journal.rows())
    assert str(path) in str(error.value)
    return error.value


def test_what_is_committed_is_read_back_in_order(path: Path) -> None:
    rows = bodies(2 * PAGE + 7)
    found = write(path, rows)
    assert [(row.kind, row.body) for row in found] == rows
    assert [row.number for row in found] == list(range(len(rows)))
    assert list(read(path, PAGE + 1)) == found[PAGE + 1 :]


def test_a_journal_is_for_its_owner_alone(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("A", "1")
        journal.commit()
        files = [file for file in path.parent.iterdir() if file.suffix != ".lock"]
        assert len(files) == 3 and all(file.stat().st_mode & 0o077 == 0 for file in files)


def test_each_row_is_hashed_with_all_rows_before_it(path: Path) -> None:
    before = GENESIS
    for row in write(path, bodies(5)):
        assert row.hash == sha256(f"{before}\n{row.kind}\n{row.body}".encode()).hexdigest()
        before = row.hash


def test_what_is_not_committed_is_lost(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("A", "1")
        journal.commit()
        journal.append("B", "2")
        assert journal.count == 2
    assert [row.kind for row in read(path)] == ["A"]


def test_equal_rows_give_equal_hashes_however_they_were_committed(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.journal", bodies(9))
    pieces = tmp_path / "pieces.journal"
    for start in range(0, 9, 3):
        with Journal(pieces) as journal:
            assert (journal.count, journal.hash) == (start, whole[start - 1].hash if start else GENESIS)
            for kind, body in bodies(9)[start : start + 3]:
                journal.append(kind, body)
                journal.commit()
    assert list(read(pieces)) == whole


def test_the_last_row_of_a_kind_is_found(path: Path) -> None:
    found = write(path, bodies(8))
    with Journal(path) as journal:
        assert [journal.last(f"Kind{n}") for n in range(3)] == [found[6], found[7], found[5]]
        assert journal.last("Kind3") is None


def test_a_closed_journal_is_one_plain_file_and_reading_leaves_nothing_beside_it(path: Path) -> None:
    write(path, bodies(3))
    assert {file.name for file in path.parent.iterdir()} == {"run.journal", "run.journal.lock"}


KILLED = """
import sys
from pathlib import Path
from lotwise.store.journal import Journal
journal = Journal(Path(sys.argv[1]))
for n in range(3):
    journal.append("Kind", str(n))
    journal.commit()
journal.append("Lost", "3")
print("committed", flush=True)
sys.stdin.read()
"""


def test_what_is_committed_survives_a_killed_process_and_the_journal_goes_on(path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"committed\n"
        process.kill()
    assert [row.body for row in read(path)] == ["0", "1", "2"]
    with Journal(path) as journal:
        journal.append("Kind", "3")
        journal.commit()
    assert [row.body for row in read(path)] == ["0", "1", "2", "3"]


# ── who may write ───────────────────────────────────────────────────────────────────────────────


def test_a_second_writer_is_refused_until_the_first_has_ended(path: Path) -> None:
    with Journal(path):
        assert refused(path).trouble is Trouble.IN_USE
    Journal(path).close()


def test_a_link_to_the_file_is_no_second_door(path: Path) -> None:
    link = path.with_name("latest.journal")
    link.symlink_to(path.name)
    with Journal(path):
        assert refused(link).trouble is Trouble.IN_USE
    with Journal(link):
        assert refused(path).trouble is Trouble.IN_USE


def test_a_journal_that_could_not_be_opened_is_not_in_use(path: Path) -> None:
    path.write_text("no database, and longer than the header of one: " + "x" * 200)
    assert refused(path).trouble is Trouble.UNUSABLE
    path.unlink()
    Journal(path).close()


def test_a_reader_beside_a_writer_sees_what_is_committed_and_stops_nobody(path: Path) -> None:
    with Journal(path) as journal:
        journal.append("A", "0")
        journal.commit()
        reader = read(path)
        assert next(reader).body == "0"
        journal.append("A", "1")
        journal.commit()
        journal.append("A", "2")
        assert [row.body for row in read(path)] == ["0", "1"]
    assert list(reader) == [], "a reader sees at least what was there when it began"
    assert [row.body for row in read(path)] == ["0", "1"]


# ── damage ──────────────────────────────────────────────────────────────────────────────────────


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            assert db.execute(statement).rowcount, f"changes nothing: {statement}"


@pytest.mark.parametrize("number", [0, 4, 9])
@pytest.mark.parametrize(
    "to",
    ["body = 'null'", "body = body || ' '", "kind = 'Kind'", "number = 100", f"hash = '{GENESIS}'",
     "body = CAST(body AS BLOB)", "hash = upper(hash)"],
)  # fmt: skip
def test_a_changed_row_is_found_and_named(path: Path, number: int, to: str) -> None:
    write(path, bodies(10))
    change(path, f"UPDATE rows SET {to} WHERE number = {number}")
    assert f"row {number} is not what was written" in str(told(path))
    assert f"row {number} is not what was written" in str(refused(path))


@pytest.mark.parametrize("number", [0, 5, 8])
def test_a_deleted_row_is_found_and_named(path: Path, number: int) -> None:
    write(path, bodies(10))
    change(path, f"DELETE FROM rows WHERE number = {number}")
    assert f"row {number} is" in str(told(path))


@pytest.mark.parametrize("honest", [True, False])
def test_an_inserted_row_is_found_and_named(path: Path, honest: bool) -> None:
    rows = write(path, bodies(10))
    stated = sha256(f"{rows[3].hash}\nKind\nnull".encode()).hexdigest() if honest else rows[4].hash
    change(
        path,
        "UPDATE rows SET number = -number WHERE number >= 4",
        "UPDATE rows SET number = 1 - number WHERE number < 0",
        f"INSERT INTO rows VALUES (4, 'Kind', 'null', '{stated}')",
    )
    assert f"row {5 if honest else 4} is" in str(told(path))


def test_two_swapped_rows_are_found_at_the_first(path: Path) -> None:
    write(path, bodies(10))
    steps = (("3", "-1"), ("6", "3"), ("-1", "6"))
    change(path, *(f"UPDATE rows SET number = {to} WHERE number = {row}" for row, to in steps))
    assert "row 3 is" in str(told(path))


def test_a_changed_row_is_not_taken_for_the_last_of_its_kind(path: Path) -> None:
    write(path, bodies(10))
    change(path, "UPDATE rows SET body = 'null' WHERE number = 8")
    with Journal(path) as journal, pytest.raises(JournalError, match="row 8 is"):
        journal.last("Kind2")


def test_reading_from_a_row_whose_predecessor_is_gone_is_refused(path: Path) -> None:
    write(path, bodies(10))
    change(path, "DELETE FROM rows WHERE number = 4")
    with pytest.raises(JournalError, match="row 4 is"):
        list(read(path, 5))


def test_a_file_that_is_cut_off_anywhere_is_refused(path: Path) -> None:
    write(path, bodies(60, length=300))
    whole = path.read_bytes()
    edges = (0, 50, 100, *range(4096, len(whole), 4096), *range(5000, len(whole), 4096))
    for size in (*edges, len(whole) - 1):
        path.write_bytes(whole[:size])
        assert told(path).trouble is Trouble.UNUSABLE
        if size:
            assert refused(path).trouble is Trouble.UNUSABLE
            assert path.stat().st_size >= size, "a damaged journal is left for its owner to look at"


def test_a_changed_byte_is_refused_or_changes_no_row(path: Path) -> None:
    rows = write(path, bodies(12, length=300))
    whole = path.read_bytes()
    found = 0
    for place in range(0, len(whole), 61):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x15]) + whole[place + 1 :])
        try:
            assert list(read(path)) == rows
        except JournalError as error:
            assert str(path) in str(error)
            found += 1
    assert found > len(whole) // 61 // 4


def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE notes(text TEXT)")


def other_version(path: Path) -> None:
    write(path, bodies(3))
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA user_version=7")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: path.write_text('{"this": "is a configuration"}' * 20), "not a database"),
        (lambda path: path.write_text("some notes, not many"), "not a database"),
        (other_database, "is a database, but no lotwise journal"),
        (other_version, "is a journal of version 7; this lotwise reads version 1"),
    ],
)
def test_a_file_of_another_kind_is_refused_and_left_as_it_was(
    path: Path, make: Callable[[Path], object], words: str
) -> None:
    make(path)
    before = path.read_bytes()
    assert words in str(told(path))
    error = refused(path)
    assert words in str(error)
    assert error.trouble is Trouble.UNUSABLE
    assert path.read_bytes() == before


def test_an_empty_file_is_nothing_to_read_and_fit_to_be_written(path: Path) -> None:
    path.touch()
    assert "is empty" in str(told(path))
    assert len(write(path, bodies(2))) == 2


@pytest.mark.parametrize("name", ["absent", "absent/run.journal", ".", "x" * 300])
def test_what_is_not_there_cannot_be_read(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in str(told(tmp_path / name))


# ── places that take nothing ────────────────────────────────────────────────────────────────────


def test_a_path_below_a_file_is_refused_and_the_file_kept(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for path in (file / "run.journal", file / "runs" / "run.journal"):
        assert "cannot be written" in str(refused(path))
    assert file.read_text() == "mine"


def test_a_folder_is_no_journal(tmp_path: Path) -> None:
    assert refused(tmp_path).trouble is Trouble.UNUSABLE


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder of an ordinary user, and the test run as that user."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        if os.geteuid() != 0:
            yield folder
            return
        os.chown(folder, ORDINARY_USER, -1)
        os.seteuid(ORDINARY_USER)
        try:
            yield folder
        finally:
            os.seteuid(0)


def test_a_read_only_folder_takes_no_journal(shared_folder: Path) -> None:
    shared_folder.chmod(0o555)
    error = refused(shared_folder / "run.journal")
    assert "choose a folder you may write to with --journal" in str(error)
    assert error.trouble is Trouble.UNUSABLE


def test_what_is_read_only_can_be_read_and_not_written(shared_folder: Path) -> None:
    path = shared_folder / "run.journal"
    rows = write(path, bodies(3))
    path.chmod(0o444)
    assert "choose a folder you may write to with --journal" in str(refused(path))
    shared_folder.chmod(0o555)
    assert list(read(path)) == rows
    path.chmod(0)
    assert "cannot be read (Permission denied)" in str(told(path))


def test_a_full_disk_keeps_all_committed_rows_and_the_rest_when_there_is_space_again(path: Path) -> None:
    long = json.dumps("x" * 5000)
    with Journal(path) as journal:
        journal.append("A", long)
        journal.commit()
        (pages,) = journal._db.execute("PRAGMA page_count").fetchone()
        journal._db.execute(f"PRAGMA max_page_count={pages}")
        for _ in range(3):
            journal.append("B", long)
        for _ in range(2):
            with pytest.raises(JournalError, match="free some space") as error:
                journal.commit()
            assert error.value.trouble is Trouble.FULL
            assert [row.kind for row in read(path)] == ["A"]
        journal._db.execute(f"PRAGMA max_page_count={pages + 100}")
        journal.commit()
        assert [row.kind for row in read(path)] == ["A", "B", "B", "B"]


def test_a_run_that_found_the_disk_full_goes_on_to_the_same_end(tmp_path: Path) -> None:
    settings = settings_of(dry_run_wallet="40", paper__bars=400)
    whole, path = tmp_path / "whole.journal", tmp_path / "full.journal"
    with Journal(whole) as journal:
        end = state_hash(run_through(settings, built_in(settings), journal).engine.state)
    with Journal(path) as journal, pytest.raises(JournalError, match="free some space"):
        journal._db.execute("PRAGMA max_page_count=8")
        run_through(settings, built_in(settings), journal)
    rows = list(read(whole))
    kept = list(read(path))
    assert 2 <= len(kept) < len(rows)
    assert kept == rows[: len(kept)]
    with Journal(path) as journal:
        assert state_hash(run_through(settings, built_in(settings), journal).engine.state) == end
    assert list(read(path)) == rows


# ── records and state as text ───────────────────────────────────────────────────────────────────

EXACT_NUMBERS = st.decimals(-(10**18), 10**18, places=12) | st.sampled_from(
    [Decimal(text) for text in ("0", "1E-30", "-0.10", "1E+5", "0.00000001", "999999999999999.99999999")]
)
PLAIN: Mapping[object, st.SearchStrategy[Any]] = {
    Decimal: EXACT_NUMBERS,
    Time: st.integers(0, 2**53).map(Time),
    int: st.integers(0, 2**62),
    bool: st.booleans(),
    date: st.dates(),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    type(None): st.none(),
    object: st.none() | st.booleans() | st.text("aé€", max_size=3) | st.lists(st.integers(), max_size=2),
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Any value of an annotated type, so that a field added to a record is tested without a word here."""
    origin, inside = get_origin(kind), get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if isinstance(kind, type) and issubclass(kind, Enum):
        return st.sampled_from(kind)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = get_type_hints(kind)
        fields = {field.name: values_of(hints[field.name]) for field in dataclasses.fields(kind)}
        return st.builds(kind, **fields)
    if origin in (types.UnionType, Union):
        return st.one_of(*map(values_of, inside))
    if origin is Literal:
        return st.sampled_from(inside)
    if origin is tuple:
        if inside[-1] is ...:
            return st.lists(values_of(inside[0]), max_size=3).map(tuple)
        return st.tuples(*map(values_of, inside))
    if origin is Counter:
        return st.dictionaries(values_of(inside[0]), values_of(int), max_size=3).map(Counter)
    assert origin in (dict, Mapping), f"no values of {kind} are known"
    return st.dictionaries(values_of(inside[0]), values_of(inside[1]), max_size=3)


@pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: str(kind.__name__))
def test_a_record_comes_back_as_it_was(kind: type) -> None:
    @settings(max_examples=40, deadline=None, derandomize=True)
    @given(values_of(kind))
    def check(record: Record) -> None:
        name, body = encode(record)
        assert name == kind.__name__
        again = decode(name, body)
        assert again == record
        assert encode(again) == (name, body)

    check()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values_of(State))
def test_a_state_comes_back_as_it_was_and_its_hash_names_it(state: State) -> None:
    kind, body = checkpoint(state)
    again = restore(body)
    assert kind == CHECKPOINT
    assert again == state
    assert encode_state(again) == encode_state(state)
    assert state_hash(again) == state_hash(state)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values_of(State))
def test_a_state_comes_back_with_its_orders_in_the_order_they_came(state: State) -> None:
    again = restore(checkpoint(state)[1])
    assert list(again.orders) == list(state.orders)
    assert list(again.ended) == list(state.ended)


def test_numbers_are_text_and_keys_stand_in_order() -> None:
    kind, body = encode(decode("Deposited", '{"time":5,"amount":{"number":"2.860","asset":"USDT"}}'))
    assert (kind, body) == ("Deposited", '{"amount":{"asset":"USDT","number":"2.860"},"time":5}')


@pytest.mark.parametrize(
    ("kind", "body", "trouble"),
    [
        ("Wished", "{}", KeyError),
        ("Deposited", "{}", ValueError),
        ("Deposited", "no json", ValueError),
        ("Deposited", '{"amount":{"asset":"USDT","number":"NaN"},"time":5}', ValueError),
    ],
)
def test_a_row_that_is_no_record_is_refused(kind: str, body: str, trouble: type[Exception]) -> None:
    with pytest.raises(trouble):
        decode(kind, body)


def small_state() -> State:
    state = State()
    body = '{"amount":{"asset":"USDT","number":"2.86"},"time":5}'
    for record in (Opened("a", "paper", {}), decode("Deposited", body)):
        apply(state, record)
    return state


def test_a_checkpoint_whose_state_was_changed_is_refused() -> None:
    _, body = checkpoint(small_state())
    with pytest.raises(Unfoldable, match="does not hold the state"):
        restore(body.replace("2.86", "28.6"))


def test_a_checkpoint_that_does_not_follow_from_the_rows_is_refused() -> None:
    row = checkpoint(small_state())
    fold(small_state(), *row)
    richer = small_state()
    deposit = decode("Deposited", '{"amount":{"asset":"USDT","number":"1"},"time":6}')
    assert isinstance(deposit, Deposited)
    apply(richer, deposit)
    with pytest.raises(Unfoldable, match="do not give the state"):
        fold(richer, *row)
