"""``vaelab-plan``: from the training images alone, how many dimensions to take and which betas to sweep."""

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf, read_write

from vaelab.cli.checks import CONTRACT, check_latents, check_needs, has_latent_map, refuse
from vaelab.cli.compose import composed
from vaelab.cli.paths import importable
from vaelab.cli.unread import check_keys
from vaelab.errors import UserError
from vaelab.runs.naming import as_written, sweep_settings, varying
from vaelab.runs.plans import write_plan
from vaelab.runs.tables import text_table

if TYPE_CHECKING:
    from vaelab.training.plan import Plan

__all__ = ["PICTURE", "main", "plan_text", "planned_betas"]

PROGRAM = "vaelab-plan"
PICTURE = "plan.png"
AUTO = "auto"
BETA = "model.beta"
LATENT_DIM = "model.latent_dim"
# what a plan is made of: a sweep that varies it has no single plan
FIXED = (
    *("data", "likelihood", "model", "experiment"),
    *(LATENT_DIM, "model.groups", "network.channels", "network.down"),  # what says how many dimensions
)
RANKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Say before any training which betas are worth a sweep and how many latent dimensions "
        "the data can fill, from the spectrum of the training images.",
        epilog=f"Example: {PROGRAM} data=fashion_mnist likelihood=gaussian likelihood.sigma=0.1",
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="as of vaelab-train")
    parser.add_argument("--out", metavar="FOLDER", help="write plan.json and plan.png into this folder")
    parser.add_argument("--config-dir", help="a folder with options of your own")
    return parser.parse_intermixed_args(argv)


def main() -> None:
    """Run the command."""
    args = arguments()
    from vaelab.cli.errors import present_errors

    present_errors(PROGRAM, lambda: run(args))


def run(args: argparse.Namespace) -> None:
    for setting in args.settings:
        if "=" not in setting:
            raise UserError(
                f"{setting}: settings are key=value, as in data=fashion_mnist likelihood=gaussian."
            )
    settings = sweep_settings(args.settings, None)
    if keys := varying(settings):
        raise UserError(f"A plan is for one data set and one likelihood: give {keys[0]} one value.")
    if args.config_dir:
        importable([args.config_dir])
    cfg = composed("train", args.settings, args.config_dir)
    check_keys(cfg, args.settings)
    if not {"beta", "betas"} & set(cfg.model):
        raise UserError("There is no plan for this model, which has no model.beta. Use model=beta_vae.")
    check_latents(cfg, args.settings)
    # by a setting, the places of a map or the groups of a hierarchy
    is_set = LATENT_DIM in settings or has_latent_map(cfg.network) or "groups" in cfg.model
    plan = plan_of(cfg, as_set=is_set)
    if "betas" in cfg.model:  # of a multi-rate model, one training
        ends = plan.betas[0], plan.betas[-1]
        command = ["vaelab-train", *args.settings, f"model.betas=[{listed(plan.betas)}]"]
        command += [f"model.beta_{end}={beta:g}" for end, beta in zip(("low", "high"), ends, strict=True)]
    else:
        command = ["vaelab-train", "sweep=auto", *args.settings]
    if not is_set:
        command.append(f"{LATENT_DIM}={plan.curve.latent_dim}")
    print(plan_text(plan, shlex.join(command)))
    if args.out:
        print(f"Written:  {write_plan(Path(args.out), plan.plain())}, {draw(plan, Path(args.out))}")


def plan_of(cfg: DictConfig, as_set: bool = True) -> "Plan":
    """The plan for a config; for the config's own ``model.latent_dim`` if ``as_set``, else the plan's.

    Raises:
        UserError: a value of the data, the likelihood or the latent dimension is wrong, or there is no plan.
    """
    parts = {name: OmegaConf.to_container(cfg[name], resolve=True) for name in ("data", "likelihood")}
    model: dict[str, Any] = {"latent_dim": cfg.model.latent_dim} if as_set else {}
    refuse({**parts, "model": model}, CONTRACT)
    check_needs(
        {
            **parts,
            **{name: as_written(cfg[name]) for name in ("network", "prior")},
            "model": {"needs": as_written(cfg.model.get("needs"))},
        }
    )
    from vaelab.training.plan import make_plan  # imports torch

    return make_plan(cfg, cfg.model.latent_dim if as_set else None)


def planned_betas(config: DictConfig) -> "Plan | None":
    """Replace ``model.beta=auto`` of a sweep by the betas of its plan, before its first job.

    Args:
        config: the config common to the jobs, with the node ``hydra``, which is changed.

    Raises:
        UserError: there is no plan, or the sweep varies what the plan is made of.
    """
    hydra = config.hydra
    params, task = as_written(hydra.sweeper.get("params")) or {}, as_written(hydra.overrides.task)
    settings = sweep_settings(task, params)
    beta = settings.get(BETA)
    if beta is None or beta.get_value_string() != AUTO:
        return None
    for key in varying(settings):
        if key in FIXED or key.split(".")[0].split("/")[0] in ("data", "likelihood", "experiment"):
            raise UserError(
                f"{BETA}={AUTO}: a plan is for one data set, one likelihood and one latent_dim, but this "
                f"sweep varies {key}. Give it one value, or give {BETA} its values."
            )
    fixed = config.model.get("beta")
    if fixed != AUTO and not isinstance(fixed, int | float):
        raise UserError(
            f"{BETA}={AUTO}: the {BETA} of this model is no number. "
            + ("vaelab-plan prints its model.betas." if "betas" in config.model else "Use model=beta_vae.")
        )
    cfg = config.copy()
    OmegaConf.set_readonly(cfg, False)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    plan = plan_of(cfg)
    values = listed(plan.betas)
    with read_write(hydra):
        # into the command line's settings: a job composes the file's anew, and would find auto there
        hydra.overrides.task = [f"{BETA}={values}", *(line for line in task if not is_beta(line))]
        hydra.sweeper.params = {key: value for key, value in params.items() if key != BETA}
    return plan


def listed(betas: Sequence[float]) -> str:
    return ",".join(f"{beta:g}" for beta in betas)


def is_beta(setting: str) -> bool:
    return setting.partition("=")[0].lstrip("+") == BETA


def plan_text(plan: "Plan", command: str) -> str:
    """The plan as text for a terminal, in lines of at most 100 characters but for the command."""
    curve = plan.curve
    kind = (
        "Exact for network=linear and this sigma; a guide for other networks, which can do better."
        if plan.exact
        else "A guide: the likelihood is replaced by its tangent at the best constant image. Near the end, "
        "where\nthe last dimensions die, it is exact."
    )
    dims = [i for i in RANKS if i <= len(curve.thresholds)]
    total = sum(curve.thresholds)
    spectrum = text_table(
        ["direction", *map(str, dims)],
        [
            ["dead from β", *(f"{curve.thresholds[i - 1]:.3g}" for i in dims)],
            ["variance up to it", *(f"{100 * sum(curve.thresholds[:i]) / total:.0f}%" for i in dims)],
        ],
    )
    return "\n".join(
        [
            f"From {plan.images:,} training images of {plan.pixels:,} values.",
            kind,
            "",
            spectrum,
            "",
            f"Suggested model.latent_dim: {plan.suggested_latent_dim}, the directions that live at β = 1, "
            "at least 2.",
            f"With {curve.latent_dim} dimensions (nats per image):",
            "",
            text_table(["β", "live", "rate", "distortion", "D + βR", "ELBO"], list(rows(plan))),
            "",
            f"Train it:  {command}",
        ]
    )


def rows(plan: "Plan") -> Iterator[list[Any]]:
    for beta in plan.betas:
        point = plan.curve.at(beta)
        objective = point.distortion + beta * point.rate
        yield [f"{beta:g}", point.active_units, point.rate, point.distortion, objective, point.elbo]


def draw(plan: "Plan", folder: Path) -> Path:
    """Write the picture of a plan and return the file."""
    from vaelab.figures.plan import plan_figure
    from vaelab.figures.style import as_png
    from vaelab.runs.files import replacing

    figure = plan_figure(plan.curve, plan.betas)
    with replacing(folder / PICTURE) as temporary:
        temporary.write_bytes(as_png(figure))
    return folder / PICTURE


if __name__ == "__main__":
    main()
