"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c09_notebook.py"""

MEASURED = {
    "real": real, "careless": careless, "difference": [low, high], "sums": [sum(sums), len(sums)], "otherwise": otherwise,
    "by_depth": by_depth, "deep": deep, "largest": largest,
    "many": many, "greedy": greedy, "misled": found, "misled_by": misled_by, "faithful": faithful,
}
