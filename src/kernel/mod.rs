//! What touches the kernel: IPVS, sysctls.
