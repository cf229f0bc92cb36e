"""Where ``foretune forecast`` may write: nowhere that it reads from."""

from pathlib import Path

from foretune.datasets.common.errors import ConfigError
from foretune.datasets.common.files import require_file_place


def require_forecast_places(
    model: str, prices: str | None, *, csv: str | None, plot: str | None
) -> None:
    """Refuse files that a forecast cannot or should not be written to: before there is one.

    Args:
        model: the model's folder.
        prices: what ``--data`` says.
        csv: the CSV file to write, if any.
        plot: the PNG figure to write, if any.

    Raises:
        ConfigError: names the option and the file.
    """
    given = {"--csv": csv, "--plot": plot}
    files = {option: file for option, file in given.items() if file is not None}
    for option, file in files.items():
        place = require_file_place(file).resolve()
        if place.is_relative_to(Path(model).resolve()):
            raise ConfigError(f"{option} must lie outside the model {model}, but got {file}")
        if prices is not None and place == Path(prices).resolve():
            raise ConfigError(f"{option} must be another file than --data, but got {file}")
    if plot is not None and Path(plot).suffix.lower() != ".png":
        raise ConfigError(f"--plot must be a file named .png, but got {plot}")
    if len({Path(file).resolve() for file in files.values()}) < len(files):
        raise ConfigError(f"--csv and --plot must be two files, but both are {csv}")
