"""The one wire: every model is reached over the OpenAI-compatible API, or an adapter to it."""

from fangxin.models._endpoint import Patience, read_key
from fangxin.models._http import OpenAIModel
from fangxin.models._tokens import estimate_tokens
from fangxin.models._types import FailureKind, Model, ModelError, Reply, Sampling, TokenLogprob

__all__ = [
    "FailureKind",
    "Model",
    "ModelError",
    "OpenAIModel",
    "Patience",
    "Reply",
    "Sampling",
    "TokenLogprob",
    "estimate_tokens",
    "read_key",
]
