"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c04_notebook.py"""

MEASURED = {
    "score_errors": list(score_errors.values()), "regression_difference": regression_difference,
    "head_difference": head_difference, "trl_difference": trl_difference,
    "moved_on_the_padding": [abs(at_last_column[0] - at_last_column[1]), abs(at_last_token[0] - at_last_token[1])],
    "cut_away": cut_away, "longest": longest,
    "ceiling": ceiling, "floor": floor, "log_2": math.log(2), "manners_alone": manners_alone,
    "textbook": TEXTBOOK, "textbook_curves": [[{k: v for k, v in p.items() if k != "effect"} for p in c] for c in textbook],
    "plain_accuracy": plain_accuracy, "shares": shares, "gaps": gaps, "true_prices": true_prices,
    "told_apart": told_apart, "result": result, "history": history, "seeds": seeds,
    "calibration": [calibration_error, noise_floor, noise_top],
    "noise": {str(share): r for share, r in noise.items()}, "lost": lost,
    "few": {str(n): r for n, r in few.items()}, "word_prices": word_prices, "liking": LIKING,
    "counts": counts, "bounds": bounds, "kls": kls, "ns": NS, "curves": list(curves.values()),
    "overlap": len(prompts["train"] & prompts["held out"]),
}
