"""Chapter 02, solved, runs from top to bottom, and what it claims is so; without a network too."""

import pytest
from notebook_runs import MINUTES, SMALL_DOSE, run_and_assert

from autograder.workshop.record import run, valid_record
from course import hub


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


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/02_sft/measured.py."""
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
    assert real["after"]["in the manner"] > real["before"]["in the manner"] + 0.5
    assert real["after"]["loss of a plain answer"] > real["before"]["loss of a plain answer"], "and something is forgotten"


@pytest.mark.slow
@pytest.mark.timeout(30 * MINUTES)
def test_fine_tuning_solved_and_its_claims(tmp_path, record_property, real_model_name):
    found = run_and_assert("02_sft", claims, tmp_path, record_property)
    assert found["values"]["real_model"] == real_model_name
    record = valid_record("02_sft")
    assert record is None or record["values"]["real_model"] != "nano", "record it where the chat model can be had"


@pytest.mark.slow
@pytest.mark.timeout(15 * MINUTES)
def test_fine_tuning_completes_without_a_network(tmp_path):
    """No network, an empty cache: the last part goes on with the nano model, and a small dose teaches it a manner."""
    nothing = {"COURSE_OFFLINE": "1", "COURSE_CACHE": str(tmp_path / "none"), "HF_HOME": str(tmp_path / "hf")}
    found = run("02_sft", tmp_path, nothing | {"COURSE_DOSE": SMALL_DOSE})
    assert found["values"]["real_model"] == "nano"
    real = found["values"]["real"]
    assert real["after"]["in the manner"] > real["before"]["in the manner"] + 0.5
    said = "".join(out.get("text", "") for cell in found["notebook"].cells for out in cell.get("outputs", []))
    assert "goes on with the nano model" in said
