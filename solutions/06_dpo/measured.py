"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c06_notebook.py"""


def _plain(curve: list[dict]) -> list[dict]:
    return [{k: v for k, v in point.items() if k not in ("utilities", "texts")} for point in curve]


MEASURED = {
    "recovery": recovery_error, "cancel": list(lines.values()), "weight_error": weight_error,
    "exact": exact, "fixed": list(fixed.values()), "at_start": at_start, "broken": broken, "trl": trl_difference,
    "bytes": list(held.values()), "before": {k: before[k] for k in ("utility", "length")},
    "curves": [_plain(curve) for curve in curves], "loss": [[h["loss"] for h in history] for _, history, _ in runs],
    "wins": wins, "ppo": [_plain(curve) for curve in ppo_curves], "best_kl": best_kl, "best_utility": best_utility,
    "level": level, "far": [_plain(curve) for curve in far_curves], "far_middle": far_middle,
    "far_loss": [[h["loss"] for h in history] for _, history, _ in far],
    "settings": dict(zip(settings, _plain(list(settings.values())))),
    "real": {when: {k: v for k, v in seen.items() if k != "said"} for when, seen in real_table.items()}, "is_real": real.real,
}
