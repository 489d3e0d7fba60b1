"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c02_notebook.py"""

MEASURED = {
    "before": before, "after": after, "steps": STEPS, "asks_back": asks_back, "knows": knows, "alike": alike,
    "trl_difference": trl_difference, "early": early, "at_half": at_half, "at_end": at_end, "by_kind": by_kind,
    "packing_difference": packing_difference, "careless": changed, "padding": padding,
    "draws": [shares[:8], by_sum[:8], by_mean[:8]], "totals": [sum(shares), sum(by_sum), sum(by_mean)],
    "stops": stops, "starts_right": starts_right, "wrong_template": wrong_template,
    "cost": {str(n): match for n, match in cost.items()}, "behind": behind, "wrong_answers": wrong_answers,
    "few": history, "best": best, "later": later, "last": last,
    "gradient_norms": gradient_norms, "supervised": [label != -100 for label in example_labels],
    "real_model": real.name, "real": real_scores,
}
