"""Every test that touches money ends here."""

from __future__ import annotations

from billing import books


def check() -> None:
    """Assert that every invariant of the books holds, the rows that break one named."""
    report = books.run()
    assert report.is_clean, "\n".join(f"{f.check}: {f.row}: {f.problem}" for f in report.findings)
