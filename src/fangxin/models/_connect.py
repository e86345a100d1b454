from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from fangxin.models._cache import CachedModel
from fangxin.models._callable import CallableModel, load_callable
from fangxin.models._embedded import EmbeddedModel
from fangxin.models._endpoint import Endpoint, Patience, read_key
from fangxin.models._http import OpenAIModel, decode, endpoint_url
from fangxin.models._template import TemplateModel
from fangxin.models._types import Described, ModelError


@asynccontextmanager
async def connect(
    model: str = "embedded",
    *,
    model_name: str | None = None,
    key_env: str = "OPENAI_API_KEY",
    key_file: str | Path | None = None,
    patience: Patience | None = None,
    concurrency: int | None = None,
    threads: int | None = None,
    context: int = 1024,
    adapters: Sequence[tuple[str | Path, float]] = (),
    cache: str | Path | None = None,
) -> AsyncIterator[Described]:
    """A model from what a command line says of it; closed on leaving.

    Args:
        model: `embedded`, `embedded:FILE.gguf`, `app:TEMPLATE.toml`, `python:MODULE:FUNCTION`, or the
            URL of an OpenAI-compatible API.
        model_name: the model at that API; needed only where it serves several.
        key_env: the environment variable with the API key.
        key_file: a file with the API key; goes before the variable.
        patience: timeouts and retries; the adapter's own when None.
        concurrency: requests under way at a time, and the embedded engine's slots; the adapter's own
            when None (16 for an API, 32 embedded, 8 for an application, 1 for a function).
        threads: the embedded engine's; chosen by `free_threads()` when None.
        context: tokens a slot of the embedded engine holds.
        adapters: LoRA adapters of the embedded engine in GGUF form, each with its scale.
        cache: an SQLite file for completions; none when None.

    Raises:
        ModelError: the model can't be had; the message says what to do.
    """
    kind, _, rest = model.partition(":")
    async with AsyncExitStack() as stack:
        found: Described
        if kind == "embedded":
            found = await stack.enter_async_context(
                EmbeddedModel.start(
                    weights=rest or None,
                    adapters=adapters,
                    threads=threads,
                    slots=concurrency or 32,
                    context=context,
                    reply_timeout=patience.timeout if patience else 600.0,
                )
            )
        elif kind == "app":
            found = TemplateModel.load(rest, patience=patience, concurrency=concurrency or 8)
        elif kind == "python":
            found = CallableModel(
                load_callable(rest),
                name=rest,
                concurrency=concurrency or 1,
                seconds=patience.timeout if patience else 600.0,
            )
        elif kind in ("http", "https"):
            key = read_key(key_env, key_file)
            patience = patience or Patience()
            name = model_name or await only_model(model, key, patience)
            found = OpenAIModel(model, name, key, patience=patience, concurrency=concurrency or 16)
        else:
            raise ModelError(
                f"Unknown model {model!r}: give 'embedded', a URL, app:TEMPLATE.toml or "
                "python:MODULE:FUNCTION.",
                "missing",
                fatal=True,
            )
        stack.push_async_callback(found.close)
        if cache is not None:
            found = CachedModel(found, cache)
            stack.push_async_callback(found.close)
        yield found


async def only_model(base_url: str, key: str | None, patience: Patience) -> str:
    """The name of the one model that an API serves.

    Raises:
        ModelError: it serves none or several, or does not say.
    """
    base = endpoint_url(base_url)
    shown = str(base.with_query(None))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    endpoint = Endpoint(
        shown, patience, concurrency=1, secrets=(key,) if key else (), key_given=key is not None
    )
    try:
        url = base.with_path(f"{base.path}/models", keep_query=True)
        body, _ = await endpoint.fetch("GET", url, None, headers)
        data = decode(body, shown)
    except ModelError as error:
        if error.kind not in ("missing", "rejected", "bad_reply"):
            raise
        data = None  # an API without a list of models
    finally:
        await endpoint.close()
    rows = data.get("data") if isinstance(data, dict) else None
    rows = rows if isinstance(rows, list) else []
    names = [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]
    if len(names) == 1:
        return names[0]
    listed = f"one of {', '.join(endpoint.shown(name) for name in names[:8])}" if names else "it lists none"
    raise ModelError(f"Name the model that {shown} shall use: {listed}.", "missing", fatal=True)
