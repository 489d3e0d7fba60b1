"""What the reader of chapter 05 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {
    "frozen_share": {
        "choices": {
            "a": "Two models of four, so a half: right for the weights alone. But training a model takes more memory than its weights.",
            "b": "Two frozen ones with one number a weight, two that learn with two: a third, if there were weights and "
            "gradients only. The optimizer keeps numbers too.",
            "c": "A frozen model holds its weights. One that learns also holds a gradient and AdamW's two running means: four "
            "numbers a weight. One and one of ten is a fifth.",
        },
        "why": "The two frozen models hold {share:.0%} of the memory. The policy holds {numbers:.1f} numbers for each of its "
        "weights: the weight, its gradient, and two running means of the optimizer.",
    },
    "lambda_noise": {
        "choices": {
            "a": "If the value model is exact, its change after a token is what the token is worth. Everything that comes "
            "later is due to other tokens.",
            "b": "In practice a mixture is used, because there the value model is only partly right. With an exact one there is "
            "no need for it.",
            "c": "λ = 1 does use everything that came later. But most of that was earned by other tokens, and for this one "
            "it is noise.",
        },
        "why": "With the exact value model the noise is least at λ = {best}: {noise[0]:.2f} at λ = 0, {noise[10]:.2f} at "
        "λ = 1. With one that always says 0, look at the other picture: at λ = 0 a token that is worth 1 is credited with "
        "{blind[0]:.2f} on average, because only the last token gets credit for the score; at λ = 1 with {blind[10]:.2f}. λ says how "
        "much you rely on the rewards that really come, and how little on the value model.",
    },
    "when_it_clips": {
        "choices": {
            "a": "In the first step the policy is still the one that drew the answers. Every ratio is 1, and nothing can be "
            "stopped, however much there is to learn.",
            "b": "The clip looks at how far the policy has gone since the answers were drawn. That grows from step to step.",
            "c": "The more steps on a batch, the farther the ratios are from 1, and in the second round the same rows are "
            "pushed again. That is why people watch this number.",
        },
        "why": "The shares that the clip stops, from the first step to the fourth: {shares}.",
    },
    "without_kl": {
        "choices": {
            "a": "So it would be if score and utility were the same thing. The score is a copy, learned from ordinary "
            "answers, and the policy does not stay among those.",
            "b": "Training does not become unstable. It makes the score large, as it should, but the score is not what we want.",
            "c": "At first what the reward model likes is also good. Once that is used up, the score still rises where "
            "the reward model is wrong.",
        },
        "why": "{turned} of {runs} seeds turned down. In the median the utility is {middle[best utility]:.2f} at its best, and "
        "{middle[utility there]:.2f} where the score is best. Between these places the score goes from "
        "{middle[its score]:.2f} to {middle[best score]:.2f}.",
    },
    "best_of_n_or_ppo": {
        "choices": {
            "a": "PPO was trained, but by noisy steps on a few answers each. Best-of-n compares all of its answers and takes the best.",
            "b": "Both follow the same score, but with the same KL they reach different policies: each moves away from the "
            "reference in its own direction.",
            "c": "Best-of-n comes close to the best score that is possible at a given KL. PPO also makes changes that raise the KL "
            "and not the score. (But best-of-n has to draw n answers for every answer that it gives.)",
        },
        "why": "At {kl:.2f} nats, best of 32 has a true utility of {best:.2f}; the PPO runs, where they first come as far, "
        "have {ppo:.2f} (median).",
    },
}
