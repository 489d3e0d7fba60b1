"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c07_notebook.py"""

MEASURED = {
    "before": before, "after": after, "needed": needed, "truncated": list(truncated.values()),
    "adapted": adapted_look, "start_gap": start_gap, "broken": broken, "merged_gap": merged_gap, "weights_gap": weights_gap,
    "costs": [[list(row[rank].values()) for rank in predicted] for row in (predicted, measured)],
    "cost_share": cost_share, "step_costs": step_costs, "orthogonal": orthogonal, "agreement": agreement, "at_start": at_start,
    "runs": runs, "sweeps": sweeps, "is_real": real.real, "real_share": real_share, "real_seconds": real_seconds,
    "real": {when: {k: v for k, v in row.items() if k != "said"} for when, row in real_table.items()},
    "said_alike": sum(a == b for a, b in zip(real_table["LoRA"]["said"], real_table["merged"]["said"])) / len(real.heldout),
}  # fmt: skip
