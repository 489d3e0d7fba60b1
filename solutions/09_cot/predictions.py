"""What the reader of chapter 09 guesses before a cell shows it, and what is said afterwards."""

PREDICTIONS = {
    "steps_in_the_prompt": {
        "choices": {
            "a": "So it is with models a hundred times as large, and with small ones that were trained on chains.",
            "b": "A small model writes steps, but often not those that the question needs. And a few dozen "
            "questions can show large differences only.",
            "c": "A longer text has more places at which it can go wrong. For small models this was reported in the first paper, too.",
        },
        "why": "Right answers without steps: {direct:.0%}, with steps: {chain:.0%}. The 95 % interval of the difference goes from {low:+.2f} "
        "to {high:+.2f}.",
    },
    "dots": {
        "choices": {
            "a": "It has as many more passes. But each of them starts from the same moves and cannot leave anything for the next "
            "one to read as text.",
            "b": "Dots do help in other tasks, after training that shows what to do in the meantime. Here only the final answer is told.",
            "c": "A dot says the same whatever the total is. What helps is that a total is written, and read again.",
        },
        "why": "At depth 4 to 6 the chain is right in {deep[chain]:.0%} of the held-out puzzles, the dots in {deep[dots]:.0%}, the direct "
        "answer in {deep[direct]:.0%} (medians of the seeds; a guess is right in 10 %).",
    },
    "how_deep": {
        "choices": {
            "a": "A single move is a table of sixty entries. Two moves in one pass are already something that has to be put together.",
            "b": "Two layers can put two or three moves together, if there are few enough of them to be learned.",
            "c": "Joined two by two, it could be built. It is another thing to learn it from final answers alone.",
        },
        "why": "Direct answers with two layers, depth 1 to 4: {middle[0]:.0%}, {middle[1]:.0%}, {middle[2]:.0%}, {middle[3]:.0%}. With four "
        "layers: {four[0]:.0%}, {four[1]:.0%}, {four[2]:.0%}, {four[3]:.0%}. Right more often than not: up to depth {most}.",
    },
    "vote_on_a_belief": {
        "choices": {
            "a": "That holds for slips, which are all different. A belief is the same error each time.",
            "b": "It is in all of them, but not with certainty: single outputs are right now and then. A vote takes the majority.",
            "c": "What most outputs say wins, and the more surely, the more there are. Single outputs do better.",
        },
        "why": "Where the belief matters, one output is right in {belief[vote][0]:.0%}, a vote of sixteen in {belief[vote][1]:.0%}. In the other "
        "puzzles it is {other[vote][0]:.0%} and {other[vote][1]:.0%} (medians of the seeds).",
    },
    "hint": {
        "choices": {
            "a": "Large models do that: they write reasons that lead where the hint points. Ours has never seen such a chain.",
            "b": "So one would hope: the answer stands at the end of the chain. But in what it learned from, the hint was more reliable.",
            "c": "The chain is written as it has always been. For the answer, the hint was the better source, and so it is used.",
        },
        "why": "With wrong hints, {found[chain is right]:.0%} of the chains are right in every step, {found[answer is the hint]:.0%} of the "
        "answers are the hint, and {found[answer is right]:.0%} are right (medians of the seeds).",
    },
}
