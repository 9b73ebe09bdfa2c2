"""Where simulations run; backends do not know each other."""
