"""Second: boards become sections of rows, and what stands beside them: numbers and words, no drawing."""
