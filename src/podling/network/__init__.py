"""Networks of containers: namespaces, addresses, netavark, hosts and resolv.conf.

In: what a container asks for. Out: a configured network namespace and the files that name things in it.
A crash leaves a namespace in /run/netns and a lease; both belong to a container, whose clean-up releases them.
"""
