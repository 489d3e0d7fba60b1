"""Records of whole runs: what they hold, when they are valid, and what the tests make of them."""

import json

import notebook_runs
import pytest

from autograder.workshop import record
from course import data, device

TOPIC = "90_tiny"
CHAPTER = """\
# %% [markdown]
# # A tiny chapter

# %%
from course import data, device, plots

total = device.updates(100) * len(data.load_probes())

# %% [markdown]
# So many probes there are.
"""
MEASURED = '"""What it measured."""\n\nMEASURED = {"total": total, "curve": [0.5, 0.25]}\n'


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A chapter that reads one data file. Returns its folder."""
    folder = tmp_path / "solutions" / TOPIC
    folder.mkdir(parents=True)
    (folder / f"{TOPIC}.py").write_text(CHAPTER)
    (folder / "measured.py").write_text(MEASURED)
    monkeypatch.setattr(record, "SOLUTIONS", tmp_path / "solutions")
    return folder


@pytest.fixture
def recorded(chapter):
    """The same, with a record that was not run for. Returns the chapter's folder."""
    files = ["course/data.py", "data/probes.json"]
    content = {"digest": record.digest_of(TOPIC, files), "files": files, "gib": 1.0, "values": {"total": 300}}
    (chapter / record.FILE).write_text(record.as_text(content))
    return chapter


def test_a_chapter_is_run_and_recorded(chapter, monkeypatch, capsys):
    monkeypatch.setattr(record, "recordable", lambda: [TOPIC])
    monkeypatch.setenv("COURSE_DOSE", "0.02")  # a record is of the dose of a CPU whatever is set
    assert record.valid_record(TOPIC) is None
    assert record.main(["90"]) == 0
    found = json.loads((chapter / record.FILE).read_text())
    assert found == record.valid_record(TOPIC)
    assert found["values"] == {"total": 100 * len(data.load_probes()), "curve": [0.5, 0.25]}
    assert {"course/data.py", "course/device.py", "data/probes.json"} <= set(found["files"])
    assert not {"course/plots.py", "data/checkpoints/nano-base/model.safetensors"} & set(found["files"])
    assert found["versions"]["torch"] and 0 < found["gib"] < 4 and found["minutes"] < 5
    with pytest.raises(SystemExit):
        record.main(["91_nothing"])
    assert "90_tiny" in capsys.readouterr().err


def test_prose_leaves_a_record_valid_and_code_does_not(recorded):
    source = recorded / f"{TOPIC}.py"
    source.write_text(CHAPTER.replace("So many probes", "As many probes"))
    assert record.valid_record(TOPIC)
    source.write_text(CHAPTER.replace("updates(100)", "updates(101)"))
    assert record.valid_record(TOPIC) is None


def test_what_is_measured_the_pins_and_every_file_read_count(recorded, tmp_path, monkeypatch):
    before = record.valid_record(TOPIC)
    (recorded / "measured.py").write_text(MEASURED + "# more\n")
    assert before and record.valid_record(TOPIC) is None
    (recorded / "measured.py").write_text(MEASURED)
    for name in ("requirements.lock", *before["files"]):
        copy = tmp_path / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes((record.ROOT / name).read_bytes())
    monkeypatch.setattr(record, "ROOT", tmp_path)
    assert record.valid_record(TOPIC)
    for name in before["files"]:
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(kept + b"\nmore = 1\n")
        assert record.valid_record(TOPIC) is None, name
        (tmp_path / name).unlink()
        assert record.valid_record(TOPIC) is None, f"{name} is gone"
        (tmp_path / name).write_bytes(kept)
    pins = (tmp_path / "requirements.lock").read_text()
    (tmp_path / "requirements.lock").write_text(pins.replace("transformers==", "transformers==9"))
    assert record.valid_record(TOPIC) is None
    (tmp_path / "requirements.lock").write_text(pins.replace("jupyterlab==", "jupyterlab==9") + "dask==1\n")
    assert record.valid_record(TOPIC), "no number depends on these"


def test_a_comment_in_the_toolkit_leaves_a_record_valid(recorded, tmp_path, monkeypatch):
    for name in ("requirements.lock", *record.valid_record(TOPIC)["files"]):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((record.ROOT / name).read_bytes())
    monkeypatch.setattr(record, "ROOT", tmp_path)
    module = tmp_path / "course/data.py"
    module.write_text("# What it is for.\n" + module.read_text().replace('"""', '"""Other words. ', 1))
    assert record.valid_record(TOPIC)


def test_a_record_that_cannot_be_read_is_none(recorded):
    for text in ("<<<<<<< HEAD", "{}"):
        (recorded / record.FILE).write_text(text)
        assert record.valid_record(TOPIC) is None


def test_the_tokenizer_counts_whole_and_cards_do_not():
    opened = [str(record.ROOT / "data" / name) for name in ("tokenizer/tokenizer_config.json", "checkpoints/nano-sft/card.json")]
    assert record._of_the_repository(opened) == ["data/tokenizer/tokenizer.json", "data/tokenizer/tokenizer_config.json"]


@pytest.fixture
def runs(monkeypatch):
    """Runs that take no time. Returns the environments in which chapters were run."""
    seen = []

    def run(topic, folder, environment):
        seen.append(environment)
        return {"values": {"total": 300 if not environment else 6}, "gib": 1.0, "minutes": 0.0, "processor_minutes": 0.0}

    monkeypatch.setattr(notebook_runs, "run", run)
    monkeypatch.setattr(notebook_runs, "recordable", lambda: [TOPIC])
    monkeypatch.setattr(notebook_runs, "drawn", lambda: None)
    monkeypatch.setattr(notebook_runs, "WHOLE", False)
    return seen


def claims(values: dict) -> None:
    assert values["total"] > 100


def hold(folder) -> None:
    notebook_runs.run_and_assert(TOPIC, claims, folder, lambda *given: None)


def test_a_recorded_chapter_runs_in_a_small_dose_and_its_claims_are_the_records(recorded, runs, tmp_path):
    hold(tmp_path)
    assert runs == [{"COURSE_DOSE": notebook_runs.SMALL_DOSE}]


def test_a_claim_that_the_record_does_not_bear_out_fails(recorded, runs, tmp_path):
    content = record.valid_record(TOPIC) | {"values": {"total": 3}}
    (recorded / record.FILE).write_text(record.as_text(content))
    with pytest.raises(AssertionError):
        hold(tmp_path)


def test_without_a_valid_record_a_chapter_runs_in_full(recorded, runs, tmp_path):
    (recorded / "measured.py").write_text(MEASURED + "# more\n")
    hold(tmp_path)
    assert runs == [{}]


@pytest.mark.parametrize("name, value", [("WHOLE", True), ("drawn", lambda: TOPIC)])
def test_when_all_are_asked_for_or_it_is_drawn_a_chapter_runs_in_full(name, value, recorded, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(notebook_runs, name, value)
    hold(tmp_path)
    assert runs == [{}]


def test_a_run_that_measured_something_else_than_the_record_fails(recorded, runs, tmp_path):
    content = record.valid_record(TOPIC) | {"values": {"total": 300, "more": 1}}
    (recorded / record.FILE).write_text(record.as_text(content))
    with pytest.raises(AssertionError):
        hold(tmp_path)


def test_the_form_of_numbers_is_compared_and_not_the_numbers():
    values = {"a": 1, "b": [0.5, {"c": None}], "d": True}
    assert not list(notebook_runs.differences(values, {"a": 2.5, "b": [7, {"c": None}], "d": False}))
    for other in (
        {"a": 1, "b": [0.5, {"c": None}]},
        {"a": 1, "b": [0.5], "d": True},
        {"a": 1, "b": [0.5, {"c": 3}], "d": True},
        {"a": "1", "b": [0.5, {"c": None}], "d": True},
        {"a": 1, "b": [0.5, {"c": None}], "d": 1},
    ):
        assert len(list(notebook_runs.differences(values, other))) == 1, other


def test_the_commit_draws_one_recorded_chapter():
    chosen = notebook_runs.drawn()
    assert chosen == notebook_runs.drawn.__wrapped__()
    assert chosen is None or record.valid_record(chosen)


DOSES = [("", 1, 240, 30), ("3", 3, 720, 30), ("0.02", 1, 5, 1), ("0.5", 1, 120, 15)]


@pytest.mark.parametrize("said, dose, updates, most", DOSES)
def test_doses(said, dose, updates, most, monkeypatch):
    monkeypatch.setenv("COURSE_TIER", "cpu")
    monkeypatch.setenv("COURSE_DOSE", said)
    assert (device.dose(), device.updates(240), device.at_most(30)) == (dose, updates, most)
    assert device.updates(10, least=8) >= 8 and device.at_most(10, least=8) >= 8


@pytest.mark.parametrize("said", ["0", "-1", "1.5", "much", "nan", "inf"])
def test_a_dose_that_is_none_is_said(said, monkeypatch):
    monkeypatch.setenv("COURSE_DOSE", said)
    with pytest.raises(ValueError, match="neither a whole number from 1 on nor a fraction"):
        device.updates(10)


def test_words_do_not_count_and_code_does():
    one = 'def f(x):\n    """Twice."""\n    return 2 * x  # a comment'
    other = 'def f(x):\n    """Two times x."""\n\n    return 2*x'
    assert record._what_runs(one) == record._what_runs(other) != record._what_runs(one.replace("2", "3"))
