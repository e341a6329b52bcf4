"""Entities: business objects in the database, their catalogue, import and export."""
