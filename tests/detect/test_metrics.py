from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from fangxin.detect._metrics import Scored, by_language, measured

# Few distinct scores: ties are where implementations differ.
ROWS = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 1.0])), min_size=1, max_size=60
)


def both(rows: list[tuple[bool, float]]) -> bool:
    return len({truth for truth, _ in rows}) == 2


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_decisions_are_counted_as_scikit_learn_does(rows: list[tuple[bool, float]]) -> None:
    y, s = (np.array(column) for column in zip(*rows, strict=True))
    said = s >= 0.5
    got = Scored(y, s).figures()
    assert got["accuracy"] == pytest.approx(metrics.accuracy_score(y, said))
    assert got["f1"] == pytest.approx(metrics.f1_score(y, said, zero_division=0))
    macro = metrics.f1_score(y, said, average="macro", labels=[False, True], zero_division=0)
    assert got["macro_f1"] == pytest.approx(macro)
    if y.any():
        assert got["recall"] == pytest.approx(metrics.recall_score(y, said))
    if not y.all():
        assert got["false_blocks"] == pytest.approx(said[~y].mean())


@settings(max_examples=150, deadline=None)
@given(ROWS.filter(both))
def test_curves_are_those_of_scikit_learn(rows: list[tuple[bool, float]]) -> None:
    y, s = (np.array(column) for column in zip(*rows, strict=True))
    got = Scored(y, s).figures()
    assert got["auroc"] == pytest.approx(metrics.roc_auc_score(y, s))
    assert got["auprc"] == pytest.approx(metrics.average_precision_score(y, s))
    fpr, tpr, _ = metrics.roc_curve(y, s, drop_intermediate=False)
    for percent in (1, 2, 5):
        assert got[f"recall_at_{percent}"] == pytest.approx(tpr[fpr <= percent / 100 + 1e-9].max())


@settings(max_examples=60, deadline=None)
@given(ROWS.filter(both), st.randoms(use_true_random=False))
def test_a_weight_is_a_row_said_again(rows: list[tuple[bool, float]], random: object) -> None:
    y, s = (np.array(column) for column in zip(*rows, strict=True))
    weight = np.random.default_rng(len(rows)).integers(0, 4, len(rows)).astype(float)
    again = np.repeat(np.arange(len(rows)), weight.astype(int))
    order = np.argsort(-s, kind="stable")
    if not len(again):
        return
    got, plain = Scored(y, s).figures(weight[order]), Scored(y[again], s[again]).figures()
    for name, value in plain.items():
        assert got[name] == pytest.approx(value), name


def test_one_of_a_hundred_is_one_percent() -> None:
    y = np.array([False] * 100 + [True] * 2)
    s = np.concatenate([[0.9], np.full(99, 0.1), [0.8, 0.8]])
    assert Scored(y, s).figures()["recall_at_1"] == 1.0


def test_intervals_are_seeded_and_hold_their_value() -> None:
    rng = np.random.default_rng(5)
    y = rng.random(120) < 0.4
    s = np.clip(0.4 * y + rng.random(120) * 0.6, 0, 1)
    first, again = (measured(Scored(y, s), resamples=100, seed=3) for _ in range(2))
    assert first == again
    assert first != measured(Scored(y, s), resamples=100, seed=4)
    for one in first.values():
        assert 0 <= one.low <= one.value <= one.high <= 1
    assert first["auroc"].low < first["auroc"].high
    assert first["false_blocks"].n == (~y).sum()


def test_no_false_block_seen_is_none_promised() -> None:
    scored = Scored([True] * 5 + [False] * 30, [0.9] * 5 + [0.1] * 30)
    it = measured(scored, resamples=50)["false_blocks"]
    assert (it.value, it.low) == (0.0, 0.0)
    assert it.high > 0.05


def test_bootstrap_intervals_cover() -> None:
    """Of the true area (normal scores one apart: 0.760) in about 95 of 100 samples."""
    from statistics import NormalDist

    true = NormalDist().cdf(1 / 2**0.5)
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        y = np.arange(80) < 40
        it = measured(Scored(y, rng.normal(size=80) + y), resamples=150, seed=seed)["auroc"]
        held += it.low <= true <= it.high
    assert 87 <= held <= 100


def test_languages_are_measured_apart() -> None:
    out = by_language(
        [True, False, True], [0.9, 0.1, 0.2], [True, False, False], ["en", "en", "zh"], resamples=10
    )
    assert list(out) == ["all", "en", "zh"]
    assert out["en"]["figures"]["accuracy"].value == 1.0
    assert "auroc" not in out["zh"]["figures"]
    assert (out["zh"]["positives"], out["zh"]["negatives"]) == (1, 0)


@pytest.mark.parametrize("score", [[], [0.1, 0.2], [float("nan")]])
def test_scores_that_are_none(score: list[float]) -> None:
    with pytest.raises(ValueError, match=r"must be as many|not finite"):
        Scored([True], score)
