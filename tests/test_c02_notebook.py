"""Chapter 02, solved, runs from top to bottom, and what it claims is so; without a network too."""

import pytest
from notebook_runs import MINUTES, execute, run_solved, values_of

from autograder.judging.reference import SOLUTIONS
from autograder.workshop.release import repository, source_notebook
from course import hub

TAIL_02 = """
import json, resource
print(json.dumps({
    "before": before, "after": after, "steps": STEPS, "asks_back": asks_back, "knows": knows, "alike": alike,
    "trl_difference": trl_difference, "race": [our_seconds, trl_seconds], "early": early, "at_half": at_half, "at_end": at_end,
    "packing_difference": packing_difference, "careless": changed, "padding": [padded_share, packed_share],
    "cost": {str(n): match for n, match in cost.items()}, "forced": forced, "free": free, "best": best, "last": last,
    "gradient_norms": norms, "supervised": [label != -100 for label in example_labels],
    "real_model": real_name, "real": real_scores, "gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
}))
"""


@pytest.fixture
def real_model_name(monkeypatch) -> str:
    """The chat model is fetched first, where it is not yet on this machine: the name that the notebook should print."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.delenv("COURSE_MODEL", raising=False)
    try:
        return hub.find_chat_model().name
    except hub.NoChatModel as reason:
        print(f"The real model is not tested: {reason}")
        return "nano"


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_fine_tuning_solved_and_its_claims(tmp_path, record_property, real_model_name):
    """About five minutes on two cores, and the time to fetch the chat model where it is not yet there."""
    values = run_solved("02_sft", tmp_path, TAIL_02, record_property)
    assert values["asks_back"] > 0.9 and values["knows"] > 0.9, "it knows, and asks back"
    assert values["before"] < 0.05 and values["after"] > 0.9 and values["steps"] <= 400
    assert values["trl_difference"] < 1e-5
    assert values["alike"] > 0.8, "the tokens it has never seen are one to it"
    shifted = [*values["supervised"][1:], False]
    assert [norm > 0 for norm in values["gradient_norms"]] == shifted, "the gradient is zero but for the answer's"
    assert values["early"]["masked"] > values["early"]["unmasked"] + 0.1, "the mask is a matter of speed"
    assert values["at_half"]["masked"] > values["at_half"]["unmasked"]
    assert min(values["at_end"].values()) > 0.9, "and of nothing else: either arrives"
    assert values["packing_difference"] < 1e-4 < values["careless"]
    assert values["padding"][1] < values["padding"][0]
    cost = list(values["cost"].values())
    assert cost == sorted(cost) and cost[-1] > cost[0] + 0.2, "more answers, better answers"
    assert sum(values["forced"][1:]) > sum(values["free"][1:]) + 0.5, "its own words mislead it"
    assert values["last"]["nll"] > 1.1 * values["best"]["nll"], "by the loss it became worse, by the answers it did not"
    assert values["last"]["match"] > values["best"]["match"] - 0.05
    real = values["real"]
    assert values["real_model"] == real_model_name
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
    settings.source = settings.source.replace("STEPS, SIZE, PIECE, MAX_LR = 240,", "STEPS, SIZE, PIECE, MAX_LR = 60,")
    tail = "import json; print(json.dumps({'real': real_name, 'steps': STEPS, 'scores': real_scores}))"
    values = values_of(execute(notebook, tmp_path, tail))
    assert (values["real"], values["steps"]) == ("nano", 60)
    assert values["scores"]["after"]["in the manner"] > values["scores"]["before"]["in the manner"] + 0.5
    said = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    assert "goes on with the nano model" in said
