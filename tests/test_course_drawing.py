"""Drawings: well-formed, described in words, legible on any page."""

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from course import plots
from course.drawing import Drawing


@pytest.fixture
def drawing() -> Drawing:
    d = Drawing(600, 120, "Two boxes & an arrow.")
    d.box(10, 10, 100, 40, "policy\np < 1", plots.BLUE)
    d.box(200, 10, 100, 40, dashed=True)
    d.arrow(110, 30, 200, 30, "answer")
    d.path([(0, 0), (5, 8), (10, 3)], plots.GREEN, dashed=True)
    d.circle(3, 3)
    d.bar(10, 110, 20, -30, plots.ORANGE)
    return d


def test_it_is_well_formed_and_says_in_words_what_it_shows(drawing):
    root = ElementTree.fromstring(drawing.svg())
    assert root.get("role") == "img" and root.get("aria-label") == "Two boxes & an arrow."
    assert "p < 1" in [element.text for element in root.iter() if element.tag.endswith("text")]


def test_ink_is_the_pages_own(drawing):
    """A fixed black would vanish in the dark, a fixed white on paper."""
    colours = {value for element in ElementTree.fromstring(drawing.svg()).iter() for key in ("fill", "stroke")
               if (value := element.get(key))}  # fmt: skip
    assert colours <= {"currentColor", "none", plots.BLUE, plots.GREEN, plots.ORANGE}


def test_it_shrinks_with_the_page_and_is_text_where_there_is_no_html(drawing):
    assert "max-width:600px" in drawing.svg() and repr(drawing) == "[drawing: Two boxes & an arrow.]"
    assert "<svg" in drawing._repr_html_()


def test_tokens_stand_side_by_side_with_notes_under_them():
    d = Drawing(600, 60, "Three tokens.")
    places = d.tokens(10, 10, ["<bos>", "mia", "ran"], [None, plots.BLUE, plots.ORANGE], ["", "-100", "7"])
    assert all(right < left for (_, right), (left, _) in pairwise(places))
    texts = [element.text for element in ElementTree.fromstring(d.svg()).iter() if element.tag.endswith("text")]
    assert texts == ["<bos>", "", "mia", "-100", "ran", "7"] or texts == ["<bos>", None, "mia", "-100", "ran", "7"]


def test_a_bar_of_negative_height_goes_up(drawing):
    bars = [e for e in ElementTree.fromstring(drawing.svg()).iter() if e.get("fill") == plots.ORANGE]
    assert bars[0].get("y") == "80" and bars[0].get("height") == "30"


def test_without_an_alt_text_there_is_no_drawing():
    with pytest.raises(ValueError, match="alt text"):
        Drawing(10, 10, " ")
