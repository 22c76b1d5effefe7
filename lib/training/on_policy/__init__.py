"""Learning from answers that the model itself sampled: RLOO, DICE, BOND, and what they share."""
