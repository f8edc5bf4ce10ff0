"""If-Match: the versions a caller says it read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.kernel.errors import PreconditionFailed, PreconditionRequired
from service.kernel.http.deps import expected as parse
from service.kernel.versions import Expected


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        ('"3"', {3}),
        ('W/"3"', {3}),
        ('"v3"', {3}),
        ("3", {3}),
        ('"1", W/"2" ,"3"', {1, 2, 3}),
        ('  "3"  ', {3}),
        ('"3", "somebody else\'s"', {3}),
        ("*", set()),
        (" * ", set()),
    ],
)
def test_a_tag_names_versions(header: str, versions: set[int]) -> None:
    assert parse(header) == Expected(frozenset(versions))


@pytest.mark.parametrize(
    "header", ["", '""', "abc", '"-1"', '"3', 'w/"3"', '"3""4"', '"1e3"', "**"]
)
def test_a_tag_that_was_never_ours_is_stale(header: str) -> None:
    with pytest.raises(PreconditionFailed):
        parse(header).check(3, required=True)


@given(st.text(st.characters(max_codepoint=255)))
def test_no_header_is_unreadable(header: str) -> None:
    expected = parse(header)
    assert expected.versions is not None
    try:
        expected.check(1, required=True)
    except PreconditionFailed:
        assert 1 not in expected.versions
    else:
        assert not expected.versions or 1 in expected.versions


def test_a_missing_version_matters_only_where_it_is_required() -> None:
    parse(None).check(3, required=False)
    with pytest.raises(PreconditionRequired):
        parse(None).check(3, required=True)


@given(st.sets(st.integers(1, 9), min_size=1), st.integers(1, 9))
def test_a_listed_version_passes_and_another_does_not(accepted: set[int], version: int) -> None:
    header = ", ".join(f'"{number}"' for number in accepted)
    if version in accepted:
        parse(header).check(version, required=True)
    else:
        with pytest.raises(PreconditionFailed):
            parse(header).check(version, required=True)
