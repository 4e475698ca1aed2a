"""Answer requests with the champion: `app` speaks HTTP, `server` is one process, `supervisor` swaps processes.

A deployer hands over through the files that `deployers/handover.py` describes.
"""
