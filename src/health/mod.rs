//! Health: the rise/fall machine and the engine that probes.
