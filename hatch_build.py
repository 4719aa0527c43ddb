"""Build the preload boundary's library into the package when a C compiler is there; go on without it when not."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent


class PreloadBuildHook(BuildHookInterface[Any]):
    """Compile before the wheel is put together; an editable install uses the library where it is made."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile; a wheel with the library is for this platform, any Python, and one without for all."""
        sys.path.insert(0, str(ROOT))
        from ssa_impl.boundary.preload.build import CannotBuild, build

        try:
            library = build()
        except CannotBuild as why:
            self.app.display_warning(f"{why}: only the seccomp boundary will be there")
            return
        build_data["artifacts"].append(str(library.relative_to(ROOT)))
        if version != "editable":
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{platform}"
