"""Routes to a fast classifier of toxicity, side by side on the held-out part of its training rows.

Frozen sentence-encoder features under a linear and a network's head, hashed n-grams, the two together, and
what ships: the encoder's upper half tuned, alone and with the n-grams. All see the same rows; none sees the
held-out ones, and `dev/` isn't read. Prints accuracy by source, a row a route.

    python benchmarks/text_classifiers.py --data /path/to/data
"""

from __future__ import annotations

import argparse
import random
import warnings
from pathlib import Path

import numpy as np

from fangxin.detect import TextClassifier
from fangxin.detect._encoder import encoder
from fangxin.detect._sources import Sources
from fangxin.detect._train_classifier import fit_grams, row_weights, rows_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    from fangxin.detect._hashing import grams

    rows = rows_of("toxicity", Sources(asked.data), random.Random(asked.seed))
    texts = [row["text"][:700] for row in rows]
    held = np.array([row["held"] for row in rows])
    y = np.array([row["label"] >= 0.5 for row in rows])
    source = np.array([f"{row['source']} {row['lang']}" for row in rows])
    weight = row_weights([row for row, out in zip(rows, held, strict=True) if not out])
    x = encoder().encode(texts)
    found: dict[str, np.ndarray] = {}
    linear = LogisticRegression(C=30, max_iter=300).fit(x[~held], y[~held], sample_weight=weight)
    found["frozen features, logistic"] = linear.decision_function(x[held])
    nets = []
    for seed in range(3):
        net = MLPClassifier((192,), alpha=3e-2, max_iter=10, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            net.fit(x[~held] * 8, y[~held])
        p = net.predict_proba(x[held] * 8)[:, 1]
        nets.append(np.log(p + 1e-6) - np.log(1 - p + 1e-6))
    found["frozen features, network of 192"] = nets[0]
    found["frozen features, three networks averaged"] = np.mean(nets, axis=0)
    fit = [text for text, out in zip(texts, held, strict=True) if not out]
    rest = [text for text, out in zip(texts, held, strict=True) if out]
    table = fit_grams(fit, y[~held], weight, asked.seed)
    found["hashed n-grams, logistic"] = grams(rest).scores(table[:, None])[:, 0]
    found["three networks and n-grams"] = np.mean(nets, axis=0) + found["hashed n-grams, logistic"]
    shipped = TextClassifier.default("toxicity")
    found["tuned upper half, attention"], ngrams = shipped.parts(rest)
    of = np.array([row["lang"] for row in rows if row["held"]])
    blended = np.empty(len(rest))
    for code, (a, b, c) in shipped.blend.items():
        mine = of == code
        blended[mine] = a * found["tuned upper half, attention"][mine] + b * ngrams[mine] + c
    found["tuned upper half and n-grams (ships)"] = blended
    names = sorted(set(source[held]))
    print("| route | " + " | ".join(names) + " | mean |")
    print("| --- |" + " --- |" * (len(names) + 1))
    for route, scores in found.items():
        right = [float(np.mean((scores > 0)[source[held] == s] == y[held][source[held] == s])) for s in names]
        print(
            f"| {route} | " + " | ".join(f"{value:.3f}" for value in [*right, float(np.mean(right))]) + " |"
        )


if __name__ == "__main__":
    main()
