"""What chapter 00 asks before it shows."""

PREDICTIONS = {
    "first_guess": {
        "choices": {
            "a": "Nothing stands before the first word, so it seems hard. But documents of this world begin with few "
            "different words, and “the” is a common one.",
            "b": "Any country of this world could stand here, and nothing before this place says which.",
            "c": "The model has to know the capital, so it seems hard. But it has read this fact many times, and then "
            "only one word is possible.",
        },
        "why": "The loss was {the:.2f} at “the”, {country:.2f} at “sarvik” and {capital:.2f} at “hollin”. A loss is high "
        "where many words are possible, or where the model does not know which one is right.",
    },
}
