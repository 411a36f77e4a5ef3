"""One training: what is fed, how it is drawn, fit, predict."""
