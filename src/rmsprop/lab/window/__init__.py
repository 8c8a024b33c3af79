"""What a decay keeps: the weights of past gradients, the deficit of the first steps, and both on real gradients."""
