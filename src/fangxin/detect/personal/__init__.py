"""Personal data in Chinese and English text, by rules: found, masked and restored."""

from fangxin.detect.personal._detector import Finder, PersonalDataDetector
from fangxin.detect.personal._find import find
from fangxin.detect.personal._finding import KINDS, Finding, Kind
from fangxin.detect.personal._mask import Masked, Vault, canonical, mask, mask_all, restore
from fangxin.detect.personal._presidio import PresidioFinder
from fangxin.detect.personal._stream import Remembering, settled

__all__ = [
    "KINDS",
    "Finder",
    "Finding",
    "Kind",
    "Masked",
    "PersonalDataDetector",
    "PresidioFinder",
    "Remembering",
    "Vault",
    "canonical",
    "find",
    "mask",
    "mask_all",
    "restore",
    "settled",
]
