import json

import pytest

from fangxin.ledger import LedgerError, Manifest, sign_files, verify_manifest


@pytest.fixture
def folder(tmp_path):
    base = tmp_path / "run"
    (base / "plots").mkdir(parents=True)
    (base / "report.html").write_text("<p>放心</p>")
    (base / "plots" / "a.svg").write_text("<svg/>")
    return base


def problems(*args, **kwargs):
    return [(problem.where, problem.what) for problem in verify_manifest(*args, **kwargs)]


def test_a_signed_folder_is_good_wherever_it_is_moved(folder, key, tmp_path):
    manifest = sign_files(folder, ["report.html", folder / "plots" / "a.svg", "./report.html"], key)
    assert [file.name for file in manifest.files] == ["plots/a.svg", "report.html"]
    moved = folder.rename(tmp_path / "elsewhere")
    data = json.loads(json.dumps(manifest.as_dict()))
    assert Manifest.of(data) == manifest
    assert verify_manifest(moved, data, key.fingerprint()) == []


def test_each_fault_names_its_file(folder, key):
    manifest = sign_files(folder, ["report.html", "plots/a.svg"], key)
    (folder / "report.html").write_text("<p>放火</p>")
    (folder / "plots" / "a.svg").unlink()
    (folder / "plots" / "b.svg").write_text("<svg/>")
    (folder / "manifest.json").write_text("{}")
    assert problems(folder, manifest) == [
        ("plots/a.svg", "the file is missing."),
        ("report.html", "the file was changed since it was signed."),
    ]
    assert problems(folder, manifest, besides=["manifest.json"])[2:] == [
        ("plots/b.svg", "the file is not in the manifest.")
    ]


def test_a_changed_list_is_not_believed(folder, key):
    data = sign_files(folder, ["report.html", "plots/a.svg"], key).as_dict()
    for change in (
        {"time": "2020-01-01T00:00:00.000000Z"},
        {"files": data["files"][:1]},
        {"files": data["files"][::-1]},
        {"signature": "0" * 128},
        {"public_key": "0" * 64},
    ):
        assert problems(folder, {**data, **change}) == [
            ("manifest", "its signature is not its key's over what it lists.")
        ]
    for broken in ({}, {**data, "files": [{"name": "x"}]}, {**data, "files": None}, {**data, "time": 3}):
        assert [where for where, _ in problems(folder, broken)] == ["manifest"]


def test_another_key_is_named(folder, key):
    manifest = sign_files(folder, ["report.html"], key)
    assert problems(folder, manifest, "fx1:" + "0" * 32) == [
        ("manifest", f"it is signed by {key.fingerprint()} instead of fx1:{'0' * 32}.")
    ]


def test_a_list_that_reaches_outside_or_repeats_itself(folder, key, tmp_path):
    (tmp_path / "secret").write_text("s")
    good = sign_files(folder, ["report.html"], key)
    outside = sign_files(tmp_path, ["secret"], key).files[0]
    for name in ("../secret", str(tmp_path / "secret"), "link"):
        (folder / "link").unlink(missing_ok=True)
        (folder / "link").symlink_to(tmp_path / "secret")
        assert problems(folder, _signed(key, [type(outside)(name, outside.size, outside.sha256)])) == [
            (name, "the manifest lists it, but it is outside the folder.")
        ]
    assert problems(folder, _signed(key, [*good.files, *good.files])) == [
        ("report.html", "the manifest lists it twice.")
    ]


def _signed(key, files):
    """A well-signed list that `sign_files` would not make."""
    from fangxin.ledger._manifest import _message

    time = "2026-01-01T00:00:00.000000Z"
    return Manifest(tuple(files), time, key.public_key, key.sign(_message(files, time, key.public_key)))


def test_only_files_inside_can_be_signed(folder, key):
    with pytest.raises(LedgerError, match="is outside"):
        sign_files(folder, ["../run2/x"], key)
    with pytest.raises(LedgerError, match="none can't be read: No such file"):
        sign_files(folder, ["none"], key)
    with pytest.raises(LedgerError, match="no file to sign"):
        sign_files(folder, [], key)
