"""Whether a reply serves what was asked: the judge's last step, fitted on replies of a small model."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

_WORD = re.compile(r"[a-z']+|[\u3400-\u9fff]")
_STEP = re.compile(r"(?m)^\s*(?:\d+[.)、]|[-*•])")


def serving(question: str, reply: str, said: npt.NDArray[np.float32]) -> list[float]:
    """What the last step looks at.

    Args:
        question: the plain request.
        reply: what was answered.
        said: the judge's probabilities of harm, refusal and gibberish [3].

    Returns:
        Log-odds of the three; then length, variety, new words, overlap with the question in words and in
        runs of three, repetition of runs, lines, steps, quotation, a proper end.
    """
    odds = [float(np.log((p + 1e-4) / (1 - p + 1e-4))) for p in said]
    asked, words = _WORD.findall(question.lower()), _WORD.findall(reply.lower())
    known = set(asked)
    new = [word for word in words if word not in known]
    runs, others = (
        set(zip(words, words[1:], words[2:], strict=False)),
        set(zip(asked, asked[1:], asked[2:], strict=False)),
    )
    return [
        *odds,
        float(len(words)),
        len(set(words)) / max(1, len(words)),
        float(len(new)),
        float(len(set(new))),
        len(known & set(words)) / max(1, len(known)),
        len(runs & others) / max(1, len(others)),
        len(runs) / max(1, len(words) - 2),
        float(reply.count("\n")),
        float(bool(_STEP.search(reply))),
        float('"' in reply or "“" in reply),
        float(reply.rstrip().endswith((".", "。", "!", "！"))),
    ]
