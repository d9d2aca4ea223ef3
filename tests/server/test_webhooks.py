"""What settings and the configuration file say about webhooks, together."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.receivers import SECRET, receiving
from tests.support.serving import serve_in_process

from runwire.client import get_client
from runwire.server.graphs.config import ConfigError, GraphsConfig, read_config
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.runner import webhooks
from runwire.server.settings import Settings, read_settings
from runwire.server.webhooks import sender_options, url_policy


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a configuration file that says this of webhooks, and read it."""

    def write(**part: Any) -> GraphsConfig:
        path = tmp_path / "langgraph.json"
        path.write_text(json.dumps({"graphs": {"a": "./a.py:a"}, "webhooks": part}))
        return read_config(path)

    return write


def settings(**given: Any) -> Settings:
    return read_settings(Settings, {"webhook_secret": SECRET, **given})


def test_without_a_word_only_https_on_the_internet_is_called(write: Any) -> None:
    assert url_policy(settings(), write()) == UrlPolicy()


def test_without_a_secret_there_are_no_webhooks_unless_they_are_wanted_unsigned(
    write: Any,
) -> None:
    assert "no secret" in url_policy(settings(webhook_secret=None), write()).disabled
    unsigned = settings(webhook_secret=None, webhook_unsigned=True)
    assert url_policy(unsigned, write()).disabled == ""


def test_the_file_narrows_and_widens_what_is_called(write: Any) -> None:
    url = {
        "require_https": False,
        "allowed_domains": ["example.com"],
        "allowed_ports": [443],
        "max_url_length": 100,
        "disable_loopback": False,
        "disable_private_ips": False,
    }
    assert url_policy(settings(), write(url=url)) == UrlPolicy(
        require_https=False,
        allowed_domains=("example.com",),
        allowed_ports=(443,),
        max_url_length=100,
        allow_loopback=True,
        allow_private=True,
    )


def test_what_is_set_stands_above_the_file(write: Any) -> None:
    url = {"require_https": False, "disable_loopback": False, "disable_private_ips": False}
    url |= {"allowed_domains": ["example.com"], "allowed_ports": [443]}
    given = settings(
        webhook_require_https=True,
        webhook_loopback=False,
        webhook_private=False,
        webhook_allowed_domains="a.test, *.b.test",
        webhook_allowed_ports="1,2",
    )
    assert url_policy(given, write(url=url)) == UrlPolicy(
        allowed_domains=("a.test", "*.b.test"), allowed_ports=(1, 2)
    )


def test_headers_hold_variables_of_the_environment(write: Any) -> None:
    headers = {"X-A": "a ${{ env.LG_WEBHOOK_A }} b ${{env.LG_WEBHOOK_B}}", "X-C": "c"}
    config = write(headers=headers)
    found = sender_options(settings(), config, {"LG_WEBHOOK_A": "1", "LG_WEBHOOK_B": "2"})
    assert found.headers == {"X-A": "a 1 b 2", "X-C": "c"}
    assert found.secrets == (SECRET,)


def test_a_header_s_variable_that_is_not_set_is_no_start(write: Any) -> None:
    config = write(headers={"X-A": "${{ env.LG_WEBHOOK_A }}"})
    with pytest.raises(ConfigError, match="no variable LG_WEBHOOK_A"):
        sender_options(settings(), config, {})
    with pytest.raises(ConfigError, match="LG_WEBHOOK_A holds what no header can"):
        sender_options(settings(), config, {"LG_WEBHOOK_A": "a\r\nX-B: 1"})
    assert sender_options(settings(webhook_secret=None), config, {}).headers == {}


async def test_the_sender_is_woken_when_a_run_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "POLL_SECONDS", 1000.0)
    given: dict[str, Any] = {"webhook_unsigned": True, "webhook_require_https": False}
    async with (
        receiving() as receiver,
        serve_in_process(tmp_path, webhook_loopback=True, **given) as app,
        get_client(app.address) as client,
    ):
        await client.runs.wait(None, "echo", input={}, webhook=receiver.url)
        (request,) = await receiver.until(1)
    assert "webhook-signature" not in request.headers
