"""What applications talk to: an OpenAI-compatible API, all of it behind the one door."""

from fangxin.gateway._app import app
from fangxin.gateway._serve import is_loopback, serve

__all__ = ["app", "is_loopback", "serve"]
