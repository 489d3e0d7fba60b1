"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c02_notebook.py"""

MEASURED = {
    "before": before, "after": after, "steps": STEPS, "asks_back": asks_back, "knows": knows, "alike": alike,
    "trl_difference": trl_difference, "race": [our_seconds, trl_seconds], "early": early, "at_half": at_half, "at_end": at_end,
    "packing_difference": packing_difference, "careless": changed, "padding": [padded_share, packed_share],
    "cost": {str(n): match for n, match in cost.items()}, "forced": forced, "free": free, "best": best, "last": last,
    "gradient_norms": norms, "supervised": [label != -100 for label in example_labels],
    "real_model": real_name, "real": real_scores,
}
