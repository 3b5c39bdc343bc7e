"""Write the reference pages of the site from the source: public names, commands, recipe keys and protocols.

``docs/conf.py`` calls `write_pages` before each build; the pages are in ``docs/generated``, which git ignores.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

import reseen
from reseen.cli import app
from reseen.protocols import PROTOCOLS, Input
from reseen.recipe import Recipe, to_toml

ROOT = Path(__file__).resolve().parents[1]
GROUPS = {
    "Load data": ("load_nsd", "load_arrays", "load_data", "open_subject"),
    "Data classes": ("Subject", "Trials", "Stimuli", "Split", "Features"),
    "Models": ("load_model", "LatentDiffusion", "extract_features", "load_captioner"),
    "Decode and encode": ("Decoder", "Encoder", "RidgeMap", "fit_ridge"),
    "Other subjects": ("align", "Alignment", "alignment_stimuli", "compare_alignment"),
    "Reconstruct": ("reconstruct", "denoise"),
    "Score and diagnose": ("score", "Scores", "diagnose", "Diagnostics", "score_captions"),
    "Recipes and runs": ("load_recipe", "Recipe", "run", "Results"),
    "Errors": ("ReseenError",),
}
"""Public names by purpose, in the order of the reference; `plot` has a group of its own."""
SAMPLES = {"mean_r": "correlations are averaged", "each": "each is scored separately"}
SHORT = {"np": "numpy", "pd": "pandas"}
"""Names by which annotations call a module."""
ROOT_PAGES = ("CONTRIBUTING", "CODE_OF_CONDUCT", "SECURITY", "CHANGELOG")
"""Pages in the repository's root that the site has too."""


def api_pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of a page for each public name, and of the page that lists them.

    Raises
    ------
    ValueError
        If the groups do not contain every public name once.
    """
    grouped = sorted(name for names in GROUPS.values() for name in names)
    if grouped != sorted(set(reseen.__all__) - {"plot"}):
        raise ValueError(f"GROUPS: expected every public name once; found {grouped}.")
    groups = {**GROUPS, "Figures": tuple(f"plot.{name}" for name in reseen.plot.__all__)}
    lines = [
        *heading("Python", "="),
        "Every name has an example that the tests run. ``import reseen`` is the only import.",
    ]
    lines.append("")
    for title, names in groups.items():
        lines += [*heading(title, "-"), ".. autosummary::", "   :nosignatures:", ""]
        lines += [f"   reseen.{name}" for name in names]
        lines += ["", ".. toctree::", "   :hidden:", ""]
        lines += [f"   {name} <reseen.{name}>" for name in names]
        lines += [""]
    lines += [".. py:module:: reseen", ".. py:module:: reseen.plot", ""]  # last: they change what a name means
    yield "api/index.rst", "\n".join(lines)
    for name in (name for names in groups.values() for name in names):
        yield f"api/reseen.{name}.rst", object_page(name)


def object_page(name: str) -> str:
    """Return the page of a public name, with the tutorials that use it."""
    found = reseen
    for part in name.split("."):
        found = getattr(found, part)
    kind = "autoclass" if isinstance(found, type) else "autofunction"
    lines = [*heading(f"reseen.{name}", "="), f".. {kind}:: reseen.{name}"]
    if isinstance(found, type):
        lines += ["   :members:", "   :inherited-members: BaseModel, Exception"]
    lines += ["", f".. minigallery:: reseen.{name}", "   :add-heading: Tutorials that use it", "   :heading-level: -"]
    return "\n".join([*lines, ""])


def public_name(target: str) -> str | None:
    """Return the public name of an object of reseen, ``""`` if it has no page, ``None`` if there is no such object."""
    first, _, rest = target.partition(".")
    if first in reseen.__all__ and rest:  # an attribute: the page of its class describes it
        found = getattr(reseen, first)
        return f"reseen.{first}" if hasattr(found, rest) or rest in (found.__doc__ or "") else None
    last = target.rpartition(".")[2]
    for prefix, names in (("reseen", reseen.__all__), ("reseen.plot", reseen.plot.__all__)):
        if last in names and (target == last or target.startswith("reseen.")):
            return f"{prefix}.{last}"
    return "" if not rest or is_importable(f"{SHORT.get(first, first)}.{rest}") else None


def is_importable(target: str) -> bool:
    """Return whether a dotted name is a module, or an attribute of one."""
    parts = target.split(".")
    for n_parts in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:n_parts]))
            for part in parts[n_parts:]:
                found = getattr(found, part)
        except (ImportError, AttributeError):
            continue
        return True
    return False


def heading(title: str, underline: str) -> list[str]:
    """Return the lines of a heading in reStructuredText."""
    return [title, underline * len(title), ""]


def commands_page() -> str:
    """Return a page with the help, arguments and options of every command."""
    lines = [
        "# Commands and options",
        "",
        "From the argument parser. `reseen COMMAND -h` prints the same.",
        "[The command line](../command_line.md) has options of every command, exit codes, JSON and completion.",
        "",
    ]
    for name, command in typer.main.get_command(app).commands.items():
        lines += [f"## {name}", "", *command_lines(f"reseen {name}", command)]
        for inner, subcommand in getattr(command, "commands", {}).items():
            lines += [f"### {name} {inner}", "", *command_lines(f"reseen {name} {inner}", subcommand)]
    return "\n".join(lines)


def command_lines(usage: str, command: Any) -> Iterator[str]:
    """Yield the usage, the help and the parameters of a command."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    options = [parameter for parameter in command.params if parameter.param_type_name == "option"]
    words = [usage, *(argument_word(argument) for argument in arguments), *(["[OPTIONS]"] if options else [])]
    yield from ("```text", " ".join(words), "```", "")
    for paragraph in (command.help or "").split("\n\n"):
        verbatim = "\b" in paragraph
        text = paragraph.replace("\b\n", "").replace("\b", "")
        yield from (["```text", text, "```", ""] if verbatim else [escape(text), ""])
    if command.params:
        yield from ("| argument or option | meaning | default |", "|---|---|---|")
    for parameter in (*arguments, *options):
        names = parameter.metavar or parameter.name.upper()
        if parameter in options:
            value = "" if parameter.is_flag else f" {parameter.metavar or parameter.name.upper()}"
            names = ", ".join([*parameter.opts, *parameter.secondary_opts]) + value
        default = parameter.default
        shown = "" if default is None or default is False or callable(default) else f"`{default}`"
        yield f"| `{names}` | {cell(parameter.help or '')} | {shown} |"
    yield ""


def argument_word(argument: Any) -> str:
    """Return an argument as it is typed: in brackets if it may be left out, with dots if it may repeat."""
    word = argument.metavar or argument.name.upper()
    word += "..." * (argument.nargs != 1 and not word.endswith("..."))
    return word if argument.required or word.startswith("[") else f"[{word}]"


def recipe_page() -> str:
    """Return a page with the default and the meaning of every key of a recipe, as ``reseen recipe`` prints them."""
    lines = [
        "# Recipe keys",
        "",
        "From the definition of a recipe. `reseen recipe` prints the same as TOML. In a file, a key is in the section",
        "of its name; on the command line, `--set SECTION.KEY=VALUE` replaces it; in Python,",
        '`reseen.load_recipe("demo", {"reconstruct.n_steps": 20})`. A dash means that the key has no default value.',
        "",
        "## Without a section",
        "",
        *("| key | default | meaning |", "|---|---|---|"),
    ]
    comment, section = "", ""
    for line in to_toml(Recipe(), explained=True).splitlines():
        if found := re.fullmatch(r"\[(.*)\]", line):
            section = f"{found[1]}."
            lines += ["", f"## {found[1]}", "", comment, "", "| key | default | meaning |", "|---|---|---|"]
        elif found := re.fullmatch(r"(?:# )?([a-z0-9_]+) =(.*)", line):
            default = f"`{found[2].strip()}`" if found[2] else "–"
            lines.append(f"| `{section}{found[1]}` | {default} | {cell(comment)} |")
        elif line:
            comment = line.removeprefix("# ")
    return "\n".join([*lines, ""])


def protocols_page() -> str:
    """Return a page with the settings of every protocol of scoring."""
    lines = [
        "# Protocols",
        "",
        "From the table that scoring uses. A protocol is the exact definition of scores: networks, layers, sizes, ties",
        "and samples. Numbers of different protocols are different quantities. Name protocols in",
        '`evaluate.protocols`, `reseen evaluate --protocol` or `reseen.score(protocol="takagi2023")`.',
        "[Scores](../scores.md#protocols) explains them.",
        "",
    ]
    for name, protocol in PROTOCOLS.items():
        lines += [f"## {name}", "", escape(protocol.about) + ".", "", "| setting | value |", "|---|---|"]
        rows = {
            "side that identification holds fixed": ", ".join(protocol.directions),
            "a tie counts": "one half" if protocol.ties == "half" else "0",
            "samples of an image": SAMPLES[protocol.samples],
            "first resizing of all images": input_text(protocol.first),
            "pixel scores": ", ".join(protocol.pixel_metrics) or "none",
            "resizing for pixel scores": input_text(protocol.pixels),
            "variant of SSIM": protocol.ssim,
        }
        lines += [f"| {key} | {value} |" for key, value in rows.items()]
        if protocol.networks:
            lines += ["", "| network | layer | module | input | metric |", "|---|---|---|---|---|"]
        for network in protocol.networks:
            rest = f"{input_text(network.given)} | {network.metric} |"
            lines += [f"| {network.network} | {layer} | `{module}` | {rest}" for layer, module in network.layers]
        lines.append("")
    return "\n".join(lines)


def input_text(given: Input | None) -> str:
    """Return the size and the kernel of an input in words."""
    if given is None:
        return "none"
    size = "size of the generated images" if given.size is None else f"{given.size} pixels"
    shape = {"square": "", "crop": ", centre cropped", "crop_down": ", centre cropped, corner rounded down"}[
        given.shape
    ]
    return f"{size}, {given.kernel} by {given.by}{shape}"


def repository_page(path: Path) -> str:
    """Return a page of the repository's root, with its links as seen from ``docs/generated``."""
    text = path.read_text(encoding="utf-8")
    text = re.sub(r"\]\(docs/", "](../", text)
    text = re.sub(r"\]\(([A-Z_]+)\.md", lambda found: f"]({found[1].lower()}.md", text)
    return re.sub(r"\]\((?!\.\./|http|#|[a-z_]+\.md)", "](../../", text)


def cell(text: str) -> str:
    """Return text for a cell of a table."""
    return escape(" ".join(text.split())).replace("|", r"\|")


def escape(text: str) -> str:
    """Escape what Markdown would read as HTML, emphasis or a link."""
    return re.sub(r"([<*_\[\]])", r"\\\1", text)


def pages() -> dict[str, str]:
    """Return the text of every page, by its path in ``docs/generated``."""
    return {
        "commands.md": commands_page(),
        "recipe.md": recipe_page(),
        "protocols.md": protocols_page(),
        **{f"{name.lower()}.md": repository_page(ROOT / f"{name}.md") for name in ROOT_PAGES},
        **dict(api_pages()),
    }


def write_pages(folder: Path) -> None:
    """Write all pages; a file whose text has not changed is left as it is."""
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
