"""How the committed weights came about: sentences from a grammar, backpropagation by hand, Adam."""
