from __future__ import annotations

import os
import sys
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import typer

from fangxin.cli._terminal import InputError, emit, plain, run, say

app = typer.Typer(help="Judge texts, measure, calibrate and train detectors.", no_args_is_help=True)

_TASK = typer.Option(help="prompt, exchange, refusal, injection, toxicity, fraud or pii.")
_Judge = Annotated[str | None, typer.Option(help="URL of a model that judges: alone, or ending a cascade.")]
_JudgeModel = Annotated[str | None, typer.Option(help="The judge model at that URL.")]
_JudgeRules = Annotated[
    Path | None, typer.Option(help="What that judge goes by: one's own rules, one a line.")
]
_JudgeStance = Annotated[
    str | None, typer.Option(help="What is controversial is safe (loose) or unsafe (strict) to that judge.")
]
_JudgeKey = Annotated[str, typer.Option(help="Variable with the judge's key.")]
_Data = Annotated[
    list[Path], typer.Option(help="Labelled rows (JSONL, or .jsonl.gz); several times for several files.")
]
_Positive = Annotated[list[str] | None, typer.Option(help="A further label that counts as found.")]
_Negative = Annotated[list[str] | None, typer.Option(help="A further label that counts as not found.")]
_Ignore = Annotated[list[str] | None, typer.Option(help="A label whose rows are left out.")]
_Sample = Annotated[int | None, typer.Option(min=1, help="Take so many of the rows, drawn by the seed.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.command("score")
def score(
    task: Annotated[str, _TASK],
    detector: Annotated[
        str | None, typer.Option(help="A registered detector, or cascade; the task's default otherwise.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="The cascade of a file that `calibrate` wrote.")
    ] = None,
    judge: _Judge = None,
    judge_model: _JudgeModel = None,
    judge_rules: _JudgeRules = None,
    judge_stance: _JudgeStance = None,
    judge_key_env: _JudgeKey = "JUDGE_API_KEY",
) -> None:
    """Judge the rows on stdin (JSON lines), one row on stdout for each, in order, as they come.

    Rows hold text, or prompt and response. Out come label, probability, risk, detector and ms: safe, unsafe
    or controversial (of refusals: compliance or refusal), the probability of what the task looks for
    (0.5 is where the label turns), and a text's share of the time.

    Exit code: 0 all judged; 2 a row or an option can't be used; 3 a row could not be judged. What was before
    has been written.
    """
    from fangxin.cli._choosing import choosing
    from fangxin.cli._judging import JudgeSpec
    from fangxin.cli._scoring import score as judged
    from fangxin.detect import task_of

    what = task_of(task)
    spec = JudgeSpec.of(judge, judge_model, judge_key_env, judge_rules, judge_stance)

    async def work() -> None:
        async with choosing(what, detector, spec, calibration) as chosen:
            await judged(what, chosen, sys.stdin.fileno(), sys.stdout.buffer)

    run(work())


@app.command("bench")
def bench(
    task: Annotated[str, _TASK],
    data: _Data,
    detector: Annotated[
        str | None, typer.Option(help="A registered detector, or cascade; the task's default otherwise.")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="The cascade of a file that `calibrate` wrote.")
    ] = None,
    judge: _Judge = None,
    judge_model: _JudgeModel = None,
    judge_rules: _JudgeRules = None,
    judge_stance: _JudgeStance = None,
    judge_key_env: _JudgeKey = "JUDGE_API_KEY",
    positive: _Positive = None,
    negative: _Negative = None,
    ignore: _Ignore = None,
    sample: _Sample = None,
    resamples: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the bootstrap.")] = 0,
    as_json: _Json = False,
) -> None:
    """Measure a detector on labelled rows: F1, AUPRC, AUROC, recall and false blocks, by language.

    Rows hold text, or prompt and response; label; and lang, if they like. Found are the labels unsafe,
    harmful, injection, jailbreak, fraud, scam, spam, refusal, toxic, hate, hateful, offensive, abusive, pii,
    personal, positive, true, yes and 1; not found are safe, benign, harmless, clean, normal, neutral,
    compliance, ham, none, negative, false, no and 0. Other labels are an error until they are named.

    Exit code: 0 measured; 2 a row or an option can't be used; 3 a row could not be judged.
    """
    from fangxin.cli import _measuring
    from fangxin.cli._choosing import choosing
    from fangxin.cli._judging import JudgeSpec
    from fangxin.cli._rows import labelled
    from fangxin.detect import task_of

    what = task_of(task)
    spec = JudgeSpec.of(judge, judge_model, judge_key_env, judge_rules, judge_stance)
    rows = labelled(data, what, positive=positive or (), negative=negative or (), ignore=ignore or ())
    rows = rows.sample(sample, seed)

    async def work() -> dict[str, Any]:
        async with choosing(what, detector, spec, calibration) as chosen:
            return await _measuring.bench(
                what, chosen, rows, resamples=resamples, seed=seed, alone=judge is None
            )

    result = run(work())
    if as_json:
        emit({**result, "data": [str(path) for path in data]})
    else:
        typer.echo(_measuring.table(result))


@app.command("calibrate")
def calibrate(
    task: Annotated[str, _TASK],
    data: _Data,
    detector: Annotated[
        list[str] | None,
        typer.Option(help="A registered detector; several times for tiers in order. The cascade by default."),
    ] = None,
    alpha: Annotated[float, typer.Option(help="The miss rate that may not be exceeded.")] = 0.05,
    confidence: Annotated[float, typer.Option(help="How sure that must be.")] = 0.95,
    judge: _Judge = None,
    judge_model: _JudgeModel = None,
    judge_rules: _JudgeRules = None,
    judge_stance: _JudgeStance = None,
    judge_key_env: _JudgeKey = "JUDGE_API_KEY",
    positive: _Positive = None,
    negative: _Negative = None,
    ignore: _Ignore = None,
    sample: _Sample = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and of the halves of harmless rows.")] = 0,
    out: Annotated[Path, typer.Option(help="Where the calibration goes.")] = Path("calibration.json"),
    as_json: _Json = False,
) -> None:
    """Set a cascade's thresholds on your own labelled rows, with a promise about what it misses.

    At most alpha of harmful rows like yours are missed, with the confidence asked for, however few rows there
    are (exact binomial tests along a fixed sequence: learn then test); where they are too few, nothing is
    promised and nothing written. The rows must be drawn like the traffic, one by one. Labels as in `bench`.

    Exit code: 0 promised; 1 no promise can be made; 2 a row or an option can't be used; 3 a row could
    not be judged.
    """
    from fangxin.cli import _measuring
    from fangxin.cli._choosing import choosing_tiers
    from fangxin.cli._judging import JudgeSpec
    from fangxin.cli._rows import labelled
    from fangxin.detect import task_of

    if not 0 < alpha < 1 or not 0.5 < confidence < 1:
        raise InputError("--alpha must lie between 0 and 1, and --confidence between 0.5 and 1.")
    what = task_of(task)
    spec = JudgeSpec.of(judge, judge_model, judge_key_env, judge_rules, judge_stance)
    rows = labelled(data, what, positive=positive or (), negative=negative or (), ignore=ignore or ())
    rows = rows.sample(sample, seed)

    async def work() -> dict[str, Any]:
        async with choosing_tiers(what, detector or (), spec) as tiers:
            return await _measuring.calibrate(
                what, tiers, rows, alpha=alpha, confidence=confidence, seed=seed
            )

    found = run(work())
    _measuring.write(out, found)
    if as_json:
        emit({"status": "promised", "out": str(out), **found})
    else:
        typer.echo(f"{_measuring.sentence(found)}\nThe calibration is in {out}.")


@app.command("train")
def train(
    data: Annotated[
        Path | None, typer.Option(help="The data folder (train/, dev/); FANGXIN_DATA by default.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where weights and cards go; the package's own by default.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 7,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Names of detectors, as `detect cards` prints them; all by default."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Train every shipped detector from public data, with one seed (needs the extra `train`)."""
    from fangxin.cli._heard import heard
    from fangxin.detect import train as train_detectors

    folder = data or (Path(os.environ["FANGXIN_DATA"]) if os.environ.get("FANGXIN_DATA") else None)
    if folder is None:
        raise InputError("Name the data folder: --data FOLDER or FANGXIN_DATA (see docs/data.md).")
    if not (folder / "train").is_dir():
        raise InputError(f"{folder} has no train/ in it: give the folder that docs/data.md describes.")
    where = out or Path(str(files("fangxin.detect")))
    panel = run(heard()) if not only or "reply-judge" in only else []
    train_detectors(folder, where, seed, only=only, panel=panel)
    if as_json:
        emit({"status": "trained", "out": str(where)})
    else:
        say(f"Weights and cards are in {plain(where)}.")


@app.command("cards")
def cards(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")] = False,
) -> None:
    """Print the card of every shipped detector."""
    from fangxin.detect import cards as shipped

    if as_json:
        emit({"cards": [asdict(one) for one in shipped()]})
        return
    from rich.console import Console
    from rich.pretty import Pretty

    console = Console()
    for one in shipped():
        console.rule(one.name)
        console.print(Pretty(asdict(one), expand_all=False))
