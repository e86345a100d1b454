import json
import os
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from fangxin.ledger import Checkpoint, Ledger, LedgerError, audit, checkpoint, checkpoints, remembered, verify


@pytest.fixture
def ledger(where):
    with Ledger.open(where) as ledger:
        ledger.append_many([("trial", f"k{i}", {"n": i}) for i in range(5)])
        yield ledger


def test_a_checkpoint_signs_the_head_and_is_remembered(ledger, where, key, config):
    point = checkpoint(ledger, key)
    head = list(ledger.entries())[-1]
    assert (point.ledger_id, point.seq, point.hash) == (ledger.id, 5, head.hash)
    assert point.valid
    assert point.public_key == key.public_key
    assert checkpoints(ledger) == [point]
    assert remembered() == {ledger.id: point}
    assert stat.S_IMODE((config / "heads.json").stat().st_mode) == 0o600
    assert Checkpoint.of(json.loads(json.dumps(point.as_dict()))) == point
    found = audit(where, key.fingerprint(), point)
    assert (found.problems, found.notes) == ((), ())
    assert (found.rows, found.signed, found.signers) == (5, 5, (key.fingerprint(),))
    assert found.ledger_id == ledger.id


def test_nothing_new_is_not_signed_again(ledger, where, key):
    first = checkpoint(ledger, key)
    assert checkpoint(ledger, key) == first
    ledger.append("trial", "more", {})
    second = checkpoint(ledger, key)
    assert second.seq == 6
    assert checkpoints(ledger) == [first, second]
    assert remembered()[ledger.id] == second
    assert verify(where, key.fingerprint(), first) == []
    assert verify(where, key.fingerprint(), second) == []


def test_every_field_of_a_checkpoint_is_signed(ledger, key):
    point = checkpoint(ledger, key)
    for change in (
        {"ledger_id": "0" * 32},
        {"seq": 4},
        {"hash": "0" * 64},
        {"time": "2020-01-01T00:00:00.000000Z"},
        {"public_key": "0" * 64},
        {"signature": point.signature.upper()},
    ):
        assert not replace(point, **change).valid


def test_an_empty_ledger_is_not_signed(tmp_path, key):
    with (
        Ledger.open(tmp_path / "new.db") as ledger,
        pytest.raises(LedgerError, match="empty: there is nothing to sign yet"),
    ):
        checkpoint(ledger, key)


def _do(ledger, statement):
    with ledger.writing() as connection:
        connection.execute(sa.text(statement))


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "UPDATE ledger_entries SET content = '{}' WHERE seq = 7",
            "the content or salt of row 7 was changed",
        ),
        ("UPDATE ledger_entries SET kind = 'x' WHERE seq = 6", "row 6 was changed"),
        ("UPDATE ledger_entries SET kind = 'x' WHERE seq = 5", "row 5 was changed"),
        ("DELETE FROM ledger_entries WHERE seq = 5", "row 5 is missing"),
        ("DELETE FROM ledger_entries WHERE seq = 6", "row 6 is missing"),
        ("DELETE FROM ledger_entries WHERE seq > 4", "row 5 was signed and is gone"),
    ],
)
def test_a_broken_chain_is_not_signed(ledger, key, statement, message):
    checkpoint(ledger, key)
    ledger.append_many([("trial", f"m{i}", {"n": i}) for i in range(3)])
    _do(ledger, statement)
    with pytest.raises(LedgerError, match=rf"can't be signed: {message}.* Run `fangxin verify`"):
        checkpoint(ledger, key)
    assert len(checkpoints(ledger)) == 1


def test_a_tail_cut_with_its_checkpoint_is_not_signed_over(ledger, key):
    checkpoint(ledger, key)
    _do(ledger, "DELETE FROM ledger_entries WHERE seq > 3")
    _do(ledger, "DELETE FROM ledger_checkpoints")
    with pytest.raises(LedgerError, match="row 5 was signed and is gone"):
        checkpoint(ledger, key)
    for i in range(2):
        ledger.append("trial", f"forged{i}", {})
    with pytest.raises(LedgerError, match="row 5 isn't the row that was signed"):
        checkpoint(ledger, key)


def test_erasure_does_not_stand_in_the_way_of_signing(ledger, where, key):
    checkpoint(ledger, key)
    ledger.erase(5)
    ledger.erase(2)
    assert checkpoint(ledger, key).seq == 7
    assert verify(where, key.fingerprint()) == []


def test_two_users_may_sign_one_ledger(ledger, where, key, tmp_path, monkeypatch):
    from fangxin.ledger import SigningKey

    first = checkpoint(ledger, key)
    monkeypatch.setenv("FANGXIN_CONFIG", str(tmp_path / "other"))
    other = SigningKey.load()
    second = checkpoint(ledger, other)
    assert {point.public_key for point in checkpoints(ledger)} == {key.public_key, other.public_key}
    assert (first.seq, first.hash) == (second.seq, second.hash)
    found = audit(where)
    assert found.problems == ()
    assert set(found.signers) == {key.fingerprint(), other.fingerprint()}
    assert "2 keys have signed" in found.notes[0]


def test_heads_of_many_ledgers_are_kept_side_by_side(tmp_path, key, config):
    def one(i):
        with Ledger.open(tmp_path / f"{i}.db") as ledger:
            ledger.append("trial", "k", {})
            return checkpoint(ledger, key)

    with ThreadPoolExecutor(6) as pool:
        points = list(pool.map(one, range(12)))
    assert remembered() == {point.ledger_id: point for point in points}
    assert sorted(os.listdir(config)) == ["heads.json", "heads.lock", "key.pem"]


def test_a_damaged_memory_is_said_and_left_alone(ledger, where, key, config):
    checkpoint(ledger, key)
    for text in ("", "[]", '{"x": 1}', '{"x": {"seq": 1}}'):
        (config / "heads.json").write_text(text)
        ledger.append("trial", "more", {})
        with pytest.raises(LedgerError):
            checkpoint(ledger, key)
        assert (config / "heads.json").read_text() == text
        assert [problem.where for problem in verify(where)] == ["heads.json"]
        assert verify(where, heads=False) == []


def test_a_checkpoint_from_bad_data_is_refused(ledger, key):
    good = checkpoint(ledger, key).as_dict()
    for bad in ({}, {**good, "seq": "5"}, {**good, "seq": True}, {**good, "hash": None}):
        with pytest.raises(LedgerError, match="a checkpoint needs"):
            Checkpoint.of(bad)


def test_a_foreign_checkpoint_does_not_spare_rows_from_checking(tmp_path, key, monkeypatch):
    """A forger's own signature at the head must not make ours skip the rows below it."""
    from fangxin.ledger import SigningKey

    with Ledger.open(tmp_path / "ledger.db") as ledger:
        ledger.append_many([("trial", f"k{i}", {}) for i in range(4)])
        monkeypatch.setenv("FANGXIN_CONFIG", str(tmp_path / "forger"))
        checkpoint(ledger, SigningKey.load())
        monkeypatch.setenv("FANGXIN_CONFIG", str(tmp_path / "config" / "fangxin"))
        with sqlite3.connect(tmp_path / "ledger.db") as raw:
            raw.execute("UPDATE ledger_entries SET kind = 'forged' WHERE seq = 2")
        raw.close()
        with pytest.raises(LedgerError, match="row 2 was changed"):
            checkpoint(ledger, key)
