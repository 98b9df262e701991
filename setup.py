"""Ships `configs/` and `datasets/` inside the wheel, as `rangeseg/_data/`; all else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithData(build_py):
    """The usual build, plus the two data folders. An editable install reads them where they are."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            data = Path(self.build_lib) / "rangeseg" / "_data"
            shutil.rmtree(data, ignore_errors=True)
            for folder in ("configs", "datasets"):
                shutil.copytree(folder, data / folder)


setup(cmdclass={"build_py": BuildWithData})
