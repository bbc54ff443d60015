"""Where a low hole rate does not rule out holes: many dimensions, as of latent maps."""

from vaelab.reports.table import Table

__all__ = ["blindness"]

BLIND = 0.9
"""N^(-1/D): how far the nearest of N codes is, as a share of the radius of a ball that they fill."""


def blindness(table: Table, split: str | None = None) -> str:
    """What to know of the hole rates of ``split``, by default the table's; empty where none is blind.

    Why they are is said in :mod:`vaelab.functional.holes`. N is the number of the images of the test.
    """
    shown = f"{split or table.split}/hole_rate"
    found = set[tuple[int, int]]()
    for run in table.runs:
        codes = run.number(f"{table.split}/aggregate_images")
        kl = run.metrics.get(f"{table.split}/kl_per_dim")  # of an autoencoder a list of undefined numbers
        if run.number(shown) is None or not codes or not isinstance(kl, list) or not kl:
            continue
        if codes ** (-1 / len(kl)) > BLIND:
            found.add((len(kl), round(codes)))
    if not found:
        return ""
    sizes = " and ".join(f"{codes:,} codes in {dimensions:,}" for dimensions, codes in sorted(found))
    return (
        f"Among {sizes} dimensions the nearest may be nearly as far as any other: a hole rate near that of a "
        "model without holes does not rule them out there. low_density_rate sees more (vaelab-evaluate)."
    )
