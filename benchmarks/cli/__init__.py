"""The command line: the `onespec` group, its shared options, its exit codes and its progress display."""
