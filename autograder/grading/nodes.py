"""Cells and outputs as nbformat makes them, for a hundredth of the time: the schema that an output is held against is compiled
once. nbformat interprets it for each, and a submission has hundreds of them.
"""

import json
import uuid
from functools import cache
from pathlib import Path

import nbformat
from nbformat.json_compat import FastJsonSchemaValidator
from nbformat.notebooknode import NotebookNode

_DEFAULTS: dict[str, dict] = {
    "stream": {"name": "stdout", "text": ""},
    "error": {"traceback": []},
    "display_data": {"metadata": {}},
    "execute_result": {"metadata": {}, "execution_count": None},
}


def new_output(output_type: str, **content) -> NotebookNode:
    """As nbformat's own. Raises nbformat's ValidationError for what is no such output."""
    output = NotebookNode(output_type=output_type, **_DEFAULTS[output_type] | content)
    _of_an_output().validate(output)
    return output


def new_cell(cell_type: str, source: str) -> NotebookNode:
    """As nbformat's own. A string is a source, so nothing is to be checked."""
    more = {"outputs": [], "execution_count": None} if cell_type == "code" else {}
    return NotebookNode(id=uuid.uuid4().hex[:8], cell_type=cell_type, source=source, metadata=NotebookNode(), **more)


@cache
def _of_an_output() -> FastJsonSchemaValidator:
    version = f"v{nbformat.current_nbformat}"
    name = f"nbformat.{version}.{nbformat.current_nbformat_minor}.schema.json"
    whole = json.loads((Path(nbformat.__file__).parent / version / name).read_text(encoding="utf-8"))
    return FastJsonSchemaValidator({"$ref": "#/definitions/output", "definitions": whole["definitions"]})
