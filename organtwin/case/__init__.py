"""Case files, the stages they drive and the record of what was done."""
