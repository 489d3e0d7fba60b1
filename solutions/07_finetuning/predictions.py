"""What the reader of chapter 07 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {
    "update_rank": {
        "choices": {
            "a": "The success of LoRA makes one think so. But that a low rank is *enough* does not mean that the update of full "
            "fine-tuning has one.",
            "b": "It is far from random numbers, and far from a low rank too: a few directions are large, and there are many small ones.",
            "c": "AdamW gives every number of a gradient, large or small, about the same step. That makes updates of many directions.",
        },
        "why": "Directions for 90 % of the squares, of 128, in the median: {needed[the updates]:.0f} for the updates, "
        "{needed[the weights before]:.0f} for the weights before, {needed[hidden states]:.0f} for the hidden states, and "
        "{needed[random numbers]:.0f} for random numbers.",
    },
    "backward_cost": {
        "choices": {
            "a": "Only those numbers get a gradient. But gradients also have to pass through the frozen weight.",
            "b": "The backward pass cannot be left out: the layers before need their gradient.",
            "c": "Of three products of the size of the weight one falls away, that for the weight's own gradient.",
            "d": "One of the large products is not needed any more: the gradient of the frozen weight itself.",
        },
        "why": "{share:.0%} of the multiplications, with {learned:.1%} of the numbers that learn.",
    },
    "which_forgets_more": {
        "choices": {
            "a": "It is what one would think, and papers have measured it on large models. It also depends on the rates that the two "
            "methods need.",
            "b": "LoRA needs a much larger rate, and goes far in few directions. Few numbers can do much harm.",
            "c": "Both go as far as the new task asks, and their best rates are chosen by the new task alone.",
        },
        "why": "The corpus loss was {before[corpus loss]:.2f} nats before. It is {corpus[all weights]:.2f} with all weights and "
        "{corpus[LoRA]:.2f} with LoRA (medians of three seeds).",
    },
}
