"""What is Docker's own: its request bodies read into our options, our answers in its shapes."""
