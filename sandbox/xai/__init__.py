"""xAI: chat with structured output, pictures and their edits, films that are asked for and polled."""
