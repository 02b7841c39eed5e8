"""A device as a session: this machine, a board over SSH, an emulated one."""
