"""A key that is committed is found."""

from __future__ import annotations

import pytest

from tests import leaks, steps


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (("rzp_", "live_", "a1B2c3D4e5F6g7"), "Razorpay's live key"),
        (("sk_", "live_", "0123456789abcdefghijABCDEF"), "Stripe Access Key"),
        (("AK", "IA", "IOSFODNN7EXAMPLE"), "AWS Access Key"),
        (("-----BEGIN ", "PRIVATE KEY", "-----"), "Private Key"),
        (("xai-", "a1" * 30), "xAI's key"),
    ],
)
def test_it_is_named_with_its_line(parts: tuple[str, ...], kind: str) -> None:
    assert list(leaks.found("some/file", f'first\nKEY = "{"".join(parts)}"\n')) == [f"some/file:2: {kind}"]


def test_an_audit_that_gets_no_answer_says_so_and_fails_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(steps.STEPS, "audit", ("audited", lambda: steps.Skipped("skipped: the package index …")))

    assert steps.main(["audit"]) == 0
    assert capsys.readouterr().out.startswith("skipped audited")
