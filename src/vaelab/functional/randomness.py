"""Random streams by name: every draw is a function of (seed, stream, counters) and of nothing else.

There is no generator state to save: the noise of training batch 7 of epoch 3 is the same whether the run
was interrupted, shares its process with other runs, or draws pictures in between.
"""

import hashlib

import torch
from torch import Tensor

__all__ = ["generator", "normal_rows"]

BLOCK = 64  # rows of noise drawn at once by normal_rows


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


def normal_rows(first: int, last: int, width: int, seed: int, stream: str, *counters: int) -> Tensor:
    """Rows ``first`` to ``last - 1`` of an endless table of standard normal noise, (last - first, width).

    Row n is the same whichever rows are requested with it: noise that belongs to image n, at any batch size.

    >>> bool((normal_rows(60, 70, 3, 0, "demo")[5] == normal_rows(65, 66, 3, 0, "demo")[0]).all())
    True
    """
    start = first // BLOCK
    blocks = [
        torch.randn(BLOCK, width, generator=generator(seed, stream, *counters, block))
        for block in range(start, -(-last // BLOCK))
    ]
    return torch.cat(blocks)[first - start * BLOCK : last - start * BLOCK]


def uniform(noise: Tensor) -> Tensor:
    """Standard normal noise -> uniform on [0, 1], by the normal distribution function in 32 bits or more."""
    return torch.special.ndtr(noise.to(torch.promote_types(noise.dtype, torch.float32)))


def normal_quantile(u: Tensor) -> Tensor:
    """The inverse of :func:`uniform`. Numbers are kept off 0 and 1 by half the dtype's precision."""
    least = torch.finfo(u.dtype).eps / 2
    return torch.special.ndtri(u.clamp(least, 1 - least))
