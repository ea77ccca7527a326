"""LiveKit, simulated: the room service, and who is in a room."""
