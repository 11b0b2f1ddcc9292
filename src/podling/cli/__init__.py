"""The command line: argv in, text out.

In: argv and the environment. Out: text, exit codes. Knows only `engine`: the same commands will drive a remote engine.
`table.py` lists the commands as data; a command's module is imported when that command runs.
"""
