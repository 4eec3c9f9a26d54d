"""The tables of figures in the pages are those of the metafile and of the trainings."""

import pytest
from dev.write_tables import (
    METRICS,
    PAGES,
    ROOT,
    TABLE,
    fill_tables,
    make_figures,
    make_released,
    read_models,
)


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_tables_are_fresh(page):
    assert fill_tables(page) == page.read_text(), 'run python tools/dev/write_tables.py'


@pytest.mark.parametrize('page', [ROOT / 'README.md', ROOT / 'docs/model_zoo.md'])
def test_every_row_says_where_figures_and_weights_come_from(page):
    tables = [match[0] for match in TABLE.finditer(page.read_text())]
    rows = [row for table in tables for row in table.splitlines()[3:-1]]
    assert len(rows) > 8
    for row in rows:
        *_, figures, weights, _ = (cell.strip() for cell in row.split('|'))
        assert figures in ('published', 'measured here'), row
        assert weights.startswith(('converted', 'none released', 'trained here')), row
        assert (figures == 'measured here') == weights.startswith('trained here'), row


def test_the_project_page_has_every_table():
    assert {match[2] for match in TABLE.finditer(PAGES[1].read_text())} == {
        *METRICS,
        'trained',
        'released',
    }


def test_every_model_with_figures_is_in_one_table():
    names = [row[0] for table in METRICS for row in make_figures(table, PAGES[0])[1:]]
    assert sorted(names) == sorted(
        f'[{model["Name"]}]({model["Config"]})' for model in read_models()
    )


@pytest.mark.parametrize('page', PAGES[:2], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_configs(page):
    links = [row[1].partition('](')[2].rstrip(')') for row in make_released(page)[1:]]
    assert links
    assert all((page.parent / link).is_file() for link in links)
