"""Pictures of digits: the form of a set's images, and bringing any picture of a digit into that form."""
