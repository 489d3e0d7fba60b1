"""What is told after the predictions of chapter 01, see autograder/predict.py."""

PREDICTIONS = {
    "more_context": {
        "choices": {
            "a": "More context helps a model that has seen every context often. Here most long contexts of the held-out text "
                 "were seen seldom or never.",
            "b": "This is the usual picture of over-fitting, and roughly true: with every n the counts fit the training text better. "
                 "But the loss has several parts, and they need not be lowest at the same n.",
            "c": "It is hard to guess. The figure shows the parts of the loss: each rises or falls in its own way.",
        },
        "why": "The best is n = {best_n}, with {best:.3f} nats. From n = 3 to n = 4 the tokens that were seen after their "
               "context become cheaper (from {known[2]:.2f} to {known[3]:.2f} nats in the mean), but {share[3]:.1%} of the tokens "
               "are new after their context instead of {share[2]:.1%}, and what they cost rises from {new[2]:.2f} to "
               "{new[3]:.2f}. From n = 4 to n = 5 the known ones fall again, from {known[3]:.2f} to {known[4]:.2f}: now a whole "
               "sum or fact fits into the context. The new ones rise only to {new[4]:.2f}: many of their contexts were never "
               "seen at all, and then the model gives every token the same probability: it is not sure of a wrong one.",
    },
    "first_ability": {
        "choices": {
            "a": "Facts stand in many documents, in the same few words: they reached half at {when[facts]}, and "
                 "{end[facts]} at the end.",
            "b": "A rule that is short for us need not be easy to find for a network, which does not know what a number is. "
                 "Sums reached half at {when[sums]}, and {end[sums]} at the end.",
            "c": "Copying takes no knowledge, but it takes two layers that work together: one that finds where the same word "
                 "stood before, and one that reads what came after it. It reached half at {when[copying]}, and {end[copying]} "
                 "at the end.",
        },
        "why": "It was measured every {every} updates. What stands in the text often, and in a fixed form, is learned early; what "
               "takes several steps inside the network often comes late, and suddenly.",
    },
    "temperature": {
        "choices": {
            "a": "A low temperature does not only remove errors, it also removes variety: what is a little more likely becomes "
                 "nearly certain. A high one lifts the many unlikely words, and one wrong word leads to the next.",
            "b": "A low temperature is often recommended for facts, so it seems safe. But it also takes away all but the most likely "
                 "kind of text. And at a high one, the unlikely words are mostly wrong words, not new ideas.",
            "c": "The model is sure of many words, but not of all; and temperature 2 takes the square root of each probability, "
                 "which makes every one of the hundreds of wrong words much more likely.",
        },
        "why": "At temperature 0.2, 1 and 2 the twelve texts began with {first_words[0]}, {first_words[1]} and {first_words[2]} "
               "different words, and {right[0]:.0f}, {right[1]:.0f} and {right[2]:.0f} words were written before the first one "
               "that the world itself could not have written there.",
    },
    "base_model_asked": {
        "choices": {
            "a": "It is natural to expect: the knowledge is there, as the cloze questions show. But nothing in pre-training says "
                 "that after a question its answer comes.",
            "b": "In the training text a question is followed by the next question, and the model writes what usually follows.",
            "c": "A sheet of questions does end at some point, but not after its first question.",
        },
        "why": "Of {questions} questions, {asks} were followed by another question, {ends} by the end of the document, and {others} "
               "by something else. The model gives the likely continuation. On the web, too, lists of questions without answers "
               "are common.",
    },
    "swapped_sentences": {
        "choices": {
            "a": "This is what is said of real text, where the wrong sentence comes from a document about something else, and the "
                 "topic is enough. Here all stories are about the same few people and things, so the topic says less.",
            "b": "In these stories the words show the order: the first sentence says when, and a person must come before he or she "
                 "can give or take.",
            "c": "A model that had learned nothing about order would say “follows” as often as it does in order.",
        },
        "why": "It said “follows” of {swapped:.0%} of the swapped pairs, of {in_order:.0%} of those in order, and of {other:.0%} of "
               "those with a sentence of another story.",
    },
}
