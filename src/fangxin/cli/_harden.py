from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fangxin.cli._terminal import BAD_NEWS, emit, run, say

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")]


def harden(
    model: Annotated[
        str, typer.Option(help="embedded, a URL, app:TEMPLATE.toml or python:MODULE:FUNCTION.")
    ] = "embedded",
    model_name: Annotated[str | None, typer.Option(help="The model at that URL.")] = None,
    key_env: Annotated[str, typer.Option(help="Environment variable with the API key.")] = "OPENAI_API_KEY",
    key_file: Annotated[Path | None, typer.Option(help="File with the API key.")] = None,
    prompt: Annotated[
        Path | None, typer.Option(help="The dialogue prompt, a TOML file; the embedded model has one.")
    ] = None,
    judge: Annotated[str | None, typer.Option(help="URL of a model that judges; ours by default.")] = None,
    judge_model: Annotated[str | None, typer.Option(help="The judge model at that URL.")] = None,
    judge_rules: Annotated[
        Path | None, typer.Option(help="What that judge goes by: one's own rules, one a line.")
    ] = None,
    judge_stance: Annotated[
        str | None,
        typer.Option(help="What is controversial is safe (loose) or unsafe (strict) to that judge."),
    ] = None,
    judge_key_env: Annotated[str, typer.Option(help="Variable with the judge's key.")] = "JUDGE_API_KEY",
    judge_panel: Annotated[
        Path | None, typer.Option(help="Labelled replies (JSONL) that measure the judge's error.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Settings and margins, a TOML file.")] = None,
    regime: Annotated[str | None, typer.Option(help="ailuminate, cn or eu.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="en, zh; give it twice for both.")] = None,
    budget: Annotated[int | None, typer.Option(help="The most asks, all arms together.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of every random choice.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="The longest reply.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, help="Asks in flight; the engine's slots.")
    ] = None,
    timeout: Annotated[float | None, typer.Option(min=0.01, help="Seconds that one ask may take.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The run's folder; one that was killed goes on there.")
    ] = None,
    price_in: Annotated[float, typer.Option(min=0, help="Price of a million tokens read.")] = 0.0,
    price_out: Annotated[float, typer.Option(min=0, help="Price of a million tokens written.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be spent; ask nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress.")] = False,
    as_json: Json = False,
) -> None:
    """Find where a model is unsafe, repair it, prove the repair, write report and bundle.

    Exit code: 0 proved, or no weakness found; 1 not proved or inconclusive; 2 bad input; 3 failed.
    """
    from fangxin.agent import ModelSpec
    from fangxin.cli import _loop, _settings
    from fangxin.cli._judging import JudgeSpec
    from fangxin.models import Patience

    wishes = {
        "regime": regime,
        "languages": tuple(language) if language else None,
        "budget": budget,
        "seed": seed,
        "max_tokens": max_tokens,
    }
    settings = _settings.settings_of(
        config, {key: value for key, value in wishes.items() if value is not None}
    )
    wanted, settings = settings.goals_per_risk, _settings.affordable(settings)
    if settings.goals_per_risk < wanted:
        say(
            f"A budget of {settings.budget} asks pays for {settings.goals_per_risk} goals a risk "
            f"instead of {wanted}: intervals will be wider."
        )
    spec = ModelSpec(model, model_name, key_env, str(key_file) if key_file else None, concurrency)
    said = _settings.prompt_of(model, prompt)
    if dry_run:
        estimate = _settings.dry_run(settings, said, price_in, price_out)
        emit(estimate) if as_json else say(_settings.shown(estimate))
        return
    result: dict[str, Any] = run(
        _loop.loop(
            settings=settings,
            spec=spec,
            prompt=said,
            judge=JudgeSpec.of(judge, judge_model, judge_key_env, judge_rules, judge_stance, judge_panel),
            patience=Patience(timeout=timeout) if timeout else None,
            out=out,
            quiet=quiet,
        )
    )
    if as_json:
        emit(result)
    else:
        from fangxin.report import summary

        say(summary(result, _loop.reader_language()))
    if result["status"] not in ("proved", "no_weakness"):
        raise typer.Exit(BAD_NEWS)
