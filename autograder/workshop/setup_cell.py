"""Where the course is published, and what of that stands in a notebook: the folded set-up cell and the Colab badge.

The address stands in one file, `solutions/address.json`, which `make publish` writes. Without it nothing is published:
notebooks then carry no badge, and their set-up cell asks for COURSE_SOURCE where the course is not installed.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

import nbformat

from autograder.judging.reference import SOLUTIONS

FILE = "address.json"  # below solutions/
COMMIT = re.compile(r"[0-9a-f]{40}")

SOURCE = '''\
# @title Set-up: installs the course where it is missing. Where it is there, it does nothing.
import importlib.metadata, importlib.util, os, subprocess, sys

if importlib.util.find_spec("autograder") is None:
    source = os.environ.get("COURSE_SOURCE", "").strip(){published}
    if not source:
        raise SystemExit(
            "This notebook needs the course, and it is not installed here. If you have its "
            "folder, open the notebook from there: make lab. Or say where the course is: in a "
            "new cell above this one, write %env COURSE_SOURCE=... with the address of its "
            "repository, or the path of its folder or wheel. Run it, then this cell again."
        )
    if os.path.exists(os.path.expanduser(source)):
        source = os.path.abspath(os.path.expanduser(source))
    elif source.startswith("https://") and not source.endswith((".whl", ".zip", ".tar.gz")):
        source = "git+" + source
    if not source.startswith(("https://", "git+https://")) and not os.path.isabs(source):
        raise SystemExit(
            f"COURSE_SOURCE is {{source!r}}. This is no address (https://...), and there is "
            "no such file or folder on this machine. Correct it, then run this cell again."
        )
    print("Installing the course: a minute or two.")
    packages = [source]
    if importlib.util.find_spec("torchao"):
        packages.append("torchao>=0.16")  # the course needs none, but peft refuses an older one
    if subprocess.run([sys.executable, "-m", "pip", "install", "-q", *packages]).returncode:
        raise SystemExit("The installation failed. Is this machine online? Try again.")
    libs = [sys.modules[name] for name in ("numpy", "pandas", "pyarrow") if name in sys.modules]
    if any(lib.__version__ != importlib.metadata.version(lib.__name__) for lib in libs):
        raise SystemExit(
            "Installed. Now restart the session (menu Runtime, or Kernel), "
            "and run this cell again."
        )
'''


class Published(NamedTuple):
    """Where the course can be had: the address of its repository, and a tag or a whole commit, which stay as they are."""

    address: str
    revision: str

    def requirement(self) -> str:
        """What pip installs."""
        return f"git+{self.address}@{self.revision}"

    def badge(self, topic: str) -> str:
        """Markdown that opens a chapter in Colab, or nothing.

        Colab opens notebooks from GitHub alone. And a commit cannot hold its own name: the notebooks in it do not know
        where they are published, so a badge needs a tag.
        """
        github = re.fullmatch(r"https://github\.com/([^/]+/[^/]+)", self.address)
        if not github or COMMIT.fullmatch(self.revision):
            return ""
        image = "https://colab.research.google.com/assets/colab-badge.svg"
        path = f"{github.group(1)}/blob/{self.revision}/course/{topic}/{topic}.ipynb"
        return f"[![Open in Colab]({image})](https://colab.research.google.com/github/{path})"


def published(solutions: Path = SOLUTIONS) -> Published | None:
    """Where the course is published; None where it is not yet."""
    file = solutions / FILE
    return Published(**json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None


def setup_cell(where: Published | None) -> nbformat.NotebookNode:
    """The first code cell of every notebook, folded away in JupyterLab (hidden source) and in Colab (a form)."""
    otherwise = f' or (\n        "git+{where.address}"\n        "@{where.revision}"\n    )' if where else ""
    source = SOURCE.format(published=otherwise).rstrip()
    return nbformat.v4.new_code_cell(source, metadata={"jupyter": {"source_hidden": True}, "cellView": "form"})
