"""What is said: dialogue prompts, turns, and the text that a terminal may be shown."""

from fangxin.dialogue._dialogue import Dialogue, DialoguePrompt, Language, PromptError, Turn
from fangxin.dialogue._terminal import hidden, printable

__all__ = ["Dialogue", "DialoguePrompt", "Language", "PromptError", "Turn", "hidden", "printable"]
