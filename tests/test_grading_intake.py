"""Files in any state are read for what can be saved, or refused with a sentence."""

import json
import os
import random
import zipfile

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


def answers(cells) -> int:
    """As the grader counts them: here an answer is a function that returns something."""
    return sum("return" in cell.source for cell in cells)


def of(source: str) -> bytes:
    return nbformat.writes(new_notebook(cells=[new_code_cell(source)])).encode()


def write_all(folder, files: dict[str, bytes]) -> None:
    """The files, each newer than the one before."""
    for age, (name, content) in enumerate(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        os.utime(folder / name, (age, age))


BLANK, ONE, TWO = of("raise NotImplementedError"), of("def f(): return 1"), of("def f(): return 1\ndef g(): return 2")


@pytest.mark.parametrize(
    ("files", "chosen", "said"),
    [
        ({f"{NAME}.ipynb": ONE, f"__MACOSX/._{NAME}.ipynb": b"\0\5\x16\7Mac OS X"}, ONE, []),
        (
            {"x/y/hw.ipynb": ONE, "__MACOSX/x/y/._hw.ipynb": b"\0\5\x16\7", "._hw.ipynb": b"\0\5"},
            ONE,
            ["`x/y/hw.ipynb`"],
        ),
        ({f"{NAME}.ipynb": BLANK, f"{NAME} (1).ipynb": ONE}, ONE, [f"`{NAME} (1).ipynb`", "holds no answers"]),
        ({f"{NAME}.ipynb": BLANK, "old.ipynb": ONE, "new.ipynb": BLANK}, ONE, ["`old.ipynb`", "holds no answers"]),
        ({"a.ipynb": ONE, "b.ipynb": BLANK}, ONE, ["`a.ipynb`", "of 2 notebooks"]),
        ({f"{NAME}.ipynb": BLANK, "other.ipynb": BLANK}, BLANK, ["only `90_tiny.ipynb` was graded"]),
        ({f"{NAME}.ipynb": ONE, "newer.ipynb": ONE}, ONE, ["Beside `90_tiny.ipynb` lay `newer.ipynb`"]),
        ({f"{NAME}.ipynb": b"<html>", "x.ipynb": ONE}, ONE, ["`x.ipynb`", "is not a notebook"]),
        ({f"{NAME}.ipynb/{NAME}.ipynb": ONE}, ONE, [f"`{NAME}.ipynb/{NAME}.ipynb`", "is a folder"]),
    ],
)
def test_of_what_lies_there_the_readable_and_answered_is_read_and_said(tmp_path, files, chosen, said):
    write_all(tmp_path, files)
    read = read_submission(tmp_path, NAME, answers)
    assert sources(read) == [cell.source for cell in nbformat.reads(chosen.decode(), as_version=4).cells]
    assert len(read.metadata.course.repairs) == bool(said)
    assert all(words in " ".join(read.metadata.course.repairs) for words in said)


def test_of_two_notebooks_of_other_names_the_one_with_more_answers_is_read(tmp_path):
    one, two = (new_notebook(cells=[new_code_cell(f"def f{i}(): return 1") for i in range(n)]) for n in (1, 2))
    write_all(tmp_path, {"two.ipynb": as_bytes(two), "one.ipynb": as_bytes(one)})
    assert len(read_submission(tmp_path, NAME, answers).cells) == 2


def test_a_notebook_in_a_zip_file_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "homework.zip", "w") as archive:
        archive.writestr(f"__MACOSX/._{NAME}.ipynb", b"\0\5\x16\7")
        archive.writestr(f"homework/{NAME}.ipynb", ONE)
    read = read_submission(tmp_path, NAME, answers)
    assert sources(read) == ["def f(): return 1"]
    assert f"`homework.zip/homework/{NAME}.ipynb`" in read.metadata.course.repairs[0]
    whole = (tmp_path / "homework.zip").read_bytes()
    (tmp_path / "homework.zip").write_bytes(whole.replace(b"def f", b"xxxxx"))
    (tmp_path / "other.zip").write_bytes(b"PK\3\4")
    assert "damaged" in read_submission(tmp_path, NAME).metadata.course.unreadable


@pytest.mark.timeout(20)
def test_what_is_no_regular_file_is_refused_with_a_sentence(tmp_path):
    place = tmp_path / f"{NAME}.ipynb"
    os.mkfifo(place)
    assert "is not a regular file" in read_submission(tmp_path, NAME).metadata.course.unreadable
    place.unlink()
    place.mkdir()
    assert "is a folder" in read_submission(tmp_path, NAME).metadata.course.unreadable
    (tmp_path / "x.ipynb").write_bytes(ONE)
    read = read_submission(tmp_path, NAME)
    assert sources(read) == ["def f(): return 1"]
    assert "is a folder" in read.metadata.course.repairs[0]


def test_a_file_that_cannot_be_read_is_refused_with_a_sentence(notebook, hand_in, tmp_path, monkeypatch):
    hand_in(as_bytes(notebook))

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    assert "could not be read: Permission denied" in read_submission(tmp_path, NAME).metadata.course.unreadable


@pytest.mark.parametrize("linked", ["assignment", "student"])
def test_a_link_to_a_neighbours_folder_is_not_followed(tmp_path, notebook, linked):
    neighbour = tmp_path / "submitted" / "neighbour" / NAME
    neighbour.mkdir(parents=True)
    (neighbour / f"{NAME}.ipynb").write_bytes(as_bytes(notebook))
    mine = tmp_path / "submitted" / "me"
    if linked == "student":
        mine.symlink_to(neighbour.parent)
    else:
        mine.mkdir()
        (mine / NAME).symlink_to(neighbour)
    assert "is a link to another one" in read_submission(mine / NAME, NAME).metadata.course.unreadable


def test_a_link_inside_a_submission_is_not_followed(tmp_path):
    write_all(tmp_path, {"neighbour/x.ipynb": ONE, "mine/notes.txt": b""})
    (tmp_path / "mine" / "more").symlink_to(tmp_path / "neighbour")
    assert "No notebook" in read_submission(tmp_path / "mine", NAME).metadata.course.unreadable


def many(cells: int) -> bytes:
    return json.dumps({"cells": [{"cell_type": "code", "source": f"x = {i}"} for i in range(cells)]}).encode()


# A file that would take the grader minutes or all memory, and the sentence it gets.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (many(100_000), "has 100,000 cells"),
        (b'{"cells": [{"cell_type": "code", "source": "' + b"x" * 2_000_000 + b'"}]}', "was left out"),
        (b'{"cells": [' + b'{"id": "' * 2_500_000, "is not a notebook"),
        (b'{"cells": [' + b'{"id": {' * 4_000_000, "holds far more"),
        (b'{"cells": [' + b"[]," * 5_000_000, "holds far more"),
        (b'{"cells": [' + b'{"cell_type": "code", "source": "' * 100_000 + b"x" * 20_000_000, "is not a notebook"),
        (b" " * 100_000_001, "larger than 100 MB"),
    ],
)
def test_what_is_read_is_bounded(hand_in, content, said):
    course = hand_in(content).metadata.course
    assert said in " ".join([*course.repairs, course.get("unreadable", "")])


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
