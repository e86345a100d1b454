"""The one door: agents, and bundles that write them down."""

from fangxin.agent._agent import Agent, Answer
from fangxin.agent._bundle import Bundle, BundleError, ModelSpec

__all__ = ["Agent", "Answer", "Bundle", "BundleError", "ModelSpec"]
