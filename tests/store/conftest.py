from __future__ import annotations

from tests.billing.conftest import _sandbox, sandbox  # noqa: F401  the gateways that orders are paid at
