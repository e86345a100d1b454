"""Fangxin (放心): find, repair, prove, serve and watch a language model that people can rest easy about."""

__version__ = "0.1.0"
