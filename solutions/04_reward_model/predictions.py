"""What chapter 04 asks to be predicted: from which thought each choice comes, and what is told once one has chosen."""

PREDICTIONS = {
    "score_on_the_padding": {
        "choices": {
            "a": "is true of the *real* tokens: they do not look at padding behind them. But here the score is read at the padding, "
            "and the padding does look at them.",
            "b": "is what happens when a number is read that depends on how many padding tokens stand between it and the answer.",
            "c": "would help, but padding has a hidden state like every other position, and there is no warning.",
        },
        "why": "Read at the last column, the score of the same answer moved by {moved:.2f} when a longer answer stood beside "
        "it. Read at the last real token it stays.",
    },
    "what_is_learned": {
        "choices": {
            "a": "is what the size of the gradient suggests. But the model must first be able to see which answer is right.",
            "b": "comes from how easily the two things are seen: a courtesy is a word in the answer. To see that an answer is "
            "right, the model has to compare it with a word that it expects.",
            "c": "would come if the model saw both from the start: then the loss is a logistic regression, and all prices come "
            "near their true values together.",
        },
        "why": "In the median of the seeds the model paid {right:.0%} of the true price for being right and {courtesies:.0%} for "
        "the two courtesies.",
    },
    "turned_labels": {
        "choices": {
            "a": "would be so if the flipped labels preferred some kind of answer, as those of annotators with a liking do. These "
            "prefer none.",
            "b": "follows from what the loss asks for: rewards that predict labels, and labels that became less predictable.",
            "c": "comes from the thought that a share of flipped labels means the same share of lost knowledge.",
        },
        "why": "With 30 % of the labels flipped, the rewards lost {scale:.0%} of their scale, and {accuracy:.0%} of their "
        "accuracy above chance.",
    },
    "kl_of_best_of_n": {
        "choices": {
            "a": "is the formula, which holds where every answer is improbable and no two are equally good.",
            "b": "is what happens once the best answer is found every time: more draws change nothing. The KL is then minus the "
            "logarithm of that answer's probability, {top:.2f} nats.",
            "c": "comes from the thought that a frequent answer is near the policy. It is, so the KL stays small; but it does not "
            "fall when that answer comes still more often.",
        },
        "why": "At n = 128 the KL was {kl:.2f} nats, and the formula says {bound:.2f}.",
    },
}
