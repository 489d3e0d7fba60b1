"""Nothing that a student controls reaches a page as markup."""

import base64

import nbformat
import pytest
from nbconvert import HTMLExporter
from nbconvert.filters.markdown import markdown2html
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from autograder.grading import harmless
from autograder.grading.harmless import harmless_attachments, harmless_markdown, harmless_outputs

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
