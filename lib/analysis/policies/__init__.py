"""How far training moved a policy: divergence, displacement, ability retained."""
