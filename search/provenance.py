"""Where a study's numbers come from, as rows of a table."""

from foretune.search.markdown import plain
from foretune.search.spec import StudySpec


def provenance_rows(spec: StudySpec) -> list[list[str]]:
    """Return what and value, in Markdown, of everything that the study's values depend on."""
    prices, split = spec.prices, spec.split
    return [
        ["prices", f"{plain(prices.name)} ({plain(prices.source)}), {prices.days:,} days"],
        ["dates", f"{prices.first_date} to {prices.last_date}"],
        ["digest of the prices", f"`{prices.digest}`"],
        ["horizon, stride", f"{split.horizon} days, {split.stride} days"],
        ["folds", str(split.folds)],
        ["seed of the sampler", str(spec.seed)],
        ["versions", ", ".join(f"{name} {number}" for name, number in spec.versions.items())],
    ]
