from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from importlib.metadata import entry_points
from types import ModuleType

from fangxin.probe.attacks._plugin import Attack, AttackError

GROUP = "fangxin.attacks"

# A checkout whose installed metadata is older than its entry points still has its own attacks;
# meeting the same attack twice is no clash, so the two ways add up to one registry.
_BUILT_IN = ("_plain", "_persona", "_instruction", "_persuasion", "_obfuscation", "_context", "_mixing")


def attacks() -> dict[str, Attack]:
    """Every registered attack by name: the built-ins first, then other packages', each by name.

    Raises:
        AttackError: a package's entry point fails to load, holds no attack, or takes a name that is taken.
    """
    return dict(_load())


@cache
def _load() -> dict[str, Attack]:
    modules: list[tuple[str, object]] = [
        (f"fangxin ({name})", importlib.import_module(f"fangxin.probe.attacks.{name}")) for name in _BUILT_IN
    ]
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        owner = f"{point.dist.name if point.dist else 'an unknown package'} ({point.value})"
        try:
            modules.append((owner, point.load()))
        except Exception as error:
            raise AttackError(
                f"the attacks of {owner} don't load: {error!r}. Repair or uninstall it."
            ) from error
    return collect(modules)


def collect(modules: Iterable[tuple[str, object]]) -> dict[str, Attack]:
    """The attacks that modules (or single `Attack` objects) hold, by name.

    Args:
        modules: (owner, what its entry point names), in the order of registration.

    Raises:
        AttackError: nothing there, or two different attacks of one name.
    """
    found: dict[str, Attack] = {}
    owners: dict[str, str] = {}
    for owner, loaded in modules:
        values = vars(loaded).values() if isinstance(loaded, ModuleType) else (loaded,)
        here = sorted({v for v in values if isinstance(v, Attack)}, key=lambda one: one.info.name)
        if not here:
            raise AttackError(f"{owner} holds no attack: its entry point must name a module of attacks.")
        for one in here:
            name = one.info.name
            if found.setdefault(name, one) is not one:
                raise AttackError(
                    f"two attacks are named {name!r}, from {owners[name]} and {owner}: rename one."
                )
            owners.setdefault(name, owner)
    return found
