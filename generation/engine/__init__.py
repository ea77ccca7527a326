"""The engine: takes due jobs from the table, a lease each, and moves them on until they end."""
