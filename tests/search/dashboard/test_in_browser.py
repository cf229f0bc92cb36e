"""The dashboard as a user sees it: a real study, the real command, Chromium.

Every test leaves pictures of what it saw in its ``tmp_path``.
"""

import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import matplotlib.image
import numpy as np
import optuna
import optuna_dashboard
import pytest
from command_line import FORETUNE
from optuna.trial import TrialState
from optuna_dashboard.artifact import get_artifact_path
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from foretune.datasets import PriceSeries
from foretune.search import SearchSpace, run_study
from foretune.search.storage.artifact_store import artifact_store
from foretune.search.storage.artifacts import save_artifacts
from foretune.search.storage.connect import open_storage

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()), reason=f"no {CHROMIUM} with {DRIVER}"
    ),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--window-size=1400,1600",
)
# A name of someone else's that leads here, as it does after DNS rebinding.
REBOUND = "evil.example"

REASON = "the training loss became nan in epoch 1"
PAGE = """
    <title>as written</title>
    <p>a page of a trial</p>
    <script>
        document.title = "its script ran";
        fetch("/api/studies/2", {method: "DELETE"});
    </script>
"""
TOKEN = "correct-horse.battery_staple~1"


@dataclass
class Shown:
    """What the dashboard is to show; study 1 is the one, study 2 may be deleted."""

    file: Path
    trials: int
    page: str  # path of the HTML page of the trial that runs

    @property
    def url(self) -> str:
        return f"sqlite:///{self.file}"

    def studies(self) -> list[str]:
        return sorted(optuna.get_all_study_names(storage=open_storage(self.url)))


@pytest.fixture(scope="module")
def original(
    tmp_path_factory: pytest.TempPathFactory, walk: PriceSeries, tiny_space: SearchSpace
) -> Shown:
    file = tmp_path_factory.mktemp("original") / "s.db"
    storage = open_storage(f"sqlite:///{file}")
    settings: dict[str, Any] = {"horizon": 5, "workers": 1, "show_progress_bar": False}
    study = run_study(
        "walk", walk, n_trials=3, space=tiny_space, storage=storage, **settings, target="mid"
    )
    failed = study.ask()
    failed.set_user_attr("error", REASON)
    study.tell(failed, state=TrialState.FAIL)
    runs = study.ask()
    page = get_artifact_path(runs, save_artifacts(storage, runs, {"page.html": PAGE})[0])
    optuna.create_study(study_name="other", storage=storage)
    return Shown(file, len(study.trials), page[1:])


@pytest.fixture
def shown(original: Shown, tmp_path: Path) -> Shown:
    return replace(original, file=Path(shutil.copy(original.file, tmp_path)))


@contextmanager
def dashboard(url: str, *options: str) -> Iterator[str]:
    """Run the command on a free port; yields its address."""
    process = subprocess.Popen(
        [FORETUNE, "dashboard", "--storage", url, "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://[\d.]+:\d+/", process.stdout.readline())
        yield found[0] if found else pytest.fail(process.communicate()[1])
    finally:
        process.send_signal(signal.SIGINT)
        assert process.communicate() == ("\nThe dashboard has stopped.\n", "")


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def unguarded(url: str) -> Iterator[str]:
    """Serve optuna-dashboard as it is; yields its address."""
    storage = open_storage(url)
    app = optuna_dashboard.wsgi(storage, artifact_store=artifact_store(storage))
    with make_server("127.0.0.1", 0, app, ThreadingServer, QuietHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Browser:
    driver: Chrome
    pictures: Path

    def open(self, address: str) -> None:
        self.driver.get(address)

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def wait(self, for_what: Callable[[], Any]) -> Any:
        """Wait until it is there; a page may draw itself anew in between."""
        found = WebDriverWait(self.driver, 60, ignored_exceptions=[Exception])
        return found.until(lambda _: for_what())

    def sees(self, *words: str) -> None:
        self.wait(lambda: all(word in self.text() for word in words))

    def one(self, selector: str) -> WebElement:
        element: WebElement = self.wait(lambda: self.driver.find_element(By.CSS_SELECTOR, selector))
        return element

    def click(self, xpath: str) -> None:
        self.wait(lambda: self.driver.find_element(By.XPATH, xpath).click() or True)

    def picture(self, name: str) -> Path:
        path = self.pictures / f"{name}.png"
        assert self.driver.save_screenshot(str(path))
        return path

    def complaints(self) -> list[str]:
        """Return what the browser's console says since it was last asked."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser")]


@pytest.fixture
def browser(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    rules = f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1"
    for flag in (*FLAGS, f"--user-data-dir={profile}", rules):
        options.add_argument(flag)
    driver = Chrome(options=options, service=Service(str(DRIVER)))
    yield Browser(driver, tmp_path)
    driver.quit()


def test_a_reviewer_finds_trials_artifacts_reasons_and_the_note(
    shown: Shown, browser: Browser
) -> None:
    with dashboard(shown.url) as address:
        browser.open(address)
        browser.sees("1. walk", "2. other")
        browser.picture("studies")
        study = address + "dashboard/studies/1"
        browser.open(study)
        browser.sees("History", "relative_mse", "Hyperparameter Importance", "Best Trial")
        browser.picture("study")
        browser.open(study + "/trials?numbers=1")
        names = ("config.toml", "errors_by_step.csv", "losses_by_origin.csv", "forecasts.png")
        browser.sees(f"{shown.trials} Trials", "Trial 3", "Fail", "Trial 1 (trial_id=2)", *names)
        image = browser.one("img[alt='forecasts.png']")
        browser.wait(lambda: int(image.get_property("naturalWidth") or 0) > 500)
        browser.driver.execute_script("arguments[0].scrollIntoView()", image)
        assert has_colours(image.screenshot_as_png, browser.pictures / "thumbnail.png")
        browser.picture("trial")
        browser.open(study + "/trials?numbers=3")
        browser.sees("Trial 3 (trial_id=4)", f"error {REASON}")
        browser.picture("failed trial")
        browser.open(study + "/note")
        browser.wait(lambda: len(browser.driver.find_elements(By.CSS_SELECTOR, "table td")) > 5)
        table = browser.one("table").text
        assert "3 of 3" in table
        assert "|" not in table
        browser.picture("note")
        assert browser.complaints() == []


def has_colours(png: bytes, path: Path) -> bool:
    path.write_bytes(png)
    return len(np.unique(matplotlib.image.imread(path).reshape(-1, 4), axis=0)) > 50


def test_a_note_that_a_user_writes_shows_its_table(shown: Shown, browser: Browser) -> None:
    study = optuna.load_study(study_name="other", storage=open_storage(shown.url))
    optuna_dashboard.save_note(study, "# Seen\n\n| seed | verdict |\n| --- | --- |\n| 7 | luck |\n")
    with dashboard(shown.url) as address:
        browser.open(address + "dashboard/studies/2/note")
        cells = browser.wait(lambda: browser.driver.find_elements(By.CSS_SELECTOR, "table td"))
        assert [cell.text for cell in cells] == ["7", "luck"]
        edit = "//*[@data-testid='EditIcon' or @data-testid='CreateIcon']/ancestor::button"
        browser.click(edit)
        browser.one("textarea").send_keys("Written in the page.\n")
        browser.click("//button[normalize-space()='Save']")
        browser.sees("Success to save the note", "Written in the page.")
        browser.picture("own note")
    assert "Written in the page." in optuna_dashboard.get_note(study)


def test_the_script_of_an_artifact_does_not_run(shown: Shown, browser: Browser) -> None:
    with dashboard(shown.url) as address:
        browser.open(address + shown.page)
        browser.sees("a page of a trial")
        assert browser.driver.title == "as written"
        browser.picture("page")
        assert any("frame is sandboxed" in complaint for complaint in browser.complaints())
        assert shown.studies() == ["other", "walk"]


def test_without_the_guard_it_would_run(shown: Shown, browser: Browser) -> None:
    with unguarded(shown.url) as address:
        browser.open(address + shown.page)
        browser.wait(lambda: browser.driver.title == "its script ran")
        browser.picture("page that ran")
        browser.wait(lambda: shown.studies() == ["walk"])


def test_a_name_of_someone_elses_that_leads_here_is_refused(shown: Shown, browser: Browser) -> None:
    with dashboard(shown.url) as address:
        browser.open(address.replace("127.0.0.1", REBOUND) + "dashboard")
        browser.sees(f"does not answer to the name '{REBOUND}:")
        browser.picture("refused")
        browser.open(address.replace("127.0.0.1", "localhost") + "dashboard")
        browser.sees("1. walk")
    with unguarded(shown.url) as address:
        browser.open(address.replace("127.0.0.1", REBOUND) + "dashboard")
        browser.sees("1. walk")


def delete_the_second_study(browser: Browser, address: str) -> None:
    browser.open(address + "dashboard")
    browser.sees("2. other")
    card = "//h5[normalize-space()='2. other']/ancestor::div[contains(@class, 'MuiCard-root')]"
    button = f"{card}//button[@aria-label='delete study']"
    browser.click(button)
    yes = "//*[@role='dialog']//button[normalize-space()='Yes']"
    browser.click(yes)


def test_read_only_the_delete_button_deletes_nothing(shown: Shown, browser: Browser) -> None:
    with dashboard(shown.url, "--read-only") as address:
        delete_the_second_study(browser, address)
        browser.sees("Failed to delete study (id=2)")
        browser.picture("not deleted")
        assert any("status of 405" in complaint for complaint in browser.complaints())
        assert shown.studies() == ["other", "walk"]
        browser.open(address + "dashboard/studies/1/trials?numbers=1")
        browser.sees("forecasts.png")
    with dashboard(shown.url) as address:
        delete_the_second_study(browser, address)
        browser.sees("Success to delete a study (id=2)")
        browser.wait(lambda: "2. other" not in browser.text())
        assert shown.studies() == ["walk"]
        browser.picture("deleted")


def test_the_token_lets_a_browser_in_and_leaves_its_address(
    shown: Shown, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORETUNE_DASHBOARD_TOKEN", TOKEN)
    with dashboard(shown.url) as address:
        browser.open(address + "dashboard/studies/1")
        browser.sees("The dashboard needs its token.")
        browser.picture("no token")
        browser.open(f"{address}dashboard/studies/1?token={TOKEN}")
        browser.sees("History", "Best Trial")
        assert browser.driver.current_url == address + "dashboard/studies/1"
        browser.picture("with token")
        delete_the_second_study(browser, address)
        browser.wait(lambda: shown.studies() == ["walk"])
        assert TOKEN not in browser.driver.execute_script("return document.cookie + history.state")
