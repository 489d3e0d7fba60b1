"""What chapter 07's pages are given: adapters as modules, costs that are counted, drawings, the widget."""

import pytest
import torch
from torch import nn

from autograder.judging.reference import Reference
from course import adapters, costs, models, widgets
from course.drawings import c07 as drawings

functions = Reference("07_finetuning").functions


def test_costs_of_a_layer_are_those_by_hand():
    layer, x = nn.Linear(5, 7), torch.ones(3, 5)
    found = costs.measured(layer, lambda: layer(x))
    assert found["forward"] == 3 * 5 * 7 and found["backward"] == 3 * 5 * 7, "x asks for no gradient here"
    assert found["weights"] == found["gradients"] == 42 and found["optimizer"] == 84 and found["activations"] == 15
    assert all(p.grad is None for p in layer.parameters())


def test_a_plan_names_distances_and_chunks():
    assert adapters.rotation_plan("OFT", 64, 8) == [(1, 1)]
    assert adapters.rotation_plan("BOFT", 64, 8, 3) == [(4, 4), (2, 4), (1, 4)]
    assert adapters.rotation_plan("GSOFT", 64, 8) == [(1, 1), (8, 1)]
    with pytest.raises(ValueError, match="no plan"):
        adapters.rotation_plan("LoRA", 64, 8)


@pytest.mark.parametrize("kind", ["OFT", "BOFT", "GSOFT"])
def test_turned_layers_turn_the_outputs(kind):
    """W = Q W₀, with the bias outside."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16))
    linear = model[0]
    assert adapters.turn_layers(model, ["0"], 4, kind, functions["cayley"], functions["rotate"]) == ["0"]
    x = torch.randn(5, 6)
    torch.testing.assert_close(model(x), linear(x))
    with torch.no_grad():
        for entries in model[0].entries:
            entries.copy_(torch.randn_like(entries))
    weight = (model(torch.eye(6)) - linear.bias).T.detach()  # (16, 6)
    torch.testing.assert_close(weight.T @ weight, (linear.weight.T @ linear.weight).detach(), rtol=1e-4, atol=1e-4)
    assert (weight - linear.weight).abs().max() > 0.1
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["0.weight", "0.bias"]


def test_a_prefix_stands_before_a_nano_model():
    model = models.load_nano("base")
    ids = torch.randint(20, 60, (2, 9), generator=torch.Generator().manual_seed(0))
    whole = model(input_ids=ids[:1]).logits[:, 4:]
    prefix = adapters.read_prefix(model, ids[0, :4].tolist())
    wrapped = adapters.WithPrefix(model, prefix, functions["prefix_logits"])
    found = wrapped(input_ids=ids[:1, 4:], attention_mask=torch.ones(1, 5).long()).logits
    torch.testing.assert_close(found, whole, rtol=1e-3, atol=1e-3)
    assert [n for n, p in wrapped.named_parameters() if p.requires_grad] == ["prefix"]
    assert adapters.new_prefix(model, 7, 0).shape == (3, 2, 8, 7, 16)


def test_the_widget_shows_the_error_of_a_rank():
    update = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    asked = []

    def low_rank(matrix, rank):
        asked.append(rank)
        return functions["low_rank"](matrix, rank)

    box = widgets.rank_explorer(update, low_rank)
    slider, picture = box.children
    first = picture.value
    slider.value = 2
    assert asked == [4, 2] and picture.value != first and slider.max == 6


def test_drawings_say_what_they_show():
    shown = [
        drawings.where_it_is_learned(),
        drawings.beside_the_weight(128, 352, 8),
        drawings.what_backward_needs(),
        drawings.length_and_direction([1.0, 0.3], [0.4, 1.1], 1.5),
        drawings.before_the_text(3, ["the", "fox"]),
        drawings.what_is_mixed({"none": torch.eye(4), "all": torch.ones(4, 4)}),
    ]
    assert all(len(picture.alt) > 60 and picture.width <= 600 for picture in shown)
    assert "3,840 numbers, 8.5%" in shown[1].svg() and "25% not zero" in shown[5].svg()
