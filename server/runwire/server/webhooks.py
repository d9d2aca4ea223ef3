"""What settings and the configuration file say about webhooks, together."""

import os
from collections.abc import Mapping

from runwire.server.graphs.config import ConfigError, GraphsConfig
from runwire.server.graphs.webhooks import fill_headers
from runwire.server.model.webhook_urls import UrlPolicy
from runwire.server.runner.webhooks import SenderOptions
from runwire.server.settings import Settings

NO_SECRET = (
    "cannot be called: this server has no secret to sign webhooks with "
    "(RUNWIRE_WEBHOOK_SECRET), and is not told to send them without"
)


def url_policy(settings: Settings, config: GraphsConfig) -> UrlPolicy:
    """Return which URLs runs may name: what is set stands above what the file says, and that above
    the defaults."""
    said, default = config.webhooks, UrlPolicy()
    can_send = settings.webhook_secrets or settings.webhook_unsigned
    return UrlPolicy(
        disabled="" if can_send else NO_SECRET,
        require_https=_first(settings.webhook_require_https, said.require_https, True),
        allowed_domains=settings.webhook_domains or said.allowed_domains,
        allowed_ports=settings.webhook_ports or said.allowed_ports,
        max_url_length=said.max_url_length or default.max_url_length,
        allow_loopback=_first(settings.webhook_loopback, said.allow_loopback, False),
        allow_private=_first(settings.webhook_private, said.allow_private, False),
    )


def _first(*flags: bool | None) -> bool:
    return next(flag for flag in flags if flag is not None)


def sender_options(
    settings: Settings, config: GraphsConfig, environment: Mapping[str, str] = os.environ
) -> SenderOptions:
    """Return how webhooks are sent. Raises `ConfigError` for a header with a variable that is not
    set."""
    policy = url_policy(settings, config)
    headers: dict[str, str] = {}
    if not policy.disabled:
        try:
            headers = fill_headers(config.webhooks.headers, environment)
        except ValueError as error:
            raise ConfigError(config.path, str(error)) from None
    return SenderOptions(
        policy=policy,
        secrets=settings.webhook_secrets,
        headers=headers,
        timeout=settings.webhook_timeout,
        max_attempts=settings.webhook_max_attempts,
        retry_wait=settings.webhook_retry_wait,
        concurrency=settings.webhook_concurrency,
        drain_grace=settings.drain_grace,
    )
