"""What notebooks show: examples, lessons, answers in the viewers, the playground."""
