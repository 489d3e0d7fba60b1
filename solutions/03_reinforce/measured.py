"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c03_notebook.py"""

MEASURED = {
    "flaw": flaw, "derivation": lines, "autograd_gap": autograd_gap, "extra_term": extra_term, "overall": overall,
    "loss_gap": loss_gap, "scatter": {str(name): x for name, x in scatter.items()},
    "size": {name: x for name, x in size.items() if name not in constants}, "angle": angle,
    "exact_kls": exact_kls, "bias": bias, "spread": spread, "near": NEAR,
    "best_value": best_value, "climbed_value": climbed_value, "climbed_distance": climbed_distance,
    "start_distance": start_distance, "pulls": pulls, "in_reward": in_reward, "reached": reached,
    "at_start": at_start, "at_end": {f"{name}, {i}": at_end[name, seed] for name in NANO_LOSSES for i, seed in enumerate(SEEDS)},
    "early": early, "gains": {what: end[what] - at_start[what] for what in end},
    "last_rewards": {name: [sum(trained[name, seed][1][-10:]) / len(trained[name, seed][1][-10:]) for seed in SEEDS] for name in NANO_LOSSES},
}
