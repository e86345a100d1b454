"""The one wire: every model is reached over the OpenAI-compatible API, or an adapter to it."""

from fangxin.models._cache import CachedModel
from fangxin.models._callable import CallableModel, load_callable
from fangxin.models._connect import connect
from fangxin.models._embedded import EmbeddedModel, free_threads
from fangxin.models._endpoint import Patience, read_key
from fangxin.models._http import OpenAIModel
from fangxin.models._meter import Estimate, Meter, Price, Spent, estimate
from fangxin.models._template import TemplateModel
from fangxin.models._tokens import estimate_tokens
from fangxin.models._types import (
    Described,
    FailureKind,
    Model,
    ModelError,
    Reply,
    Sampling,
    TokenLogprob,
    describe,
)
from fangxin.models._weights import cache_folder, embedded_weights

__all__ = [
    "CachedModel",
    "CallableModel",
    "Described",
    "EmbeddedModel",
    "Estimate",
    "FailureKind",
    "Meter",
    "Model",
    "ModelError",
    "OpenAIModel",
    "Patience",
    "Price",
    "Reply",
    "Sampling",
    "Spent",
    "TemplateModel",
    "TokenLogprob",
    "cache_folder",
    "connect",
    "describe",
    "embedded_weights",
    "estimate",
    "estimate_tokens",
    "free_threads",
    "load_callable",
    "read_key",
]
