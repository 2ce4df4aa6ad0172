"""Clients of others against one stack, which ends with their last test: fixtures of scope `package` need this file."""
