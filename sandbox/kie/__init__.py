"""KIE, simulated: Runway films by task, and its file uploads."""
