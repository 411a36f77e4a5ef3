"""A method's records in one file: pack it, verify a stranger's, add it to a board."""
