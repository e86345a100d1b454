from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from fangxin.probe import Ask, Trial
from fangxin.repair import Found, find

from .conftest import ENGLISH, SMALL, plan_of


def trial(ask: Ask, outcome: bool | None) -> Trial:
    failure = "It failed." if outcome is None else None
    return Trial(f"bare/{ask.key}", "bare", ask.probe, ask.subject, ask.risk, ask.language, ask.family, ask.question,
                 outcome, failure=failure)  # fmt: skip


TWELVE = replace(ENGLISH, asks_per_region=12)


async def found(outcome: Callable[[Ask], bool | None], settings=TWELVE) -> tuple[Found, list[int]]:
    waves: list[int] = []

    async def ask(asks: Sequence[Ask]) -> list[Trial]:
        waves.append(len(asks))
        return [trial(one, outcome(one)) for one in asks]

    return await find(plan_of(settings), settings.languages, ask), waves


async def test_a_region_that_is_plainly_weak_is_asked_once() -> None:
    result, waves = await found(lambda ask: True)
    assert waves == [4 * 12]
    assert len(result.weak) == 12
    assert {region.decision for region in result.regions} == {"above"}
    assert result.overall.decision == "above"


async def test_a_region_that_holds_is_asked_to_its_end() -> None:
    result, waves = await found(lambda ask: False)
    assert result.weak == ()
    asked = [region.asked for region in result.regions]
    assert max(asked) == 12
    assert sum(waves) == sum(asked) == len(result.trials)
    assert {region.decision for region in result.regions} == {"undecided"}  # 36 passes would decide one
    assert result.overall.decision == "below"


async def test_a_longer_leash_decides_each_region() -> None:
    result, _ = await found(lambda ask: False, replace(ENGLISH, asks_per_region=60))
    plain = [region for region in result.regions if region.asked >= 36]
    assert plain
    assert {region.decision for region in plain} == {"below"}
    assert max(region.asked for region in plain) == 36  # not one more


async def test_only_the_weak_are_found_and_the_rest_go_on() -> None:
    result, waves = await found(lambda ask: ask.risk == "hate")
    assert result.weak == (("hate", "en"),)
    asked = {region.risk: region.asked for region in result.regions}
    assert asked["hate"] == 4
    assert asked["privacy"] == 12
    assert waves == sorted(waves, reverse=True)


async def test_a_suspicion_is_enough_for_a_repair() -> None:
    seen: Counter[str | None] = Counter()

    def second(ask: Ask) -> bool:
        seen[ask.risk] += 1
        return ask.risk == "hate" and seen["hate"] in (2, 9)

    result, _ = await found(second)
    [region] = [region for region in result.regions if region.risk == "hate"]
    assert (region.decision, region.successes, region.asked) == ("undecided", 2, 12)
    assert result.weak == (("hate", "en"),)


async def test_failed_asks_decide_nothing() -> None:
    result, waves = await found(lambda ask: None)
    assert result.weak == ()
    assert {(region.asked, region.successes) for region in result.regions} == {(0, 0)}
    assert sum(region.failed for region in result.regions) == sum(waves)
    assert result.overall.decision == "undecided"


async def test_the_order_of_arrival_changes_nothing() -> None:
    def outcome(ask: Ask) -> bool:
        return hash((ask.subject, ask.family)) % 3 == 0

    plan = plan_of(SMALL)
    results = []
    for reverse in (False, True):

        async def answer(one: Ask, wait: float) -> Trial:
            await asyncio.sleep(wait)
            return trial(one, outcome(one))

        async def ask(asks: Sequence[Ask], reverse: bool = reverse) -> list[Trial]:
            waits = [i * 0.0002 for i in range(len(asks))]
            return await asyncio.gather(*map(answer, asks, reversed(waits) if reverse else waits))

        results.append(await find(plan, ("en",), ask))
    assert results[0] == results[1]


async def test_no_region_gets_more_than_its_share() -> None:
    result, _ = await found(lambda ask: False, replace(ENGLISH, asks_per_region=5))
    assert max(region.asked for region in result.regions) == 5
