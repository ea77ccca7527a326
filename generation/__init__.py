"""Operations, photos, jobs over AI providers, their outputs, and what may be asked for."""
