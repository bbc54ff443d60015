"""Train linear beta-VAEs through the command line and compare them with their exact optimum.

    python scripts/ppca.py [overrides, such as trainer.max_epochs=800 model.beta=1,3]

The script writes data with a known covariance, runs ``vaelab-train experiment=ppca`` on them and prints, for
each beta, the metrics of test data beside the optimum by reverse water-filling.
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np

from vaelab.functional.closed_forms import gaussian_images, linear_beta_vae
from vaelab.runs.find import sweep_records
from vaelab.runs.tables import text_table

EIGENVALUES = [6.0, 3.0, 1.8, 1.0, 0.35, 0.17, 0.08, 0.02, 0.02, 0.02, 0.02, 0.02]
FOLDER = Path("outputs/ppca")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / "gaussian.npz"
    np.savez(file, x=gaussian_images(EIGENVALUES, 5000), x_test=gaussian_images(EIGENVALUES, 50_000, seed=1))
    name = f"ppca-{len(list((FOLDER / 'sweeps').glob('*')))}"
    command = [sys.executable, str(Path(__file__).resolve().parent / "train.py"), "experiment=ppca"]
    settings = [f"data.path={file}", f"paths.outputs={FOLDER}", f"sweep.name={name}", *sys.argv[1:]]
    subprocess.run([*command, *settings], check=True)
    print(f"\n{comparison(FOLDER / 'sweeps' / name)}")


def comparison(sweep: Path) -> str:
    """A row per run: exact and measured rate, distortion and active units."""
    rows = []
    for record in sweep_records(sweep):
        sigma = record["config"]["likelihood"]["sigma"]
        exact = linear_beta_vae(EIGENVALUES, sigma, record["beta"], record["latent_dim"])
        measured = record["metrics"]
        rows.append(
            [
                record["beta"],
                f"{exact.rate:.3f}",
                f"{measured['test/rate']:.3f}",
                f"{exact.distortion:.3f}",
                f"{measured['test/distortion']:.3f}",
                exact.active_units,
                int(measured["test/active_units"]),
            ]
        )
    header = ["beta", "exact rate", "rate", "exact distortion", "distortion", "exact active", "active"]
    return text_table(header, rows)


if __name__ == "__main__":
    main()
