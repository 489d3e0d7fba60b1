"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c01_notebook.py"""

cost_each = [part[case]["cost"] / part[case]["share"] for part, case in ((parts[3], "token unseen"), (parts[4], "context unseen"))]
said = broken_text.split()[1:]
MEASURED = {
    "heldout": final_loss, "floor": floor, "ngrams": ngram_losses, "ngrams_more_alpha": more_alpha, "asks_back": asks_share,
    "new_after_context": share, "cost_known": known, "cost_new": new, "cost_each": cost_each,
    "facts": history[-1]["facts"], "sums": history[-1]["sums"], "copying": history[-1]["copying"],
    "sums_unseen": history[-1]["sums_unseen"],
    "learned_at": [min(learned_at(group), 10**6) for group in ("facts", "sums", "copying")],
    "agreement": abs(ours - theirs), "mask_accuracy": mask_accuracy, "mask_baseline": mask_baseline,
    "nsp_accuracy": nsp_accuracy, "swapped": says_follows["swapped"], "in_order": in_order,
    "first_loss": losses[0], "log_V": math.log(VOCAB), "perplexities": [cut["perplexity"] for cut in cuts.values()],
    "bits_per_byte": [cut["bits per byte"] for cut in cuts.values()],
    "without_shift": [broken_losses[0], broken_losses[-1], honest], "without_shift_repeats": sum(a == b for a, b in zip(said, said[1:])) / len(said[1:]),
    "list_costs": list(list_costs), "first_words": first_words, "words_right": right,
    "on_colours": a_colour, "colour_right": colour_right, "colour_chance": 1 / len(colours),
}
