"""The words and tables of a report, as Markdown, and the same as one HTML page."""

import base64
from collections.abc import Mapping
from html import escape

import numpy as np
from markdown_it import MarkdownIt

from foretune.datasets.history import moment
from foretune.models.forecasts.intervals import COVERAGE
from foretune.models.forecasts.metrics import METRICS
from foretune.search.report.access_log import format_access_log
from foretune.search.report.evidence import Evidence
from foretune.search.report.report import Report
from foretune.search.report.significance import SPAResult
from foretune.search.report.tables import counted, markdown_table, plain, provenance_rows
from foretune.search.report.verdict import SIGNIFICANCE, format_p, is_significant, p_cell
from foretune.search.study.remarks import training_remarks
from foretune.search.study.spec import OBJECTIVE_NAME, format_value
from foretune.search.study.trials import format_states

FOLDER = "figures"

_CAPTIONS = {
    "forecasts": "Forecasts of the winner with their intervals, over the actual values. Each "
    "interval is from what was known at its origin.",
    "errors_by_step": "Squared error by step ahead, in units of persistence's: below 1 is better.",
    "importance": "How much each parameter matters for being among the best trials (PED-ANOVA).",
    "history": "Every trial's value on validation.",
}

# Of the forecasts of several series.
_OF_FEW = " The series are the worst, the median and the best one in the order of the table above."


def markdown(report: Report) -> str:
    """Return the report as Markdown, which shows the figures of its folder."""
    sections = [
        f"# {plain(report.study.study_name)}: is the winner more than luck?",
        f"**{plain(report.verdict)}**",
        _models(report),
        *_series(report),
        _figure("forecasts", _OF_FEW if len(report.names) > 1 else ""),
        "## Error by step ahead",
        _figure("errors_by_step"),
        "## How sure this is",
        _evidence(report),
        "## The search",
        _search(report),
        _figure("history"),
        *([_figure("importance")] if report.importances else []),
        "## The winner's config",
        f"```toml\n{report.winner.config.to_toml().strip()}\n```",
        "## Where this comes from",
        _provenance(report),
    ]
    return "\n\n".join(sections) + "\n"


def html(document: str, title: str, images: Mapping[str, bytes]) -> str:
    """Return a Markdown report as one HTML page that needs no other file.

    Args:
        document: the report as Markdown.
        title: of the page.
        images: PNG files by the path that the document shows them under.
    """
    options = {"html": False, "xhtmlOut": False}
    page = MarkdownIt("commonmark", options).enable("table").render(document)
    for path, image in images.items():
        embedded = f"data:image/png;base64,{base64.b64encode(image).decode()}"
        page = page.replace(f'<img src="{path}"', f'<img src="{embedded}"')
    return _PAGE.format(title=escape(title), style=_STYLE, body=page)


def _figure(name: str, more: str = "") -> str:
    caption = _CAPTIONS[name] + more
    return f"![{caption}]({FOLDER}/{name}.png)\n\n*{caption}*"


def _models(report: Report) -> str:
    """Return the table of the trained models and the baselines, on each part that is open."""
    parts = report.parts
    header, rows = report.model_table
    rows[0][0] = f"**{rows[0][0]}** (winner)"
    split, steps = report.spec.split, report.validation.growth.shape[-1]
    about = report.spec.prices
    errors = "Errors of log prices" if about.space == "log" else f"Errors of {plain(about.target)}"
    counts = ", ".join(f"{len(part.origins)} on {part.name}" for part in parts)
    season = report.season
    metric = report.spec.metric
    chosen = f"Epochs and trials were chosen by {METRICS[metric].label}. "
    following = "the next" if season == 1 else f"the one {season} {about.step}s on"
    alone = "The winner's network starts at its ridge and is trained on what that leaves. "
    return (
        markdown_table(rows, header)
        + f"\n\n{errors} 1 to {counted(steps, about.step)} ahead, from the same origins, "
        f"{counted(split.stride, about.step)} apart ({counts}). Relative MSE: 1 is persistence, "
        f"below 1 is better. MASE: mean absolute error in units of the mean change from one "
        f"{about.step} to {following} in all rows before. {chosen * (metric != OBJECTIVE_NAME)}"
        f"{alone * bool(report.winner.first)}The winner was chosen on the validation "
        f"{about.step}s, so its figures there flatter it."
    )


def _series(report: Report) -> list[str]:
    """Return the table by series, and what it shows, where there are several."""
    header, rows = report.series_table
    if len(report.names) == 1:
        return []
    few = "the worst and the best few" if len(rows) < len(report.names) else "the worst first"
    return [
        "## By series",
        plain(" ".join(report.of_series)),
        markdown_table([[plain(cell) for cell in row] for row in rows], list(map(plain, header))),
        f"Ordered by the winner's error on {report.parts[-1].name} in units of that of "
        f"{plain(report.evidence.benchmark)}: {few}. All of them, by every metric, are in "
        "series.csv.",
    ]


def _evidence(report: Report) -> str:
    outcome, why = report.finding.test, report.finding.why_not_scored
    not_counted = _not_counted(report)
    if len(report.names) > 1:
        not_counted += (
            f" An origin's loss is the mean over the {len(report.names)} series: at one time they "
            "are not independent, so it is origins that count."
        )
    paragraphs = [*evidence_paragraphs(report.evidence, not_counted), *_intervals(report)]
    if why is not None:
        paragraphs.append(f"**On the test.** It was opened, but cannot be scored: {plain(why)}.")
    if outcome is not None:
        found, overlap = outcome.against_benchmark, report.validation.overlap
        paragraphs.append(
            f"**On the test.** The winner against {plain(report.evidence.benchmark)}, the best "
            "baseline on validation, by Diebold and Mariano's test with the small-sample "
            f"correction, one-sided, on {counted(outcome.origins, 'origin')} "
            f"({-(-outcome.origins // overlap)} that do not overlap): statistic "
            f"{found.statistic:.2f}, {format_p(found.p_value)} (below 0 is better). The weights "
            "were fixed before, which makes it the test of Giacomini and White. The winner's "
            f"optimism, its {METRICS[report.spec.metric].label} on the test less that on "
            f"validation, is {format_value(report.optimism or 0.0, report.spec.metric, 4, '+')}."
        )
    return "\n\n".join(paragraphs)


def evidence_paragraphs(evidence: Evidence, not_counted: str) -> list[str]:
    """Return the tests of all completed trials, in words and as a table."""
    skill, benchmark = evidence.skill, plain(evidence.benchmark)
    several = len(evidence.against) > 1
    best = f"the best baseline, {benchmark}" if several else benchmark
    trials = (
        "the one completed trial"
        if skill.alternatives == 1
        else (f"the best of {skill.alternatives} completed trials")
    )
    origins = "origin" if skill.origins == 1 else "origins"
    rows = [
        [
            plain(name) + (" (best baseline)" if several and name == evidence.benchmark else ""),
            f"{evidence.mean_losses[name]:#.4g}",
            _p_cell(found),
        ]
        for name, found in evidence.against.items()
    ]
    return [
        f"**Over the whole search.** What trials have to beat is {best}. Hansen's test of superior "
        f"predictive ability asks how good {trials} would look if none were better, from their "
        f"losses at {skill.origins} validation {origins} ({skill.independent} that do not overlap; "
        f"blocks of {skill.block}). Gains are compared in units of their standard errors. Skill is "
        f"claimed below p = {SIGNIFICANCE}. {not_counted}".rstrip(),
        markdown_table(rows, ["some trial beats", "its mean loss", "p"]),
        f"**As good as the best.** {_confidence_set(evidence)}",
    ]


def _not_counted(report: Report) -> str:
    """Say what the p-value leaves out."""
    tried = len(report.study.get_trials(deepcopy=False))
    counted = report.evidence.skill.alternatives
    are = "are complete and can be judged" if report.evidence.left_out else "are complete"
    return (
        f"{counted} of {tried} trials {are}; the test does not "
        "count the others, nor that each trial chose its best epoch on the same rows, nor looks "
        f"taken in between. {plain(report.evidence.left_out)}"
    ).rstrip()


def _p_cell(found: SPAResult) -> str:
    formatted = p_cell(found.p_value)
    return f"**{formatted}**" if is_significant(found.p_value) else formatted


def _confidence_set(evidence: Evidence) -> str:
    chosen, total = evidence.in_set, len(evidence.trials) + len(evidence.against)
    if chosen is None:
        origins = evidence.skill.origins
        are = "origin is" if origins == 1 else "origins are"
        return f"Not known: {origins} validation {are} too few to compare trials."
    what = f"{total} completed trials and baselines"
    if len(chosen) == total:
        return f"All {what} are in the 90 % model confidence set: they cannot be told apart."
    names = ", ".join(map(plain, chosen))
    return (
        f"The 90 % model confidence set holds {len(chosen)} of {what}, which cannot be told apart: "
        f"{names}."
    )


def _intervals(report: Report) -> list[str]:
    """Say what the intervals are, and in a table how often they held, as far as can be told."""
    text = (
        f"**Intervals.** {COVERAGE:.0%} intervals, each from the errors that were known at its "
        "origin, in units of the running volatility as far as they follow it (adaptive conformal)."
    )
    if len(report.names) > 1:
        text += (
            " A series' intervals are from its own errors; where too few of them are known, from "
            "those of all series, each in units of its own volatility: then they hold for a share "
            "of the series, as far as these origins are like the earlier ones, not for each."
        )
    if report.validation.coverage is None:
        count = len(report.validation.origins)
        origins = "validation origin is" if count == 1 else "validation origins are"
        text += f" {count} {origins} too few to tell whether they hold."
    rows = []
    for part in report.parts:
        by_step, thirds = part.coverage, part.coverage_by_volatility
        if by_step is None:
            continue
        # Validation's first intervals rest on few outcomes.
        later = ", later half" if part is report.validation else ""
        rows.append(
            [
                part.name + later,
                f"{np.mean(by_step):.0%}",
                f"{np.min(by_step):.0%} to {np.max(by_step):.0%}",
                *(["-"] * 3 if thirds is None else [f"{held:.0%}" for held in thirds]),
            ]
        )
    if not rows:
        return [text]
    header = ["intervals held", "all steps", "by step", "low volatility", "middle", "high"]
    return [text, markdown_table(rows, header)]


def _search(report: Report) -> str:
    folds, winner = report.spec.split.folds, report.winner
    members = ", ".join(map(str, report.members))
    same = "identical to the last bit"
    if not winner.is_same:
        # Every digit: rounding alone may differ, in the eighth of them.
        label = METRICS[report.spec.metric].label
        same = f"with {label} {winner.value!r}, not {winner.trial.value!r} as before"
    ways = "one validation part" if folds == 1 else f"{folds} walk-forward folds"
    count = len(report.study.get_trials(deepcopy=False))
    remarks = "".join(f" {plain(remark)}." for remark in training_remarks(winner.trial))
    return (
        f"{count} trials ({format_states(report.study)}), each scored on {ways}. The ensemble is "
        f"the mean forecast of trials {members}. Trained again for this report, the winner came "
        f"out {same}.{remarks}"
    )


def _provenance(report: Report) -> str:
    first = report.validation
    horizon = report.spec.split.horizon
    openings = format_access_log(report.openings, report.study.study_name)
    split, step = report.spec.split_days(report.spec.prices.days), plain(report.spec.prices.step)
    parts = (
        f"{split.train_stop:,}",
        f"{split.validation_stop - split.validation_start:,}",
        f"{split.test_stop - split.test_start:,}",
    )
    rows = [
        *provenance_rows(report.spec),
        ["training, validation, test", f"{', '.join(parts)} {step}s, with gaps of {split.gap}"],
        *([["left out at the end", f"{split.left_out:,} {step}s"]] if split.left_out else []),
        ["first validation target", str(moment(first.time, first.origins[0] + 1))],
        ["last validation target", str(moment(first.time, first.origins[-1] + horizon))],
        ["openings of the test", plain(openings)],
    ]
    return markdown_table(rows)


_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #111; background: #fff;
       max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2rem; }
h1 + p { border-left: 6px solid #111; padding: .5rem 1rem; background: #f3f3f3;
         font-size: 1.1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid #bbb; padding: .25rem .6rem; }
td[style] { white-space: nowrap; }
th { text-align: left; } td code { overflow-wrap: anywhere; }
img { max-width: 100%; } pre { background: #f3f3f3; padding: 1rem; overflow-x: auto; }
"""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
{body}</body>
</html>
"""
