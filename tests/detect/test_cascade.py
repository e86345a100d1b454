from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fangxin.detect import (
    Band,
    Cascade,
    ChoiceError,
    Detector,
    DetectorError,
    Tier,
    Verdict,
    banded,
    judge_tier,
    scores_of,
    tiers_of,
)
from fangxin.detect._calibrate import decide


class Told:
    """Gives each text the probability that is written in it, in its place; counts what it was asked."""

    def __init__(self, name: str, place: int) -> None:
        self.name, self.place, self.asked = name, place, 0

    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        self.asked += 1
        p = float(text.split()[self.place])
        return Verdict("unsafe" if p >= 0.5 else "safe", p, by=self.name, ms=1.0 + self.place)


class Broken(Told):
    async def check(self, text: str, *, question: str | None = None) -> Verdict:
        raise DetectorError("It can't.")


def cascade(*bands: Band) -> tuple[Cascade, list[Told]]:
    told = [Told(f"t{k}", k) for k in range(len(bands))]
    return Cascade(tuple(Tier(one.name, one, band) for one, band in zip(told, bands, strict=True))), told


P = st.floats(0, 1)
ENDS = st.tuples(P, P).map(sorted).map(lambda ends: Band(*ends))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(P, P, P), min_size=1, max_size=12), ENDS, ENDS, P)
async def test_it_decides_as_calibration_reckons(
    rows: Sequence[tuple[float, float, float]], first: Band, second: Band, end: float
) -> None:
    bands = (first, second, Band(end, end))
    it, told = cascade(*bands)
    texts = [" ".join(map(repr, row)) for row in rows]
    found = await it.check_many(texts, [None] * len(texts))
    unsafe, asked = decide(np.array(rows), bands)
    assert [verdict.unsafe for verdict in found] == unsafe.tolist()
    assert [len(verdict.tiers) for verdict in found] == asked.tolist()
    assert [one.asked for one in told] == [int((asked > k).sum()) for k in range(3)]
    for verdict in found:
        assert 0 <= verdict.probability <= 1
        assert verdict.unsafe == (verdict.probability >= 0.5)
        last, _ = verdict.tiers[-1]
        assert verdict.by == f"cascade:{last}"
        assert verdict.ms == sum(ms for _, ms in verdict.tiers)


async def test_a_tier_that_can_not_judge_is_never_a_pass() -> None:
    it = Cascade((Tier("a", Told("a", 0)), Tier("b", Broken("b", 1), Band(0.5, 0.5))))
    assert not (await it.check("0.01 0.9")).unsafe
    with pytest.raises(DetectorError, match="It can't"):
        await it.check("0.5 0.9")


async def test_scores_are_those_of_every_tier() -> None:
    _, told = cascade(Band(0.1, 0.9), Band(0.5, 0.5))
    scores = await scores_of([Tier(one.name, one) for one in told], ["0.1 0.2"] * 3, [None] * 3, at_once=2)
    assert scores.tolist() == [[0.1, 0.2]] * 3


def test_the_default_cascade_is_of_registered_tiers() -> None:
    assert [tier.name for tier in tiers_of("prompt")] == ["prompt-guard", "intent"]
    assert [tier.name for tier in tiers_of("refusal")] == ["refusal"]
    judge = judge_tier(Told("m", 0), {"model": "m"})
    assert [tier.name for tier in tiers_of("exchange", judge=judge)] == ["reply-guard", "judge"]
    assert [tier.name for tier in tiers_of("fraud", judge=judge)] == ["fraud", "judge"]
    with pytest.raises(ChoiceError, match="no detector 'reply-guard'"):
        tiers_of("prompt", ["reply-guard"])


def test_a_list_only_blocks_unless_it_is_calibrated_otherwise() -> None:
    first, last = banded([Tier("terms", Told("terms", 0), clears=False), Tier("b", Told("b", 1))])
    assert (first.band, last.band) == (Band(0.0, 1.0), Band(0.5, 0.5))


@pytest.mark.parametrize("bands", [(Band(0.9, 0.1), Band(0.5, 0.5)), (Band(0.1, 0.9),), ()])
def test_bands_that_are_none(bands: tuple[Band, ...]) -> None:
    with pytest.raises(ChoiceError):
        cascade(*bands)


def written(path: Path, tier: Tier, **changed: object) -> Path:
    row = {"name": tier.name, "digest": tier.digest, "low": 0.3, "high": 0.3, "clears": True} | changed
    path.write_text(json.dumps({"format": 1, "task": "prompt", "tiers": [row]}))
    return path


def test_a_calibration_is_read_back(tmp_path: Path) -> None:
    [tier] = tiers_of("prompt", ["prompt-guard"])
    it = Cascade.load(written(tmp_path / "c.json", tier))
    assert [(one.name, one.band) for one in it.tiers] == [("prompt-guard", Band(0.3, 0.3))]


def test_a_calibration_that_no_longer_holds(tmp_path: Path) -> None:
    [tier] = tiers_of("prompt", ["prompt-guard"])
    path = tmp_path / "c.json"
    with pytest.raises(ChoiceError, match="prompt-guard is not what it was"):
        Cascade.load(written(path, tier, digest="0" * 64))
    with pytest.raises(ChoiceError, match="no calibration that this version reads"):
        Cascade.load(written(path, tier, low="x"))
    with pytest.raises(ChoiceError, match="no detector 'gone'"):
        Cascade.load(written(path, tier, name="gone"))
    with pytest.raises(ChoiceError, match="made with a judge"):
        Cascade.load(written(path, tier, name="judge"))
    it: Detector = Told("m", 0)
    with pytest.raises(ChoiceError, match="made without a judge"):
        Cascade.load(written(path, tier), judge=judge_tier(it, {"model": "m"}))
    old = judge_tier(it, {"model": "m"})
    with pytest.raises(ChoiceError, match="judge is not what it was"):
        Cascade.load(written(path, old), judge=judge_tier(it, {"model": "another"}))
    for text in ("", "[]", "{}", '{"format": 2, "task": "prompt", "tiers": [1]}'):
        path.write_text(text)
        with pytest.raises(ChoiceError, match="no calibration"):
            Cascade.load(path)
    with pytest.raises(ChoiceError, match="can't be read"):
        Cascade.load(tmp_path / "none.json")
