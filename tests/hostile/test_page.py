"""The page about threats says what the tests show."""

from __future__ import annotations

from tests.hostile.page import PAGE, with_table


def test_the_page_s_table_is_that_of_the_corpus() -> None:
    """To make it anew: python -m tests.hostile.page."""
    page = PAGE.read_text()

    assert with_table(page) == page
