"""Verbs of the command line, one module a family; heavy imports are local to the verb."""
