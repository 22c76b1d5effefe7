"""How good the judges are: agreement with the blind reader, calibration, errors by kind of pair."""
