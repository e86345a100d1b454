"""Single-turn black-box attack families: a goal in, the turns that carry it out.

Wording is our own, after published ideas; nothing in a template is harmful by itself, and every
demonstration is a harmless everyday task.
"""

from fangxin.probe.attacks._plugin import Access, Attack, AttackError, AttackInfo, AttackKind, attack
from fangxin.probe.attacks._registry import attacks

__all__ = ["Access", "Attack", "AttackError", "AttackInfo", "AttackKind", "attack", "attacks"]
