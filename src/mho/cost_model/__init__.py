"""Time predicted from mappings, without running anything."""
