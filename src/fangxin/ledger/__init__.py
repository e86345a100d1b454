"""Evidence: the append-only, hash-chained record, its signatures and their verification."""

from fangxin.ledger._chain import Entry, LedgerError
from fangxin.ledger._checkpoint import Checkpoint, checkpoint, checkpoints, remembered
from fangxin.ledger._keys import SigningKey, config_folder, fingerprint_of, verify_signature
from fangxin.ledger._ledger import Ledger, NewEntry
from fangxin.ledger._lock import lock
from fangxin.ledger._manifest import Manifest, SignedFile, sign_files, verify_manifest
from fangxin.ledger._verify import Audit, Problem, audit, verify

__all__ = [
    "Audit",
    "Checkpoint",
    "Entry",
    "Ledger",
    "LedgerError",
    "Manifest",
    "NewEntry",
    "Problem",
    "SignedFile",
    "SigningKey",
    "audit",
    "checkpoint",
    "checkpoints",
    "config_folder",
    "fingerprint_of",
    "lock",
    "remembered",
    "sign_files",
    "verify",
    "verify_manifest",
    "verify_signature",
]
