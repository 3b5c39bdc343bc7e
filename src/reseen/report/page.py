"""Page: the sections of a report, collected and rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from reseen import plot
from reseen.checks import count_statuses
from reseen.headline import choose, headlines
from reseen.plot import colours, wording
from reseen.plot.figure import page_svg
from reseen.recipe import to_toml
from reseen.report import gallery, marks, scores
from reseen.report.caption_section import LEVELS, caption_section
from reseen.report.contents import ReportInput, SubjectReport
from reseen.report.diagnostic_section import diagnostic_section
from reseen.report.encoding import encoding_section
from reseen.report.retrieval_section import retrieval_section
from reseen.tables import DIAGNOSTIC_COLUMNS, SCORE_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    from jinja2 import Template

    from reseen.recipe import Recipe

_LONG_TABLE = 200


def report(contents: ReportInput) -> str:
    """Return the report: one self-contained HTML page.

    Parameters
    ----------
    contents
        Contents of the page.

    Returns
    -------
    str
        The page; write it as UTF-8. The same contents give the same text.
    """
    found = marks.read_marks(contents.scores)
    recipe = contents.recipe
    head = choose(contents.scores, contents.stimuli)
    return load_template("report.html.j2").render(
        colours=colours.PAGE,
        recipe=recipe,
        verdicts=_verdicts(contents),
        warnings=[str(warning) for warning in contents.provenance.get("warnings", [])],
        headline=scores.headline(found, head, recipe.evaluate.n_permutations),
        galleries=[gallery.gallery(subject, contents) for subject in contents.subjects],
        across=gallery.across(contents),
        sequences=[
            gallery.sequence_strip(subject, sequence) for subject in contents.subjects for sequence in subject.sequences
        ],
        captions=caption_section(contents),
        caption_levels=list(LEVELS.values()),
        score_groups=scores.chart_groups(found, head),
        score_columns=SCORE_COLUMNS,
        score_rows=table_rows(contents.scores, SCORE_COLUMNS),
        chance_levels=scores.chance_levels(found, head),
        published=scores.published(contents.scores),
        retrieval=retrieval_section(contents.retrieval),
        diagnostics=_diagnostics(contents),
        diagnostic_columns=DIAGNOSTIC_COLUMNS[1:],
        alphas=[alpha for subject in contents.subjects for alpha in _alphas(subject)],
        conditions=gallery.describe_conditions(recipe),
        rois=[_rois(subject, recipe) for subject in contents.subjects if subject.roi_sizes or subject.noise_ceiling],
        encoding=_encoding(contents),
        recipe_text=contents.recipe_text or to_toml(recipe),
        tables=_provenance_tables(contents.provenance),
        facts=_facts(contents.provenance),
    )


def _verdicts(contents: ReportInput) -> list[dict[str, Any]]:
    """Return the headline and the checks of each subject; for several subjects, the mean over them comes first."""
    heads = {head.subject: head for head in headlines(contents.scores, contents.stimuli)}
    rows = [] if contents.checks is None else contents.checks.to_dict("records")
    means = [subject for subject in heads if subject not in set(contents.scores["subject"])]
    found = []
    for subject in dict.fromkeys([*means, *heads, *(str(row["subject"]) for row in rows)]):
        mine = [row for row in rows if row["subject"] == subject]
        not_passed = [(row["status"], _unbroken(row["sentence"])) for row in mine if row["status"] != "pass"]
        found.append(
            {
                "subject": subject,
                "sentence": _unbroken(heads[subject].sentence if subject in heads else ""),
                "counts": count_statuses([row["status"] for row in mine]) if mine else "",
                "not_passed": sorted(not_passed, key=lambda row: row[0]),  # fail before warn
            }
        )
    return found


def _unbroken(text: str) -> str:
    """Keep each per cent sign on the line of its number."""
    return text.replace(" %", wording.PERCENT)


def load_template(name: str) -> Template:
    """Load one of the page templates of this package."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    pages = Environment(
        loader=PackageLoader("reseen.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(name)


def _alphas(subject: SubjectReport) -> Iterator[dict[str, Any]]:
    for feature, chosen in subject.alphas.items():
        grid = np.unique(np.asarray(subject.alpha_grid.get(feature, chosen), dtype=np.float64))
        if not len(grid) or not np.any(np.isfinite(chosen)):
            continue
        counts = plot.decoders.count_penalties(chosen, grid)
        at_edge = int(counts[0] + counts[-1]) if len(grid) > 1 else int(counts[0])
        total = int(counts.sum())
        low, high, middle = (wording.penalty(float(alpha)) for alpha in (grid[0], grid[-1], np.nanmedian(chosen)))
        summary = (
            f"{wording.percent(at_edge / total)} of {total} choices are at the edge of the grid ({low} to {high}); "
        )
        summary += f"the median is {middle}."
        if feature == subject.probable_of:
            summary += f" The {feature} of the images comes from the training captions, which have their own penalties."
        yield {
            "subject": subject.subject,
            "feature": feature,
            "chart": page_svg(
                plot.penalties(chosen, grid), f"Chosen alphas of {feature}, {subject.subject}. {summary}"
            ),
            "reading": summary,
        }


def _rois(subject: SubjectReport, recipe: Recipe) -> dict[str, Any]:
    medians = {name: float(np.nanmedian(v)) for name, v in subject.noise_ceiling.items() if np.any(np.isfinite(v))}
    summary = f"{len(subject.roi_sizes or subject.noise_ceiling)} ROIs"
    if medians:
        best = max(medians, key=lambda name: medians[name])
        proportion = f"{wording.percent(medians[best])} of the variance of its {recipe.data.test_trials} responses"
        summary += f"; the median noise ceiling is highest in {best} ({proportion})"
    label = f"ROI sizes and noise ceilings of {subject.subject}. {summary}"
    chart = page_svg(plot.noise_ceilings(subject.noise_ceiling, subject.roi_sizes), label)
    return {"subject": subject.subject, "chart": chart, "reading": f"{summary}. ROIs may overlap."}


def _encoding(contents: ReportInput) -> dict[str, Any] | None:
    """Return maps and bars of each subject, and the table below them."""
    frame = contents.encoding
    if frame is None or frame.empty:
        return None
    shown = frame.head(_LONG_TABLE)
    about = "" if len(shown) == len(frame) else f"The first {len(shown)} of {len(frame)} rows."
    rows = table_rows(shown, list(frame.columns))
    columns = [str(name) for name in frame.columns]
    return {"columns": columns, "rows": rows, "about": about, "subjects": encoding_section(contents)}


def _diagnostics(contents: ReportInput) -> list[dict[str, Any]]:
    sections = diagnostic_section(contents.diagnostics, contents.checks)
    return [{**section, "numbers": table_rows(section["numbers"], DIAGNOSTIC_COLUMNS[1:])} for section in sections]


def table_rows(frame: pd.DataFrame, columns: Sequence[Any]) -> list[list[str]]:
    """Return some columns of a table as text, row by row."""
    return [list(map(_print, row)) for row in frame[list(columns)].itertuples(index=False, name=None)]


def _print(cell: Any) -> str:
    if cell is None or cell != cell:
        return ""
    if isinstance(cell, float | np.floating):
        value = float(cell)
        return f"{value:.0f}" if value.is_integer() and abs(value) >= 2 else f"{value:.4g}".replace("-", "−")
    return str(cell)


def _provenance_tables(provenance: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    tables = []
    for name, value in provenance.items():
        if isinstance(value, Mapping) and value:
            tables.append((str(name).replace("_", " "), [(str(key), _print(entry)) for key, entry in value.items()]))
    return tables


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    plain = [(name, value) for name, value in provenance.items() if name != "warnings"]
    return [(str(name).replace("_", " "), _print(value)) for name, value in plain if not isinstance(value, Mapping)]
