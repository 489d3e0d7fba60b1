"""What chapter 04 asks to be predicted: from which thought each choice comes, and what is told once one has chosen."""

PREDICTIONS = {
    "score_on_the_padding": {
        "choices": {
            "a": "comes from what is true of the *real* tokens: they do not look at padding behind them. But the padding looks "
            "at them, and it is the padding that is read here.",
            "b": "is what happens when a number is read that depends on how many padding tokens stand between it and the answer.",
            "c": "would be good news. Padding has a hidden state like every other position, and nothing warns you.",
        },
        "why": "Read at the last column, the score of the same answer moved by {moved:.2f} when a longer answer stood beside "
        "it. Read at the last real token it stays.",
    },
    "what_is_learned": {
        "choices": {
            "a": "is what the size of the gradient suggests. But a gradient needs something to work on: the model must first be "
            "able to see who is right.",
            "b": "comes from how easily the two things are seen: a courtesy is a word that stands there, being right is a "
            "comparison with something that does not.",
            "c": "would come if the model saw both from the start: then the loss is a logistic regression, and all prices come "
            "near their true values together.",
        },
        "why": "In the median of the seeds the model paid {right:.0%} of the true price for being right and {courtesies:.0%} for "
        "the two courtesies.",
    },
    "turned_labels": {
        "choices": {
            "a": "would come if the turned labels pointed in a direction of their own, as those of annotators with a liking do. "
            "These point nowhere.",
            "b": "follows from what the loss asks for: rewards that predict labels, and labels that became less predictable.",
            "c": "takes a share of turned labels for a share of lost knowledge.",
        },
        "why": "With 30 % of the labels turned round, the rewards lost {scale:.0%} of their scale, and {accuracy:.0%} of their "
        "accuracy above chance.",
    },
    "kl_of_best_of_n": {
        "choices": {
            "a": "is the formula, which holds where every answer is improbable and no two are equally good.",
            "b": "is what happens once the best answer is found every time: more draws change nothing. The KL is then minus the "
            "logarithm of that answer's probability, {top:.2f} nats.",
            "c": "confuses where a policy goes with how far: the frequent answer is near, and one stays there.",
        },
        "why": "At n = 128 the KL was {kl:.2f} nats, and the formula says {bound:.2f}.",
    },
}
