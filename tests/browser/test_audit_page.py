"""The audit's page in a browser: everything on it is drawn, and it fits a narrow screen."""

from __future__ import annotations

import pytest
from cohort_files import make_protocol

from harness import cohorts
from harness.cohorts.audit import audit
from harness.cohorts.survey import survey
from harness.commands import audit_page, sight


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (400, "dark")])
def test_the_audits_page_is_drawn_whole_and_fits(browser, tmp_path, width, scheme):
    chosen = make_protocol(size=48, samples=60, attributes={"gender": {}})
    cohort = cohorts.load(chosen, None, tmp_path)
    seen = survey(cohort, chosen)
    file = tmp_path / "audit.html"
    audit_page.write(
        file, cohort, chosen, seen, audit(cohort, chosen, seen), sight.sights(cohort, chosen), 0.15
    )
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(180_000)
    said = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri())
    drawn = "[...document.images].filter(image => image.naturalWidth > 0).length"
    assert page.evaluate(drawn) == page.evaluate("document.images.length") > 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert said == []
    page.close()
