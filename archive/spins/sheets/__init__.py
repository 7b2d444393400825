"""Model sheets: Hamiltonian parameters as people write them."""
