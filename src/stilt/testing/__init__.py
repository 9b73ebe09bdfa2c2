"""
What every implementation of a protocol must pass, for ours and for those of others.

Subclass a contract in a test module, give it the fixture it asks for, and pytest collects
its tests. Needs pytest, which stilt itself does not install.
"""
