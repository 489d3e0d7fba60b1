"""What the reader of chapter 08 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {
    "labels_turned": {
        "choices": {
            "a": "Large models do that: they follow the examples against what they know. A model of this size rarely can.",
            "b": "The examples pull one way, and what the words mean pulls the other way. About half is what neither side winning "
            "looks like.",
            "c": "Then the meaning of the words is stronger than the examples. The examples show which labels there are, and the "
            "model does what it knows.",
        },
        "why": "After 8 examples with turned labels, {turned:.0%} of the answers follow the examples. By chance it would be 50 %.",
    },
    "more_tables": {
        "choices": {
            "a": "That would be so if each example could rule out one table. It rules out most of them at once.",
            "b": "Each example rules out most of the tables that are left, so eight times as many tables cost little more.",
            "c": "Each example rules out a *share* of the tables. Eight times as many tables cost some more examples, but by far not "
            "eight times as many.",
        },
        "why": "Within 5 points of a known table: {needed[8]} examples for 8 tables, {needed[64]} for 64, and {needed[512]} for 512.",
    },
    "new_tables": {
        "choices": {
            "a": "One would think so. But in training they never needed to look back: they know the tables by heart.",
            "b": "They can use a little of what stands there, as if the row came from one of their own tables that fits best.",
            "c": "They look for one of their own tables that fits, and none does. What stands in the row is of no use to them.",
        },
        "why": "At inputs that come again these models are right in {middle:.0%} (median). {possible:.0%} are possible, and chance is "
        "{chance:.0%}.",
    },
    "heads_off": {
        "choices": {
            "a": "A few heads do the copying, and nothing else in the model can stand in for them.",
            "b": "For much that a model does this is so. Copying from the prompt is an exception: few heads do it.",
            "c": "Most heads can indeed be missed, in this. But not those that look back.",
        },
        "why": "{count} of {of} heads were switched off. With all heads {whole:.0%} are right, without those that look back {blind:.0%}, "
        "without as many others {weak:.0%} (chance is {chance:.0%}).",
    },
}
