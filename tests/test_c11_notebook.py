"""Chapter 11, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/11_pipeline/measured.py."""
    runs, base, sft = values["runs"], values["base"], values["sft"]
    middle = {name: {what: median(run[what] for run in found) for what in ("utility", "loss")} for name, found in runs.items()}
    assert set(runs) == {"PPO", "PPO, twice", "GRPO", "DPO", "DPO, twice", "GRPO, no SFT", "best of 8"}
    assert sft["utility"] > base["utility"] + 2, "fine-tuning makes answers of what was none"
    for name in ("PPO", "PPO, twice", "GRPO", "DPO", "best of 8"):
        assert middle[name]["utility"] > sft["utility"] + 0.4, f"{name} improves on it"
    assert middle["DPO, twice"]["utility"] > sft["utility"] and values["anew"] < 0.4, "anew is no gain by itself"
    for name in ("PPO", "GRPO", "DPO"):
        assert values["wins"][name][1] > 0.5, f"{name} wins, with its whole interval"
    rate, low, high = values["itself"]
    assert low < 0.5 < high and abs(rate - 0.5) < 0.1, "a model against itself"
    assert values["widths"]["comparisons"] < values["widths"]["questions"], "comparisons drawn again: too narrow"
    assert all(low <= rate <= high for rate, low, high in values["wins"].values())
    assert values["after_sft"] > 1 and values["after_sft"] > 2 * abs(values["later"]), "fine-tuning is what forgets"
    assert sft["worse"] > 0.9
    assert values["gain"] < 0.5 * values["others"], "without SFT, the reward finds little to choose"
    assert values["right"]["GRPO, no SFT"] < 0.05 and values["right"]["GRPO"] > 0.25, "and no right answer"
    for name in ("PPO", "GRPO", "DPO"):
        assert all(run["kl error"] < run["drawn error"] for run in runs[name]), "by step, the error is smaller"
    assert abs(sft["kl"]) < 1e-5 and sft["drawn error"] < 1e-5
    holds = values["holds"]
    assert holds["DPO"] < holds["GRPO"] < holds["PPO"]
    assert all(run["spent"] <= 100_000 for found in runs.values() for run in found if found is not runs["best of 8"])
    read = [name for name, said in values["refusals"].items() if said.startswith("read")]
    assert read == ["as it should be"] and all(said.endswith(".") for said in values["refusals"].values() if said[:4] != "read")
    assert values["choices"]["whatever it costs"] in runs
    assert values["bytes"] < 2_000_000


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES)
def test_the_pipeline_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("11_pipeline", claims, tmp_path, record_property)
