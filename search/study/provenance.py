"""Where a study's numbers come from, as rows of a table."""

import re

from foretune.search.report.markdown import plain
from foretune.search.study.spec import StudySpec


def provenance_rows(spec: StudySpec) -> list[list[str]]:
    """Return what and value, in Markdown, of everything that the study's values depend on."""
    prices, split = spec.prices, spec.split
    is_hex = re.fullmatch("[0-9a-f]+", prices.digest)
    return [
        ["prices", f"{plain(prices.name)} ({plain(prices.source)}), {prices.days:,} days"],
        ["dates", plain(f"{prices.first_date} to {prices.last_date}")],
        ["digest of the prices", f"`{prices.digest}`" if is_hex else plain(prices.digest)],
        ["horizon, stride", f"{split.horizon} days, {split.stride} days"],
        ["folds", str(split.folds)],
        ["seed of the sampler", str(spec.seed)],
        ["versions", plain(", ".join(f"{name} {n}" for name, n in spec.versions.items()))],
    ]
