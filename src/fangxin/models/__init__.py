"""The one wire: every model is reached over the OpenAI-compatible API, or an adapter to it."""

from fangxin.models._embedded import EmbeddedModel, free_threads
from fangxin.models._endpoint import Patience, read_key
from fangxin.models._http import OpenAIModel
from fangxin.models._tokens import estimate_tokens
from fangxin.models._types import FailureKind, Model, ModelError, Reply, Sampling, TokenLogprob
from fangxin.models._weights import cache_folder

__all__ = [
    "EmbeddedModel",
    "FailureKind",
    "Model",
    "ModelError",
    "OpenAIModel",
    "Patience",
    "Reply",
    "Sampling",
    "TokenLogprob",
    "cache_folder",
    "estimate_tokens",
    "free_threads",
    "read_key",
]
