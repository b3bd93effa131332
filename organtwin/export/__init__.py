"""Results for people and programs: ParaView files, tables, pictures, the report."""
