"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c10_notebook.py"""

MEASURED = {
    "before": before, "hard": hard, "lengths": ends, "nine": [row["is"] for row in nine], "nine_gap": nine_gap,
    "counted": counted, "trl_gap": trl_gap, "mismatch": mismatch,
    "accuracy": accuracy, "until": until, "times": times, "first": first, "many": many,
    "careless": late, "honest": honest, "rejection": chosen, "middle": middle,
}
