"""What chapter 00 says of the course: its map, its tables and its first numbers are what the course has."""

import re

import jupytext
import pytest
import torch

from autograder.exercise import exercises_of
from autograder.judging.reference import ROOT, SOLUTIONS
from autograder.workshop.release import chapters
from course import data, models, reading
from course.drawings import c00

TOPIC = "00_start_here"
SENTENCE = "the capital of sarvik is hollin ."


def page() -> list:
    return jupytext.read(SOLUTIONS / TOPIC / f"{TOPIC}.py").cells


def rows_of(heading: str) -> list[list[str]]:
    """The rows of the table whose fold has this summary, as lists of cells."""
    (text,) = [cell.source for cell in page() if f"<b>{heading}</b>" in cell.source]
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def test_the_map_has_every_chapter():
    assert [chapter.folder for chapter in c00.CHAPTERS] == chapters()
    assert [int(chapter.number) for chapter in c00.CHAPTERS] == list(range(len(c00.CHAPTERS)))


TABLES = ["Words of the field", "The lecture, heading by heading", "The lecture, and what the course corrects"]


@pytest.mark.parametrize("heading", TABLES)
def test_every_row_points_to_a_chapter_that_there_is(heading):
    rows = rows_of(heading)
    assert len(rows) > 10
    for *_, where in rows:
        links = re.findall(r"\[(\d\d)\]\(\.\./(\w+)/(\w+)\.ipynb\)", where)
        assert links
        assert all(folder == file and folder[:2] == number and folder in chapters() for number, folder, file in links)
        rest = re.sub(r"\[\d\d\]\(.*?\)|, and |, ", "", where)
        assert not rest, f"not a chapter's link: {rest}"


def test_every_heading_of_the_lecture_names_an_exercise():
    for heading, taught, where in rows_of("The lecture, heading by heading"):
        linked = re.findall(r"\]\(\.\./(\w+)/", where)
        there = {exercise.name for topic in linked for exercise in exercises_of(topic)}
        named = re.findall(r"`(\w+)`", taught)
        assert named and linked, heading
        assert set(named) <= there, heading
        assert all({e.name for e in exercises_of(topic)} & set(named) for topic in linked), f"{heading}: nothing of a chapter"


def test_the_lines_of_the_map_are_what_the_cards_say():
    makes = {name: chapter for chapter in c00.CHAPTERS for name in chapter.makes}
    assert set(makes) == set(c00.CHECKPOINTS) == {path.name for path in models.CHECKPOINTS.iterdir() if path.is_dir()}
    for name, maker in makes.items():
        card = models.load_card(name)
        assert set(card.get("from", {})) <= set(maker.starts)
        if card["made by"].startswith("solutions/"):
            assert card["made by"] == f"solutions/{maker.folder}"
    assert {name for chapter in c00.CHAPTERS for name in chapter.starts} <= set(c00.CHECKPOINTS)


def test_the_sizes_in_the_map_are_those_of_the_data_card():
    card, sizes = (ROOT / "data" / "README.md").read_text(encoding="utf-8"), c00.sizes()
    for name in ("instructions", "preferences", "dialect"):
        assert f"| {name} | {sizes[name]} |" in card
    documents, tokens = re.search(r"\| all \| ([\d,]+) \| ([\d,]+) \|", card).groups()
    assert sizes["documents"] == documents
    assert float(sizes["tokens"]) == round(int(tokens.replace(",", "")) / 1e6, 1)


def test_the_drawings_are_legible_on_a_narrow_page():
    losses = [2.0, 1.0, 0.25]
    drawn = [c00.course_map(), c00.surprises(["a", "b", "c"], losses), c00.what_a_check_does(losses), c00.a_chapter()]
    for picture in drawn:
        svg = picture.svg()
        assert picture.width <= 600
        assert min(float(size) for size in re.findall(r'font-size="([\d.]+)"', svg)) >= 12
    assert "known mistakes: one of them, the sum" in drawn[2].alt and "3.25" in drawn[2].alt
    assert all(chapter.title.split("\n")[0] in drawn[0].alt for chapter in c00.CHAPTERS)


def test_what_is_not_folded_is_read_in_ten_minutes():
    prose = "\n".join(cell.source for cell in page() if cell.cell_type == "markdown")
    words = re.sub(r"<details>.*?</details>", "", prose, flags=re.S).split()
    assert len(words) < 1200, f"{len(words)} words"


def test_the_losses_are_those_of_the_model():
    losses = reading.losses_of(SENTENCE)
    ids = torch.tensor(data.encode_documents([SENTENCE], data.load_tokenizer()))[:, :-1]
    with torch.no_grad():
        mean = models.load_nano("base")(ids, labels=ids).loss.item()
    assert losses.shape == (7,)
    assert losses.mean().item() == pytest.approx(mean, abs=1e-4)


def test_the_first_prediction_has_a_clear_outcome():
    the, _, _, country, _, capital, _ = reading.losses_of(SENTENCE).tolist()
    assert country > the + 0.3 > capital + 1


def test_the_readme_lists_the_chapters():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(course/(\w+)/\w+\.ipynb\)", text) == chapters()
