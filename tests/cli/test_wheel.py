"""The wheel: built from the checkout, installed beside the same dependencies, run from somewhere else."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from cli_runner import read_record

CHECKOUT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def checked(*command: str | Path, cwd: Path) -> str:
    ended = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=240)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the checkout and nothing unlisted is in the way."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("src", "conf"):
        shutil.copytree(
            CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(CHECKOUT / name, copy / name)
    checked(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist", cwd=copy)
    [built] = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel, and borrows everything else from this one."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(python),
        "install",
        "--no-deps",
        "--no-index",
        "--quiet",
    ]
    checked(*pip, "--disable-pip-version-check", str(wheel), cwd=folder)
    site = Path(
        checked(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    # a plain line in a .pth file: the .pth files in there, such as that of an editable install, are not read
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_configs_travel_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {
        f"vaelab/conf/{file.relative_to(CHECKOUT / 'conf').as_posix()}"
        for file in (CHECKOUT / "conf").rglob("*.yaml")
    }
    assert ours <= names
    assert "vaelab/cli/train.py" in names
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


def test_the_installed_package_is_the_wheels(installed, tmp_path):
    code = "import vaelab, vaelab.cli.paths; print(vaelab.__file__); print(vaelab.cli.paths.conf_dir())"
    package, conf = checked(installed / "python", "-c", code, cwd=tmp_path).split()
    assert Path(package).is_relative_to(installed.parent)
    assert Path(conf) == Path(package).parent / "conf"


def command(installed: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(cwd), "MPLCONFIGDIR": str(cwd / "matplotlib")}
    return subprocess.run(
        [installed / "vaelab-train", *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_command_trains_from_anywhere(installed, tmp_path):
    ended = command(
        installed, "trainer=smoke", "network.hidden=[16]", "logger=none", "callbacks=none", cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stderr
    [folder] = (tmp_path / "outputs" / "runs").iterdir()
    assert read_record(folder)["status"] == "finished"


def test_its_command_helps(installed, tmp_path):
    ended = command(installed, "--help", cwd=tmp_path)
    assert ended.returncode == 0
    assert "ae, annealed_vae, beta_tc_vae, beta_vae" in ended.stdout


def test_its_command_explains_a_mistake(installed, tmp_path):
    ended = command(installed, "model.bta=1", cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.strip() == "vaelab-train: There is no key 'model.bta'. Did you mean 'model.beta'?"


def test_its_command_takes_a_users_own_variant(installed, tmp_path):
    (tmp_path / "my" / "model").mkdir(parents=True)
    (tmp_path / "my" / "model" / "mine.yaml").write_text("defaults: [vae, _self_]\nlatent_dim: 3\n")
    ended = command(installed, "--config-dir", "my", "model=mine", "--cfg", "job", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "latent_dim: 3" in ended.stdout
