"""What a student's code printed and what a student wrote, as something a browser may show.

Feedback pages and the formgrader put HTML outputs and markdown into the page as they are. A student's `<script>` would
run in the instructor's browser, so nothing that a student controls may be markup.
"""

import re

from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import NbGraderPreprocessor

from autograder.grading.cells import is_check
from autograder.grading.nodes import new_output
from autograder.judging.report import FOLDED

MAX_TEXT = 20_000  # characters of one output; more than a page is not read
MAX_OUTPUTS = 50  # of one cell
MAX_IMAGE = 4_000_000  # characters of base64, of an output
MAX_PHOTO = 14_000_000  # the same of an attachment: a phone's photo (see pictures.py for what becomes one)
_IMAGES = ("image/png", "image/jpeg")
_BASE64 = re.compile(r"[A-Za-z0-9+/=\s]*")


class Harmless(NbGraderPreprocessor):
    """nbgrader preprocessor: plain outputs everywhere but in check cells, which the judge rewrites whole."""

    def preprocess_cell(self, cell: NotebookNode, resources: dict, index: int):
        if cell.cell_type == "markdown":  # the release's: in what a student wrote there is no markup left
            cell.source = cell.source.replace("<summary>", f'<summary style="{FOLDED}">')
        if cell.cell_type == "code" and not is_check(cell):
            cell.outputs = harmless_outputs(cell.outputs)
            if not isinstance(cell.get("execution_count"), int):
                cell.execution_count = None
        return cell, resources


def harmless_outputs(outputs: list) -> list:
    """The outputs as text and images, bounded in number and length; output metadata is dropped."""
    kept = [_harmless_output(output) for output in outputs[:MAX_OUTPUTS]]
    if len(outputs) > MAX_OUTPUTS:
        kept.append(new_output("stream", name="stdout", text=f"({len(outputs) - MAX_OUTPUTS} more outputs)\n"))
    return kept


def harmless_markdown(text: str) -> str:
    """Markdown without HTML tags, without links but to the web, and without TeX commands that make links.

    Nothing is taken away: a space is put where it keeps such a thing from being parsed, so formulas (a< b) and code
    stay readable.
    """
    text = re.sub(r"<(?=[A-Za-z/!?])", "< ", text)
    web = r"\s*(?:https?://|mailto:|attachment:|#)"
    text = re.sub(rf"\](?=[(:](?!{web}))", "] ", text)
    return re.sub(r"\\(?=href|url|style|class|cssId|require|unicode|html)", r"\\ ", text)


def harmless_attachments(text: str, attachments: dict) -> tuple[str, dict]:
    """The images among a markdown cell's attachments, and the text without references to what is not there.

    nbgrader cannot make a feedback page that refers to a missing attachment.
    """
    kept = {
        name: images
        for name, bundle in attachments.items()
        if isinstance(bundle, dict)
        and (images := {mime: data for mime, data in bundle.items() if mime in _IMAGES and _is_image(data, MAX_PHOTO)})
    }

    def reference(match: re.Match) -> str:
        return match.group(0) if match.group(1) in kept else f"attachment :{match.group(1)}"

    return re.sub(r"attachment:([^)\s\"'>\]]*)", reference, text), kept


def _harmless_output(output: dict) -> NotebookNode:
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return new_output("stream", name=name, text=_short(_as_on_a_terminal(output.get("text", ""))))
    if kind == "error":
        lines = [_short(line, 2_000) for line in output.get("traceback", [])[:100]]
        ename, evalue = _short(output.get("ename", ""), 200), _short(output.get("evalue", ""), 2_000)
        return new_output("error", ename=ename, evalue=evalue, traceback=lines or [f"{ename}: {evalue}"])
    return new_output("display_data", data=_harmless_data(output.get("data", {})))


def _harmless_data(data: dict) -> dict:
    kept = {mime: data[mime] for mime in _IMAGES if _is_image(data.get(mime))}
    if isinstance(data.get("text/plain"), str):
        kept["text/plain"] = _short(data["text/plain"])
    return kept or {"text/plain": f"(an output of type {', '.join(map(repr, data))[:100]} is not shown)"}


def _is_image(data, limit: int = MAX_IMAGE) -> bool:
    return isinstance(data, str) and len(data) <= limit and _BASE64.fullmatch(data) is not None


def _as_on_a_terminal(text: str) -> str:
    """Of a line that was written over (a progress bar) the last state."""
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in str(text).split("\n"))


def _short(text, limit: int = MAX_TEXT) -> str:
    text = text if isinstance(text, str) else str(text)
    return text if len(text) <= limit else text[:limit] + "\n… (cut here)"
