"""What a run leaves for people: figures, exports, the README's tables."""
