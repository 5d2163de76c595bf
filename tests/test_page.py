"""The page in headless Chromium: it loads, draws, hides, sorts, and asks nobody for anything."""

import base64
import json
import pathlib
import re
import time

import browser
import numpy as np
import pytest
import reporting_helpers as helpers
from plotly import graph_objects

from tff_experiments.reporting import drawn, groups, page, runs, summary

AVG, ADAM, ODD = NAMES = "fed_avg", "fed_adam", "<i>odd</i> & more"
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>"
SPREAD = {f"test/clients/accuracy/{n}": v for n, v in
          {"mean": 0.7, "p10": 0.4, "p90": 0.9, "worst_decile": 0.3}.items()}  # fmt: skip


def comparison():
    """Three groups of two seeds, one of which has a target that it never reached and kept no
    values of its clients.
    """
    curves = {AVG: [0.5, 0.7, 0.8], ADAM: [0.3, 0.65, 0.9], ODD: [0.2, 0.3, 0.4]}
    found = [
        helpers.run(
            helpers.rows([y + seed / 50 for y in curve], **SPREAD),
            algorithm=name,
            seed=seed,
            clients=None if name == ODD else {"test/accuracy": np.array([0.25, 0.5 + seed / 10])},
        )
        for name, curve in curves.items()
        for seed in (0, 1)
    ]
    question = summary.Question("test/accuracy", higher=True, targets=[0.6])
    of = groups.make(found, metric=question.metric)
    skipped = [runs.Skipped(pathlib.Path(EVIL), "no flags.txt")]
    drawing = drawn.make(of, question.metric)
    table = summary.table(of, question)
    return page.Comparison(question, of, skipped, table, drawing, f"compare.py '{EVIL}'")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(page.render(comparison()))
    return path


@pytest.fixture(scope="module")
def chromium():
    path = browser.find()
    if not path:
        pytest.skip(f"no Chromium: install one, or name it in ${browser.VARIABLE}")
    started = browser.Browser(path)
    yield started
    started.close()


@pytest.fixture
def shown(chromium, file):
    """The page, freshly opened and drawn."""
    chromium.events.clear()
    chromium.open(file.as_uri())
    chromium.wait_for("document.documentElement.dataset.drawn")
    return chromium


def curves_of(shown):
    """How many curves each chart shows: plotly draws a path of class js-line for each."""
    shown.wait_for("document.documentElement.dataset.drawn")
    charts = "[...document.querySelectorAll('.chart .scatterlayer')]"
    return shown.evaluate(f"{charts}.map(c => c.querySelectorAll('.js-line').length)")


def wait_for_curves(shown, number):
    shown.wait_for(f"document.querySelectorAll('.scatterlayer .js-line').length === {number}")
    return curves_of(shown)


def column(shown, number):
    rows = "[...document.querySelector('table').tBodies[0].rows]"
    return shown.evaluate(f"{rows}.map(row => row.cells[{number}].innerText)")


def test_the_page_loads_with_no_error_and_asks_for_nothing_but_itself(shown, file):
    assert shown.errors() == []
    assert shown.requests() == [file.as_uri()]
    assert shown.evaluate("document.title") == "accuracy of 6 runs in 3 groups"


def test_an_error_in_the_console_would_be_seen(chromium):
    chromium.open("data:text/html,<script>console.error('one'); throw new Error('two')</script>")
    found = " ".join(chromium.errors())
    assert "one" in found and "two" in found
    chromium.events.clear()


def test_every_group_is_drawn_in_every_chart_with_its_mean(shown):
    # Accuracy, loss and shares of clients: a mean and a band each group; a bar for what has none.
    assert curves_of(shown) == [6, 6, 4, 1]
    drawn_y = shown.evaluate("[...document.querySelector('.chart').data[1].y]")
    np.testing.assert_allclose(drawn_y, [0.51, 0.71, 0.81], atol=1e-6)
    line = "document.querySelector('.chart .scatterlayer .trace:last-child .js-line')"
    assert shown.evaluate(f"{line}.getBoundingClientRect().width") > 100


def test_no_chart_is_wider_than_its_place(shown):
    charts = "[...document.querySelectorAll('.chart')]"
    places = shown.evaluate(f"{charts}.map(c => c.clientWidth)")
    widths = shown.evaluate(f"{charts}.map(c => c.querySelector('.main-svg').clientWidth)")
    # Two columns of a page of 1200.
    assert widths == places and max(places) < 600


def test_the_share_of_clients_at_or_below_a_value_is_drawn_and_told(shown):
    chart = "document.querySelectorAll('.chart')[2]"
    # Clients at 0.25 and 0.5, and at 0.25 and 0.6.
    assert shown.evaluate(f"[...{chart}.data[1].x]") == [0.25, 0.25, 0.5, 0.5, 0.6, 0.6]
    assert shown.evaluate(f"[...{chart}.data[1].y]") == [0, 0.5, 0.5, 0.75, 0.75, 1]
    text = shown.evaluate("document.body.innerText")
    assert "Share of clients at or below a value" in text and "runs without clients.csv" in text


def test_a_click_on_a_name_hides_its_curve_in_all_charts_and_another_shows_it(shown):
    shown.click(".chart .legendtoggle")
    assert wait_for_curves(shown, 11) == [4, 4, 2, 1]
    time.sleep(0.5)  # Sooner, and it is a double click.
    shown.click(".chart .legendtoggle")
    assert wait_for_curves(shown, 17) == [6, 6, 4, 1]
    assert shown.errors() == []


def test_a_double_click_on_a_name_leaves_only_its_curve_and_another_brings_all_back(shown):
    # A chart of which nothing is left has no layer of curves.
    for expected in ([2, 2, 2], [6, 6, 4, 1]):
        shown.click(".chart .legendtoggle", times=2)
        assert wait_for_curves(shown, sum(expected)) == expected
        time.sleep(0.5)


def test_other_axes_are_a_click_away(shown):
    assert column(shown, 0) == [AVG, ADAM, ODD]
    shown.click("#axes button:nth-child(2)")
    shown.wait_for("document.querySelector('.chart').layout.xaxis.title.text === 'seconds'")
    x = shown.evaluate("[...document.querySelector('.chart').data[1].x]")
    np.testing.assert_allclose(x, [21, 42, 63])
    assert curves_of(shown) == [6, 6, 4, 1] and shown.errors() == []


def test_the_table_sorts_by_number_and_by_name_with_nothing_at_the_end(shown):
    titles = shown.evaluate(
        "[...document.querySelectorAll('thead')[0].rows[0].cells].map(c => c.innerText)"
    )
    rounds = titles.index("rounds to 0.6")
    header = f"thead th:nth-child({rounds + 1}) button"
    shown.click(header)
    assert column(shown, 0) == [AVG, ADAM, ODD]
    assert column(shown, rounds)[2] == "never"
    shown.click(header)
    assert column(shown, 0) == [ADAM, AVG, ODD]
    shown.click("thead th button")
    assert column(shown, 0) == [ODD, ADAM, AVG]
    shown.click("thead th button")
    assert column(shown, 0) == [AVG, ADAM, ODD]


def test_light_and_dark_are_followed_by_page_and_charts(shown):
    look = (
        "[getComputedStyle(document.body).backgroundColor,"
        " document.querySelector('.chart').layout.font.color]"
    )
    light = shown.evaluate(look)
    shown.show(width=1200, height=900, dark=True)
    shown.wait_for("document.querySelector('.chart').layout.font.color === '#e6e8eb'")
    dark = shown.evaluate(look)
    assert light == ["rgb(255, 255, 255)", "#1c1e21"] and dark == ["rgb(20, 22, 26)", "#e6e8eb"]


def test_on_a_phone_nothing_is_wider_than_the_screen_and_text_is_readable(chromium, file):
    chromium.open(file.as_uri(), width=390, height=844)
    chromium.wait_for("document.documentElement.dataset.drawn")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= 390
    widths = "[...document.querySelectorAll('.chart svg.main-svg')].map(s => s.clientWidth)"
    assert max(chromium.evaluate(widths)) <= 390
    texts = "[...document.querySelectorAll('td,th,p,button')]"
    sizes = chromium.evaluate(f"{texts}.map(e => parseFloat(getComputedStyle(e).fontSize))")
    assert min(sizes) >= 14
    assert len(base64.b64encode(chromium.screenshot())) > 10_000


def test_what_runs_are_called_can_not_become_part_of_the_page(shown):
    assert shown.evaluate("document.title") == "accuracy of 6 runs in 3 groups"
    assert shown.evaluate("document.querySelectorAll('img').length") == 0
    names = "[...document.querySelector('.chart').querySelectorAll('.legendtext')]"
    assert shown.evaluate(f"{names}.map(name => name.textContent)") == list(NAMES)
    assert EVIL in shown.evaluate("document.body.innerText")


def test_each_run_tells_its_command_commit_packages_and_data(tmp_path):
    about = {"packages": {"tensorflow": "2.14.1"}, "earlier": [{"commit": "older"}]}
    path = helpers.write(
        tmp_path / "a", helpers.rows([0.5]), about={**about, "command": "run <it>"}
    )
    of = groups.make([runs.load(path)], metric="test/accuracy")
    question = summary.Question("test/accuracy", higher=True)
    drawing, table = drawn.make(of, question.metric), summary.table(of, question)
    text = page.render(page.Comparison(question, of, [], table, drawing, "compare"))
    body = text[text.index("<h2>Runs</h2>") : text.index("<footer>")]
    for told in ("run &lt;it&gt;", "abc", "older", "tensorflow 2.14.1", helpers.DATA, str(path)):
        assert told in body
    assert "None: the runs differ in nothing but their seed." in text


def test_the_frame_has_no_hole_and_its_data_are_json(file):
    text = file.read_text()
    found = re.search(r'<script type="application/json" id="drawing">(.*?)</script>', text, re.S)
    assert [line["label"] for line in json.loads(found[1])["lines"]] == [
        "fed_avg",
        "fed_adam",
        "&lt;i&gt;odd&lt;/i&gt; &amp; more",
    ]
    assert "{{" not in text.replace(page.offline.get_plotlyjs(), "")


def test_charts_are_what_plotly_calls_valid(shown):
    charts = "[...document.querySelectorAll('.chart')]"
    figures = f"{charts}.map(c => JSON.parse(JSON.stringify({{data: c.data, layout: c.layout}})))"
    # A figure that is not valid raises.
    drawn = [graph_objects.Figure(figure) for figure in shown.evaluate(figures)]
    assert drawn and all(figure.data for figure in drawn)
