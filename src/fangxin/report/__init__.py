"""What people read: a run's result as one HTML page, and as ten lines for a terminal."""

from fangxin.report._publish import publish, verify_folder
from fangxin.report._render import render
from fangxin.report._result import ReportError
from fangxin.report._summary import summary

__all__ = ["ReportError", "publish", "render", "summary", "verify_folder"]
