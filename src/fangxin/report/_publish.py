from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fangxin.ledger import (
    Checkpoint,
    LedgerError,
    Problem,
    SigningKey,
    audit,
    sign_files,
    verify_manifest,
)
from fangxin.report._render import render

MANIFEST = "manifest.json"
_SIGNED = ("run.json", "verdict.json", "result.json", "report.html")
# What grows or is only scaffolding: the ledger is verified by its own chain.
_BESIDES = ("ledger.sqlite", "journal.sqlite", "completions.sqlite")


def publish(folder: Path, result: Mapping[str, Any], key: SigningKey) -> dict[str, Any]:
    """Write a run's result and report, and sign every file of it and of its bundle.

    Args:
        folder: the run's.
        result: as the report's contract has it, signature apart.
        key: the user's; only its public half is written.

    Returns:
        The result as written, with the signer in it.
    """
    signed = {**result, "signature": {"fingerprint": key.fingerprint(), "public_key": key.public_key}}
    _write(folder / "result.json", json.dumps(signed, ensure_ascii=False, indent=1) + "\n")
    _write(folder / "report.html", render(signed))
    bundle = folder / "bundle"
    for half in (*folder.glob("*.new"), *bundle.glob("*.new")):  # what a killed life left half written
        half.unlink()
    _sign(bundle, [path.name for path in bundle.iterdir() if path.is_file() and path.name != MANIFEST], key)
    names = [name for name in _SIGNED if (folder / name).exists()]
    _sign(folder, [*names, *(f"bundle/{path.name}" for path in bundle.iterdir())], key)
    return signed


def verify_folder(folder: Path, fingerprint: str | None = None) -> tuple[list[Problem], list[str]]:
    """What is wrong with a run's or a bundle's files, chain and signatures; empty means good.

    Args:
        folder: of a run or of a bundle.
        fingerprint: the one key that may have signed; None accepts any key.

    Returns:
        The problems, and notes that are no faults.

    Raises:
        LedgerError: the folder holds nothing that was signed.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except OSError:
        raise LedgerError(
            f"{folder} has no {MANIFEST}: give the folder of a finished run or bundle."
        ) from None
    except ValueError as error:
        return [Problem(MANIFEST, f"it can't be read: {error}.")], []
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        return [Problem(MANIFEST, "it is not a list of signed files.")], []
    is_run = (folder / "ledger.sqlite").exists() or any(
        row.get("name") == "result.json" for row in manifest["files"] if isinstance(row, dict)
    )
    hidden = [f"{name}{end}" for name in _BESIDES for end in ("", "-wal", "-shm")]
    problems = verify_manifest(folder, manifest, fingerprint, {MANIFEST, ".lock", *hidden})
    if not is_run:
        return problems, []
    try:
        expected = Checkpoint.of(
            json.loads((folder / "result.json").read_text("utf-8"))["ledger"]["checkpoint"]
        )
    except (OSError, ValueError, KeyError, TypeError, LedgerError) as error:
        return [*problems, Problem("result.json", f"it names no checkpoint of the ledger: {error}.")], []
    found = audit(folder / "ledger.sqlite", fingerprint, expected)
    return [*problems, *found.problems], list(found.notes)


def _sign(folder: Path, names: list[str], key: SigningKey) -> None:
    manifest = sign_files(folder, sorted(names), key)
    _write(folder / MANIFEST, json.dumps(manifest.as_dict(), indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, "utf-8")
    beside.replace(path)
