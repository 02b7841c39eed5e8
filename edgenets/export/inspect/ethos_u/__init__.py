"""What Arm's compiler Vela makes of a file for an Ethos-U55 or -U65: predicted, and run."""
