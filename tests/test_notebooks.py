"""The notebooks run: solved from top to bottom, released up to the first open exercise, and what they claim is so."""

import json
import os
import time
from pathlib import Path

import nbformat
import pytest
import torch
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from autograder.reference import ROOT, SOLUTIONS
from autograder.release import chapters, repository, source_notebook
from course import data, models

MINUTES = 60


def _execute(notebook, folder: Path, tail: str = "") -> nbformat.NotebookNode:
    """Run all cells in a fresh kernel, as JupyterLab would, and `tail` in one more cell at the end."""
    if tail:
        notebook.cells.append(nbformat.v4.new_code_cell(tail))
    environment = os.environ | {"COURSE_PROGRESS_FILE": str(folder / "progress.json"), "PYTHONPATH": str(ROOT)}
    client = NotebookClient(notebook, timeout=20 * MINUTES, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return notebook


def _values(notebook) -> dict:
    """What the tail cell printed."""
    return json.loads(notebook.cells[-1].outputs[-1]["text"])


@pytest.mark.timeout(5 * MINUTES)
def test_start_here_solved(tmp_path):
    _execute(source_notebook("00_start_here", repository(), SOLUTIONS), tmp_path)


TAIL_01 = """
import json, resource
print(json.dumps({
    "heldout": final_loss, "floor": floor, "ngrams": ngram_losses, "asks_back": asks_share,
    "facts": history[-1]["facts"], "sums": history[-1]["sums"], "copying": history[-1]["copying"],
    "learned_at": [learned_at(group) for group in ("facts", "sums", "copying")],
    "agreement": abs(ours - output.loss.item()), "mask_accuracy": mask_accuracy, "mask_baseline": mask_baseline,
    "nsp_accuracy": nsp_accuracy, "swapped": says_follows["swapped"], "in_order": says_follows["in order"],
    "first_loss": losses[0], "log_V": math.log(VOCAB),
    "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_pretraining_solved_and_its_claims(tmp_path, record_property):
    """The one long test: about five minutes on two cores."""
    started = time.monotonic()
    notebook = _execute(source_notebook("01_pretraining", repository(), SOLUTIONS), tmp_path, TAIL_01)
    values = _values(notebook) | {"minutes": (time.monotonic() - started) / 60}
    print("\n" + json.dumps(values, indent=1))
    record_property("values", values)
    assert values["agreement"] < 1e-5
    assert abs(values["first_loss"] - values["log_V"]) < 1.0, "an untrained model guesses about uniformly"
    ngrams = values["ngrams"]
    assert ngrams["1"] > ngrams["2"] > ngrams["3"], "context helps, at first"
    assert values["heldout"] < min(ngrams.values()), "the model beats the 4-gram, and every other"
    assert values["floor"] < values["heldout"] < values["floor"] + 0.1
    assert min(values["facts"], values["sums"], values["copying"]) > 0.6, "the abilities are learned"
    assert len(set(values["learned_at"])) > 1, "and not all at the same time"
    assert values["asks_back"] > 0.9, "the base model answers a question with another one"
    assert values["mask_accuracy"] > values["mask_baseline"] + 0.2
    assert values["nsp_accuracy"] > 0.6, "next-sentence prediction beats a coin"
    assert values["swapped"] < 0.5 < values["in_order"], "and here it knows about order"
    assert values["gib"] < 3.0


TAIL_02 = """
import json, resource
print(json.dumps({
    "before": before, "after": after, "steps": STEPS, "asks_back": asks_back, "knows": knows, "alike": alike,
    "trl_difference": trl_difference, "race": [our_seconds, trl_seconds], "at_half": at_half, "at_end": at_end,
    "packing_difference": packing_difference, "careless": changed, "padding": [padded_share, packed_share],
    "cost": {str(n): match for n, match in cost.items()}, "forced": forced, "free": free, "best": best, "last": last,
    "gradient_norms": norms, "supervised": [label != -100 for label in example_labels],
    "real_model": real_name, "real": real_scores, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_fine_tuning_solved_and_its_claims(tmp_path, record_property):
    """About five minutes on two cores, and the time to fetch the chat model where it is not yet there."""
    started = time.monotonic()
    notebook = _execute(source_notebook("02_sft", repository(), SOLUTIONS), tmp_path, TAIL_02)
    values = _values(notebook) | {"minutes": (time.monotonic() - started) / 60}
    print("\n" + json.dumps(values, indent=1))
    record_property("values", values)
    assert values["asks_back"] > 0.9 and values["knows"] > 0.9, "it knows, and asks back"
    assert values["before"] < 0.05 and values["after"] > 0.9 and values["steps"] <= 400
    assert values["trl_difference"] < 1e-5
    assert values["alike"] > 0.8, "the tokens it has never seen are one to it"
    shifted = [*values["supervised"][1:], False]
    assert [norm > 0 for norm in values["gradient_norms"]] == shifted, "the gradient is zero but for the answer's"
    assert values["at_half"]["masked"] > values["at_half"]["unmasked"], "the mask is a matter of speed"
    assert values["packing_difference"] < 1e-4 < values["careless"]
    assert values["padding"][1] < values["padding"][0]
    cost = list(values["cost"].values())
    assert cost == sorted(cost) and cost[-1] > cost[0] + 0.2, "more answers, better answers"
    assert sum(values["forced"][1:]) > sum(values["free"][1:]) + 0.5, "its own words mislead it"
    assert values["last"]["nll"] > 1.1 * values["best"]["nll"], "by the loss it became worse, by the answers it did not"
    assert values["last"]["match"] > values["best"]["match"] - 0.05
    real = values["real"]
    assert real["after"]["in the manner"] > real["before"]["in the manner"] + 0.5
    assert real["after"]["loss of a plain answer"] > real["before"]["loss of a plain answer"], "and something is forgotten"
    assert values["gib"] < 4.0


@pytest.mark.slow
@pytest.mark.timeout(15 * MINUTES)
def test_fine_tuning_completes_without_a_network(tmp_path, monkeypatch):
    """No network, an empty cache: the last part goes on with the nano model. In a small dose."""
    for name, value in {"COURSE_OFFLINE": "1", "COURSE_CACHE": tmp_path / "none", "HF_HOME": tmp_path / "hf"}.items():
        monkeypatch.setenv(name, str(value))
    notebook = source_notebook("02_sft", repository(), SOLUTIONS)
    settings = next(cell for cell in notebook.cells if cell.source.startswith("STEPS, SIZE"))
    settings.source = settings.source.replace("STEPS, SIZE, PIECE, MAX_LR = 300,", "STEPS, SIZE, PIECE, MAX_LR = 100,")
    notebook = _execute(notebook, tmp_path, "import json; print(json.dumps({'real': real_name, 'steps': STEPS}))")
    assert _values(notebook) == {"real": "nano", "steps": 100}
    said = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    assert "goes on with the nano model" in said


def test_the_shipped_checkpoint_is_what_its_card_says():
    model, card = models.load_nano("base"), models.load_card("nano-base")
    heldout = data.pad_rows(data.load_corpus("heldout"), data.load_tokenizer())
    with torch.no_grad():
        logits = model(heldout.input_ids, attention_mask=heldout.attention_mask).logits[:, :-1]
    labels = heldout.input_ids.masked_fill(heldout.attention_mask == 0, -100)[:, 1:]
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten()).item()
    assert loss == pytest.approx(card["held-out loss"], abs=2e-3)
    assert loss < data.entropy_floor() + 0.1


@pytest.mark.parametrize("topic", chapters())
@pytest.mark.timeout(10 * MINUTES)
def test_released_runs_up_to_the_first_exercise_and_stops_kindly(topic, tmp_path):
    notebook = nbformat.read(ROOT / "course" / topic / f"{topic}.ipynb", as_version=4)
    with pytest.raises(CellExecutionError):
        _execute(notebook, tmp_path)
    failed = [cell for cell in notebook.cells if any(o["output_type"] == "error" for o in cell.get("outputs", []))]
    assert len(failed) == 1 and failed[0].source.startswith("check("), "only the first check cell stops the notebook"
    outputs = failed[0].outputs
    html = next(o["data"]["text/html"] for o in outputs if o["output_type"] == "display_data")
    assert "not answered yet" in html
    error = next(o for o in outputs if o["output_type"] == "error")
    assert error["ename"] == "CheckFailed" and len(error["traceback"]) == 1, "one kind line, no stack of our frames"
    assert "not answered yet" in error["evalue"]
