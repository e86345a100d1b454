from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fangxin.cli._terminal import InputError, emit, run
from fangxin.cli._threads import one_blas_thread

if TYPE_CHECKING:
    from fangxin.defend import Blocklist


def serve(
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 8400,
    ledger: Annotated[
        str | None,
        typer.Option(help="Where exchanges are recorded: a file or a postgresql:// URL.", show_default=False),
    ] = None,
    key_env: Annotated[str | None, typer.Option(help="A variable with the key that callers bring.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="A file with the key that callers bring.")] = None,
    signed_by: Annotated[
        str | None, typer.Option(help="Serve only what this key signed (a fingerprint, fx1:...).")
    ] = None,
    terms: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Terms that nobody shall be shown, besides the bundle's; read again when the file changes.",
        ),
    ] = None,
    theme: Annotated[
        list[str] | None, typer.Option(help="Take only these themes of --terms.", show_default=False)
    ] = None,
    homophones: Annotated[
        bool,
        typer.Option("--homophones", help="Find --terms in Han of the same sound and in pinyin, too."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object once it listens.")] = False,
) -> None:
    """Serve a bundle as an OpenAI-compatible API, behind its shield."""
    one_blas_thread()
    from fangxin.gateway import is_loopback

    key = _key(key_env, key_file)
    if key is None and not is_loopback(host):
        raise InputError(
            f"At {host} others on the network could use the model and fill its ledger: "
            "give --key-file (or --key-env) too, or leave --host out."
        )
    if not terms and (theme or homophones):
        raise InputError("--theme and --homophones are about --terms: give --terms FILE, too.")
    signer = signer_of(bundle, signed_by)
    os.umask(0o077)  # the ledger holds what people said
    outer = _blocklist(terms, theme, homophones) if terms else None
    run(_serve(bundle, host, port, ledger or state_file(), key, signer, as_json, outer))


def _blocklist(paths: list[Path], themes: list[str] | None, homophones: bool) -> Blocklist:
    from fangxin.defend import Blocklist
    from fangxin.detect import TermDetector

    return Blocklist(TermDetector.from_files(*paths, themes=themes or None, homophones=homophones))


async def _serve(
    folder: Path,
    host: str,
    port: int,
    where: str,
    key: str | None,
    signer: str | None,
    as_json: bool,
    outer: Blocklist | None = None,
) -> None:
    import logging

    from fangxin import gateway
    from fangxin.agent import Bundle
    from fangxin.defend import Shield
    from fangxin.ledger import Ledger

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    bundle = Bundle.load(folder)
    if outer is not None:
        bundle = replace(bundle, shield=Shield((outer, *bundle.shield.layers)))
    with Ledger.open(where) as ledger:
        async with bundle.open(ledger) as agent:
            name = agent.model.name
            layers = [layer.kind for layer in agent.shield.layers]
            shown = f"[{host}]" if ":" in host else host
            url = f"http://{shown}:{port}/v1"

            def ready() -> None:
                if as_json:
                    told = {"status": "listening", "url": url, "model": name, "shield": layers}
                    emit({**told, "ledger": ledger.where, "signed_by": signer})
                    sys.stdout.flush()
                shield = f"shield {', '.join(layers)}" if layers else "NO SHIELD"
                signed = f"signed by {signer}" if signer else "not signed"
                proof = str(bundle.proof.get("status", "not said"))
                if proof not in ("proved", "no_weakness"):
                    _say(f"Warning: the run that made this bundle did not prove it (status: {proof}).")
                _say(f"Listening at {url}: model {name}; {shield}; {signed}; ledger {ledger.where}.")

            def stopping() -> None:
                _say("Stopping once the answers under way are given; Ctrl-C again ends them.")

            app = gateway.app(agent, model_name=name, keys=None if key is None else [key])
            await gateway.serve(app, host, port, on_ready=ready, on_stop=stopping)


def signer_of(folder: Path, wanted: str | None = None) -> str | None:
    """Check a bundle's files against its signed manifest, in its folder or beside it.

    Args:
        folder: the bundle's.
        wanted: the fingerprint of the key that must have signed; any key will do when None.

    Returns:
        The signer's fingerprint; None where there is no manifest.

    Raises:
        InputError: a file was changed, is missing or is not listed, or another key signed it.
    """
    from fangxin.ledger import LedgerError, Manifest, fingerprint_of, verify_manifest

    for base, start in ((folder, ""), (folder.resolve().parent, f"{folder.resolve().name}/")):
        path = base / "manifest.json"
        try:
            manifest = Manifest.of(json.loads(path.read_text("utf-8")))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, LedgerError) as error:
            raise InputError(f"{path} can't be read: {error}") from None
        if not any(file.name.startswith(start) for file in manifest.files):
            continue
        besides = {"manifest.json"} if base == folder else None
        problems = [
            problem
            for problem in verify_manifest(base, manifest, wanted, besides)
            if problem.where == "manifest" or problem.where.startswith(start)
        ]
        if problems:
            raise InputError(
                f"The bundle {folder} is not what was signed: {problems[0].where}: {problems[0].what} "
                "Make the bundle again, or take it from where it was signed."
            )
        return fingerprint_of(manifest.public_key)
    if wanted is not None:
        raise InputError(
            f"The bundle {folder} has no manifest.json, so nobody signed it: leave --signed-by out."
        )
    return None


def state_file() -> str:
    """The gateway's ledger in the user's state folder, which is made with mode 0700."""
    base = os.environ.get("XDG_STATE_HOME", "")
    # The XDG rules say to ignore a relative path.
    folder = (Path(base) if os.path.isabs(base) else Path.home() / ".local" / "state") / "fangxin"
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return str(folder / "gateway.sqlite")


def _key(env: str | None, file: Path | None) -> str | None:
    from fangxin.models import ModelError, read_key

    if env is None and file is None:
        return None
    if env is not None and file is not None:
        raise InputError("Give --key-env or --key-file, not both.")
    try:
        key = read_key(env or "", file)
    except ModelError as error:
        raise InputError(str(error)) from None
    if key is None:
        raise InputError(f"The variable {env} holds no key: set it, or leave --key-env out.")
    return key


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
