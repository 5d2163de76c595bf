"""How clients behave in a round, each behaviour a function of (seed, round, client)."""
