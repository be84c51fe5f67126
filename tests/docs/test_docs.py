# SPDX-License-Identifier: Apache-2.0
"""Pages that are made from something else are what it makes; links lead somewhere."""
import re

from tests.docs import security

ROOT = security.ROOT
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def test_the_security_page_is_made_from_the_names_of_tests():
    assert security.PAGE.read_text() == security.page(), "run: python3 tests/docs/security.py"


def test_links_between_pages_lead_somewhere():
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        for link in LINK.findall(page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def anchor(heading):
    """As GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_links_into_pages_name_a_heading_there():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    headings = {
        page: {anchor(h) for h in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)}
        for page in pages
    }
    for page in pages:
        for link, name in re.findall(r"\]\(([^)#:]*)#([^)]*)\)", page.read_text()):
            there = (page.parent / link).resolve() if link else page
            assert name in headings[there], f"{page.name}: {link}#{name}"


def test_the_readme_leads_to_every_page():
    text = (ROOT / "README.md").read_text()
    missing = [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text]
    assert not missing


def test_tests_that_the_progress_page_names_exist():
    text = (ROOT / "docs" / "progress.md").read_text()
    sources = "\n".join(
        path.read_text() for kind in ("c", "py") for path in (ROOT / "tests").rglob(f"test_*.{kind}")
    )
    files = {path.name for path in (ROOT / "tests").rglob("*.*")}
    for name in re.findall(r"`(?:[a-z_]+/)*(test_\w+(?:\.py|\.c)?)`", text):
        assert name in files or re.search(rf"\b{name}\(", sources), name
