"""CommCare HQ: the client of a project space, and a fake as strict as the real one."""
