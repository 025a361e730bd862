"""Recording: `launch` starts a program and follows it, `merge` and `finish` make a Trace of what its processes wrote.

`bootstrap` and what it loads (`startup.MODULES`) run inside the recorded program, under private names and with nothing but
the standard library.
"""
