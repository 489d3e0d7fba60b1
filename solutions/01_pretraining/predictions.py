"""What is told after the predictions of chapter 01, see autograder/predict.py."""

PREDICTIONS = {
    "more_context": {
        "choices": {
            "a": "More context does make a model better that has seen every context often. Here most long contexts of the "
                 "held-out text were seen seldom or never.",
            "b": "This is the usual picture of over-fitting, and roughly true: the counts fit the training text ever better. But "
                 "a loss has several parts, and they need not turn at the same n.",
            "c": "Nobody guesses this without looking at the parts. So look at the parts.",
        },
        "why": "The best is n = {best_n}, with {best:.3f} nats. From n = 3 to n = 4 the tokens that were seen after their "
               "context become cheaper (from {known[2]:.2f} to {known[3]:.2f} nats in the mean), but {share[3]:.1%} of the tokens "
               "are new after their context instead of {share[2]:.1%}, and what they cost rises from {new[2]:.2f} to "
               "{new[3]:.2f}. From n = 4 to n = 5 the known ones fall again, from {known[3]:.2f} to {known[4]:.2f}: now a whole "
               "sum or fact fits into the context. The new ones rise only to {new[4]:.2f}: many of their contexts are now "
               "unknown altogether, and the model that knows nothing is at least not sure of something wrong.",
    },
    "first_ability": {
        "choices": {
            "a": "Facts stand in many documents, in the same few words: they reached half at {when[facts]}, and "
                 "{end[facts]} at the end.",
            "b": "A short rule need not be easy to find: a network learns many of the sums one by one. They reached half at "
                 "{when[sums]}, and {end[sums]} at the end.",
            "c": "Copying takes no knowledge, but it takes two layers that work together: one that finds where the same word "
                 "stood before, and one that reads what came after it. It reached half at {when[copying]}, and {end[copying]} "
                 "at the end.",
        },
        "why": "It was measured every {every} updates. What is said often, in a fixed form and close by, is learned early; what "
               "takes several steps inside the network comes late, and often suddenly.",
    },
    "temperature": {
        "choices": {
            "a": "A low temperature does not only remove errors, it also removes variety: what is a little more likely becomes "
                 "nearly certain. A high one lifts the many unlikely words, and one wrong word leads to the next.",
            "b": "A low temperature is often recommended for facts, so it seems safe. But it takes away whatever is not the most "
                 "likely kind of text, and unlikely words have nothing to do with ideas.",
            "c": "The model is sure of many words, but not of all; and temperature 2 takes the square root of each probability, "
                 "which lifts every one of the hundreds of words that are wrong.",
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
            "b": "In these stories order shows in the words: the first sentence says when, and somebody must come before he can "
                 "give or take.",
            "c": "A model that had learned nothing about order would say “follows” as often as it does in order.",
        },
        "why": "It said “follows” of {swapped:.0%} of the swapped pairs, of {in_order:.0%} of those in order, and of {other:.0%} of "
               "those with a sentence of another story.",
    },
}
