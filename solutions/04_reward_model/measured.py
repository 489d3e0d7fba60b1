"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c04_notebook.py"""

MEASURED = {
    "score_errors": list(score_errors.values()), "regression_difference": regression_difference,
    "shift_difference": shift_difference, "head_difference": head_difference, "trl_difference": trl_difference,
    "ceiling": ceiling, "ceiling_drawn": ceiling_drawn, "floor": floor, "log_2": math.log(2),
    "plain_accuracy": plain_accuracy, "plain_prices": plain_prices, "true_prices": true_prices,
    "told_apart": told_apart, "result": result, "history": history, "found_prices": found_prices,
    "seeds": [r["expected_accuracy"] for r in seed_results],
    "calibration": [calibration_error, true_calibration_error],
    "noise": {str(share): r for share, r in noise_results.items()},
    "few": {str(n): r for n, r in few_results.items()}, "word_prices": word_prices, "liking": LIKING,
    "counts": counts, "bounds": bounds, "kls": kls, "ns": NS, "curves": list(curves.values()),
    "overlap": len({r["prompt"] for r in heldout} & {r["prompt"] for r in train_records}),
}
