"""The main job as a stranger would do it: buy credits, turn a photo into a headshot, and see that all of it held."""
