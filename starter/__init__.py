"""Rebuild the compact CLIP and the starter bundle that ship with the project; README.md beside this file says how."""
