"""`make robust`: every assertion of a chapter by itself, over several runs, with the range of what it compares."""

import json
from types import SimpleNamespace

import nbformat
import pytest

from autograder.workshop import record, robust
from course import data

TOPIC = "90_tiny"
CHAPTER = """\
# %% [markdown]
# # A tiny chapter

# %%
import os
import torch
from course import data, device

torch.set_num_threads(1)
total = device.updates(100) * len(data.load_probes())
luck = device.seed(3)

# %%
assert not os.environ.get("TO_FAIL"), "a check failed"
total, luck
"""
MEASURED = """\
MEASURED = {
    "total": total, "luck": luck, "threads": torch.get_num_threads(), "path": torch.backends.cpu.get_cpu_capability(),
}
"""
CLAIMS = '''\
"""Not run by pytest."""

from statistics import median

LIMIT = 4000


def claims(values: dict) -> None:
    """What it claims."""
    assert values["total"] > 1
    assert values["luck"] < LIMIT, "never far"
    assert values["luck"] in (3, 1003)
'''


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter that tells what kind of run it is, and its claims. Returns the folder that holds both."""
    folder = tmp_path / "solutions" / TOPIC
    folder.mkdir(parents=True)
    (folder / f"{TOPIC}.py").write_text(CHAPTER)
    (folder / "measured.py").write_text(MEASURED)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_c90_notebook.py").write_text(CLAIMS)
    for module in (record, robust):
        monkeypatch.setattr(module, "SOLUTIONS", tmp_path / "solutions")
    monkeypatch.setattr(robust, "TESTS", tmp_path / "tests")
    monkeypatch.setattr(robust, "recordable", lambda: [TOPIC])
    return tmp_path


def hold(tmp_path, source: str, **runs: dict) -> tuple[robust.Claims, dict]:
    """Claims of this source, held against runs with these values."""
    path = tmp_path / "test_c91_notebook.py"
    path.write_text(source)
    claims = robust.Claims(path)
    for name, values in runs.items():
        claims.hold_against(name, values)
    return claims, {name: {"values": values, "minutes": 1.0, "gib": 0.5} for name, values in runs.items()}


# --- Assertions


def test_assertions_of_a_function_that_claims_calls_are_its_own(tmp_path):
    source = (
        "def claims(values):\n    assert values['a'] > 0\n    if values['real']:\n        of_the_real_model(values)\n\n\n"
        "def of_the_real_model(values):\n    assert values['a'] < 2\n    assert values['a'] != 3\n\n\n"
        "def test_it():\n    assert False\n"
    )
    claims, runs = hold(tmp_path, source, one={"a": 1, "real": True}, two={"a": 3, "real": True}, three={"a": 3, "real": False})
    held = [[assertion.held(name) for name in runs] for assertion in claims.all()]
    assert held == [[True, True, True], [True, False, None], [True, False, None]]


def test_one_that_fails_hides_no_other(tmp_path):
    source = (
        "def claims(values):\n    a = values['a']\n    assert a > 2, 'large'\n    assert a > 0\n"
        "    first, second = values['pair']\n    assert first < second\n    assert a < 9\n"
    )
    claims, runs = hold(tmp_path, source, one={"a": 1.5, "pair": [1, 2]}, two={"a": 3.25, "pair": [1]})
    held = [[assertion.held(name) for name in runs] for assertion in claims.all()]
    assert held == [[False, True], [True, True], [True, False], [True, True], [None, False]]
    failures = robust.failures(claims, runs)
    assert failures == [
        "assertion 1 in one: a > 2",
        "assertion 3 in two: first < second",
        "assertion 5 in two: first, second = values['pair']",
    ]
    said = robust.table(claims, runs)
    assert "1. FAILS in one; holds in 1 of 2: a [1.5 … 3.25] > 2   room -0.5 (one)" in said
    assert "“large”" in said
    assert "2. holds in 2 of 2: a [1.5 … 3.25] > 0   room 1.5 (one)" in said
    assert "two: ValueError: not enough values to unpack" in said


def test_what_is_compared_is_told_wherever_it_stands(tmp_path):
    source = """\
from statistics import median
HALF = 0.5
def spread(xs):
    return max(xs) - min(xs)
def claims(values):
    xs = values["xs"]
    assert all(0 <= x < 1 for x in xs) and median(xs) > 0.2
    assert 0.1 < spread(xs) < HALF
    assert [x > 0.3 for x in xs] == values["large"]
    assert values["ok"]
    assert values["count"]
    for x, y in zip(xs, xs[1:]):
        assert x <= y or not x
    if values["count"] > 100:
        assert False
"""
    few = {"xs": [0.1, 0.4], "large": [False, True], "ok": True, "count": 2}
    more = {"xs": [0.2, 0.6], "large": [False, True], "ok": True, "count": 5}
    claims, runs = hold(tmp_path, source, few=few, more=more)
    assert robust.failures(claims, runs) == []
    said = robust.table(claims, runs)
    for line in (
        "0 <= x [0.1 … 0.6] < 1   room 0.1 (few)",
        "median(xs) [0.25 … 0.4] > 0.2   room 0.05 (few)",
        "0.1 < spread(xs) [0.3 … 0.4] < HALF [0.5]   room 0.1 (more)",
        "x [0.1 … 0.6] > 0.3\n",
        "it came to 2 … 5",
        "6. holds in 2 of 2: x <= y or not x",
        "7. holds in 0 of 2: False",
    ):
        assert line in said, f"{line!r} is not in\n{said}"


def test_a_comparison_stops_where_it_would(tmp_path):
    source = "def claims(values):\n    a = values['a']\n    assert a > 0 and 1 / a > 0\n    assert 1 < a < values['none']\n"
    claims, runs = hold(tmp_path, source, one={"a": 0})
    assert [assertion.errors for assertion in claims.assertions] == [{}, {}]
    assert len(robust.failures(claims, runs)) == 2


def test_every_chapters_claims_can_be_taken_apart():
    for topic in record.recordable():
        claims = robust.Claims(robust.TESTS / f"test_c{topic[:2]}_notebook.py")
        assert len(claims.assertions) >= 5
        if found := record.valid_record(topic):
            claims.hold_against("record", found["values"])
            assert robust.failures(claims, {"record": found}) == []
            assert any(assertion.held("record") for assertion in claims.all())


def test_a_test_file_without_claims_is_told(tmp_path):
    with pytest.raises(ValueError, match="no function `claims`"):
        hold(tmp_path, "def others(values):\n    pass\n")


# --- Runs


@pytest.mark.timeout(300)
def test_a_chapter_is_run_in_five_ways(chapter, capsys):
    assert robust.main(["90", "--jobs", "2", "--keep", str(chapter / "kept")]) == 1
    kept = {name: json.loads((chapter / "kept" / TOPIC / f"{name}.json").read_text()) for name in robust.RUNS}
    values = [kept[name]["values"] for name in robust.RUNS]
    total, luck, threads, path = ([found[key] for found in values] for key in ("total", "luck", "threads", "path"))
    assert [n / len(data.load_probes()) for n in total] == [100, 100, 300, 100, 100]
    assert luck == [1003, 2003, 3, 3, 3]
    assert threads == [1, 1, 1, 1, 2]
    assert path[3] == "DEFAULT"
    looked_at = nbformat.read(chapter / "kept" / TOPIC / "seed2.ipynb", as_version=4)
    assert looked_at.cells[-1].outputs[0].data["text/plain"].endswith(", 2003)"), "the chapter's page, as it was executed"
    said = capsys.readouterr().out
    assert "holds in 5 of 5: values['luck'] [3 … 2003] < LIMIT [4000]   room 1997 (seed2)" in said
    assert "assertion 3 in seed2: values['luck'] in (3, 1003)" in said
    assert said.index("threads (two threads): some minutes") > said.index("path: done"), "it wants all cores"


@pytest.fixture
def runs(monkeypatch):
    """Runs that take no time. Returns what was run; `fails` names an environment variable with which a run fails."""
    seen = SimpleNamespace(environments=[], fails="")

    def run(topic, folder, environment, first, seconds):
        seen.environments.append(environment)
        if seen.fails in environment:
            raise RuntimeError("Dead kernel")
        luck = 3 + 1000 * int(environment["COURSE_SEED"])
        notebook = nbformat.v4.new_notebook()
        values = {"total": 300, "luck": luck}
        return {"values": values, "files": ["course/data.py"], "minutes": 0.1, "gib": 1.0, "notebook": notebook}

    monkeypatch.setattr(robust, "run", run)
    return seen


def test_what_is_kept_is_not_run_again_until_the_chapter_changes(chapter, runs, capsys):
    asked = ["--runs", "seed1,dose", "--keep", str(chapter / "kept")]
    assert robust.main(asked) == 0
    assert runs.environments == [
        robust.FIGURES | {"COURSE_TIER": "cpu", "COURSE_DOSE": "1", "COURSE_SEED": "1"},
        robust.FIGURES | {"COURSE_TIER": "cpu", "COURSE_DOSE": "3", "COURSE_SEED": "0"},
    ]
    assert robust.main(asked) == 0
    assert len(runs.environments) == 2
    assert "seed1: kept from before" in capsys.readouterr().out
    (chapter / "tests" / "test_c90_notebook.py").write_text(CLAIMS.replace("(3, 1003)", "(4,)"))
    assert robust.main(asked) == 1, "claims are held anew against numbers that are kept"
    assert len(runs.environments) == 2
    (chapter / "solutions" / TOPIC / f"{TOPIC}.py").write_text(CHAPTER.replace("updates(100)", "updates(101)"))
    robust.main(asked)
    assert len(runs.environments) == 4


def test_a_run_that_fails_is_told_and_the_others_go_on(chapter, runs, capsys):
    runs.fails = "ATEN_CPU_CAPABILITY"
    asked = ["--runs", "path,seed1", "--keep", str(chapter / "kept")]
    assert robust.main(asked) == 1
    said = capsys.readouterr().out
    assert "RuntimeError: Dead kernel" in said and "path did not come to its end" in said and "holds in 1 of 1" in said
    runs.fails = "nothing"
    assert robust.main(asked) == 0
    assert len(runs.environments) == 3, "the one that failed is tried again"


@pytest.mark.timeout(120)
def test_the_cell_that_raised_is_named(chapter, monkeypatch):
    monkeypatch.setenv("TO_FAIL", "1")
    failed = robust.run_kind(TOPIC, "seed1")["failed"]
    assert "assert not os.environ.get" in failed and failed.endswith("AssertionError: a check failed")


def test_the_record_may_stand_beside_them(chapter, runs, capsys):
    robust.main(["--runs", "seed1", "--from-record"])
    assert "no valid record" in capsys.readouterr().out
    files = ["course/data.py"]
    content = {"digest": record.digest_of(TOPIC, files), "files": files, "gib": 1.0, "minutes": 2.0}
    (chapter / "solutions" / TOPIC / record.FILE).write_text(record.as_text(content | {"values": {"total": 300, "luck": 5}}))
    assert robust.main(["--runs", "seed1", "--from-record"]) == 1
    assert "assertion 3 in record" in capsys.readouterr().out


def test_runs_that_differ_in_nothing_are_told(tmp_path):
    _, found = hold(tmp_path, "def claims(values):\n    assert True\n", one={"a": 1}, two={"a": 1}, three={"a": 2})
    assert robust.alike(found | {"four": {"failed": "", "minutes": 1}}) == [["one", "two"]]


@pytest.mark.parametrize("asked", [["91"], ["--runs", "seed1,seed9"]])
def test_what_is_not_there_is_told(chapter, asked, capsys):
    with pytest.raises(SystemExit):
        robust.main(asked)
    assert "There are:" in capsys.readouterr().err


def test_bare_seeds(chapter):
    cells = ["torch.manual_seed(0)", "torch.manual_seed(device.seed(0))", "f(seed=1)", "f(seed=seed)", "rng = random.Random(3)"]
    source = "\n\n# %%\n".join(["# %% [markdown]\n# torch.manual_seed(0)", *cells])
    (chapter / "solutions" / TOPIC / f"{TOPIC}.py").write_text(source)
    assert robust.bare_seeds(TOPIC) == ["torch.manual_seed(0)", "f(seed=1)", "random.Random(3)"]
