"""Magic Hour: upload URLs, headshots, images, videos, and the projects that they are."""
