"""Magic Hour: upload URLs, the AI headshot generator, image projects."""
