"""One table, once for each way to keep an audit log of it."""
