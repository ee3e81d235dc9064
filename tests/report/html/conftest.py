"""Reports in a headless Chromium: written once, opened in a fresh page for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgesparse.report.html import write_report
from edgesparse.store import Run
from tests.report.runs import Variants, fill, make_bundle, make_run

CHROMIUM_ARGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
)  # fmt: skip
BACKENDS = ("builtin", "xnnpack", "csr")
BOARDS = ("kitchen-pi", "attic-pi", "jetson", "nuc")


@dataclass(frozen=True)
class Written:
    """A report on disk, and the runs that it is of."""

    path: Path
    runs: list[Run]

    @property
    def html(self) -> str:
        return self.path.read_text()


@dataclass
class Opened:
    """A page with a report, and what it said on its console."""

    page: Any
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def wait_for_charts(self) -> None:
        """Until every chart is drawn; they are, one by one, when there is nothing else to do."""
        self.page.wait_for_function("() => 'complete' in document.documentElement.dataset", timeout=120_000)

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())


Open = Callable[..., Opened]


@pytest.fixture(scope="package")
def chromium() -> Iterator[Any]:
    """A browser that downloads nothing and looks for nothing. It ends with these tests: until then Playwright's event
    loop counts as running in this thread."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium: sudo apt install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=list(CHROMIUM_ARGS))
        yield browser
        browser.close()


@pytest.fixture
def open_report(chromium: Any) -> Iterator[Open]:
    """Opens a report; `width` in pixels, `theme` "light" or "dark", `before` is a script that runs first."""
    contexts = []

    def open_(path: Path, width: int = 1400, theme: str = "light", fragment: str = "", before: str = "") -> Opened:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("console", lambda message: opened.said.append(f"{message.type}: {message.text}"))
        opened.page.on("pageerror", lambda error: opened.said.append(str(error)))
        opened.page.on("request", lambda request: opened.asked.append(request.url))
        opened.page.add_init_script(before)
        opened.page.goto(path.as_uri() + fragment)
        return opened

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the runs of all these reports are."""
    root = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGESPARSE_DATA", str(root / "data"))
        yield root


@pytest.fixture(scope="session")
def one(data: Path) -> Written:
    """One board with a sensor, three backends."""
    run = fill(make_run(data, backends=BACKENDS, rounds=8), rounds=8, powered=True, virtual="kvm")
    return written(data / "one.html", [Run(run)])


@pytest.fixture(scope="session")
def mixed(data: Path) -> Written:
    """Four runs that differ in what they are: with a sensor; with failures; for minutes; of an emulated board."""
    runs = [
        fill(make_run(data, backends=BACKENDS), powered=True),
        fill(make_run(data, backends=BACKENDS, board="jetson"), parity_fails="two-four/csr/1", seed=3),
        fill(make_run(data, backends=("csr",), board="attic-pi", sustained_s=30), powered=True, sustained_slices=30,
             simulated=True),
        fill(make_run(data, board="virt", emulated=True, counts_instructions=True)),
    ]  # fmt: skip
    return written(data / "mixed.html", [Run(run) for run in runs])


@pytest.fixture(scope="session")
def many(data: Path) -> Written:
    """20 variants x 4 boards x 3 backends, 700 samples each."""
    variants: Variants = (
        ("dense", "dense", None, 412_340, 0.9886, 1.0),
        *((f"block-4x1-{number:02}", "block 4x1", 0.8, 131_072 + number, 0.984, 1.5) for number in range(19)),
    )
    bundle = make_bundle(data / "many", variants)
    runs = [
        fill(make_run(data, board=board, backends=BACKENDS, variants=variants, bundle=bundle), rounds=10, seed=seed)
        for seed, board in enumerate(BOARDS)
    ]
    return written(data / "many.html", [Run(run) for run in runs])


def written(path: Path, runs: list[Run]) -> Written:
    """The report of some runs."""
    write_report(runs, path)
    return Written(path, runs)
