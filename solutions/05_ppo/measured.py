"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c05_notebook.py"""

MEASURED = {
    "trl": trl_difference, "predicted": predicted, "measured": measured,
    "before": before, "ppo": ppo_after, "reinforce": reinforce_after,
    "first": [run[0]["utility"] for run in ppo_runs], "clip": [p["clip fraction"] for p in points],
    "value_loss": [[p["value loss"] for p in run] for run in ppo_runs],
    "tokens": [[sum(p["tokens"] for p in run) for run in runs] for runs in (ppo_runs, reinforce_runs)],
    "share_generating": share_generating, "cache_factor": cache_factor,
    "places": places, "turned": turned,
    "kinds": list(kinds.values()), "best_kl": best_kl, "best_utility": best_utility,
    "others": {str(beta): [run[-1][n] for n in ("kl", "utility")] for beta, run in other_runs.items()},
}
