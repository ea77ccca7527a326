"""Every test that touches money ends here."""

from __future__ import annotations

from billing import books


def check() -> None:
    """Insist that the books balance.

    Raises: AssertionError that names each broken row.
    """
    report = books.run()
    assert report.is_clean, "\n".join(f"{found.check}: {found.row}: {found.problem}" for found in report.findings)
