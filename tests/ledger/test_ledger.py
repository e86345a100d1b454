import hashlib
import json
import os
import random
import select
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fangxin.ledger import Ledger, LedgerError, NewEntry, audit, verify
from fangxin.ledger._chain import canonical, encode

WRITER = """
import sys
from fangxin.ledger import Ledger
where, name, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
with Ledger.open(where) as ledger:
    for i in range(count):
        rows = ledger.append_many([("decision", f"{name}.{i}.{j}", {"text": "x" * 200}) for j in range(size)])
        print(rows[-1].seq, rows[-1].hash, flush=True)
"""


def writer(where, name, count, size):
    command = [sys.executable, "-c", WRITER, where, name, str(count), str(size)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_rows_are_chained_numbered_and_read_back(where):
    moment = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=8)))
    with Ledger.open(where) as ledger:
        first = ledger.append("trial", "放心/1", {"b": "你好", "a": [1, 2.5, None]}, time=moment)
        rest = ledger.append_many([NewEntry("decision", "k", {}), ("trial", "放心/1", {"a": "again"})])
        assert [entry.seq for entry in (first, *rest)] == [1, 2, 3]
        assert first.prev_hash == "0" * 64
        assert [entry.prev_hash for entry in rest] == [first.hash, rest[0].hash]
        assert first.time == "2026-01-01T19:04:05.000006Z"
        assert first.text == '{"a":[1,2.5,null],"b":"你好"}'
        assert len(first.salt) == 32
        assert first.salt != rest[0].salt
        assert list(ledger.entries()) == [first, *rest]
    with Ledger.open(where, create=False) as again:
        assert list(again.entries("trial")) == [first, rest[1]]
        assert list(again.entries(after=1)) == rest
        assert again.get("trial", "放心/1") == rest[1]
        assert again.get("trial", "放心/1").content == {"a": "again"}
        assert again.get("trial", "k") is None
    assert verify(where) == []


def test_the_hashes_are_what_the_format_says(tmp_path):
    """The format, written down a second time: an auditor's own program must be able to follow it."""

    def digest(*fields):
        return hashlib.sha256(b"".join(len(f).to_bytes(8, "big") + f for f in fields)).hexdigest()

    with Ledger.open(tmp_path / "ledger.db") as ledger:
        entry = ledger.append("trial", "k", {"a": 1})
    inner = digest(b"fangxin.content.1", entry.salt.encode(), b'{"a":1}')
    outer = digest(
        b"fangxin.entry.1",
        ledger.id.encode(),
        b"1",
        b"trial",
        b"k",
        entry.time.encode(),
        inner.encode(),
        b"0" * 64,
    )
    assert (entry.content_hash, entry.hash) == (inner, outer)


@given(st.lists(st.binary(max_size=12), max_size=5), st.lists(st.binary(max_size=12), max_size=5))
def test_different_fields_never_encode_alike(one, other):
    assert (encode("entry", *one) == encode("entry", *other)) == (one == other)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=[]), max_size=5),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=[]), max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=8,
        ),
        max_size=4,
    )
)  # fmt: skip
def test_canonical_json_is_storable_and_reads_back(content):
    text = canonical(content)
    assert json.loads(text) == content
    assert canonical(dict(reversed(content.items()))) == text
    assert "\0" not in text
    text.encode()


def test_many_pages_are_read_in_order(tmp_path):
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append_many([("even" if i % 2 else "odd", str(i), {"i": i}) for i in range(1, 2501)])
        assert [entry.seq for entry in ledger.entries()] == list(range(1, 2501))
        assert [entry.seq for entry in ledger.entries("even", after=9)] == list(range(11, 2501, 2))


def test_nothing_of_a_failed_append_is_written(where):
    with Ledger.open(where) as ledger:
        ledger.append("trial", "a", {})
        with pytest.raises(LedgerError, match="plain JSON data"):
            ledger.append_many([("trial", "b", {}), ("trial", "c", {"x": object()})])
        with pytest.raises(LedgerError, match="must be a mapping"):
            ledger.append("trial", "b", ["x"])
        with pytest.raises(LedgerError, match="time zone"):
            ledger.append("trial", "b", {}, time=datetime(2026, 1, 1))
        for name in ("", "a\0b", "\ud800"):
            with pytest.raises(LedgerError, match="an entry's key must be"):
                ledger.append("trial", name, {})
        with pytest.raises(LedgerError, match=r"use erase\(\)"):
            ledger.append("erased", "1", {})
        assert ledger.append_many([]) == []
        assert [entry.key for entry in ledger.entries()] == ["a"]


def test_erasing_takes_the_content_and_leaves_the_chain(where):
    with Ledger.open(where) as ledger:
        ledger.append_many([("trial", f"k{i}", {"n": i}) for i in range(3)])
        before = ledger.get("trial", "k1")
        record = ledger.erase(2, "asked by the person")
        after = ledger.get("trial", "k1")
        assert after.erased
        assert (after.salt, after.text, after.content) == (None, None, None)
        assert (after.content_hash, after.hash) == (before.content_hash, before.hash)
        assert (record.seq, record.kind, record.key) == (4, "erased", "2")
        assert record.content == {"seq": 2, "reason": "asked by the person"}
        with pytest.raises(LedgerError, match="row 2 is erased already"):
            ledger.erase(2)
        with pytest.raises(LedgerError, match="row 4 records an erasure"):
            ledger.erase(4)
        with pytest.raises(LedgerError, match="there is no row 9"):
            ledger.erase(9)
        ledger.append("trial", "k4", {})
    found = audit(where)
    assert found.problems == ()
    assert (found.rows, found.erased) == (5, 1)


def test_erased_bytes_are_gone_from_the_files(tmp_path):
    path = tmp_path / "ledger.db"

    def on_disk(text):
        return any(text.encode() in file.read_bytes() for file in tmp_path.glob("ledger.db*"))

    with Ledger.open(path) as ledger:
        # One within a page, one that spills over several.
        ledger.append_many(
            [("trial", "short", {"t": "secret-one"}), ("trial", "long", {"t": "secret-two" * 2000})]
        )
        assert on_disk("secret-one")
        assert on_disk("secret-two")
        ledger.erase(1)
        ledger.erase(2)
        assert not on_disk("secret-one")
        assert not on_disk("secret-two")
    assert not on_disk("secret-one")


def test_processes_that_append_at_once_do_not_fork_the_chain(where):
    writers = [writer(where, f"w{i}", 10, 3) for i in range(4)]
    said = [process.communicate(timeout=60)[0].splitlines() for process in writers]
    assert [process.returncode for process in writers] == [0] * 4
    with Ledger.open(where, create=False) as ledger:
        rows = {entry.seq: entry for entry in ledger.entries()}
    assert sorted(rows) == list(range(1, 4 * 10 * 3 + 1))
    for line in (line for lines in said for line in lines):
        seq, hash = line.split()
        assert rows[int(seq)].hash == hash
    for name in ("w0", "w1", "w2", "w3"):
        keys = [entry.key for entry in rows.values() if entry.key.startswith(name)]
        assert keys == [f"{name}.{i}.{j}" for i in range(10) for j in range(3)]
    assert verify(where) == []


def test_threads_share_one_ledger(where):
    from concurrent.futures import ThreadPoolExecutor

    with Ledger.open(where) as ledger, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ledger.append("trial", str(i), {"i": i}), range(64)))
        assert {entry.key for entry in ledger.entries()} == {str(i) for i in range(64)}
    assert verify(where) == []


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    path = str(tmp_path / "ledger.db")
    dice = random.Random(7)
    acknowledged = {}
    for life in range(10):
        process = writer(path, f"life{life}", 100_000, dice.choice([1, 1, 5, 40]))
        # Once it writes, it is left alone for a moment of any length, and its words are read after its death.
        assert select.select([process.stdout], [], [], 60)[0]
        time.sleep(dice.uniform(0, 0.15))
        os.kill(process.pid, signal.SIGKILL)
        words = process.communicate(timeout=60)[0].splitlines(keepends=True)
        acknowledged |= dict(line.split() for line in words if line.endswith("\n"))
        assert verify(path) == [], "as the dead writer left it"
    with Ledger.open(path, create=False) as ledger:
        rows = {str(entry.seq): entry.hash for entry in ledger.entries()}
    assert len(acknowledged) >= 10
    assert acknowledged.items() <= rows.items()
    assert verify(path) == []


def test_a_full_disk_is_one_clear_sentence_and_harms_nothing(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        ledger.append("trial", "a", {})

        def pages(most):  # the pool has one connection, so the limit holds for the next append
            with ledger.reading() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count={most}")

        pages(1)
        with pytest.raises(LedgerError, match=r"^the disk that holds .* is full: free some space") as raised:
            ledger.append_many([("trial", "b", {"t": "x" * 5000})] * 50)
        assert "\n" not in str(raised.value)
        pages(1_000_000)
        assert ledger.append("trial", "c", {}).seq == 2
    assert verify(path) == []


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("not a database, " * 100)
    with pytest.raises(LedgerError, match="damaged or not a ledger"):
        Ledger.open(path)
    with pytest.raises(LedgerError, match="there is no ledger at"):
        Ledger.open(tmp_path / "none.db", create=False)
    sqlite3.connect(tmp_path / "empty.db").close()
    (tmp_path / "empty.db").touch()
    with pytest.raises(LedgerError, match="there is no ledger at"):
        Ledger.open(tmp_path / "empty.db", create=False)
    with pytest.raises(LedgerError, match="make it first"):
        Ledger.open(tmp_path / "no" / "ledger.db")


def test_a_newer_format_is_refused(where):
    ledger = Ledger.open(where)
    with ledger.writing() as connection:
        connection.execute(sa.text("UPDATE ledger SET version = '2'"))
    ledger.close()
    for create in (True, False):
        with pytest.raises(LedgerError, match=r"newer version \(format 2\)"):
            Ledger.open(where, create=create)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("mysql://host/db", "can't live in mysql"),
        ("sqlite://", "give it a file"),
        ("sqlite:///:memory:", "give it a file"),
        ("://", "can't be read"),
        ("postgresql://nobody@/none?host=/nowhere", "can't be used: "),
    ],
)
def test_addresses_that_hold_no_ledger(address, message):
    if "postgresql" in address:
        pytest.importorskip("psycopg")
    with pytest.raises(LedgerError, match=message):
        Ledger.open(address)


def test_passwords_stay_out_of_messages():
    pytest.importorskip("psycopg")
    with pytest.raises(LedgerError) as raised:
        Ledger.open("postgresql://me:hunter2@/none?host=/nowhere")
    assert "hunter2" not in str(raised.value)


def test_a_sqlite_url_is_a_path(tmp_path):
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.append("trial", "a", {}, time=datetime.now(UTC))
    assert verify(tmp_path / "ledger.db") == []


def test_appends_are_synchronous_and_logged_ahead(tmp_path):
    with Ledger.open(tmp_path / "ledger.db") as ledger, ledger.reading() as connection:
        settings = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        ]
    assert settings == ["wal", 2, 1]


def test_at_least_two_thousand_rows_a_second(tmp_path):
    content = {"question": "q" * 200, "reply": "答" * 100, "verdict": {"label": "safe", "probability": 0.01}}
    seconds = []
    with Ledger.open(tmp_path / "ledger.db") as ledger:
        for batch in range(10):
            began = time.perf_counter()
            ledger.append_many([("trial", f"{batch}.{i}", content) for i in range(500)])
            seconds.append(time.perf_counter() - began)
    assert 500 / statistics.median(seconds) >= 2000
