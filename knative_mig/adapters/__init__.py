"""One technology a module: the only files that import one."""
