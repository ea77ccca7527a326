"""Mail: an outbox row per mail, its templates, its delivery."""
