"""What is Podman's own: its specifications of containers and pods, read into our options."""
