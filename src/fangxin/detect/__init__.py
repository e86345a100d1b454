"""Verdicts: detectors, and the judges and guards made of them."""

from fangxin.detect._verdict import Detector, DetectorError, Label, Verdict

__all__ = ["Detector", "DetectorError", "Label", "Verdict"]
