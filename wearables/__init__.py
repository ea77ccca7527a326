"""The catalogue of what people can be dressed in, what each has chosen of it, and how it is to look."""
