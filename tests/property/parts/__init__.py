"""Random lives of a whole store against a plain model of what its readers see, area by area.

Each module is one class of rules with its part of the model; the machine is made of all of them.
"""
