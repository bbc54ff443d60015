import subprocess
import sys

import torch

from vaelab.functional.randomness import BLOCK, generator, normal_rows


def draw(*key, n: int = 4) -> list[float]:
    return torch.rand(n, generator=generator(*key)).tolist()


def test_the_same_key_gives_the_same_numbers():
    assert draw(0, "train", 3, 7) == draw(0, "train", 3, 7)


def test_the_global_generator_plays_no_part():
    expected = draw(1, "train")
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert draw(1, "train") == expected
    assert torch.equal(torch.get_rng_state(), before)


def test_every_part_of_the_key_matters():
    keys = [
        *[(seed, "train") for seed in (0, 1, -1, 2**40)],
        *[(0, stream) for stream in ("val", "train 1", "")],
        *[(0, "train", *counters) for counters in ((0,), (1,), (12,), (0, 0), (1, 2), (2, 1))],
        *[(0, "", 1), (1, "2"), (12, "")],
    ]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)


def test_another_process_draws_the_same():
    code = "from vaelab.functional.randomness import generator; print(generator(7, 'a', 1).initial_seed())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) == generator(7, "a", 1).initial_seed()


def test_a_row_is_the_same_whichever_rows_are_asked_for():
    table = normal_rows(0, 3 * BLOCK, 4, 7, "noise", 1)
    assert table.shape == (3 * BLOCK, 4)
    for first, last in ((0, 1), (BLOCK - 1, BLOCK + 1), (BLOCK, 2 * BLOCK), (5, 3 * BLOCK - 5)):
        assert torch.equal(normal_rows(first, last, 4, 7, "noise", 1), table[first:last])
    assert not torch.equal(table[:BLOCK], table[BLOCK : 2 * BLOCK])
    assert not torch.equal(normal_rows(0, 3 * BLOCK, 4, 7, "noise", 2), table)
