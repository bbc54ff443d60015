"""SLURM's commands as far as submitit uses them, on this machine: what is submitted runs, requeues included.

`install` puts them into a folder for PATH. They write what they were called with to the folder `FAKE_SLURM`:
`script.sh` as submitted, `scontrol.log`, and `srun-cpus` as srun would see the variable.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

JOB = "4242"


def install(folder: Path) -> dict[str, str]:
    """Make the commands in `folder`; return the variables that a process needs to find them."""
    commands = folder / "bin"
    commands.mkdir(parents=True)
    for name in ("sbatch", "srun", "scontrol", "sacct"):
        file = commands / name
        file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
        file.chmod(0o755)
    return {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(folder)}


def option(script: str, name: str) -> str | None:
    """The value of an `#SBATCH --name=value` line."""
    found = re.search(rf"^#SBATCH --{name}=(.*)$", script, re.MULTILINE)
    return found.group(1).strip("'") if found else None


def sbatch(state: Path, file: str) -> None:
    """Keep the script and start the tasks of its array, which outlive this command."""
    script = Path(file).read_text()
    (state / "script.sh").write_text(script)
    last = re.fullmatch(r"0-(\d+)%\d+", option(script, "array") or "")
    assert last, "only arrays are submitted here"
    for task in range(int(last.group(1)) + 1):
        subprocess.Popen(
            [sys.executable, __file__, "task", str(task)],
            stdout=subprocess.DEVNULL,
            stderr=(state / f"task-{task}.err").open("w"),
            start_new_session=True,
        )
    print(f"Submitted batch job {JOB}")


def task(state: Path, number: str) -> None:
    """Run the script as one task of the array, again whenever it was requeued."""
    file = state / "script.sh"
    script = file.read_text()
    variables = {
        "SLURM_JOB_ID": str(int(JOB) + 1 + int(number)),
        "SLURM_ARRAY_JOB_ID": JOB,
        "SLURM_ARRAY_TASK_ID": number,
        "SLURM_JOB_NAME": option(script, "job-name"),
        "SLURM_NTASKS_PER_NODE": option(script, "ntasks-per-node"),
        "SLURM_CPUS_PER_TASK": option(script, "cpus-per-task"),
        "SLURM_JOB_NUM_NODES": "1",
        "SLURM_NNODES": "1",
        "SLURM_NTASKS": "1",
        "SLURM_JOB_NODELIST": "node1",
    }
    asked = state / f"requeue-{JOB}_{number}"
    while True:
        subprocess.call(["bash", str(file)], env={**os.environ, **{k: v for k, v in variables.items() if v}})
        if not asked.exists():
            return
        asked.unlink()


def srun(state: Path, *arguments: str) -> int:
    """Run the command that follows the options; its output goes where they say."""
    given, files = list(arguments), {}
    while given[0].startswith("--"):
        name = given.pop(0)
        if name in ("--output", "--error"):
            pattern = given.pop(0)
            values = {"%A": JOB, "%a": os.environ["SLURM_ARRAY_TASK_ID"], "%t": "0"}
            for mark, value in values.items():
                pattern = pattern.replace(mark, value)
            files[name] = pattern
    (state / "srun-cpus").write_text(os.environ.get("SRUN_CPUS_PER_TASK", ""))
    variables = {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    with open(files["--output"], "a") as out, open(files["--error"], "a") as err:
        return subprocess.call(given, env={**os.environ, **variables}, stdout=out, stderr=err)


def scontrol(state: Path, action: str, job: str) -> None:
    with (state / "scontrol.log").open("a") as log:
        log.write(f"{action} {job}\n")
    (state / f"{action}-{job}").touch()


def sacct(state: Path, *_: str) -> None:
    print("JobID|State|NodeList")


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](Path(os.environ["FAKE_SLURM"]), *sys.argv[2:]))
