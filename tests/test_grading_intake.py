"""Files in any state are read for what can be saved, or refused with a sentence."""

import json
import os
import random

import nbformat
import pytest
from grading_chapter import cell_of
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from autograder.grading.converter import read_timestamp
from autograder.grading.intake import read_submission, salvage

NAME = "90_tiny"


@pytest.fixture
def notebook():
    marks = {"grade_id": "double", "grade": False, "solution": True, "locked": False, "schema_version": 3}
    output = new_output("display_data", data={"text/html": "<b>{</b>", "application/json": {"cells": [{"id": 1}]}})
    return new_notebook(
        cells=[
            new_markdown_cell('# Täler, 東京 😀 { [ " \\ ', id="title"),
            new_code_cell("def double(x):\n    return {'cells': [x]}", id="double", metadata={"nbgrader": marks}),
            new_code_cell("double(2)", id="own", outputs=[output], execution_count=7),
        ]
    )


@pytest.fixture
def hand_in(tmp_path):
    """A function that puts bytes into a submission and reads it."""

    def write(content: bytes, name: str = f"{NAME}.ipynb"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        return read_submission(tmp_path, NAME)

    return write


def as_bytes(notebook) -> bytes:
    return nbformat.writes(notebook).encode()


def sources(notebook) -> list[str]:
    return [cell.source for cell in notebook.cells]


def test_a_whole_notebook_is_read_without_remark(notebook, hand_in):
    read = hand_in(as_bytes(notebook))
    assert sources(read) == sources(notebook)
    assert [cell.id for cell in read.cells] == [cell.id for cell in notebook.cells]
    assert read.metadata.course == {"repairs": []}
    assert read.cells[1].metadata == {"nbgrader": {"grade_id": "double"}}
    assert read.cells[2].outputs == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le"])
def test_byte_order_marks_and_utf_16(notebook, hand_in, encoding):
    content = as_bytes(notebook).decode().encode(encoding)
    read = hand_in(content if encoding != "utf-16-le" else b"\xff\xfe" + content)
    assert sources(read) == sources(notebook)


def test_latin_1_is_read_and_said(hand_in):
    content = json.dumps({"cells": [{"cell_type": "code", "source": "# Täler"}]}, ensure_ascii=False).encode("latin-1")
    read = hand_in(content)
    assert sources(read) == ["# Täler"]
    assert "not UTF-8" in read.metadata.course.repairs[0]


def test_half_a_surrogate_pair_can_be_written_again(hand_in):
    read = hand_in(b'{"cells": [{"cell_type": "code", "source": "x = 1 # \\ud83d"}]}')
    assert sources(read) == ["x = 1 # ?"]


def test_format_3(hand_in):
    cells = [
        {"cell_type": "heading", "level": 1, "source": ["Title"]},
        {"cell_type": "code", "input": ["def double(x):\n", "    return x"], "language": "python", "outputs": []},
    ]
    read = hand_in(json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode())
    assert sources(read) == ["Title", "def double(x):\n    return x"]


def test_metadata_of_colab_keeps_the_ids_and_the_names(hand_in):
    cells = [
        {
            "cell_type": "code",
            "source": "x",
            "metadata": {"id": "double", "outputId": "f00", "nbgrader": {"grade_id": "double", "schema_version": 99}},
        }
    ]
    read = hand_in(json.dumps({"cells": cells, "metadata": {"colab": {}}, "nbformat": 4, "nbformat_minor": 0}).encode())
    assert read.cells[0].id == "double"
    assert read.cells[0].metadata == {"nbgrader": {"grade_id": "double"}}


def test_cells_of_no_known_form_are_left_out(hand_in):
    cells = [1, None, {"cell_type": "poem", "source": ""}, {"cell_type": [], "source": ""}, {"cell_type": "code"}]
    cells += [{"cell_type": "code", "source": 7}, {"cell_type": "code", "source": "x"}]
    read = hand_in(json.dumps({"cells": cells}).encode())
    assert sources(read) == ["", "x"]
    nbformat.validate(read)


@pytest.mark.parametrize("left", [0.3, 0.6, 0.95])
def test_of_a_truncated_file_the_complete_cells_are_saved(notebook, hand_in, left):
    content = as_bytes(notebook)
    read = hand_in(content[: int(len(content) * left)])
    if "unreadable" in read.metadata.course:
        assert left == 0.3
        return
    assert 0 < len(read.cells) <= len(notebook.cells)
    assert sources(read) == sources(notebook)[: len(read.cells)]
    assert f"{len(read.cells)} complete cells" in read.metadata.course.repairs[0]


@given(st.floats(0, 1))
def test_cut_anywhere_what_is_saved_is_a_beginning_of_the_cells(cut):
    cells = [new_code_cell(f'x = "{i}" + "}}]"', id=f"c{i}", metadata={"a": {"cell_type": 1}}) for i in range(4)]
    text = nbformat.writes(new_notebook(cells=cells))
    saved = salvage(text[: int(len(text) * cut)])
    assert [cell["id"] for cell in saved] == [cell.id for cell in cells][: len(saved)]


def test_a_broken_cell_in_the_middle_costs_that_cell(notebook, hand_in):
    content = as_bytes(notebook).decode().replace('"def double', '"def dou\n<<<<<<< HEAD\n"ble')
    read = hand_in(content.encode())
    assert sources(read) == [notebook.cells[0].source, notebook.cells[2].source]


def test_random_damage_never_raises(notebook, hand_in):
    content, chance = as_bytes(notebook), random.Random(0)
    for _ in range(200):
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 6)):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.randrange(20)] = chance.randbytes(chance.randrange(4))
        read = hand_in(bytes(damaged))
        assert read.cells or read.metadata.course.unreadable
        nbformat.validate(read)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"<html>Log in</html>", "is not a notebook"),
        (b"[1, 2]", "is not a notebook"),
        (b'{"cells": []}', "is not a notebook"),
        (b'{"worksheets": [{"cells": 5}, 6]}', "is not a notebook"),
        (b'{"cells": [' * 5000, "is not a notebook"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\r", "is not a notebook"),
    ],
)
def test_what_holds_no_cell_is_refused_with_a_sentence(hand_in, content, said):
    read = hand_in(content)
    assert said in read.metadata.course.unreadable
    assert read.cells == []


def test_a_renamed_notebook_is_found(notebook, hand_in):
    read = hand_in(as_bytes(notebook), "my homework (1).ipynb.txt")
    assert sources(read) == sources(notebook)
    assert "`my homework (1).ipynb.txt`" in read.metadata.course.repairs[0]


def test_the_right_name_comes_before_the_newest_file_and_checkpoints_never(notebook, hand_in, tmp_path):
    hand_in(as_bytes(notebook), ".ipynb_checkpoints/other-checkpoint.ipynb")
    assert "No notebook" in read_submission(tmp_path, NAME).metadata.course.unreadable
    hand_in(b'{"cells": [{"cell_type": "code", "source": "old"}]}', "old.ipynb")
    hand_in(b'{"cells": [{"cell_type": "code", "source": "new"}]}', "unzipped/new.ipynb")
    os.utime(tmp_path / "old.ipynb", (1, 1))
    assert sources(read_submission(tmp_path, NAME)) == ["new"]
    assert sources(hand_in(as_bytes(notebook))) == sources(notebook)


def test_a_link_is_not_followed(tmp_path, notebook):
    secret = tmp_path / "solutions.ipynb"
    secret.write_bytes(as_bytes(notebook))
    folder = tmp_path / "submission"
    folder.mkdir()
    (folder / f"{NAME}.ipynb").symlink_to(secret)
    read = read_submission(folder, NAME)
    assert "is a link" in read.metadata.course.unreadable
    (folder / f"{NAME}.ipynb").rename(folder / "other.ipynb")
    assert "No notebook" in read_submission(folder, NAME).metadata.course.unreadable


def test_the_file_is_only_read(notebook, hand_in, tmp_path):
    hand_in(as_bytes(notebook)[:-40])
    path = tmp_path / f"{NAME}.ipynb"
    path.chmod(0o444)
    before = path.stat().st_mtime_ns, path.read_bytes()
    read_submission(tmp_path, NAME)
    assert (path.stat().st_mtime_ns, path.read_bytes()) == before


def test_the_name_of_the_answer_survives(notebook, hand_in):
    assert cell_of(hand_in(as_bytes(notebook)), "double").source == notebook.cells[1].source


@pytest.mark.parametrize("text", [b"yesterday", b"\xff\xfe\x00", b"", b"2026-99-99 00:00:00 UTC", b"1e400"])
def test_a_timestamp_that_cannot_be_read_is_none(tmp_path, text):
    (tmp_path / "timestamp.txt").write_bytes(text)
    assert read_timestamp(tmp_path) is None


def test_a_timestamp_is_read_in_utc(tmp_path):
    assert read_timestamp(tmp_path) is None
    (tmp_path / "timestamp.txt").write_text("2026-01-31 11:00:00.5 UTC\n")
    assert read_timestamp(tmp_path).isoformat() == "2026-01-31T11:00:00.500000"
