from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from fangxin.agent._agent import Agent
from fangxin.defend import Shield
from fangxin.dialogue import DialoguePrompt
from fangxin.ledger import Ledger
from fangxin.models import Sampling, connect

_FILE = "bundle.json"
_FORMAT = 1


class BundleError(ValueError):
    """A bundle that can't be read; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How a model is reached; a key is named, never held.

    Attributes:
        model: as `fangxin.models.connect` takes it: `embedded`, a URL, `app:…` or `python:…`.
        model_name: the model at that URL.
        key_env: the environment variable that holds the key.
        key_file: the file that holds it.
        concurrency: requests under way at a time; the adapter's own when None.
    """

    model: str = "embedded"
    model_name: str | None = None
    key_env: str = "OPENAI_API_KEY"
    key_file: str | None = None
    concurrency: int | None = None


@dataclass(frozen=True)
class Bundle:
    """An agent written down: what was proved and what is served.

    Attributes:
        model: how its model is reached; never holds a key.
        prompt: its dialogue prompt.
        shield: its shield.
        sampling: how its replies are drawn.
        proof: the verdict that came with it, as the run wrote it.
    """

    model: ModelSpec = field(default_factory=ModelSpec)
    prompt: DialoguePrompt = field(default_factory=DialoguePrompt)
    shield: Shield = field(default_factory=Shield)
    sampling: Sampling = field(default_factory=Sampling)
    proof: Mapping[str, Any] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the bundle into `folder`. It is signed by whoever made it, once all files are there."""
        self.shield.save(folder)
        data = {
            "format": _FORMAT,
            "model": asdict(self.model),
            "prompt": self.prompt.as_dict(),
            "sampling": asdict(self.sampling),
            "proof": dict(self.proof),
        }
        (folder / _FILE).write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Bundle:
        """Read a bundle.

        Raises:
            BundleError: the folder holds none, or a file of it can't be read.
            DefenceError: its shield can't be loaded: it fails closed.
        """
        folder = Path(folder)
        try:
            data = json.loads((folder / _FILE).read_text("utf-8"))
            if data["format"] != _FORMAT:
                raise ValueError(f"it has format {data['format']!r}, this version reads {_FORMAT}")
            if not isinstance(data["proof"], dict):
                raise TypeError("proof must be a table")
            return cls(
                model=_read(ModelSpec, data["model"]),
                prompt=DialoguePrompt.of(data["prompt"]),
                shield=Shield.load(folder),
                sampling=_read(Sampling, data["sampling"]),
                proof=data["proof"],
            )
        except OSError:
            raise BundleError(f"{folder} is not a bundle: it has no {_FILE}.") from None
        except KeyError as error:
            raise BundleError(f"{folder / _FILE} can't be read: it has no {error}.") from None
        except (ValueError, TypeError) as error:
            raise BundleError(f"{folder / _FILE} can't be read: {str(error).rstrip('.')}.") from None

    @asynccontextmanager
    async def open(self, ledger: Ledger | None = None) -> AsyncIterator[Agent]:
        """Reach the model and give the agent; the model is let go of afterwards.

        Raises:
            ModelError: the model can't be reached or started.
        """
        async with connect(**asdict(self.model)) as model:
            yield Agent(model, self.prompt, self.shield, self.sampling, ledger)


_Settings = TypeVar("_Settings", ModelSpec, Sampling)


def _read(kind: type[_Settings], row: Any) -> _Settings:
    """The settings of a file, checked: a wrong type shall not wait for the first request."""
    if not isinstance(row, dict):
        raise TypeError(f"{kind.__name__} must be a table")
    types = get_type_hints(kind)
    settings: dict[str, Any] = {}
    for name, value in row.items():
        if name not in types:
            raise ValueError(f"unknown setting {name!r}")
        if get_origin(types[name]) is tuple:
            right = isinstance(value, list) and all(isinstance(part, str) for part in value)
            settings[name] = tuple(value) if right else None
        else:
            wanted = float | int if types[name] is float else types[name]
            right = isinstance(value, wanted) and not isinstance(value, bool)
            settings[name] = value
        if not right:
            raise TypeError(f"{name} has a wrong type")
    return kind(**settings)
