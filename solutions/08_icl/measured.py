"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c08_notebook.py"""

MEASURED = {
    "real": reader.real, "accuracy": accuracy, "mass": mass, "by_length": by_length, "space": [with_space, spaceless],
    "compared": {name: {f"{a} to {b}": x for (a, b), x in pairs.items()} for name, pairs in compared.items()},
    "widths": widths, "by_order": by_order, "liking": liking, "uneven": uneven, "spread": spread, "gain": gain,
    "exact": exact, "needed": needed, "by_shots": by_shots, "gaps": gaps, "distance": distance,
    "hashes_equal": before == after, "recognised": recognised, "learned": learned, "possible": possible,
    "kinds": kinds, "off": off, "heads": [len(strong), scores.numel()], "score": scores.max().item(),
    "small": small,
}
