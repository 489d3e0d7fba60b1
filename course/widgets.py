"""Pictures with sliders. Each calls the functions that the student wrote and redraws what they return."""

import io
from collections.abc import Callable, Sequence


def sampling_explorer(logits, tokens: Sequence[str], next_token_probs: Callable, shown: int = 12):
    """Bars of the next-token distribution under sliders for temperature, top-k and top-p.

    logits: (vocab,) tensor; tokens: the vocab's words; next_token_probs: the reader's own function. Returns the widget.
    The picture is an image that the sliders replace, so it works wherever ipywidgets does, a page without a kernel
    included: there the first picture stays.
    """
    import ipywidgets as widgets

    top = logits.argsort(descending=True)[:shown]
    names = [tokens[int(i)] for i in top]
    before = logits.softmax(-1)[top].tolist()
    options = {"continuous_update": False, "layout": widgets.Layout(width="420px")}
    sliders = {
        "temperature": widgets.FloatSlider(1.0, min=0.0, max=3.0, step=0.1, description="temperature", **options),
        "top_k": widgets.IntSlider(len(tokens), min=1, max=len(tokens), description="top-k", **options),
        "top_p": widgets.FloatSlider(1.0, min=0.05, max=1.0, step=0.05, description="top-p", **options),
    }
    picture = widgets.Image(format="png", width=760)

    def redraw(_=None) -> None:
        knobs = {name: slider.value for name, slider in sliders.items()}
        picture.value = _bars(names, before, next_token_probs(logits[None], **knobs)[0][top].tolist())

    for slider in sliders.values():
        slider.observe(redraw, names="value")
    redraw()
    return widgets.VBox([*sliders.values(), picture])


def _bars(names: Sequence[str], before: Sequence[float], after: Sequence[float]) -> bytes:
    """A PNG of two sets of bars."""
    from matplotlib.figure import Figure

    from course.plots import BLUE, GREY

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(names, before, color=GREY, alpha=0.35, label="softmax of the logits")
    axes.bar(names, after, color=BLUE, width=0.5, label="after your settings")
    axes.set(ylim=(0, 1), ylabel="probability")
    axes.tick_params(axis="x", rotation=40)
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=110)
    return data.getvalue()
