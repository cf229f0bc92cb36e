"""The table of a report: every forecast, scored on each part that is open."""

from collections.abc import Mapping

from foretune.models.forecasts.assessment import Assessment, Metrics


def model_table(
    parts: Mapping[str, Mapping[str, Assessment]],
) -> tuple[list[str], list[list[str]]]:
    """Return the header, and one row for each forecast that every part has.

    Args:
        parts: assessments by the name of the part and of the forecast, the winner first.

    Example:
        >>> model_table({"validation": report.validation.models})
        (['forecast', 'validation: relative MSE', ...], [['trial 0', '0.9449', ...], ...])
    """
    header = ["forecast"]
    for name in parts:
        header += [f"{name}: relative MSE", "MASE", "right direction (95 %)"]
    first, *others = parts.values()
    names = [name for name in first if all(name in models for models in others)]
    return header, [[name, *_scores(name, parts)] for name in names]


def _scores(name: str, parts: Mapping[str, Mapping[str, Assessment]]) -> list[str]:
    return [cell for models in parts.values() for cell in _cells(models[name].metrics)]


def _cells(metrics: Metrics) -> list[str]:
    return [f"{metrics.relative_mse:.4f}", f"{metrics.mase:.2f}", _direction(metrics)]


def _direction(metrics: Metrics) -> str:
    accuracy, low, high = (
        metrics.directional_accuracy,
        metrics.directional_low,
        metrics.directional_high,
    )
    if accuracy is None or low is None or high is None:
        return "none"
    return f"{accuracy:.0%} ({low:.0%} to {high:.0%})"
