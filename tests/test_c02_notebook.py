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
    drawn, by_sum, by_mean = values["draws"]
    assert all(abs(a - b) < 0.08 for a, b in zip(drawn, by_sum, strict=True)), "exp(sum) is the share that was drawn"
    assert all(a < b for a, b in zip(by_sum, by_mean, strict=True)), "exp(mean) is larger in every row"
    assert values["totals"][1] < 1.001, "probabilities"
    assert values["early"]["masked"] > values["early"]["unmasked"] + 0.1, "the mask is a matter of speed"
    assert min(values["at_end"].values()) > 0.8, "and of nothing else: each of the three arrives"
    assert values["stops"]["with"] > 0.95 and values["stops"]["without"] < 0.3, "who never learned the end mark does not stop"
    assert values["starts_right"] > 0.2
    right, *others = values["wrong_template"].values()
    assert right > max(others) + 0.3, "another template than in training"
    assert values["packing_difference"] < 1e-4 < values["careless"]
    unsorted, ordered, packed, planned = values["padding"].values()
    assert ordered < 0.5 * unsorted, "to sort by length spares most of the padding"
    assert planned < packed < unsorted
    cost = list(values["cost"].values())
    assert cost[0] < cost[1] + 0.05 and cost[-1] > cost[0] + 0.2, "more answers, better answers"
    behind = values["behind"]
    assert values["wrong_answers"] > 20
    assert behind["true words"] > behind["own words"] + 0.1, "counted by place, its own words cost the most"
    assert behind["own words"] + 0.03 < min(behind["at any place"], behind["one wrong word"])
    best, later, last = values["best"], values["later"], values["last"]
    assert later["nll"] > 1.02 * best["nll"], "by the loss it became worse, by the answers it did not"
    assert min(later["match"], last["match"]) > best["match"] - 0.05
    assert last["sure where wrong"] > values["few"][0]["sure where wrong"] + 0.05, "more sure where it is wrong"
    real = values["real"]
    assert real["after"]["in the manner"] > real["before"]["in the manner"] + 0.5


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
