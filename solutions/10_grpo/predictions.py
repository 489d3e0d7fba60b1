"""What the reader of chapter 10 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {
    "wrong_and_long": {
        "choices": {
            "a": "The reward does not pay for length. But the loss divides by it, and so a long answer is moved less by its reward.",
            "b": "A wrong answer is pushed down. Divided by its length, a long one is pushed less, and so it is what remains "
            "among the wrong ones.",
            "c": "It is the right ones that get shorter. A long wrong answer is pushed down *less*, and remains.",
            "d": "A long answer has more tokens, and each is pushed. But all of them together are one answer, and that is "
            "pushed as the gradient of the expected reward says.",
        },
        "why": "Per “answer”, the share of long ones is {answer[wrong]:.0%} among the wrong answers in the end, and "
        "{answer[right]:.0%} among the right ones (median of five seeds). By a constant it is {constant[wrong]:.0%} and "
        "{constant[right]:.0%}. It began with 50 %.",
    },
    "how_many": {
        "choices": {
            "a": "As measurements all six are right. But the gradient of an estimate is something else than the estimate of a "
            "gradient.",
            "b": "k₁ in the reward, k₂ as a loss, and k₁ and k₃ times the ratio.",
            "c": "That one is right. There are others, and some of them are losses.",
        },
        "why": "In the table, {counted} of the nine are the gradient of KL(p‖p₀). One is that of KL(p₀‖p), one is 0, and three are "
        "neither.",
    },
    "cold_start": {
        "choices": {
            "a": "The demonstrations show the form, so that it need not be found. After that the reward does the same in both.",
            "b": "So it was with DeepSeek's large model, also for how its answers read. Here the puzzle is easy enough to be "
            "found without help.",
            "c": "The slips are there after the cold start. The reward does not pay for them, and they become rarer.",
        },
        "why": "The first update with 60 % right answers is number {until[reward alone]:g} with reward alone, and number "
        "{until[with a cold start]:g} with a cold start (the first of all is number 0). In the end {end[reward alone]:.0%} and "
        "{end[cold start, reward]:.0%} are right, on new puzzles (medians).",
    },
    "pass_many": {
        "choices": {
            "a": "It would have, if the base model could not solve these puzzles. With 64 tries it mostly could.",
            "b": "With 64 tries the base model already finds most right answers. Training made likely what was rare.",
            "c": "This is seen where a policy has become sure of wrong answers too, and tries nothing else.",
        },
        "why": "pass@1 went from {first[base]:.0%} to {first[reward alone]:.0%}, pass@64 from {many[base]:.0%} to "
        "{many[reward alone]:.0%} (medians of the seeds).",
    },
}
