"""Rows as people have them, rewritten in the study's own columns before their schema is checked."""
