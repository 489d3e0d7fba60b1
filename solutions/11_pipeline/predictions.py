"""What the reader of chapter 11 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {
    "who_forgets": {
        "choices": {
            "a": "Its documents look like nothing that the model had read, every weight may move, and nothing holds it near the base "
            "model.",
            "b": "They pull hard, but with a small rate, few updates and a price on the distance. And by then little was left to forget.",
            "c": "That could be if both moved the weights equally far. Fine-tuning moves them farther.",
        },
        "why": "The loss on documents of the pre-training is {base:.2f} for the base model and {sft:.2f} after fine-tuning. What came "
        "afterwards changed it by {later:+.2f} (the middle one of PPO, GRPO and DPO).",
    },
    "pairs_anew": {
        "choices": {
            "a": "That is the reason for the loop, and where a policy has overdone something, new pairs show it. With so few steps "
            "there may be little to correct.",
            "b": "Pairs of the fine-tuned model are about what a policy says that is still near to it. Then old and new ones teach much "
            "the same.",
            "c": "Each pair is seen in its own round only, and those of the first round not again. What the new ones add has to make "
            "up for that.",
        },
        "why": "Once: a utility of {once[utility]:.2f} at {once[kl]:.1f} nats. In two rounds: {twice[utility]:.2f} at {twice[kl]:.1f} "
        "nats (medians of the seeds).",
    },
    "without_sft": {
        "choices": {
            "a": "For that, something like a good answer would have to come up by chance, to be rewarded.",
            "b": "What any text can have, it can learn: to be shorter, to end with a full stop. What no answer shows it cannot: to be "
            "right.",
            "c": "So it would be if all answers of the base model were equally bad. Some are a little shorter than others, or end with a "
            "full stop.",
        },
        "why": "Without SFT the utility went from {before:.2f} to {after:.2f}, a gain of {gain:.2f}. With SFT first it is {others:.2f} "
        "above the same start (medians of the seeds).",
    },
}
