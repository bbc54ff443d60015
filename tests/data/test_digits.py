import torch
from sklearn import datasets

from vaelab.data.digits import load_digits


def test_digits_are_exactly_sixteenths_and_split_without_overlap():
    source = load_digits()
    assert source.train.x.shape == (1437, 1, 8, 8)
    assert source.test.x.shape == (360, 1, 8, 8)
    counts = torch.cat([source.train.x, source.test.x]) * 16
    assert torch.equal(counts, counts.round())
    # Together the two are scikit-learn's set: compare as sorted rows of pixels and label
    images, y = datasets.load_digits(return_X_y=True)
    expected = torch.cat([torch.tensor(images), torch.tensor(y)[:, None]], 1).long()
    labels = torch.cat([source.train.y, source.test.y])
    rows = torch.cat([counts.flatten(1).long(), labels[:, None]], 1)
    assert sorted(rows.tolist()) == sorted(expected.tolist())
    assert source.test.y.bincount().min() > 20, "every digit is tested"
