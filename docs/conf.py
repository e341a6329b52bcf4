"""How Sphinx builds this documentation: `python3 bootstrap.py docs`. No page loads anything from elsewhere."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "Wendelin"
author = "Wendelin developers"
copyright = "2026, Wendelin developers"
version = release = installed_version("wendelin-workbench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Wendelin {version}"
html_copy_source = False
default_role = "code"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository, such as CONTRIBUTING.md
