from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Head:
    """A kernel classifier on unit vectors: logistic regression on Gaussian similarities to landmarks.

    logit(x) = bias + sum_j weights[j] * exp(-gamma * |x - landmarks[j]|^2)
    (Nystroem features, Williams and Seeger, NIPS 2000, left unwhitened; the penalty does that work).

    Attributes:
        landmarks: [m, d], unit rows.
        weights: [m].
        bias: the logit far from every landmark.
        gamma: 1 / (2 width^2).
    """

    landmarks: Array
    weights: Array
    bias: float
    gamma: float

    def features(self, x: Array) -> Array:
        """Similarities in [0, 1], [n, m]."""
        near = x @ self.landmarks.T
        near -= 1.0
        near *= 2.0 * self.gamma
        return np.asarray(np.exp(near, out=near), np.float32)

    def logits(self, x: Array) -> Array:
        """[n] log-odds of being harmful, for unit rows [n, d]."""
        return np.asarray(self.features(x) @ self.weights + np.float32(self.bias), np.float32)

    def arrays(self, prefix: str = "") -> dict[str, npt.NDArray[Any]]:
        """What `of` reads back; landmarks as float16."""
        return {
            prefix + "landmarks": self.landmarks.astype(np.float16),
            prefix + "weights": self.weights.astype(np.float32),
            prefix + "shape": np.array([self.bias, self.gamma], np.float64),
        }

    @classmethod
    def of(cls, stored: dict[str, npt.NDArray[Any]], prefix: str = "") -> Head:
        """Read the arrays that `arrays` gave."""
        bias, gamma = stored[prefix + "shape"]
        return cls(
            stored[prefix + "landmarks"].astype(np.float32),
            stored[prefix + "weights"].astype(np.float32),
            float(bias),
            float(gamma),
        )


@dataclass(frozen=True)
class Net:
    """A network of one hidden layer of rectified units over unit rows scaled by `SCALE`.

    Attributes:
        w0: [d, h].
        b0: [h].
        w1: [h].
        b1: the output's bias.
    """

    w0: Array
    b0: Array
    w1: Array
    b1: float

    # Unit rows of 512 numbers are small: scaled up, they reach a network's usual range.
    SCALE = 8.0

    def logits(self, x: Array) -> Array:
        """[n] log-odds of being harmful, for unit rows [n, d], held to +-14."""
        hidden = np.maximum((x * np.float32(self.SCALE)) @ self.w0 + self.b0, 0)
        return np.asarray(np.clip(hidden @ self.w1 + np.float32(self.b1), -14, 14), np.float32)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """What `of` reads back; the first layer as float16."""
        return {
            "net_w0": self.w0.astype(np.float16),
            "net_b0": self.b0.astype(np.float32),
            "net_w1": self.w1.astype(np.float32),
            "net_b1": np.array(self.b1),
        }

    @classmethod
    def of(cls, stored: dict[str, npt.NDArray[Any]]) -> Net:
        """Read the arrays that `arrays` gave."""
        return cls(
            stored["net_w0"].astype(np.float32), stored["net_b0"], stored["net_w1"], float(stored["net_b1"])
        )


@dataclass(frozen=True)
class Residual:
    """What a repair adds to a head's logits: a small kernel head and a linear one.

    delta(x) = kernel.logits(x) + linear . x
    """

    kernel: Head
    linear: Array

    def logits(self, x: Array) -> Array:
        """[n] log-odds to add, for unit rows [n, d]."""
        return np.asarray(self.kernel.logits(x) + x @ self.linear, np.float32)


@dataclass(frozen=True)
class Cuts:
    """Where a score becomes a verdict, per language.

    Attributes:
        unsafe: the score from which a text is unsafe.
        unsure: the score from which it is controversial (below `unsafe`).
        slope: how fast the probability rises with the score; it is 0.5 at `unsafe`.
    """

    unsafe: dict[str, float] = field(default_factory=dict)
    unsure: dict[str, float] = field(default_factory=dict)
    slope: float = 1.0

    def probability(self, score: float, language: str) -> float:
        """In (0, 1); 0.5 where the verdict turns unsafe."""
        return float(1.0 / (1.0 + np.exp(-np.clip(self.slope * (score - self.unsafe[language]), -30, 30))))


def fit_logistic(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    penalty: float,
    steps: int = 12,
) -> npt.NDArray[np.float64]:
    """Coefficients of an L2-penalised logistic regression with a fixed offset, by Newton's method.

    Minimises sum_i weight_i * logloss(offset_i + x_i . beta, y_i) + penalty / 2 * |beta|^2.

    Args:
        x: [n, d]; a column of ones, if wanted, is penalised like the others.
        y: [n] in {0, 1}.
        weight: [n], >= 0.
        offset: [n] log-odds known beforehand.
        penalty: > 0.
        steps: at most so many Newton steps.
    """
    beta = np.zeros(x.shape[1])
    ridge = penalty * np.eye(x.shape[1])
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(offset + x @ beta, -30, 30)))
        gradient = x.T @ (weight * (p - y)) + penalty * beta
        curved = np.maximum(weight * p * (1 - p), 1e-9)
        step = np.linalg.solve((x * curved[:, None]).T @ x + ridge, gradient)
        # A long step from a flat place may overshoot: hold it to a length that sigmoids can follow.
        step *= min(1.0, 20.0 / (float(np.linalg.norm(step)) + 1e-12))
        beta -= step
        if np.max(np.abs(step)) < 1e-4:
            break
    return beta
