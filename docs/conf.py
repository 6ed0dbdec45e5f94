"""The docs as a site: `make docs-site` builds it with Sphinx into build/site."""

import dalda

project = "dalda"
author = "the authors of dalda"
version = release = dalda.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
html_theme = "furo"
html_title = "dalda"
html_copy_source = False
html_show_sphinx = False
default_role = "code"
myst_heading_anchors = 3
exclude_patterns = ["_*"]
autodoc_typehints = "description"
autodoc_member_order = "bysource"
# Configuration models tell what their fields are in the docstring below each.
autodoc_default_options = {"exclude-members": "model_config"}
suppress_warnings = ["myst.xref_missing"]  # links to files of the repository that are no pages
