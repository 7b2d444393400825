"""Electrons of a cluster: Fock spaces, Hamiltonians, Wannier functions."""
