import unicodedata

_KEPT = {"\n", "\t"}


def printable(text: str) -> str:
    """Strip what could drive a terminal or hide text from whoever reads it.

    Removes C0 and C1 controls (escape sequences among them), bidirectional overrides, and other
    format characters; keeps newlines and tabs. Zero-width joiners go too: an emoji may fall apart,
    which is a smaller harm than an invisible instruction.

    Args:
        text: any text, typically a model's.

    Returns:
        The text with only printable characters, newlines and tabs.
    """
    return "".join(c for c in text if c in _KEPT or unicodedata.category(c) not in {"Cc", "Cf", "Co", "Cs"})
