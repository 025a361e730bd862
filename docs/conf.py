"""Sphinx configuration: Markdown through MyST, the furo theme, warnings are errors (see the Makefile)."""

import tracekit

project = "tracekit"
author = "the tracekit authors"
release = tracekit.__version__
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tracekit {release}"
html_copy_source = False
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
