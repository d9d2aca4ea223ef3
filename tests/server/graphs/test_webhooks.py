"""The part `webhooks` of the configuration file."""

from typing import Any

import pytest
from tests.server.graphs.conftest import WriteConfig

from runwire.server.graphs.config import ConfigError
from runwire.server.graphs.webhooks import WebhooksConfig

ONE = {"chat": "./chat.py:graph"}


def test_without_it_nothing_is_said(write_config: WriteConfig) -> None:
    config = write_config({"graphs": ONE})
    assert config.webhooks == WebhooksConfig()
    assert config.warnings == ()


def test_a_prefix_says_which_variables_headers_may_hold(write_config: WriteConfig) -> None:
    headers = {"Authorization": "Bearer ${{ env.HOOK_TOKEN }}"}
    part = {"env_prefix": "HOOK_", "headers": headers}
    assert write_config({"graphs": ONE, "webhooks": part}).webhooks.headers == headers


def test_what_is_not_used_is_said(write_config: WriteConfig) -> None:
    part = {"allowed_fields": ["run_id"], "url": {"strict": True}}
    config = write_config({"graphs": ONE, "webhooks": part})
    assert config.warnings == (
        "langgraph.json: not used by Runwire: webhooks.allowed_fields",
        "langgraph.json: not used by Runwire: webhooks.url.strict",
    )


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ([], "webhooks: must be an object"),
        ({"url": []}, "webhooks.url: must be an object"),
        ({"url": {"require_https": 1}}, "webhooks.url.require_https: must be true or false"),
        ({"url": {"disable_loopback": "no"}}, "webhooks.url.disable_loopback: must be"),
        ({"url": {"allowed_domains": "a"}}, "webhooks.url.allowed_domains: must be a list of"),
        ({"url": {"allowed_ports": ["443"]}}, "webhooks.url.allowed_ports: must be a list of"),
        ({"url": {"allowed_ports": [True]}}, "webhooks.url.allowed_ports: must be a list of"),
        ({"url": {"max_url_length": 0}}, "webhooks.url.max_url_length: must be a number from"),
        ({"env_prefix": 5}, "webhooks.env_prefix: must be a string"),
        ({"headers": []}, "webhooks.headers: must be an object"),
        ({"headers": {"a b": "x"}}, "webhooks.headers.a b: cannot be a header"),
        ({"headers": {"Webhook-Id": "x"}}, "webhooks.headers.Webhook-Id: cannot be a header"),
        ({"headers": {"Host": "x"}}, "webhooks.headers.Host: cannot be a header"),
        ({"headers": {"a": 5}}, "webhooks.headers.a: must be a string"),
        ({"headers": {"a": "x\r\ny"}}, "webhooks.headers.a: must be a string"),
        ({"headers": {"a": "${{ secrets.A }}"}}, "is not ${{ env.NAME }}"),
        ({"headers": {"a": "${{ env.DATABASE_URL }}"}}, "does not begin with LG_WEBHOOK_"),
    ],
)
def test_a_mistake_is_told_by_its_key(write_config: WriteConfig, part: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        write_config({"graphs": ONE, "webhooks": part})
    assert words in str(caught.value)
