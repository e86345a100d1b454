import unicodedata

_KEPT = {"\n", "\t"}
# Marks and letters that draw nothing; the rest of what is hidden is told by its category or block.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0")


def hidden(character: str) -> bool:
    """Whether a character draws nothing by itself: format characters, variation selectors, fillers, tags.

    White space and control characters are not meant.
    """
    if character.isascii():
        return False
    return (
        unicodedata.category(character) == "Cf"
        or "\ufe00" <= character <= "\ufe0f"
        or "\U000e0000" <= character <= "\U000e0fff"
        or character in _BLANK
    )


def printable(text: str) -> str:
    """Strip what could drive a terminal or hide text from whoever reads it.

    Removes C0 and C1 controls (escape sequences among them), bidirectional overrides, and whatever else
    is `hidden`; keeps newlines and tabs. Zero-width joiners and variation selectors go too: an emoji may
    fall apart, which is a smaller harm than an invisible instruction.

    Args:
        text: any text, typically a model's.

    Returns:
        The text with only printable characters, newlines and tabs.
    """
    return "".join(
        c for c in text if c in _KEPT or not (unicodedata.category(c) in {"Cc", "Co", "Cs"} or hidden(c))
    )
