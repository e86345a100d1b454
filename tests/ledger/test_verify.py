import hashlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fangxin.ledger import Ledger, LedgerError, SigningKey, audit, checkpoint, verify
from fangxin.ledger._chain import content_hash, row_hash

TABLES = {
    "ledger": ["id", "version", "created", "nonce"],
    "ledger_entries": ["seq", "kind", "key", "time", "salt", "content", "content_hash", "prev_hash", "hash"],
    "ledger_checkpoints": ["ledger_id", "seq", "hash", "time", "public_key", "signature"],
}


def fill(where, key):
    """Eight rows, one of them erased; checkpoints at rows 3 and 7."""
    with Ledger.open(where) as ledger:
        ledger.append_many([("trial", f"k{i}", {"text": f"你好 {i}", "n": i}) for i in range(1, 4)])
        checkpoint(ledger, key)
        ledger.append_many([("decision", f"d{i}", {"n": i}) for i in range(4, 7)])
        ledger.erase(2)
        point = checkpoint(ledger, key)
        ledger.append("trial", "tail", {})
    return point


@pytest.fixture
def path(tmp_path, key):
    fill(tmp_path / "ledger.db", key)
    return tmp_path / "ledger.db"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A filled ledger to be copied, made with a key that is then gone."""
    folder = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FANGXIN_CONFIG", str(folder / "config"))
        fill(folder / "ledger.db", SigningKey.load())
    assert verify(folder / "ledger.db", heads=False) == []
    return folder / "ledger.db"


def do(path, *statements):
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(*(statement if isinstance(statement, tuple) else (statement,)))


def said(path, *args, **kwargs):
    return "\n".join(str(problem) for problem in verify(path, *args, **kwargs))


def rows_of(path, table):
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]


@given(st.data())
@settings(deadline=None, max_examples=120)
def test_any_changed_byte_of_any_column_is_found(template, data):
    table = data.draw(st.sampled_from(list(TABLES)))
    column = data.draw(st.sampled_from(TABLES[table]))
    row = data.draw(st.sampled_from(rows_of(template, table)))
    path = template.with_name("flipped.db")
    shutil.copyfile(template, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.text_factory = bytes
        query = f"SELECT {column} FROM {table} WHERE rowid = ?"
        value = connection.execute(query, (row,)).fetchone()[0]
        if value is None:
            new = data.draw(st.sampled_from([b"", b"0", b"{}"]))
        elif isinstance(value, int):
            new = (value ^ (1 << data.draw(st.integers(0, 63))) & (2**64 - 1)) & (2**64 - 1)
            new = new - 2**64 if new >= 2**63 else new
        else:
            where = data.draw(st.integers(0, len(value) - 1))
            flipped = value[where] ^ data.draw(st.integers(1, 255))
            new = value[:where] + bytes([flipped]) + value[where + 1 :]
        assume(new != value)
        target = "?" if isinstance(new, int) else "CAST(? AS TEXT)"
        try:
            connection.execute(f"UPDATE {table} SET {column} = {target} WHERE rowid = ?", (new, row))
        except sqlite3.IntegrityError:  # the number is another row's
            assume(False)
    assert verify(path, heads=False), (table, row, column, value, new)


@given(st.integers(0, 2**32), st.integers(1, 40))
@settings(deadline=None, max_examples=60)
def test_random_damage_to_the_file_never_raises(template, seed, count):
    dice = random.Random(seed)
    data = bytearray(template.read_bytes())
    for _ in range(count):
        data[dice.randrange(len(data))] = dice.randrange(256)
    path = template.with_name("damaged.db")
    path.write_bytes(data)
    for problem in verify(path, heads=False):
        assert problem.where
        assert problem.what.endswith(".")


def test_a_truncated_file_is_found_wherever_it_is_cut(template):
    data = template.read_bytes()
    path = template.with_name("cut.db")
    for size in [*range(0, len(data), 512), 1, 99, len(data) - 1]:
        path.write_bytes(data[:size])
        assert verify(path, heads=False), size


def test_a_good_ledger_has_notes_only(path, key):
    found = audit(path, key.fingerprint())
    assert found.problems == ()
    assert found.notes == ("row 8 is under no checkpoint yet: nobody has signed for this tail.",)
    assert (found.rows, found.erased, found.signed) == (8, 1, 7)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("DELETE FROM ledger_entries WHERE seq = 4", "row 5: row 4 is missing before it."),
        ("DELETE FROM ledger_entries WHERE seq IN (4, 5)", "row 6: rows 4 to 5 are missing before it."),
        ("DELETE FROM ledger_entries WHERE seq = 1", "row 2: row 1 is missing before it."),
        ("DELETE FROM ledger", "ledger: it must have one name and has 0."),
        ("UPDATE ledger_entries SET seq = -4 WHERE seq = 4", "row -4: no row with this number belongs here."),
        ("UPDATE ledger_entries SET content = NULL, salt = NULL WHERE seq = 4", "row 4: its content is gone and"),
        ("UPDATE ledger_entries SET content = NULL, salt = NULL WHERE seq = 7", "row 7: row 7 records an erasure"),
        ("UPDATE ledger_entries SET salt = NULL WHERE seq = 4", "row 4: row 4 has lost its salt."),
        ("UPDATE ledger_entries SET content = NULL WHERE seq = 4", "row 4: row 4 has lost its content."),
        ("DROP TABLE ledger_checkpoints", "ledger.db: the table ledger_checkpoints is missing"),
        ("CREATE TRIGGER t AFTER INSERT ON ledger_entries BEGIN SELECT 1; END", "ledger.db: it holds a trigger 't'"),
        ("UPDATE ledger_checkpoints SET signature = 7", "checkpoint at row 3: its signature is not its key's"),
    ],
)  # fmt: skip
def test_each_change_is_named(path, statement, message):
    assert verify(path) == []
    do(path, statement)
    assert message in said(path, heads=False)


def test_reordered_rows_and_swapped_salts(path):
    swap = "UPDATE ledger_entries SET seq = ? WHERE seq = ?"
    do(path, (swap, (99, 4)), (swap, (4, 5)), (swap, (5, 99)))
    assert "row 4 was changed" in said(path, heads=False)
    assert "row 5 was changed" in said(path, heads=False)
    do(path, (swap, (99, 4)), (swap, (4, 5)), (swap, (5, 99)))
    assert verify(path) == []
    columns = "salt"
    with closing(sqlite3.connect(path)) as connection:
        salts = [
            connection.execute(f"SELECT {columns} FROM ledger_entries WHERE seq = {i}").fetchone()[0]
            for i in (4, 5)
        ]
    set_salt = "UPDATE ledger_entries SET salt = ? WHERE seq = ?"
    do(path, (set_salt, (salts[1], 4)), (set_salt, (salts[0], 5)))
    assert said(path) == (
        "row 4: the content or salt of row 4 was changed: it doesn't fit its content_hash.\n"
        "row 5: the content or salt of row 5 was changed: it doesn't fit its content_hash."
    )


def test_what_comes_back_after_erasure_is_found(tmp_path, key):
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        entry = ledger.append("trial", "k", {"secret": 1})
        ledger.erase(1)
    do(path, ("UPDATE ledger_entries SET salt = ?, content = ?", (entry.salt, entry.text)))
    assert "row 1: row 2 says that it was erased, but it has content." in said(path)


def test_a_cut_tail(path, key):
    point = checkpoint_of(path, key)
    do(path, "DELETE FROM ledger_entries WHERE seq > 7")
    gone = "the ledger ends at row 7: the rows up to 8 were cut off."
    assert said(path, heads=False) == f"checkpoint at row 8: {gone}"
    do(path, "DELETE FROM ledger_checkpoints WHERE seq > 7")
    assert verify(path, heads=False) == [], "nothing inside the file can tell"
    assert said(path) == f"checkpoint remembered in your own folder: {gone}"
    assert said(path, heads=False, expected=point) == f"expected checkpoint: {gone}"
    do(path, "DELETE FROM ledger_entries WHERE seq > 3", "DELETE FROM ledger_checkpoints WHERE seq > 3")
    assert "row 2: its content is gone and no later row records an erasure." in said(path, heads=False)


def checkpoint_of(path, key):
    with Ledger.open(path) as ledger:
        return checkpoint(ledger, key)


def forge(path):
    """Rewrite row 5 and every hash after it, as somebody with the whole file can."""
    with closing(sqlite3.connect(path)) as connection, connection:
        (name,) = connection.execute("SELECT id FROM ledger").fetchone()
        connection.execute("""UPDATE ledger_entries SET content = '{"n":"forged"}' WHERE seq = 5""")
        prev = "0" * 64
        for seq, kind, key, time, salt, text, inner, _, _ in connection.execute(
            "SELECT * FROM ledger_entries ORDER BY seq"
        ).fetchall():
            inner = inner if text is None else content_hash(salt, text)
            outer = row_hash(name, seq, kind, key, time, inner, prev)
            values = (inner, prev, outer, seq)
            connection.execute(
                "UPDATE ledger_entries SET content_hash = ?, prev_hash = ?, hash = ? WHERE seq = ?", values
            )
            prev = outer


def test_a_rewritten_chain_signed_with_another_key(path, key, tmp_path, monkeypatch):
    point = checkpoint_of(path, key)
    forge(path)
    assert "checkpoint at row 7: row 7 is not the row that was signed." in said(path, heads=False)
    do(path, "DELETE FROM ledger_checkpoints WHERE seq > 3")
    assert verify(path, heads=False) == [], "the rows after the last checkpoint are nobody's word"
    with monkeypatch.context() as patch:
        patch.setenv("FANGXIN_CONFIG", str(tmp_path / "forger"))
        forger = SigningKey.load()
        do(path, "DELETE FROM ledger_checkpoints")
        checkpoint_of(path, forger)
        assert verify(path) == [], "in the forger's own eyes"
    assert said(path, heads=False, fingerprint=key.fingerprint()).splitlines() == [
        f"checkpoint at row 8: it is signed by {forger.fingerprint()} instead of {key.fingerprint()}.",
        f"checkpoints: nothing in this ledger is signed by {key.fingerprint()}.",
    ]
    assert said(path) == "checkpoint remembered in your own folder: row 8 is not the row that was signed."
    assert (
        said(path, heads=False, expected=point)
        == "expected checkpoint: row 8 is not the row that was signed."
    )


def test_an_expected_checkpoint_must_be_sound_itself(path, key, tmp_path):
    from dataclasses import replace

    point = checkpoint_of(path, key)
    assert "its signature is not" in said(path, expected=replace(point, seq=3))
    assert "it is signed by" in said(path, fingerprint="fx1:" + "0" * 32, expected=point)
    with Ledger.open(tmp_path / "other.db") as other:
        other.append("trial", "k", {})
        foreign = checkpoint(other, key)
    assert f"expected checkpoint: it is of another ledger ({foreign.ledger_id})." in said(
        path, expected=foreign
    )


def test_a_ledger_put_in_anothers_place_is_noted(path, key):
    was = audit(path).ledger_id
    path.unlink()
    with Ledger.open(path) as ledger:
        ledger.append("trial", "k", {})
    found = audit(path)
    assert found.problems == ()
    assert (
        found.notes[0] == f"another ledger ({was}) was signed at this place before: this one has replaced it."
    )


def test_a_flood_of_problems_is_cut_short(tmp_path):
    path = tmp_path / "ledger.db"
    with Ledger.open(path) as ledger:
        ledger.append_many([("trial", str(i), {}) for i in range(300)])
    do(path, "UPDATE ledger_entries SET kind = 'x'")
    problems = verify(path)
    assert len(problems) == 101
    assert problems[-1].what == "200 more problems were found."


def test_what_is_no_ledger(tmp_path):
    assert said(tmp_path / "none.db") == "none.db: there is no such file."
    (tmp_path / "text.db").write_text("hello " * 500)
    assert "damaged or not a ledger" in said(tmp_path / "text.db")
    (tmp_path / "empty.db").touch()
    assert "the table ledger is missing" in said(tmp_path / "empty.db")


def state(folder):
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in folder.iterdir()
        if file.is_file()
    } | {".": sorted(os.listdir(folder))}


def test_verifying_changes_nothing(path):
    before = state(path.parent)
    assert before["."] == ["config", "ledger.db"]
    assert verify(path) == []
    assert state(path.parent) == before
    with Ledger.open(path) as ledger:
        ledger.append("trial", "more", {})
        before = state(path.parent)
        assert "ledger.db-wal" in before
        found = audit(path)
        assert (found.problems, found.rows) == ((), 9)
        assert state(path.parent) == before


def test_a_dead_writers_files_are_read_and_left(path):
    script = """
import os, sys
from fangxin.ledger import Ledger
ledger = Ledger.open(sys.argv[1])
ledger.append("trial", "last words", {})
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    (path.parent / "ledger.db-shm").unlink()  # as when a run folder is copied elsewhere
    before = state(path.parent)
    assert before["ledger.db-wal"]
    assert audit(path).rows == 9
    assert verify(path) == []
    assert state(path.parent) == before


def test_a_ledger_is_verified_while_it_is_written(tmp_path):
    path = tmp_path / "ledger.db"
    script = """
import sys
from fangxin.ledger import Ledger
print("ready", flush=True)
for round in range(12):  # opening and closing moves the log into the file each time
    with Ledger.open(sys.argv[1]) as ledger:
        for i in range(4):
            ledger.append_many([("trial", str(i), {"t": "x" * 3000})] * 40)
"""
    with Ledger.open(path) as ledger:
        ledger.append("trial", "first", {})
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        seen = []
        while writer.poll() is None:
            found = audit(path)
            assert found.problems == ()
            seen.append(found.rows)
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(set(seen)) >= 2
    assert audit(path).rows == 12 * 160 + 1


def test_a_file_without_rights(path):
    if os.getuid() == 0:
        pytest.skip("root reads everything")
    path.chmod(0)
    with pytest.raises(LedgerError, match="can't be read: Permission denied"):
        verify(path)


def test_postgres(postgres, key):
    point = fill(postgres, key)
    found = audit(postgres, key.fingerprint(), point)
    assert found.problems == ()
    assert (found.rows, found.erased, found.signed) == (8, 1, 7)

    def change(statement):
        with Ledger.open(postgres) as ledger, ledger.writing() as connection:
            connection.exec_driver_sql(statement)

    change("""UPDATE ledger_entries SET content = '{"n":5}' WHERE seq = 4""")
    assert said(postgres).startswith("row 4: the content or salt of row 4 was changed")
    change("""UPDATE ledger_entries SET content = '{"n":4}' WHERE seq = 4""")
    assert verify(postgres) == []
    change("DELETE FROM ledger_entries WHERE seq > 5")
    assert "checkpoint at row 7: the ledger ends at row 5" in said(postgres, heads=False)
    change("DELETE FROM ledger_checkpoints WHERE seq > 5")
    assert "cut off" not in said(postgres, heads=False)
    assert "remembered in your own folder" in said(postgres)


def test_postgres_that_holds_no_ledger_or_does_not_answer(postgres):
    with pytest.raises(LedgerError, match="there is no ledger at postgresql"):
        verify(postgres)
    with pytest.raises(LedgerError, match="can't be used"):
        verify("postgresql://postgres@/none?host=/nowhere")
