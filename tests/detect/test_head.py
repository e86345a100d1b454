import numpy as np

from fangxin.detect._head import Head, Net, Residual, fit_logistic


def test_a_logistic_fit_is_at_its_minimum():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    y = (x[:, 0] + 0.5 * rng.normal(size=300) > 0).astype(float)
    weight, offset = rng.uniform(0.2, 2, 300), rng.normal(size=300) * 0.3
    beta = fit_logistic(x, y, weight, offset, 0.7)
    p = 1 / (1 + np.exp(-(offset + x @ beta)))
    gradient = x.T @ (weight * (p - y)) + 0.7 * beta
    assert np.abs(gradient).max() < 1e-3


def test_separable_rows_stay_finite():
    x = np.repeat([[1.0, 5.0], [1.0, -5.0]], 20, axis=0)
    beta = fit_logistic(x, np.repeat([1.0, 0.0], 20), np.ones(40), np.zeros(40), 0.01)
    assert np.isfinite(beta).all()
    assert beta[1] > 0


def test_heads_survive_their_arrays():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 16)).astype(np.float32)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    head = Head(x[:3], np.array([1, -2, 3], np.float32), 0.5, 2.0)
    by_hand = 0.5 + np.exp(-2 * ((x[:, None] - x[None, :3]) ** 2).sum(-1)) @ [1, -2, 3]
    np.testing.assert_allclose(head.logits(x), by_hand, rtol=1e-4)
    np.testing.assert_allclose(Head.of(head.arrays("a_"), "a_").logits(x), by_hand, atol=2e-2)
    net = Net(
        rng.normal(size=(16, 4)).astype(np.float32), np.zeros(4, np.float32), np.ones(4, np.float32), 0.1
    )
    np.testing.assert_allclose(Net.of(net.arrays()).logits(x), net.logits(x), atol=5e-2)
    both = Residual(head, np.ones(16, np.float32))
    np.testing.assert_allclose(both.logits(x), by_hand + x.sum(axis=1), rtol=1e-3, atol=1e-4)
