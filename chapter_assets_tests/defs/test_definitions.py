"""Loading the definitions: quickly, and without the heavy libraries."""

import subprocess
import sys
import time
from pathlib import Path

HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "sklearn", "matplotlib", "accelerate")
_LOAD = f"""
import sys
class Refuse:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in {HEAVY!r}:
            raise ImportError(name + " is not installed here")
sys.meta_path.insert(0, Refuse())
import chapter_assets.definitions
"""


def test_the_definitions_load_where_torch_and_the_like_are_not_installed() -> None:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert time.perf_counter() - began < 10  # under 3 s on a quiet machine; the bound allows for a busy one


def test_no_library_folder_imports_dagster() -> None:
    root = Path(__file__).parents[2] / "chapter_assets"
    importing = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if any(line.strip().startswith(("import dagster", "from dagster")) for line in path.read_text().splitlines())
    ]
    assert [p for p in importing if not p.startswith("defs/") and p != "cli.py"] == []
