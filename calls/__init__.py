"""Calls between people, or to a phone, metered by the server and paid by the caller."""
