"""The servers that come along where none is configured: PostgreSQL and Valkey from wheels, on unix sockets."""
