"""What a run of this chapter measured: run as one more cell at its end. What is claimed of it: tests/test_c01_notebook.py"""

MEASURED = {
    "heldout": final_loss, "floor": floor, "ngrams": ngram_losses, "asks_back": asks_share,
    "facts": history[-1]["facts"], "sums": history[-1]["sums"], "copying": history[-1]["copying"],
    "learned_at": [learned_at(group) for group in ("facts", "sums", "copying")],
    "agreement": abs(ours - output.loss.item()), "mask_accuracy": mask_accuracy, "mask_baseline": mask_baseline,
    "nsp_accuracy": nsp_accuracy, "swapped": says_follows["swapped"], "in_order": says_follows["in order"],
    "first_loss": losses[0], "log_V": math.log(VOCAB),
}
