"""Hovering, singling out in legends, filtering, choosing, and the theme."""

from __future__ import annotations

from typing import Any

import pytest

from tests.report.html.conftest import Open, Opened, Written


@pytest.fixture
def report(one: Written, open_report: Open) -> Opened:
    opened = open_report(one.path)
    opened.wait_for_charts()
    return opened


def chart(report: Opened, name: str) -> Any:
    found = report.page.locator(f".chart[data-name={name}]")
    found.scroll_into_view_if_needed()
    return found


def test_hovering_a_point_tells_its_numbers(report: Opened) -> None:
    chart(report, "speedup").locator(".mark-symbol.role-mark path").last.hover()
    tip = report.page.locator("#tip")
    tip.wait_for(state="visible")
    said = tip.inner_text()
    assert "times as fast as dense" in said and "verdict" in said and "variant" in said
    report.page.mouse.move(2, 2)
    tip.wait_for(state="hidden")
    assert report.said == []


def test_hovering_a_dot_tells_a_single_latency(report: Opened) -> None:
    canvas = chart(report, "distributions").locator("canvas")
    at = chart(report, "distributions").evaluate(
        """each => { const view = each.view; const find = (item) => {
            for (const child of item.items ?? []) { const found = find(child); if (found) return found; }
            return item.datum && 'latency_ms' in item.datum && item.mark.marktype === 'symbol' ? item : null; };
            const item = find(view.scenegraph().root); const [x, y] = view.origin();
            return [item.x + x + view.padding().left, item.y + y + view.padding().top]; }"""
    )
    box = canvas.bounding_box()
    report.page.mouse.move(box["x"] + at[0], box["y"] + at[1])
    report.page.mouse.move(box["x"] + at[0] + 0.5, box["y"] + at[1])
    report.page.locator("#tip").wait_for(state="visible")
    assert "ms" in report.page.locator("#tip").inner_text()


def test_legends_can_be_clicked_in_every_chart_of_several_backends(report: Opened) -> None:
    dead = report.page.eval_on_selector_all(
        ".chart[data-name]:has(.role-legend-symbol)",
        """all => all.filter(each => each.querySelector('.role-legend-symbol[pointer-events=none]')
            && each.dataset.name !== 'accuracy').map(each => each.dataset.name)""",
    )
    assert dead == []


def test_the_legend_singles_out_a_backend(report: Opened) -> None:
    found = chart(report, "speedup")

    def bright() -> int:
        opacities = found.evaluate(
            "each => [...each.querySelectorAll('.mark-symbol.role-mark path')].map(one => one.getAttribute('opacity'))"
        )
        return sum(float(each or 1) > 0.5 for each in opacities)

    everything = bright()
    found.locator(".role-legend-symbol path").last.click()
    report.page.wait_for_function(
        """() => [...document.querySelectorAll('.chart[data-name=speedup] .mark-symbol.role-mark path')]
            .some(one => one.getAttribute('opacity') === '0.06')"""
    )
    assert 0 < bright() < everything


def test_filters_leave_what_was_asked_for_in_charts_and_tables(report: Opened) -> None:
    page = report.page
    page.locator("#filters input[value=builtin]").uncheck()
    page.wait_for_function("() => !document.querySelector('.chart:not([data-drawn])')")
    assert page.locator("#results tr[data-series=builtin]").first.is_hidden()
    assert page.locator("#results tr[data-series=csr]").first.is_visible()
    shown = chart(report, "speedup").evaluate("each => [...new Set(each.view.data('rows').map(row => row.series))]")
    assert sorted(shown) == ["csr", "xnnpack"]
    dots = chart(report, "distributions").evaluate(
        "each => [...new Set(each.view.data('samples').map(row => row.series))]"
    )
    assert sorted(dots) == ["csr", "xnnpack"]
    page.locator("#filters input[name=variant]").fill("block")
    page.wait_for_function(
        """() => { const all = [...document.querySelectorAll('.chart')];
            return all.every(each => 'drawn' in each.dataset)
                && all[0].view.data('rows').every(row => row.variant.includes('block')); }"""
    )
    assert page.locator("#results tbody tr:visible").count() == 2
    assert report.said == []


def test_runs_can_be_hidden(mixed: Written, open_report: Open) -> None:
    report = open_report(mixed.path)
    report.page.locator("#filters input[name=run][value='1']").uncheck()
    assert report.page.locator("#speedup .panel:visible").count() == 3


def test_a_choice_in_one_chart_leaves_the_others_alone(mixed: Written, open_report: Open) -> None:
    report = open_report(mixed.path)
    report.wait_for_charts()
    panels = report.page.locator(".panel", has=report.page.locator(".chart[data-name=distributions]"))
    assert panels.count() == 3
    panels.nth(1).locator("input[type=radio]").last.check()
    chosen = report.page.eval_on_selector_all(
        ".chart[data-name=distributions]", "all => all.map(each => each.view.signal('latency_as'))"
    )
    assert chosen == ["in ms", "over the median", "in ms"]
    assert [panels.nth(number).locator("input[type=radio]:checked").count() for number in range(3)] == [1, 1, 1]


def test_an_operator_chart_shows_the_variant_that_is_chosen(report: Opened) -> None:
    panel = report.page.locator(".panel", has=report.page.locator(".chart[data-name=operators]"))
    panel.locator("select").select_option("dense")
    report.page.wait_for_function(
        """() => { const view = document.querySelector('.chart[data-name=operators]').view;
            return view.signal('operators_of_variant') === 'dense'; }"""
    )
    assert report.said == []


def test_the_chart_of_samples_zooms_with_shift_alone(report: Opened) -> None:
    found = chart(report, "distributions")
    box = found.bounding_box()
    domain = "each => JSON.stringify(each.view.scale('x').domain())"
    before = found.evaluate(domain)
    report.page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 80)
    report.page.keyboard.down("Shift")
    report.page.mouse.wheel(0, -200)
    report.page.keyboard.up("Shift")
    report.page.wait_for_function(
        f"before => ({domain})(document.querySelector('.chart[data-name=distributions]')) !== before", arg=before
    )


def test_the_theme_is_the_systems_until_it_is_switched(one: Written, open_report: Open) -> None:
    report = open_report(one.path, theme="dark")
    report.wait_for_charts()
    ground = "getComputedStyle(document.body).backgroundColor"
    label = "getComputedStyle(document.querySelector('.chart svg .role-axis-label text')).fill"
    dark, dark_label = report.page.evaluate(ground), report.page.evaluate(label)
    report.page.locator("#theme").click()
    assert report.page.evaluate(ground) != dark
    assert report.page.evaluate(label) != dark_label, "charts follow"
    assert report.page.locator("#theme").inner_text() == "Dark"
