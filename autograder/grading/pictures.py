"""Pictures in written answers: a photo of a derivation reaches whoever grades, however it was put into the notebook.

As an attachment (pasted into a cell in Jupyter) it travels already. As an address that holds the picture (pasted in
Colab), in an `<img>`, or as a file handed in beside the notebook, it becomes an attachment here. PNG and JPEG, told by
their first bytes; nothing else is shown, and a sentence says what was not.
"""

import base64
import binascii
import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

from nbformat.notebooknode import NotebookNode

MAX_BYTES = 10_000_000  # of one picture: a phone's photo has 3 to 8 MB
MAX_PICTURES = 100  # of one notebook, shown or not
MAX_ALL_BYTES = 60_000_000  # of all pictures of one notebook
_KINDS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_SUFFIXES = (".png", ".jpg", ".jpeg", ".heic", ".heif", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".svg", ".pdf")
# Neither begins anew inside a match, so the time they take grows with the text and not with its square.
_ADDRESS = r"""<?([^()<>\s]+(?: [^()<>\s"']+){0,9})>?"""
_TITLE = r"""(?:\s+["'][^"'()]*["'])?"""
_MARKDOWN = re.compile(rf"!\[([^\[\]\n]{{0,300}})\]\(\s{{0,9}}{_ADDRESS}{_TITLE}\s{{0,9}}\)")
_TAG = re.compile(r"<img\s([^<>]*)>", re.IGNORECASE)
_SOURCE = re.compile(r"""(?:^|\s)src\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))""", re.IGNORECASE)
_ALT = re.compile(r"""(?:^|\s)alt\s*=\s*(?:"([^"\[\]]{0,300})"|'([^'\[\]]{0,300})')""", re.IGNORECASE)
_DATA = re.compile(r"data:image/(?:png|jpe?g);base64,([A-Za-z0-9+/=\s%]+)", re.IGNORECASE)


class _NotShown(Exception):
    """The message is the end of a sentence that begins with the picture's name."""


def attach_pictures(notebook: NotebookNode, folder: Path) -> list[str]:
    """Make attachments of the pictures that markdown cells refer to, in place.

    folder: where the notebook was handed in. Returns a sentence for each picture that is not shown.
    """
    shown = _Shown(folder)
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and ("](" in cell.source or "<img" in cell.source.lower()):
            _attach(cell, shown)
    return shown.sentences


class _Shown:
    """How many pictures there were so far, the bytes of those attached, and what was not and why."""

    def __init__(self, folder: Path):
        self.folder, self.sentences = folder, []
        self.count = self.size = 0


def _attach(cell: NotebookNode, shown: _Shown) -> None:
    kept = cell.get("attachments", {})
    kept = dict(kept) if isinstance(kept, dict) else {}

    def replaced(whole: str, address: str, alt: str) -> str:
        get = _reader(address, shown.folder)
        if get is None or shown.count >= MAX_PICTURES:
            return whole
        shown.count += 1
        try:
            content = get()
            kind = next((kind for begin, kind in _KINDS.items() if content.startswith(begin)), None)
            if kind is None:
                raise _NotShown("is neither PNG nor JPEG: save it as one of these")
            if shown.size + len(content) > MAX_ALL_BYTES:
                raise _NotShown(f"would be more than the {MAX_ALL_BYTES // 10**6} MB of pictures a notebook may have")
        except _NotShown as reason:
            name = "in the notebook" if address.lower().startswith("data:") else f"`{address[:80].replace('`', '')}`"
            shown.sentences.append(f"The picture {name} is not shown to whoever grades: it {reason}.")
            return whole
        shown.size += len(content)
        while (name := f"picture-{shown.count}.{kind.removeprefix('image/')}") in kept:
            shown.count += 1
        kept[name] = {kind: base64.b64encode(content).decode()}
        return f"![{alt}](attachment:{name})"

    def of_tag(match: re.Match) -> str:
        source, alt = _SOURCE.search(match.group(1)), _ALT.search(match.group(1))
        return replaced(match.group(0), _first(source), _first(alt)) if source else match.group(0)

    cell.source = _MARKDOWN.sub(lambda match: replaced(match.group(0), match.group(2), match.group(1)), cell.source)
    cell.source = _TAG.sub(of_tag, cell.source)
    if kept:
        cell.attachments = kept


def _first(match: re.Match | None) -> str:
    return next(filter(None, match.groups()), "") if match else ""


def _reader(address: str, folder: Path) -> Callable[[], bytes] | None:
    """A function that reads the picture at an address; None where it is not one that is handed in."""
    if address.lower().startswith("data:"):
        return lambda: _decoded(address)
    plain = unquote(address).replace("\\", "/").removeprefix("./")
    elsewhere = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|/|#|~", plain) or ".." in plain.split("/")
    if elsewhere or "\0" in plain or not plain.lower().endswith(_SUFFIXES):
        return None
    return lambda: _read(folder, plain)


def _decoded(address: str) -> bytes:
    match = _DATA.fullmatch(address)
    if match is None:
        raise _NotShown("is neither PNG nor JPEG: save it as one of these")
    text = unquote(match.group(1))
    if len(text) > MAX_BYTES * 4 // 3 + 4:
        raise _NotShown(f"is larger than {MAX_BYTES // 10**6} MB")
    try:
        return base64.b64decode("".join(text.split()))
    except (binascii.Error, ValueError):
        raise _NotShown("is damaged") from None


def _read(folder: Path, name: str) -> bytes:
    """A regular file handed in beside the notebook, or in a folder there; no links are followed."""
    path = _find(folder, name)
    inside = [path, *(parent for parent in path.parents if parent.is_relative_to(folder))]
    try:
        if any(place.is_symlink() for place in inside) or not path.is_file():
            raise _NotShown("was not handed in beside the notebook")
        if path.stat().st_size > MAX_BYTES:
            raise _NotShown(f"is larger than {MAX_BYTES // 10**6} MB")
        return path.read_bytes()
    except (OSError, ValueError):
        raise _NotShown("could not be read") from None


def _find(folder: Path, name: str) -> Path:
    """Where the file should be; else the only one of that name, for a notebook that was handed in in a folder."""
    path = folder / name
    others = [] if path.exists() else [Path(p) / path.name for p, _, files in os.walk(folder) if path.name in files]
    return others[0] if len(others) == 1 else path
