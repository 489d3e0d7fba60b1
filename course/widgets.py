"""Pictures with sliders. Each calls the functions that the student wrote and redraws what they return."""

from collections.abc import Callable, Sequence


def sampling_explorer(logits, tokens: Sequence[str], next_token_probs: Callable, shown: int = 12):
    """Bars of the next-token distribution under sliders for temperature, top-k and top-p.

    logits: (vocab,) tensor; tokens: the vocab's words; next_token_probs: the reader's own function. Returns the widget.
    """
    import ipywidgets as widgets
    import matplotlib.pyplot as plt

    from course.plots import BLUE, GREY

    top = logits.argsort(descending=True)[:shown]
    before = logits.softmax(-1)[top].tolist()
    names = [tokens[int(i)] for i in top]

    def draw(temperature: float, top_k: int, top_p: float) -> None:
        probs = next_token_probs(logits[None], temperature=temperature, top_k=top_k, top_p=top_p)[0][top].tolist()
        _, axes = plt.subplots(figsize=(8, 3))
        axes.bar(names, before, color=GREY, alpha=0.35, label="softmax of the logits")
        axes.bar(names, probs, color=BLUE, width=0.5, label="after your settings")
        axes.set(ylim=(0, 1), ylabel="probability")
        axes.tick_params(axis="x", rotation=40)
        axes.legend()
        plt.show()

    return widgets.interactive(
        draw,
        temperature=widgets.FloatSlider(1.0, min=0.0, max=3.0, step=0.1, continuous_update=False),
        top_k=widgets.IntSlider(len(tokens), min=1, max=len(tokens), continuous_update=False, description="top-k"),
        top_p=widgets.FloatSlider(1.0, min=0.05, max=1.0, step=0.05, continuous_update=False, description="top-p"),
    )
