"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c03_notebook.py"""

MEASURED = {
    "largest": {"minus": mass_minus, "plus": mass_plus}, "derivation": lines, "autograd_gap": autograd_gap,
    "extra_term": extra_term, "overall": overall, "within_three": within_three, "loss_gap": loss_gap,
    "scatter": scatter, "size": size, "scatter_constant": scatter_constant, "exact_kls": exact_kls, "kl": measured,
    "near": near, "best_value": best_value, "climbed_value": climbed_value, "climbed_distance": climbed_distance,
    "start_distance": total_variation(ref_logps.exp(), best_probs), "reached": reached,
    "at_start": {k: v for k, v in at_start.items() if k != "texts"},
    "at_end": {f"{b}-{s}": {k: v for k, v in found.items() if k != "texts"} for (b, s), found in at_end.items()},
    "last_rewards": last_rewards,
    "histories": {f"{b}-{s}": [list(point) for point in history] for (b, s), (_, history) in trained.items()},
}
