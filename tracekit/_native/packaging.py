"""Building the package: what setuptools cannot be told in pyproject.toml. Never imported by the package."""

from __future__ import annotations

import runpy
from pathlib import Path

from setuptools.command.build_py import build_py

_WAY_IN = Path(__file__).parents[1] / "record" / "pth.py"


class BuildWithPth(build_py):  # type: ignore[misc]  # setuptools is typed only where stubs are installed
    """Puts our .pth file beside the package, where `site` looks: in the wheel's root."""

    def run(self) -> None:
        """Build the modules, then the file."""
        super().run()
        if not self.editable_mode:
            way_in = runpy.run_path(str(_WAY_IN))
            target = Path(self.build_lib, way_in["FILE_NAME"])
            target.write_text(way_in["line"](), encoding="ascii")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:  # noqa: FBT001, FBT002  # as its base has it
        """The files built, ours included."""
        outputs = super().get_outputs(include_bytecode)
        return outputs if self.editable_mode else [*outputs, str(Path(self.build_lib, "_tracekit_record.pth"))]
