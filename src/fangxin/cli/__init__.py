"""The command line: one thin file a command. Heavy rooms are imported when a command runs."""

from fangxin.cli._app import app, main

__all__ = ["app", "main"]
