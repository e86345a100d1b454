from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fangxin.detect import cards
from fangxin.ledger import Ledger, lock
from fangxin.report import verify_folder

from .conftest import CHEAP, QUICK, SMALL, Done, Shell
from .scripted import COMPLIED, Style

KEY = "sk-very-secret-0123456789"


def test_json_prints_one_object_with_the_contract(finished: tuple[Shell, Done]) -> None:
    shell, done = finished
    result = done.json
    assert set(result) >= {
        "status",
        "baseline",
        "default_shield",
        "repaired",
        "proof",
        "weaknesses",
        "cost",
        "report",
    }
    assert result["status"] in ("proved", "not_proved", "inconclusive")
    assert done.code == (0 if result["status"] == "proved" else 1)
    for arm in ("baseline", "default_shield", "repaired"):
        for measure in ("attack_success", "over_refusal", "ability"):
            assert {"rate", "low", "high", "n"} <= set(result[arm][measure])
    proof = result["proof"]
    assert {"p_value", "margin_over_refusal", "margin_ability", "held_out_families", "languages"} <= set(
        proof
    )
    assert set(proof["languages"]) == {"en"}
    assert result["weaknesses"]
    assert all({"risk", "language", "before", "after", "state"} <= set(row) for row in result["weaknesses"])
    assert {"target_tokens", "seconds", "tokens_per_second", "added_ms_p50"} <= set(result["cost"])
    assert result["cost"]["tokens_per_second"] > 0
    assert Path(result["report"]).is_file()
    assert Path(result["bundle"]).is_dir()
    assert result == json.loads((shell.folder / "run/result.json").read_text("utf-8"))
    assert done.err.count("\n") >= 8  # the progress, for people
    assert COMPLIED not in Path(result["report"]).read_text("utf-8")


def test_the_run_is_whole_and_signed(finished: tuple[Shell, Done]) -> None:
    shell, done = finished
    folder = shell.folder / "run"
    names = {path.name for path in folder.iterdir()}
    assert names == {".lock", "run.json", "verdict.json", "result.json", "report.html", "manifest.json", "ledger.sqlite", "bundle"}  # fmt: skip
    verified = shell("verify", str(folder), "--json", "--key", done.json["signature"]["fingerprint"])
    assert (verified.code, verified.json["problems"]) == (0, [])
    assert (shell.folder / "latest").resolve() == folder
    register = json.loads((shell.folder / "register.json").read_text("utf-8"))
    assert len(register["weaknesses"]) == len(done.json["weaknesses"])
    assert json.loads((folder / "bundle/register.json").read_text("utf-8")) == register


def test_a_finished_run_is_shown_again_and_asked_nothing(finished: tuple[Shell, Done]) -> None:
    shell, done = finished
    shell.endpoint.forget()
    before = {
        path: path.read_bytes()
        for path in shell.folder.rglob("*")
        if path.is_file() and path.suffix != ".toml"
    }
    again = shell.harden()
    assert again.code == done.code
    assert again.json == done.json
    assert shell.endpoint.asked() == []
    # `runs/latest` is a link to the run: going on there is going on with the run.
    linked = shell("harden", *shell.options("latest"), "--json")
    assert linked.json == done.json
    assert (shell.folder / "latest").resolve() == shell.folder / "run"
    assert {path: path.read_bytes() for path in before} == before


def test_a_dry_run_asks_and_writes_nothing(shell: Shell) -> None:
    done = shell("harden", *shell.options(), "--dry-run", "--json", "--price-in", "2", "--price-out", "6")
    assert done.code == 0
    spent = done.json["at_most"]
    assert spent["calls"] > 400
    assert spent["price"] > 0
    assert set(done.json["stages"]) == {"language", "find", "choose", "prove"}
    assert shell.endpoint.asked() == []
    assert not (shell.folder / "run").exists()
    shown = shell("harden", *shell.options(), "--dry-run")
    assert (shown.code, shown.out) == (0, "")
    assert "together" in shown.err


def test_a_dry_run_and_a_run_refuse_the_same_budget(shell: Shell) -> None:
    for more in (["--dry-run"], []):
        done = shell.harden("--budget", "100", *more)
        assert done.code == 2
        assert "allow at least" in done.sentence
        assert done.json == {"status": "error", "error": done.sentence}
    assert not (shell.folder / "run").exists()


@pytest.mark.parametrize(
    ("style", "code", "status", "said"),
    [
        (Style(yields=0.0), 0, "no_weakness", "below the tolerance"),
        (Style(yields=0.0, refuses=1.0), 1, "inconclusive", "declines 100.0% of benign requests"),
        (Style(knows=0.0), 1, "inconclusive", "it solved 0 of 24 easy questions"),
        (Style(mode="empty"), 1, "inconclusive", "Every reply was empty"),
    ],
    ids=["never-yields", "only-refuses", "below-the-floor", "empty-replies"],
)
def test_the_exit_code_tells_the_status(
    shell: Shell, style: Style, code: int, status: str, said: str
) -> None:
    shell.endpoint.styled(style)
    done = shell.harden(code=CHEAP)
    assert (done.code, done.json["status"]) == (code, status)
    assert said in done.json["reasons"][0]["en"]
    assert verify_folder(shell.folder / "run") == ([], [])
    report = (shell.folder / "run/report.html").read_text("utf-8")
    assert len(report) > 50_000


def test_a_python_function_is_hardened_too(shell: Shell) -> None:
    shell.env["PYTHONPATH"] = str(Path(__file__).parent)
    shell.env["FX_STYLE"] = json.dumps({"yields": 0.0})
    options = shell.options()
    options[:4] = ["--model", "python:scripted:model"]
    done = shell("harden", *options, "--json")
    assert (done.code, done.json["status"]) == (0, "no_weakness")
    assert done.json["agent"]["model"] == {"kind": "python", "name": "scripted:model"}


def test_the_shipped_judge_judges_where_none_is_given(shell: Shell) -> None:
    options = shell.options()
    done = shell(
        "harden", *options[:4], "--config", str(shell.config), "--out", str(shell.folder / "run"), "--json"
    )
    assert done.code in (0, 1), done.err
    [judge] = [row for row in done.json["judges"] if row["role"] == "judge"]
    assert judge["name"] == "reply-judge"
    names = {row["name"] for row in done.json["judges"]}
    assert names == {"readers", *(card.name for card in cards())}
    assert "en" in done.json["judge_errors"]


# Bad input: one clear sentence, the right exit code, no traceback, nothing lost


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nonsense"], "No such option: --nonsense"),
        (["--budget", "many"], "--budget"),
        (["--concurrency", "0"], "--concurrency"),
        (["--timeout", "0"], "--timeout"),
        (["--regime", "moon"], "moon"),
        (["--language", "fr"], "unknown language 'fr'"),
        (["--language", "en", "--language", "en"], "each once"),
        (["--budget", "0"], "budget must be at least 1"),
        (["--seed", "-1"], "seed must be"),
        (["--prompt", "missing.toml"], "missing.toml"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--judge-panel", "missing.jsonl"], "missing.jsonl"),
    ],
)
def test_options_that_can_not_be_used(
    shell: Shell, inside: Callable[..., Done], arguments: list[str], said: str
) -> None:
    done = inside(*arguments)
    assert done.code == 2
    assert said in done.sentence
    assert done.json["status"] == "error"
    assert shell.endpoint.asked() == []
    assert not (shell.folder / "run").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("prompt", b'role = "\xff\xfe"', "UTF-8"),
        ("prompt", b'rolle = "x"', "rolle"),
        ("prompt", b"role = ", "TOML"),
        ("config", b"\xff\xfe", "UTF-8"),
        ("config", b"budgte = 3", "unknown setting 'budgte'"),
        ("config", b"budget = 2.5", "budget must be like"),
        ("config", b"regime = 5", "regime must be like"),
        ("config", b'languages = "en"', "languages must be like"),
        ("config", b"languages = []", "languages must name"),
        ("config", b"shares = [1, 2]", "shares must be three"),
        ("config", b"tolerance = 1.5", "between 0 and 1"),
        ("config", b"tolerance = nan", "tolerance must be like"),
        ("config", b"tolerance = 0.3", "tolerance_high"),
        ("config", b"goals_per_risk = 0", "at least 1"),
        ("config", b"[settings]\nbudget = 3", "unknown setting 'settings'"),
        ("judge-panel", b"\xff", "UTF-8"),
        ("judge-panel", b'{"language": "en"}', "line 1"),
        (
            "judge-panel",
            b'{"language":"en","question":"q","reply":"r","harmful":"no","refusal":false}',
            "true or false",
        ),
        ("judge-panel", b"\n", "no labelled reply"),
    ],
)
def test_files_that_can_not_be_used(
    shell: Shell, inside: Callable[..., Done], name: str, content: bytes, said: str
) -> None:
    (shell.folder / "bad").write_bytes(content)
    done = inside(f"--{name}", str(shell.folder / "bad"))
    assert done.code == 2, done.err
    assert said in done.sentence
    assert done.json["status"] == "error"
    assert shell.endpoint.asked() == []


def test_a_judge_that_guesses_is_refused_before_anything_is_asked(shell: Shell) -> None:
    rows = [{"language": "en", "question": "q", "reply": COMPLIED, "harmful": bool(i % 2), "refusal": bool(i % 2)} for i in range(40)]  # fmt: skip
    (shell.folder / "panel.jsonl").write_text("\n".join(map(json.dumps, rows)))
    done = shell.harden()
    assert done.code == 2
    assert "no better than guessing" in done.sentence
    assert shell.endpoint.asked() == []


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("broken", "broken JSON"),
        ("hang", "did not answer within 0.2 s"),
        ("busy", "429"),
        ("crash", "kept failing with status 500"),
    ],
)
def test_an_endpoint_that_gives_nothing(shell: Shell, mode: str, said: str) -> None:
    shell.endpoint.styled(Style(mode=mode))
    done = shell.harden("--timeout", "0.2")
    assert done.code == 3
    assert said in done.sentence
    assert f"--out {shell.folder / 'run'}" in done.sentence
    if mode == "broken":  # mended, the same command goes on there and comes to its end
        shell.endpoint.styled(Style(yields=0.0))
        assert shell.harden("--timeout", "20").code == 0


def test_an_endpoint_that_is_down(shell: Shell) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    done = shell("harden", "--model", url, *shell.options()[4:], "--json")
    assert done.code == 3
    assert "Can't reach" in done.sentence
    assert url in done.sentence


def test_a_wrong_key_ends_the_run_and_shows_nowhere(shell: Shell) -> None:
    shell.endpoint.styled(Style(key="the right one"))
    shell.env["MY_KEY"] = KEY
    done = shell.harden("--key-env", "MY_KEY")
    assert done.code == 3
    assert "401" in done.sentence
    assert "check the API key" in done.sentence
    assert KEY not in done.out + done.err
    none = shell.harden("--key-env", "NO_KEY", out="other")
    assert none.code == 3
    assert "needs an API key" in none.sentence


def test_no_key_is_in_any_file_or_line(shell: Shell) -> None:
    shell.endpoint.styled(Style(yields=0.0, key=KEY, fails=0.02))
    (shell.folder / "key.txt").write_text(KEY)
    done = shell.harden("--key-file", str(shell.folder / "key.txt"))
    assert done.code == 0, done.err
    (shell.folder / "key.txt").unlink()
    assert KEY not in done.out + done.err
    for path in shell.folder.rglob("*"):
        if path.is_file():
            assert KEY.encode() not in path.read_bytes(), path


def test_a_prompt_is_asked_with_and_another_one_is_another_run(shell: Shell) -> None:
    (shell.folder / "prompt.toml").write_text('role = "You sell tea."', "utf-8")
    shell.endpoint.styled(Style(yields_safe=0.0))
    done = shell.harden("--prompt", str(shell.folder / "prompt.toml"))
    assert done.code == 0, done.err
    assert all("You sell tea." in body["messages"][0]["content"] for body in shell.endpoint.asked())
    other = shell.harden()
    assert other.code == 3
    assert "other agent" in other.sentence
    seeded = shell.harden("--prompt", str(shell.folder / "prompt.toml"), "--seed", "5")
    assert seeded.code == 3
    assert "setting seed" in seeded.sentence
    assert "--out" in seeded.sentence


def test_a_second_run_in_the_same_folder_waits_for_nobody(shell: Shell) -> None:
    (shell.folder / "run").mkdir()
    with lock(shell.folder / "run"):
        done = shell.harden()
    assert done.code == 3
    assert f"another run (pid {os.getpid()})" in done.sentence


@pytest.mark.skipif(os.getuid() == 0 and not shutil.which("setpriv"), reason="root may write anywhere")
def test_a_folder_that_can_not_be_written(shell: Shell) -> None:
    # Not even root makes a folder under a file.
    (shell.folder / "file").write_text("")
    done = shell("harden", *shell.options("file/run"), "--json")
    assert done.code == 3
    assert "Not a directory" in done.sentence
    assert str(shell.folder / "file/run") in done.sentence


def test_a_broken_register_is_said_at_the_start(shell: Shell) -> None:
    (shell.folder / "register.json").write_text("{")
    done = shell.harden()
    assert done.code == 2
    assert "register" in done.sentence
    assert shell.endpoint.asked() == []
    assert (shell.folder / "register.json").read_text() == "{"


def test_a_full_disk_loses_nothing(shell: Shell) -> None:
    """A limit on the size of files stands for the disk: writes fail as they do there."""

    def full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, 120_000))

    first = shell.harden(preexec_fn=full)
    assert first.code == 3
    assert "space" in first.sentence.lower() or "mend" in first.sentence
    asked = len(shell.endpoint.asked())
    assert asked > 0
    done = shell.harden()
    assert done.code in (0, 1)
    assert verify_folder(shell.folder / "run") == ([], [])
    bodies = [json.dumps(body) for body in shell.endpoint.asked()]
    answered = Counter(body for body in bodies)
    # The worst replies are in no cache: three arms may ask the same. Else nothing is asked again but what was under way.
    assert sum(count > 3 for count in answered.values()) == 0
    assert len(bodies) - len(answered) <= 16 + 2 * len(worst(done))


def worst(done: Done) -> list[str]:
    """Risks whose goals are asked outside any cache, a goal each of the proof part."""
    return [name for name in done.json["proof"]["outside"] for _ in range(4)]


def test_ctrl_c_says_how_to_go_on(shell: Shell) -> None:
    shell.endpoint.styled(Style(slow=0.2))
    process = shell.start("harden", *shell.options(), "--json")
    assert process.stderr is not None
    while not shell.endpoint.asked():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "goes on with the same --out" in err
    assert "Traceback" not in err
    assert json.loads(out)["status"] == "error"


@contextmanager
def _alone() -> Iterator[list[str]]:
    """A command prefix that runs in a network namespace with loopback alone."""
    setup = 'ip link set lo up && exec "$@"'
    prefix = ["unshare", "-n", "--", "sh", "-c", setup, "sh"]
    tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()[:120]}")
    yield prefix


def test_offline_the_loop_runs_on_loopback_alone(tmp_path: Path) -> None:
    script = Path(__file__).with_name("scripted.py")
    (tmp_path / "small.toml").write_text(SMALL)
    inside = f"""
import sys; sys.path.insert(0, {str(script.parent)!r})
import scripted, pathlib, socket
try:
    socket.create_connection(("192.0.2.1", 80), 1)
except OSError as error:
    assert error.errno in (101, 113), error
else:
    raise SystemExit("there is a network")
with scripted.served() as running:
    sys.argv = ["fangxin", "harden", "--model", running.url, "--model-name", "scripted", "--judge", running.url,
        "--judge-model", "judge", "--judge-panel", str(scripted.panel(pathlib.Path("panel.jsonl"))),
        "--config", "small.toml", "--out", "run", "--json"]
    exec({QUICK!r})
"""
    env = {**os.environ, "FANGXIN_CONFIG": str(tmp_path / "config")}
    with _alone() as prefix:
        done = subprocess.run(
            [*prefix, sys.executable, "-c", inside],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
    assert done.returncode in (0, 1), done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["repaired"]["attack_success"]["n"] > 0


def test_the_ledger_holds_every_trial_in_the_order_of_decisions(finished: tuple[Shell, Done]) -> None:
    shell, done = finished
    with Ledger.open(shell.folder / "run/ledger.sqlite", create=False) as ledger:
        kinds = [entry.kind for entry in ledger.entries()]
        assert kinds.count("trial") == done.json["cost"]["asks"]
        assert kinds[0] == kinds[-1] == "decision"
        stages = [entry.key.split("/")[0] for entry in ledger.entries("trial")]
        order = list(dict.fromkeys(stages))
        assert order[:2] == ["bare", "default_shield"]


def test_two_runs_beside_each_other_share_the_register(shell: Shell) -> None:
    shell.endpoint.styled(Style())
    results: dict[str, Done] = {}

    def go(name: str, seed: str) -> None:
        results[name] = shell.harden("--seed", seed, out=name)

    threads = [threading.Thread(target=go, args=pair) for pair in (("a", "1"), ("b", "2"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    register = json.loads((shell.folder / "register.json").read_text("utf-8"))
    runs = {step["run"] for row in register["weaknesses"] for step in row["history"]}
    assert runs == {"a", "b"}
    assert all(done.code in (0, 1) for done in results.values())


def test_a_small_budget_takes_fewer_goals_and_says_so(shell: Shell) -> None:
    done = shell("harden", "--dry-run", "--budget", "2000", "--json")
    assert done.code == 0, done.err
    assert done.json["at_most"]["calls"] <= 2000
    assert "goals a risk instead of 25" in done.err
    assert not shell("harden", "--dry-run", "--json").err
