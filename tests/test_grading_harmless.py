"""Nothing that a student controls reaches a page as markup."""

import base64
import time

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbconvert.filters.markdown import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.grading import harmless, pictures
from autograder.grading.harmless import Harmless, harmless_attachments, harmless_markdown, harmless_outputs
from autograder.grading.pictures import attach_pictures

PNG = base64.b64encode(b"\x89PNG not really").decode()


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "a paragraph\n\n<svg onload=alert(1)></svg>\n",
        "<!-- --><iframe src=x>",
        "[x](javascript:alert(1))",
        "[x]( \n javascript:alert(1))",
        "[x](<javascript:alert(1)>)",
        "[x](&#106;avascript:alert(1))",
        "[x](JAVASCRIPT:alert(1))",
        "[x](data:text/html,<script>alert(1)</script>)",
        "![x](javascript:alert(1))",
        "[x][a]\n\n[a]: javascript:alert(1)\n",
        "> [x][a]\n>\n> [a]:\n>  javascript:alert(1)\n",
        "<javascript:alert(1)>",
        "```mermaid\n<img src=x onerror=alert(1)>\n```",
        r"$\href{javascript:alert(1)}{x}$",
    ],
)
def test_markdown_becomes_no_markup(text):
    assert _dangerous(markdown2html(text)), "the attack itself must work, or this test shows nothing"
    assert not _dangerous(markdown2html(harmless_markdown(text)))


def _dangerous(html: str) -> bool:
    marks = ("<script", "<img src=x", "<svg", "<iframe", 'href="javascript', 'src="javascript', "\\href")
    return any(mark in html for mark in marks) or 'href="data:' in html or 'href="JAVASCRIPT' in html


def test_ordinary_markdown_stays_as_it_is():
    text = "# Loss\n\n$a \\le b$, `x[1:2]`, **bold**, [link](https://example.org), ![](attachment:a.png)\n\n- 3 < 4"
    assert harmless_markdown(text) == text


def test_attachments_are_images_or_nothing():
    text = "![a](attachment:a.png) ![b](attachment:b.svg) ![c](attachment:c.png)"
    attachments = {
        "a.png": {"image/png": PNG, "image/svg+xml": "<svg onload=alert(1)>"},
        "b.svg": {"image/svg+xml": "<svg onload=alert(1)>"},
        "d.png": {"image/png": '"><script>'},
        "e.png": 5,
    }
    text, kept = harmless_attachments(text, attachments)
    assert kept == {"a.png": {"image/png": PNG}}
    html, _ = HTMLExporter().from_notebook_node(new_notebook(cells=[new_markdown_cell(text, attachments=kept)]))
    assert f"data:image/png;base64,{PNG}" in html
    assert "onload" not in html


def test_outputs_become_text_and_images():
    outputs = [
        {"output_type": "display_data", "data": {"text/html": "<script>1</script>", "text/plain": "a frame"}},
        {"output_type": "execute_result", "data": {"application/javascript": "alert(1)"}, "execution_count": 1},
        {"output_type": "display_data", "data": {"image/png": PNG}, "metadata": {"image/png": {"alt": "<b>"}}},
        {"output_type": "display_data", "data": {"image/png": '"><script>', "text/markdown": "<script>"}},
        {"output_type": "stream", "name": 'x"><script>', "text": "10%\r50%\r100%\ndone\r\n<script>"},
        {"output_type": "error", "ename": "E", "evalue": "<script>", "traceback": []},
    ]
    kept = harmless_outputs(outputs)
    assert [output.get("data") for output in kept[:3]] == [
        {"text/plain": "a frame"},
        {"text/plain": "(an output of type 'application/javascript' is not shown)"},
        {"image/png": PNG},
    ]
    assert kept[4].text == "100%\ndone\n<script>"
    notebook = new_notebook(cells=[new_code_cell("x", outputs=kept)])
    nbformat.validate(notebook)
    html, _ = HTMLExporter(template_name="classic").from_notebook_node(notebook)
    body = html[html.index("<body") :]
    assert "<script>" not in body
    assert "&lt;script&gt;" in body


def test_outputs_are_bounded():
    many = [{"output_type": "stream", "name": "stdout", "text": "x" * 10**6}] * 1000
    many.append({"output_type": "error", "ename": "E", "evalue": "v" * 10**6, "traceback": ["t" * 10**6] * 10**4})
    kept = harmless_outputs(many)
    assert len(kept) == harmless.MAX_OUTPUTS + 1
    assert f"{1001 - harmless.MAX_OUTPUTS} more outputs" in kept[-1].text
    assert len(str(harmless_outputs(many[-1:]))) < 10**6
    assert len(kept[0].text) < harmless.MAX_TEXT + 100


# --- Pictures in written answers

PHOTO = b"\x89PNG\r\n\x1a\n" + b"a derivation"
JPEG = b"\xff\xd8\xff" + b"a derivation"
DATA = f"data:image/png;base64,{base64.b64encode(PHOTO).decode()}"


@pytest.fixture
def folder(tmp_path):
    """What was handed in, with pictures beside the notebook, and something next to it that was not."""
    handed_in = tmp_path / "anna" / "90_tiny"
    (handed_in / "scans").mkdir(parents=True)
    (handed_in / "photo.png").write_bytes(PHOTO)
    (handed_in / "my photo.JPG").write_bytes(JPEG)
    (handed_in / "scans" / "2.png").write_bytes(PHOTO)
    (handed_in / "drawing.svg").write_text("<svg onload=alert(1)>")
    (handed_in / "page.png").write_text("<script>alert(1)</script>")
    (tmp_path / "secret.png").write_bytes(PHOTO)
    (handed_in / "link.png").symlink_to(tmp_path / "secret.png")
    return handed_in


def pictured(text: str, folder) -> tuple[str, str, list[str]]:
    """The page of a written answer as whoever grades sees it, its cleaned source, and the sentences about it."""
    notebook = new_notebook(cells=[new_markdown_cell(text)])
    sentences = attach_pictures(notebook, folder)
    (cell,) = notebook.cells
    source, kept = harmless_attachments(harmless_markdown(cell.source), cell.get("attachments", {}))
    shown = new_markdown_cell(source, attachments=kept) if kept else new_markdown_cell(source)
    html, _ = HTMLExporter(template_name="basic").from_notebook_node(new_notebook(cells=[shown]))
    return html, source, sentences


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (f"As on the photo: ![mine]({DATA}) so $a < b$.", PHOTO),
        (f'<img src="{DATA}" width="400">', PHOTO),
        (f"<IMG alt='x' src='{DATA}'/>", PHOTO),
        ("![](photo.png)", PHOTO),
        ('![a](./photo.png "a title")', PHOTO),
        ("![](scans/2.png)", PHOTO),
        ("![](2.png)", PHOTO),
        ("![](my%20photo.JPG)", JPEG),
        ("![](<my photo.JPG>)", JPEG),
        ("<img src=photo.png>", PHOTO),
        ('text <img width=3 src = "my photo.JPG"> text', JPEG),
    ],
)
def test_a_picture_reaches_whoever_grades(text, content, folder):
    html, source, sentences = pictured(text, folder)
    kind = "image/png" if content is PHOTO else "image/jpeg"
    assert f'src="data:{kind};base64,{base64.b64encode(content).decode()}"' in html
    assert "attachment:picture-1." in source and sentences == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("![](drawing.svg)", "neither PNG nor JPEG"),
        ("![](page.png)", "neither PNG nor JPEG"),
        ("![](link.png)", "was not handed in"),
        ("![](missing.png)", "was not handed in"),
        ("<img src='missing.heic'>", "was not handed in"),
        ("![](../../secret.png)", None),
        ("![](/etc/logo.png)", None),
        ("![](file:///etc/logo.png)", None),
        ("![](data:image/svg+xml;base64,PHN2Zz4=)", "neither PNG nor JPEG"),
        ("![](data:text/html;base64,PHNjcmlwdD4=)", "neither PNG nor JPEG"),
        ('<img src="data:image/png;base64,PHNjcmlwdD4=">', "neither PNG nor JPEG"),
        ("<img src=x onerror=alert(1)>", None),
        (f'<img src="{DATA}" onerror="alert(1)"', None),
    ],
)
def test_nothing_else_is_shown(text, reason, folder):
    html, _, sentences = pictured(text, folder)
    assert "<img src=\"data:" not in html and "<img src=x" not in html and "<svg" not in html
    assert [reason in sentence for sentence in sentences] == ([True] if reason else [])


def test_a_pictures_tag_loses_all_but_the_picture(folder):
    html, source, _ = pictured(f"<img src='photo.png' onerror='alert(1)' alt='x\"><script>'> <img src='{DATA}' onload=x>", folder)
    assert "onerror" not in html and "onload" not in html and "<script" not in html
    assert source.count("attachment:picture-") >= 1


def test_pictures_that_are_too_large_are_said(folder, monkeypatch):
    monkeypatch.setattr(pictures, "MAX_BYTES", len(PHOTO))
    assert pictured("![](photo.png)", folder)[2] == []
    (folder / "photo.png").write_bytes(PHOTO + b"!")
    _, _, (sentence,) = pictured("![](photo.png)", folder)
    assert "`photo.png` is not shown" in sentence and "larger than" in sentence
    monkeypatch.setattr(pictures, "MAX_ALL_BYTES", 2 * len(PHOTO))
    html, _, (sentence,) = pictured("![](scans/2.png) " * 3, folder)
    assert html.count("data:image/png") == 2 and "of pictures a notebook may have" in sentence


LONG = ["![" * 200_000, "![x](a" * 100_000, "<img src=" * 100_000, "![x](" + "a b" * 100_000, "<img" + " src" * 200_000]


@pytest.mark.parametrize("text", LONG)
def test_looking_for_pictures_takes_no_quadratic_time(text, folder):
    started = time.monotonic()
    attach_pictures(new_notebook(cells=[new_markdown_cell(text + "](")]), folder)
    assert time.monotonic() - started < 20


def test_hints_that_are_folded_away_show_that_they_open():
    """Those of the release, in a page whose style takes the triangle of a summary."""
    text = "<details><summary><b>Hint</b></summary>\n\nLook.\n\n</details>"
    notebook = new_notebook(cells=[new_markdown_cell(text)])
    nb, _ = Harmless().preprocess(notebook, {})
    assert 'summary style="display:list-item' in nb.cells[0].source
    assert "<summary" not in harmless_markdown(text)
