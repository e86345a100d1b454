"""The planted panel: what `benchmarks/personal.py` claims, on another seed than its own."""

import importlib.util
from pathlib import Path

import pytest

from fangxin.detect.personal import KINDS, find

PATH = Path(__file__).parents[3] / "benchmarks" / "panels" / "personal.py"


@pytest.fixture(scope="module")
def rows():
    import sys

    spec = importlib.util.spec_from_file_location("personal_panel", PATH)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return list(module.panel(seed=5, times=1))


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_precision_and_recall_are_98_percent(rows, lang):
    hits = false = planted = 0
    for row in rows:
        if row.lang == lang:
            left = [(one.kind, one.start, one.end) for one in find(row.text)]
            for kind, start, end in row.spans:
                same = [
                    s for s in left if s[0] == kind and 2 * (min(s[2], end) - max(s[1], start)) >= end - start
                ]
                if same:
                    left.remove(same[0])
                    hits += 1
            planted += len(row.spans)
            false += sum(not any(a < e and s < b for a, b in row.neutral) for _, s, e in left)
    assert hits / planted >= 0.98
    assert hits / (hits + false) >= 0.98


def test_the_panel_is_large_and_of_many_kinds(rows):
    for lang in ("en", "zh"):
        some = [row for row in rows if row.lang == lang]
        assert 3 * len(some) >= 300  # each template stands three times in the benchmark
        assert len({kind for row in some for kind, _, _ in row.spans}) >= 15
        assert sum(not row.spans for row in some) >= 80
    assert {kind for row in rows for kind, _, _ in row.spans} == set(KINDS)
