"""Django's SMTP backend, which also knows how far the conversation came."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from typing import Any

from django.core.mail.backends import smtp


class _SMTP(smtplib.SMTP):
    """Notes the moment from which the server may keep the message: when its bytes begin to leave."""

    has_begun = False

    def mail(self, sender: str, options: Sequence[str] = ()) -> tuple[int, bytes]:
        self.has_begun = False
        return super().mail(sender, options)

    def send(self, s: Any) -> None:
        # smtplib sends commands as text and only the message itself as bytes.
        if isinstance(s, bytes):
            self.has_begun = True
        super().send(s)


class _SMTPOverTLS(_SMTP, smtplib.SMTP_SSL):
    pass


class EmailBackend(smtp.EmailBackend):
    """`has_begun` tells whether a message whose sending failed could have been received all the same."""

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        return _SMTPOverTLS if self.use_ssl else _SMTP

    @property
    def has_begun(self) -> bool:
        return bool(getattr(self.connection, "has_begun", False))
