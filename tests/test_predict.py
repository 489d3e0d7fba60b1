"""Predictions: kept before one sees, explained after, graded never."""

import importlib
import json
from pathlib import Path

import pytest

from autograder.evidence import GRADING
from autograder.judging.judge import CaseVerdict, Verdict
from autograder.predict import UnknownPrediction, pack, predict, reveal
from autograder.progress import progress

module = importlib.import_module("autograder.predict")  # the package's own names are the functions
progress_module = importlib.import_module("autograder.progress")

QUESTION = {
    "choices": {"a": "Whoever thinks so forgets the padding.", "b": "So it is: `mean` counts {n} tokens.", "c": "A guess."},
    "why": "The loss was {loss:.2f}.",
}


@pytest.fixture(autouse=True)
def one_question(tmp_path, monkeypatch):
    """One question in a folder of its own, and a progress file of its own."""
    monkeypatch.setattr(module, "PACKED", tmp_path / "packed")
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(tmp_path / "kept" / "progress.json"))
    monkeypatch.setattr(progress_module, "_predicted", {})
    monkeypatch.setattr(progress_module, "_of_this_process", {})
    pack("01_pretraining", {"padding": QUESTION}, tmp_path / "packed")


def said(capsys) -> str:
    return capsys.readouterr().out


def test_who_chooses_is_told_what_came_why_and_what_each_choice_thinks(capsys):
    predict("padding", "A")
    assert "Kept: **a**" in said(capsys)
    reveal("padding", "b", loss=1.234, n=17)
    told = said(capsys)
    assert "You chose **a**. In this run it was **b**. The loss was 1.23." in told
    assert "forgets the padding" in told and "counts 17 tokens" in told and "A guess." in told


def test_a_prediction_that_came_true_is_said_so(capsys):
    predict("padding", "b")
    reveal("padding", "b", loss=1.0, n=3)
    assert "As you predicted. The loss was 1.00." in said(capsys)


def test_who_has_not_chosen_is_told_nothing_but_where_to_choose(capsys):
    predict("padding")
    assert "Write a, b or c" in said(capsys)
    reveal("padding", "b", loss=1.0, n=3)
    told = said(capsys)
    assert "not chosen yet" in told and "loss was" not in told and "forgets" not in told


def test_a_choice_that_there_is_not_is_not_kept(capsys):
    predict("padding", "d")
    assert "no choice “d”" in said(capsys)
    assert progress_module.prediction("padding") == {}


def test_a_choice_can_change_until_it_was_seen_and_not_after(capsys):
    predict("padding", "a")
    predict("padding", "c")
    reveal("padding", "b", loss=1.0, n=3)
    predict("padding", "b")
    assert "You chose **c** before" in said(capsys)
    assert progress_module.prediction("padding")["said"] == "c"


def test_progress_says_how_often_one_was_right():
    predict("padding", "b")
    assert "prediction" not in repr(progress("01_pretraining"))
    reveal("padding", "b", loss=1.0, n=3)
    shown = progress("01_pretraining")
    assert "1 of 1 predictions came true" in repr(shown) and "1 of 1 predictions came true" in shown._repr_html_()
    assert "prediction" not in repr(progress("00_start_here"))


def test_what_is_kept_survives_the_session_and_a_check(monkeypatch):
    predict("padding", "a")
    monkeypatch.setattr(progress_module, "_predicted", {})
    progress_module.record(Verdict("mean_loss", "00_start_here", "", [CaseVerdict("one", "A case.", True)]))
    assert progress_module.prediction("padding")["said"] == "a"
    assert next(row.best for row in progress().rows if row.exercise == "mean_loss") == 1.0


@pytest.mark.parametrize("content", ['{"predictions": 3}', '{"predictions": {"padding": {"said": 4}}}', "[]", "nonsense"])
def test_a_damaged_file_is_as_none(content, tmp_path, capsys):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "progress.json").write_text(content)
    reveal("padding", "b", loss=1.0, n=3)
    assert "not chosen yet" in said(capsys)
    predict("padding", "a")
    assert json.loads((tmp_path / "kept" / "progress.json").read_text())["predictions"]["padding"]["said"] == "a"


def test_where_nothing_can_be_written_it_is_kept_for_the_session(tmp_path, monkeypatch, capsys):
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("COURSE_PROGRESS_FILE", str(tmp_path / "a file" / "progress.json"))
    predict("padding", "b")
    reveal("padding", "b", loss=1.0, n=3)
    assert "As you predicted" in said(capsys)


def test_in_grading_nothing_is_said_or_kept(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv(GRADING, "1")
    predict("padding", "a")
    reveal("padding", "b", loss=1.0, n=3)
    assert said(capsys) == "" and not (tmp_path / "kept").exists()


def test_the_author_is_told_what_is_wrong(tmp_path):
    with pytest.raises(UnknownPrediction, match="Did you mean 'padding'"):
        predict("paddin", "a")
    with pytest.raises(ValueError, match="none of the choices"):
        reveal("padding", "z", loss=1.0, n=3)
    with pytest.raises(KeyError):  # also for who has not chosen: else no run would ever show it
        reveal("padding", "b", n=3)
    with pytest.raises(ValueError, match="at least two choices"):
        pack("01_pretraining", {"x": {"choices": {"a": ""}, "why": ""}}, tmp_path)
    with pytest.raises(ValueError, match="other choices"):
        pack("01_pretraining", {"x": {"choices": {"a": "", "b": ""}, "why": {"a": ""}}}, tmp_path)


def test_why_may_depend_on_what_came(capsys):
    pack("01_pretraining", {"padding": QUESTION | {"why": dict.fromkeys("abc", "The same.") | {"c": "Else."}}}, module.PACKED)
    predict("padding", "a")
    reveal("padding", "c", n=1)
    assert "**c**. Else." in said(capsys)


def test_the_texts_cannot_be_read_by_accident_and_pack_the_same_bytes(tmp_path):
    (path,) = Path(module.PACKED).iterdir()
    before = path.read_bytes()
    assert b"forgets" not in before
    path.unlink()
    pack("01_pretraining", {"padding": QUESTION}, module.PACKED)
    assert path.read_bytes() == before


def test_in_a_notebook_it_is_html_without_markup_from_elsewhere():
    shown = module._as_html(("**b** is `<eos>` & more",))
    assert "<b>b</b>" in shown and "<code>&lt;eos&gt;</code>" in shown and "&amp; more" in shown
