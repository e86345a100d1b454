import gzip
import json
import random
from collections import Counter

import pytest

from fangxin.detect import DetectorError, train
from fangxin.detect._sources import Sources, capped, cut, own, payloads
from fangxin.detect._text import identity


def test_our_look_alikes_are_enough_and_distinct():
    rows = own("lookalikes.jsonl")
    count = Counter((row["lang"], row["label"]) for row in rows)
    assert all(count[code, "benign"] >= 300 for code in ("en", "zh"))
    assert all(count[code, "harmful"] >= 150 for code in ("en", "zh"))
    assert len({identity(row["text"]) for row in rows}) == len(rows)


def test_shipped_labels_are_many_and_hashed():
    rows = own("panel.jsonl")
    assert len(rows) >= 5000
    assert all(len(row["key"]) == 16 for row in rows)


@pytest.fixture
def data(tmp_path):
    def write(name, rows):
        path = tmp_path / "train" / f"{name}.jsonl.gz"
        path.parent.mkdir(exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    asked = [f"how would one do thing number {i}" for i in range(200)]
    common = {"source": "gptfuzz", "licence": "P: MIT", "lang": "en"}
    write("exchanges", [{**common, "prompt": q, "response": "like this", "label": "unsafe"} for q in asked])
    write("prompts", [{**common, "text": q.upper() + "?", "label": "harmful"} for q in asked])
    return tmp_path


def test_a_question_is_one_side_s_in_every_file(data):
    judge, guard = Sources(data), Sources(data)
    judged = judge.exchanges("judge")
    replied = guard.exchanges("guard")
    prompted = [row for row in guard.prompts("guard") if row["source"] == "gptfuzz"]
    assert len(judged) + len(replied) == 200
    assert 80 < len(judged) < 160
    # The same question in capitals, as a bare prompt, stays on its side.
    assert len(prompted) == len(replied)
    assert not judge.taken & guard.taken
    assert judge.tally["gptfuzz", "P: MIT"] == len(judged)


def test_missing_files_are_no_rows(tmp_path):
    assert Sources(tmp_path).exchanges("judge") == []


def test_small_helpers():
    rng = random.Random(0)
    rows = [{"source": "a", "lang": "en", "label": "benign", "text": str(i)} for i in range(50)]
    assert len(capped(rows, 7, rng)) == 7
    assert len(cut("word " * 100, rng).split()) <= 46
    assert len(cut("字" * 300, rng)) <= 80
    assert payloads(["<{q}>"], ["a"], rng) == ["<a>"]
    assert payloads(["x [INSERT PROMPT HERE] y"], ["a"], rng) == ["x a y"]
    assert payloads(["before"], ["a"], rng) == ["before\na"]


def test_training_says_what_is_missing(tmp_path):
    with pytest.raises(DetectorError, match="no detector 'x'"):
        train(tmp_path, tmp_path, only=["x"])
    with pytest.raises(DetectorError, match=r"give the data folder|scikit-learn"):
        train(tmp_path, tmp_path)
