"""The ops console's own pages: home, search, customer. Reads only; staff acts live in the app that owns the object."""
