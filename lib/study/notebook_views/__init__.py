"""What notebooks look at: examples, answers in the viewers, the playground."""
