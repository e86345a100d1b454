"""The one wire: every model is reached over the OpenAI-compatible API, or an adapter to it."""

from fangxin.models._types import FailureKind, Model, ModelError, Reply, Sampling, TokenLogprob

__all__ = ["FailureKind", "Model", "ModelError", "Reply", "Sampling", "TokenLogprob"]
