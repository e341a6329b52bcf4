"""The catalogue of entities: what is where, by type, role, state, reference, relation, time and words."""
