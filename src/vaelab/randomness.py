"""Random streams by name: every draw is a function of (seed, stream, counters) and of nothing else.

There is no generator state to save: the noise of training batch 7 of epoch 3 is the same whether the run
was interrupted, shares its process with other runs, or draws pictures in between.
"""

import hashlib

import torch


def generator(seed: int, stream: str, *counters: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator at the start of the stream that ``seed``, the name and the counters select.

    >>> a = torch.rand(2, generator=generator(0, "train", 3, 7))
    >>> b = torch.rand(2, generator=generator(0, "train", 3, 7))
    >>> bool((a == b).all())
    True
    """
    digest = hashlib.blake2b(repr((seed, stream, *counters)).encode(), digest_size=8).digest()
    # torch takes seeds below 2**63 on every device
    return torch.Generator(device).manual_seed(int.from_bytes(digest, "little") >> 1)


ROWS = 4096  # drawn at a time: a row is the same however many are asked for


def rows(seed: int, stream: str, number: int, width: int) -> torch.Tensor:
    """Standard normal numbers (number, width) on the CPU; row i is a function of (seed, stream, width, i)."""
    starts = range(0, max(number, 1), ROWS)
    blocks = [torch.randn(ROWS, width, generator=generator(seed, stream, start)) for start in starts]
    return torch.cat(blocks)[:number]
