"""What the end-to-end tests are made of: programs, SMTP octets, Maildirs, workers, peers.

Standard library only. Nothing here knows pytest; a test that fails raises AssertionError with the
dialogue and the end of every log in it.
"""
