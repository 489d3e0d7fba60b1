"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c05_notebook.py"""

MEASURED = {
    "trl": trl_difference, "frozen_share": frozen_share, "numbers_a_weight": numbers,
    "noise": noise, "blind": blind, "broken": broken_steps,
    "before": before, "ppo": ppo_after, "reinforce": reinforce_after,
    "first": [history[0]["utility"] for _, history in ppo],
    "rates": {name: {f"{lr:g}": number for lr, number in found.items()} for name, found in
              (("PPO", ppo_reached), ("REINFORCE", reinforce_reached))},
    "best_rates": [ppo_lr, reinforce_lr], "compared": compared, "stopped_by_step": by_step,
    "places": places, "middle": middle, "turned": turned,
    "kinds": list(kinds.values()), "best_kl": best_kl, "best_utility": best_utility, "ppo_there": ppo_there,
    "others": {f"{beta:g}": [[point[n] for n in ("kl", "utility", "score")] for point in run] for beta, run in other_runs.items()},
    "far_kl": [run[-1]["kl"] for run in hacked], "far_utility": [run[-1]["utility"] for run in hacked],
}
