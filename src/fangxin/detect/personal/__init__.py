"""Personal data in Chinese and English text, by rules: found, masked and restored."""

from fangxin.detect.personal._find import find
from fangxin.detect.personal._finding import KINDS, Finding, Kind

__all__ = ["KINDS", "Finding", "Kind", "find"]
