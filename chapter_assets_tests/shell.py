"""The command in a process and a folder of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "data" / "corpus" / "sample"


class Shell:
    """A folder with a Dagster instance of its own, and the command in it."""

    def __init__(self, folder: Path, model: Path | str) -> None:
        self.folder = folder
        shutil.copy(ROOT / "dagster.yaml", folder)
        (folder / "data" / "store" / "dagster").mkdir(parents=True)
        self.env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | {
            "CHAPTER_ASSETS_BASE_MODEL": str(model),
            "CHAPTER_ASSETS_WINDOW_TOKENS": "600",
        }

    def __call__(self, *args: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `chapter-assets ARGS` to its end."""
        done = subprocess.run(self._command(args), cwd=self.folder, env=self.env, capture_output=True, text=True)
        assert (done.returncode == 0) == ok, done.stdout + done.stderr
        return done

    def start(self, *args: str) -> subprocess.Popen[bytes]:
        """Begin `chapter-assets ARGS` in a process group of its own."""
        with (self.folder / "started.log").open("ab") as log:
            return subprocess.Popen(
                self._command(args), cwd=self.folder, env=self.env, stdout=log, stderr=log, start_new_session=True
            )

    @staticmethod
    def _command(args: tuple[str, ...]) -> list[str]:
        return [sys.executable, "-m", "chapter_assets.cli", *args]
