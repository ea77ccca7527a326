from __future__ import annotations

from core.errors import Error


class WebhookInvalid(Error):
    code = "webhook_invalid"
    status = 400
    message = "The signature does not match the body; nothing was stored."


class WebhookUnknown(Error):
    code = "webhook_unknown"
    status = 404
    message = "No such webhook is configured here."
