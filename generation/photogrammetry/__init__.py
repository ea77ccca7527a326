"""Photos to a 3D model on this machine's CPU. `program` and `inspector` are processes of their own."""
