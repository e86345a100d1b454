from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from fangxin.defend._blocklist import Blocklist
from fangxin.defend._defence import Block, Defence, DefenceError, ReplyStream
from fangxin.defend._guards import InputGuard, OutputGuard
from fangxin.defend._stream import Stack, stream_of
from fangxin.detect import PromptGuard, ReplyGuard, Verdict
from fangxin.dialogue import Dialogue

_FILE = "shield.json"


@cache
def defences() -> Mapping[str, type[Defence]]:
    """Every registered sort of defence, by kind: the built-in ones and third parties' (entry points).

    Raises:
        DefenceError: one can't be loaded, or two share a kind.
    """
    found: dict[str, type[Defence]] = {}
    for point in entry_points(group="fangxin.defences"):
        try:
            defence = point.load()
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise DefenceError(
                f"the defence {point.name!r} can't be loaded ({point.value}: {what})."
            ) from error
        if found.setdefault(point.name, defence) is not defence:
            raise DefenceError(f"two packages register the defence {point.name!r}: remove one of them.")
    return found


@dataclass(frozen=True)
class Shield:
    """An ordered stack of defences. Questions pass it downwards, replies upwards.

    Attributes:
        layers: the defences, outermost first.
    """

    layers: tuple[Defence, ...] = ()

    @classmethod
    def default(cls) -> Shield:
        """What ships: input guard, blocklist and output guard, as they are.

        No safety prompt: it costs tokens on every request and small models pay for it in ability, so it
        is a repair that has to earn its place.
        """
        return cls(
            (InputGuard(PromptGuard.default()), Blocklist.default(), OutputGuard(ReplyGuard.default()))
        )

    async def before(self, dialogue: Dialogue) -> Dialogue | Block:
        """The dialogue as the model shall see it, or a block."""
        for layer in self.layers:
            changed = await layer.before(dialogue)
            if isinstance(changed, Block):
                return changed
            dialogue = changed
        return dialogue

    async def after(self, dialogue: Dialogue, text: str, *, final: bool = True) -> str | Block:
        """The reply as people shall see it, or a block; see `Defence.after`."""
        for layer in reversed(self.layers):
            changed = await layer.after(dialogue, text, final=final)
            if isinstance(changed, Block):
                return changed
            text = changed
        return text

    def stream(self, dialogue: Dialogue) -> ReplyStream:
        """A stream for one reply to `dialogue`: each layer's own, or one over its `after`."""
        return Stack([stream_of(layer, dialogue) for layer in reversed(self.layers)])

    def check(self, text: str, *, question: str | None = None) -> Verdict:
        """Judge a text without a model: the three-line library use.

        Args:
            text: what somebody asks; with `question`, what a model replied to it.
            question: the question that `text` replies to.

        Returns:
            The verdict of the layer that blocks it, or a safe one.
        """
        start = time.perf_counter()

        async def judge() -> str | Dialogue | Block:
            if question is None:
                return await self.before(Dialogue().say(text))
            return await self.after(Dialogue().say(question), text)

        with ThreadPoolExecutor(1) as pool:  # works whether or not the caller runs an event loop
            outcome = pool.submit(asyncio.run, judge()).result()
        if isinstance(outcome, Block):
            return outcome.verdict
        ms = (time.perf_counter() - start) * 1000
        return Verdict("safe", 0.0, reason="No layer objects.", by="shield", ms=ms)

    def save(self, folder: Path) -> None:
        """Write the shield, weights and their hashes into `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        layers = [{"kind": layer.kind, **layer.save(folder)} for layer in self.layers]
        hashes = {row["weights"]: _sha256(folder / row["weights"]) for row in layers if _own_weights(row)}
        text = json.dumps({"format": 1, "layers": layers, "sha256": hashes}, ensure_ascii=False, indent=1)
        (folder / _FILE).write_text(text + "\n", "utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Shield:
        """Read the shield of a bundle.

        Raises:
            DefenceError: no shield there, an unknown defence, weights missing or changed.
        """
        folder = Path(folder)
        try:
            data = json.loads((folder / _FILE).read_text("utf-8"))
            rows, hashes = list(data["layers"]), dict(data["sha256"])
        except OSError:
            raise DefenceError(f"{folder} holds no shield: give the bundle's folder.") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DefenceError(f"{folder / _FILE} can't be read: {error}.") from None
        for name, digest in hashes.items():
            if not (folder / name).is_file() or _sha256(folder / name) != digest:
                raise DefenceError(f"{folder / name} is missing or changed: make the bundle again.")
        known = defences()
        layers = []
        for row in rows:
            kind = str(row.get("kind")) if isinstance(row, dict) else ""
            if kind not in known:
                raise DefenceError(f"unknown defence {kind!r}: known are {', '.join(sorted(known))}.")
            if _own_weights(row) and str(row["weights"]) not in hashes:
                raise DefenceError(
                    f"{folder / _FILE} has no hash of {row['weights']}: make the bundle again."
                )
            try:
                layers.append(known[kind].load(row, folder))
            except (KeyError, TypeError, ValueError) as error:
                raise DefenceError(f"{kind}: its settings can't be read ({error!r}).") from error
        return cls(tuple(layers))


def _own_weights(row: Mapping[str, Any]) -> bool:
    return bool(row.get("weights", "built-in") != "built-in")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
