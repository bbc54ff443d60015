import torch

from vaelab.figures.attributes import Attribute, attributes, groups


def test_labels_and_factors_are_attributes_by_name():
    y = torch.tensor([0, 1, 0, 1])
    factors = torch.tensor([[5, 0, 7], [6, 0, 7], [7, 1, 7], [5, 1, 7]])
    found = attributes(y, factors, ("size", "shape"))
    assert [a.name for a in found] == ["label", "size", "shape"]  # the third is the same everywhere
    assert torch.equal(found[2].values, factors[:, 1])


def test_a_label_that_is_a_factor_goes_by_its_name():
    y = torch.tensor([0, 1, 1])
    found = attributes(y, torch.stack([torch.arange(3), y], 1), ("place", "shape"))
    assert [a.name for a in found] == ["place", "shape"]


def test_images_of_which_nothing_is_known_have_no_attributes():
    assert attributes(None, None) == []


def test_factors_without_names_are_numbered():
    assert [a.name for a in attributes(None, torch.arange(4).view(2, 2), ("one",))] == ["one", "factor 1"]


def test_each_class_is_a_group():
    found = groups(Attribute("label", torch.tensor([7, 3, 3, 9])))
    assert found.names == ["3", "7", "9"]
    assert found.number.tolist() == [1, 0, 0, 2]


def test_classes_that_are_no_whole_numbers_keep_their_values():
    assert groups(Attribute("size", torch.tensor([0.5, 0.25]))).names == ["0.25", "0.5"]


def test_a_quantity_has_its_outer_thirds():
    values = torch.linspace(0, 1, 91)
    found = groups(Attribute("x", values))
    assert found.names == ["low", "high"]
    assert (values[found.number == 0] <= 1 / 3 + 1e-6).all()
    assert (values[found.number == 1] >= 2 / 3 - 1e-6).all()
    assert (found.number == 0).sum() == (found.number == 1).sum() == 31
