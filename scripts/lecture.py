"""Run the lecture's experiments and write its page, docs/lecture.md, with their numbers and pictures.

    python scripts/lecture.py                      # make lecture: all questions; finished runs are skipped
    python scripts/lecture.py --only holes kl_weight    # some questions; the others keep their numbers
    python scripts/lecture.py --pages              # run nothing: the pages from docs/lecture_numbers.json

It exits with code 1 if a claim of the page (lecture_page/questions.py) does not hold for the numbers.
"""

import argparse
import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from lecture_page.questions import QUESTIONS, Question

ROOT = Path(__file__).resolve().parents[1]
DOCS, TEMPLATES = ROOT / "docs", ROOT / "scripts" / "lecture_page"
NUMBERS, IMAGES = DOCS / "lecture_numbers.json", DOCS / "images" / "lecture"
PAGES = {"lecture.en.md": "lecture.md", "lecture.es.md": "lecture.es.md"}  # template: page
PROGRAMS = {"vaelab-train": "train.py", "vaelab-evaluate": "evaluate.py"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=[question.name for question in QUESTIONS])
    parser.add_argument("--pages", action="store_true", help="run nothing; write the pages anew")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs", help="the folder of the runs")
    args = parser.parse_args()
    numbers = json.loads(NUMBERS.read_text()) if NUMBERS.is_file() else {}
    if not args.pages:
        chosen = [question for question in QUESTIONS if not args.only or question.name in args.only]
        for place, question in enumerate(chosen, 1):
            print(f"\n=== {place} of {len(chosen)}: {question.name}", flush=True)
            run_commands(question, args.outputs)
            numbers[question.name] = measured(question, args.outputs)
            NUMBERS.write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n")
    write_pages(numbers)


def run_commands(question: Question, outputs: Path) -> None:
    """Run the commands shown on the page; they skip finished runs."""
    for command in question.commands:
        program, *arguments = shlex.split(command)
        print(f"$ {command}", flush=True)
        clock = time.perf_counter()
        script = str(ROOT / "scripts" / PROGRAMS[program])
        done = subprocess.run([sys.executable, script, *arguments, f"paths.outputs={outputs}"], cwd=ROOT)
        if done.returncode:
            sys.exit(f"{command} failed. The same command continues.")
        print(f"({time.perf_counter() - clock:.0f} s)", flush=True)


def measured(question: Question, outputs: Path) -> dict[str, dict[str, object]]:
    """The question's numbers. Also draws docs/images/lecture/<name>.png in 256 colours to halve its size."""
    from PIL import Image

    from lecture_page import pictures
    from lecture_page.numbers import gathered, trained_runs  # imports torch
    from vaelab.figures.plots import figure_image

    runs = trained_runs(question, outputs)
    values = gathered(question, runs)
    IMAGES.mkdir(parents=True, exist_ok=True)
    shown = {key: seeds[0] for key, seeds in runs.items()}
    picture = figure_image(pictures.PICTURES[question.name](shown, values))
    picture.quantize(256, dither=Image.Dither.NONE).save(IMAGES / f"{question.name}.png", optimize=True)
    return values


def write_pages(numbers: dict[str, dict[str, dict[str, object]]]) -> None:
    from lecture_page.numbers import broken, rendered

    unanswered = [question.name for question in QUESTIONS if question.name not in numbers]
    if unanswered:
        sys.exit(f"The page has no numbers of {', '.join(unanswered)}: run python scripts/lecture.py.")
    for template, page in PAGES.items():
        (DOCS / page).write_text(rendered((TEMPLATES / template).read_text(), numbers))
        print(f"{DOCS / page}")
    if wrong := broken(numbers):
        sys.exit("These claims of the page do not hold:\n" + "\n".join(wrong))
    print("Every claim holds.")


if __name__ == "__main__":
    main()
