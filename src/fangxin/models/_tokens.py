import math
import unicodedata


def estimate_tokens(text: str) -> int:
    """About how many tokens a text has, without a tokenizer.

    0.7 tokens for each wide character (Chinese, Japanese, Korean), a quarter for each other one: the
    order of magnitude of today's vocabularies, not a count.
    """
    wide = 0 if text.isascii() else sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return math.ceil(0.7 * wide + 0.25 * (len(text) - wide))
