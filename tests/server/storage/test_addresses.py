"""URLs of databases: a password is never taken for something else, and never shown."""

import pytest

from runwire.server.storage.addresses import check_address, shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@secret@127.0.0.1:5432/d",
        "postgresql://u:p/secret@127.0.0.1:5432/d",
        "postgres://u:p@s/ecret@127.0.0.1/d?sslmode=require",
        "postgresql://u:p%zzsecret@127.0.0.1/d",
    ],
)
def test_a_password_that_is_not_escaped_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="%40 for @") as refused:
        check_address(url)

    assert "ecret" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "as_shown"),
    [
        ("postgresql://u:p%40secret%2F@h:5432/d", "postgresql://u@h:5432/d"),
        ("postgres://u@h/d?password=secret@/", "postgresql://u@h/d"),
        ("postgresql://h1:1,h2:2/d", "postgresql://h1:1,h2:2/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///run/postgresql/d"),
        ("sqlite:///a/b.db", "a/b.db"),
    ],
)
def test_a_database_is_shown_without_what_is_secret(url: str, as_shown: str) -> None:
    check_address(url)

    assert shown(url) == as_shown
