"""Settings of the documentation site; ``make docs`` builds it into ``out/site``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent / "tools"))

import reference_pages  # noqa: E402

import reseen  # noqa: E402

project = "reseen"
author = "reseen developers"
project_copyright = "reseen developers, MIT licence"
version = release = reseen.__version__
language = "en"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["tutorials", "generated/tutorials/*.ipynb", "generated/tutorials/*.py"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
default_role = "py:obj"

# Pages: headings of every level have the anchors that GitHub gives them.
myst_heading_anchors = 6
myst_links_external_new_tab = False

# Reference.
autosummary_generate = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented_params"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = [("Attributes", "params_style")]  # keeps the underscore of `map_`
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 80

# Tutorials: every script is executed at each build.
sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "generated/tutorials",
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "image_scrapers": ("site_figures",),  # tools/site_figures.py
    "reset_modules": (),
    "backreferences_dir": "generated/examples",
    "doc_module": ("reseen",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_signature": False,
    "show_memory": False,
    "min_reported_time": 0,
    "remove_config_comments": True,
    "write_computation_times": False,
}

# Look.
html_theme = "furo"
html_title = f"reseen {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "monokai"
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"

nitpicky = True


def resolve(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """Link a name of reseen to the page of its public name; print the names of other libraries as code."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py":
        return None
    name = reference_pages.public_name(target)
    if name is None:
        return None
    if name:
        domain = env.get_domain("py")
        found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
        return found or contnode
    return contnode


def link_root_pages(_app: Any, docname: str, content: list[str]) -> None:
    """Link pages in the repository's root, such as ``../CONTRIBUTING.md``, to their copies on the site."""
    if "/" not in docname:
        for name in reference_pages.ROOT_PAGES:
            content[0] = content[0].replace(f"](../{name}.md", f"](generated/{name.lower()}.md")


def setup(app: Any) -> None:
    """Write the reference pages before the sources are read."""
    reference_pages.write_pages(DOCS / "generated")
    app.connect("source-read", link_root_pages)
    app.connect("missing-reference", resolve)
