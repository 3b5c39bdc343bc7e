"""Section: the encoding models on the page, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reseen.report import colours, embed
from reseen.report.bars import bar_chart
from reseen.report.contents import ReportInput
from reseen.report.encoding import AnalysisReport


def encoding_section(contents: ReportInput) -> list[dict[str, Any]]:
    """Return what the page shows of each subject's encoding models."""
    return [
        {
            "subject": subject.subject,
            "no_maps": subject.no_maps,
            "analyses": [_shown(subject.subject, analysis) for analysis in subject.encoding],
        }
        for subject in contents.subjects
        if subject.encoding
    ]


def _shown(subject: str, analysis: AnalysisReport) -> dict[str, Any]:
    label = f"{analysis.title}, {subject}. {analysis.reading}"
    return {
        "title": analysis.title,
        "about": analysis.about,
        "reading": analysis.reading,
        "maps": [
            {
                "title": panel.title,
                "uri": embed.map_uri(panel.picture),
                "alt": f"{subject}, {analysis.title}: {panel.title}, on the flat and the inflated cortex",
                "width": panel.picture.shape[1],
                "height": panel.picture.shape[0],
            }
            for panel in analysis.panels
        ],
        "places": [(name, round(x, 1), round(y, 1)) for name, (x, y) in analysis.places.items()],
        "key": _key(analysis) if analysis.panels else None,
        "legend": analysis.legend,
        "chart": bar_chart(analysis, label),
    }


def _key(analysis: AnalysisReport) -> Mapping[str, Any] | None:
    """Return the picture of the colour scale, and what stands at its ends."""
    if analysis.kind == "layers":
        return None
    picture = embed.map_uri(embed.as_uint8(colours.key(analysis.kind)[::-1]))
    top = colours.R_TOP if analysis.kind == "one" else colours.SPLIT_TOP
    names = [name for name, _ in analysis.legend] if analysis.kind == "two" else ["correlation r"]
    return {"uri": picture, "kind": analysis.kind, "top": f"{top:g}", "names": names}
