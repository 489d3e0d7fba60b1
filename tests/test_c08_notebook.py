"""Chapter 08, solved, runs from top to bottom, and what it claims is so."""

from statistics import median

import pytest
from notebook_runs import MINUTES, run_and_assert


def claims(values: dict) -> None:
    """What the prose claims of the numbers in solutions/08_icl/measured.py."""
    if values["real"]:
        asserted_of_the_real_model(values)
    assert max(values["gaps"]) <= 0.03, "within .03 of exact inference at every number of examples, median of the seeds"
    assert values["hashes_equal"], "no weight has changed"
    needed = {int(count): n for count, n in values["needed"].items()}
    assert needed[2] < needed[8] <= needed[64] <= needed[512] <= 2.5 * needed[8], "like the logarithm of their number"
    recognised, learned = median(values["recognised"]), median(values["learned"])
    assert recognised < values["possible"] - 0.3, "models of the known tables are far from what a new one allows"
    assert learned > recognised + 0.3, "who was trained on new tables learns from the row"
    trained_known, trained_new = values["kinds"]
    counts, whole, blind, weak = zip(*values["small"]["trained on new tables"], strict=True)
    assert median(counts) >= 1 and median(found[0] for found in values["small"]["trained on known tables"]) == 0
    lost, by_chance = (median(a - b for a, b in zip(whole, some, strict=True)) for some in (blind, weak))
    assert lost > 0.15 and lost > 2 * by_chance, "who needed to look back has heads for it, and is right less often without them"
    first, again = "first time, known table", "again, new table"
    assert trained_known[first] > trained_new[first] + 0.3 and trained_new[again] > trained_known[again] + 0.3


def asserted_of_the_real_model(values: dict) -> None:
    """What holds only where a language model reads."""
    accuracy = {name: {int(n): a for n, a in found.items()} for name, found in values["accuracy"].items()}
    with_space, without = values["space"]
    assert with_space > without + 2, "the lost space costs nats"
    good, good_long, bad, bad_long = values["by_length"]
    assert good_long["sum"] <= good["sum"] and bad_long["sum"] <= bad["sum"], "by the sum a longer label never gains"
    mean = {name: sum(a for n, a in found.items() if n) / (len(found) - 1) for name, found in accuracy.items()}
    assert mean["sentiment"] > 0.75 and mean["kind"] > 0.75, "labels that say what they mean"
    assert mean["odd or even"] < 0.7, "a rule of numbers is not found"
    mass = {name: {int(n): p for n, p in found.items()} for name, found in values["mass"].items()}
    for name in ("sentiment", "kind"):
        assert mass[name][0] < 0.5 < mass[name][8], "what examples give is the form"
    turned = mean["labels turned round"]
    assert accuracy["labels turned round"][0] + 0.05 < turned < mean["sentiment"] - 0.25, "examples pull, not all the way"
    liking = values["liking"]["as it is"]
    assert max(liking) - min(liking) > 0.3 and values["uneven"]["as it is"] > 0.15, "the order decides which label it says"
    assert max(values["widths"]) > 0.2, "with so few questions intervals are wide"
    whole, blind, weak = values["off"].values()
    count, of = values["heads"]
    assert count < 0.1 * of and values["score"] > 0.4, "few heads look back, and they do it clearly"
    assert whole > blind + 0.15, "without them much is lost"
    assert whole - weak < (whole - blind) / 2, "more than without as many others"


@pytest.mark.slow
@pytest.mark.timeout(45 * MINUTES)
def test_icl_solved_and_its_claims(tmp_path, record_property):
    run_and_assert("08_icl", claims, tmp_path, record_property)
