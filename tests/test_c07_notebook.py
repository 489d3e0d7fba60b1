"""Chapter 07, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/07_finetuning/measured.py."""
    before, after, needed = values["before"], values["after"], values["needed"]
    assert before["new"] == 0 and after["new"] > 0.3, "the dialect is learned"
    assert after["corpus loss"] > before["corpus loss"] + 0.1, "and something is forgotten"
    assert needed["the updates"] < needed["random numbers"], "an update is no noise"
    truncated = values["truncated"]
    assert truncated[0]["new"] < 0.2 and truncated[-1]["new"] > 0.3
    assert truncated[0]["new loss"] > truncated[3]["new loss"] > truncated[-1]["new loss"] - 0.05, "rank by rank it comes back"
    assert values["start_gap"] < 1e-4, "LoRA begins as the model did"
    assert values["adapted"]["new"] > truncated[3]["new"] + 0.1, "learned with rank 4 is more than cut to rank 4"
    broken = values["broken"]
    assert broken["both random"]["corpus loss at the start"] > before["corpus loss"] + 0.2
    assert broken["both 0"]["new loss after 20"] > broken["as it should be"]["new loss after 20"] + 0.3, "nothing learns"
    assert values["merged_gap"] < 1e-2 and values["weights_gap"] < 1e-4
    predicted, measured = values["costs"]
    assert predicted == measured, "the costs are those that were counted"
    assert 0.6 < values["cost_share"] < 0.75, "a third at most is saved"
    whole, factors = values["step_costs"].values()
    assert factors["optimizer"] < 0.1 * whole["optimizer"] and factors["backward"] > 0.5 * whole["backward"]
    *turns, wrong = values["orthogonal"].values()
    assert max(row["QᵀQ - I"] for row in turns) < 1e-4 and max(row["singular values of QW"] for row in turns) < 1e-3
    assert wrong["QᵀQ - I"] > 0.1
    assert max(values["agreement"].values()) < 1e-4, "yours and peft's"
    start = dict(values["at_start"])
    assert start.pop("prefix") > 0.1 and max(start.values()) < 1e-2, "all but the prefix begin as the model did"
    middle = {m: {k: median(run[k] for run in runs) for k in runs[0]} for m, runs in values["runs"].items()}
    assert len(middle) == 8 and all(len(runs) == 3 for runs in values["runs"].values())
    assert all(row["new loss"] < 4 for row in middle.values()), "all of them learn something"
    assert all(middle[m]["new"] > 0.25 for m in ("all weights", "LoRA", "DoRA", "BOFT", "GSOFT"))
    few = [row for m, row in middle.items() if m not in ("all weights", "last layer")]
    assert all(row["learns"] < 0.07 * middle["all weights"]["learns"] for row in few), "few numbers learn"
    assert all(row["corpus loss"] > before["corpus loss"] for row in middle.values()), "all of them forget"
    sweeps = values["sweeps"]
    lost = {m: [run["corpus loss"] for run in runs] for m, runs in sweeps.items()}
    assert all(lost[m][-1] > lost[m][0] for m in ("all weights", "LoRA", "GSOFT")), "the rate decides"
    first, trained, merged = values["real"].values()
    assert trained["in the manner"] > first["in the manner"] + 0.3, "the manner is learned"
    assert values["real_share"] < 0.07 and abs(merged["loss of a plain answer"] - trained["loss of a plain answer"]) < 0.05
    assert values["said_alike"] > 0.7, "merged, it says the same"


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_finetuning_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("07_finetuning", claims, tmp_path, record_property)
